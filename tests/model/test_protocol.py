"""Exhaustive exploration of the run protocol within stated bounds."""

from collections.abc import Callable

import pytest

from tests.model.configurations import LARGE, SMALL
from tests.model.explore import Model
from tests.model.leg_configurations import LARGE_LEGS, SMALL_LEGS
from tests.model.states import Configuration

Record = Callable[[str, object], None]


def explored(name: str, configuration: Configuration, record: Record) -> int:
    """Explore a configuration; print and record the number of states."""
    scripts, bounds = configuration
    states = Model(scripts, bounds).explore()
    print(f"{name}: {states:,} states within {bounds}")  # noqa: T201
    record("states", states)
    record("bounds", str(bounds))
    record("processes", "; ".join(script.name for script in scripts))
    return states


@pytest.mark.parametrize("name", SMALL)
def test_no_interleaving_violates_an_invariant(name: str, record_property: Record) -> None:
    """An interleaving orders deliveries, deaths, faults, expiring leases, watchdog, operator and readers."""
    assert explored(name, SMALL[name], record_property) > 100


@pytest.mark.full
@pytest.mark.parametrize("name", LARGE)
def test_no_interleaving_violates_an_invariant_in_larger_bounds(name: str, record_property: Record) -> None:
    assert explored(name, LARGE[name], record_property) > 10_000


@pytest.mark.parametrize("name", SMALL_LEGS)
def test_no_interleaving_of_legs_violates_an_invariant(name: str, record_property: Record) -> None:
    """An interleaving also orders hand-overs and deliveries of Cloud Tasks; each run then ends."""
    assert explored(name, SMALL_LEGS[name], record_property) > 100


@pytest.mark.full
@pytest.mark.parametrize("name", LARGE_LEGS)
def test_no_interleaving_of_legs_violates_an_invariant_in_larger_bounds(
    name: str, record_property: Record
) -> None:
    assert explored(name, LARGE_LEGS[name], record_property) > 10_000
