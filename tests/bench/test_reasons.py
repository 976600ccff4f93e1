"""Why an aim is missed is told with the figures of the run, and only where they bear it out."""

import pytest

from bench.reasons import UNKNOWN, lines
from bench.report import Measure
from bench.stages import STAGES, Stage

CROWD = "80 concurrent cold callers, 1 MB, once it listens : one cold caller"


def stages(bare: float) -> list[Stage]:
    """A profile whose last stage, gunicorn alone, takes so many milliseconds."""
    return [Stage(name, 1.0, bare if name.startswith("for comparison") else 0.1) for name in STAGES]


def large(answer: float) -> Measure:
    return Measure("warm 10 MB, gzip : no-op callable", answer, 1.5, {"answer": answer, "no-op": 1.0})


def test_a_reason_tells_the_figures_it_rests_on() -> None:
    """Of two milliseconds beyond a no-op gunicorn takes one and a half."""
    (line,) = lines([large(3.0)], stages(bare=1.5))
    assert "is 3.00: of the 2.00 ms that it takes beyond a no-op, gunicorn alone takes 1.50 ms" in line


def test_a_reason_that_the_figures_contradict_is_not_told() -> None:
    """Where gunicorn alone takes next to nothing, nobody knows where the time went."""
    (line,) = lines([large(3.0)], stages(bare=0.1))
    assert line.endswith(UNKNOWN)


@pytest.mark.parametrize("noops", [20.0, 90.0])
def test_a_crowd_is_explained_by_as_many_no_ops(noops: float) -> None:
    """Only where these take longer than one cold caller waits."""
    parts = {"80 callers": 100.0, "one": 30.0, "80 no-ops at once": noops}
    (line,) = lines([Measure(CROWD, 3.3, 1.5, parts)], stages(bare=1))
    assert ("3.0 times as long" in line) is (noops > 30)
    assert line.endswith(UNKNOWN) is (noops < 30)


def test_what_is_met_or_has_no_aim_needs_no_reason() -> None:
    """The page has no such section then."""
    assert list(lines([large(1.2), Measure("anything", 9.0, None, {})], stages(bare=1))) == []


def test_a_missed_aim_without_a_reason_is_not_passed_over() -> None:
    """It is listed all the same."""
    (line,) = lines([Measure("something new", 9.0, 1.0, {})], stages(bare=1))
    assert line == f"- **something new** is 9.00: {UNKNOWN}"
