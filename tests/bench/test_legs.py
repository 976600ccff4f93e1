"""The benchmark of long runs measures what it names."""

import pytest

from bench import legs
from emulators.environment import Addresses


@pytest.mark.parametrize(("state", "length"), [("idle", 1), ("busy", 2)])
def test_hand_overs_are_measured(stack: Addresses, state: str, length: int) -> None:
    """Each leg of the run ends after one unit of work, so the run has as many hand-overs as are timed."""
    measure = legs.hand_overs(state, length, rounds=1)
    assert measure.value > 0
    assert set(measure.parts) == {"hand-over", "Cloud Task"}
