"""The environment of every exploration: no log, no garbage collection, short waits, empty caches."""

import gc
from collections.abc import Iterator

import pytest

from shared import logger
from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.documents import legs
from tests.model import invariants, leg_invariants, memory_store, positions
from tests.model.positions import STEP


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Disable the log and the garbage collector, shorten waits, and clear all caches.

    The collector would scan all states repeatedly, although almost none of them is garbage.
    """
    for level in ("info", "warning", "error"):
        monkeypatch.setattr(logger, level, lambda *_, **__: None)
    # The model's time passes in steps, each of which ends a lease, and so the wait for a leg.
    for name in ("HAND_OVER_GRACE", "RETRY_GRACE"):
        monkeypatch.setattr(legs, name, STEP - CLOCK_SKEW)
    _forget()
    gc.disable()
    yield
    gc.enable()
    _forget()


def _forget() -> None:
    for module in (positions, memory_store, invariants, leg_invariants):
        module.forget()
