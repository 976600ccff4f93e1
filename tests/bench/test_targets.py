"""docs/performance.md shows each value against its target, and explains each missed one."""

from bench.report import Measure, missed, table
from bench.targets import TARGETS

RUN = "run, storage, warm : bare calls"
THROUGHPUT = "answers per second, 16 connections, warm 1 MB, gzip : no-op"
UNEXPLAINED = "warm 10 MB, no gzip : Flask route, same bytes"


def test_a_missed_target_shows_the_sentence_that_a_person_wrote() -> None:
    """The value and the limit come first."""
    (line,) = missed([Measure(RUN, 2.2, {})])
    assert line == f"- **{RUN}** is 2.20, target ≤ 1.5. {TARGETS[RUN].why_missed}"


def test_a_met_target_or_a_value_without_one_is_not_explained() -> None:
    """The section is then missing from the page."""
    assert list(missed([Measure(RUN, 1.5, {}), Measure("anything", 9.0, {})])) == []


def test_a_missed_target_without_an_explanation_is_still_listed() -> None:
    """With the sentence that the reason is unknown."""
    (line,) = missed([Measure(UNEXPLAINED, 9.0, {})])
    assert line.endswith("target ≤ 1.3. The reason is not known yet.")


def test_a_lower_bound_is_missed_below_it() -> None:
    """Throughput has one."""
    assert [Measure(THROUGHPUT, value, {}).is_met for value in (0.79, 0.8)] == [False, True]


def test_the_table_shows_value_target_and_whether_it_is_met() -> None:
    """A value without a target has a dash."""
    _, run, other = table([Measure(RUN, 2.2, {"warm": 11.0}), Measure("anything", 9.0, {})])
    assert run.split()[-7:] == ["2.20", "≤", "1.5", "no", "warm", "11.00", "ms"]
    assert other.split() == ["anything", "9.00", "-"]
