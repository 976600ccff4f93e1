"""Exhaustive exploration of the run protocol within stated bounds."""

from collections.abc import Callable

import pytest

from tests.model.configurations import LARGE, SMALL, Configuration
from tests.model.explore import Model

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
