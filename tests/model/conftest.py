"""The environment of every exploration: no log, no garbage collection, empty caches."""

import gc
from collections.abc import Iterator

import pytest

from shared import logger
from tests.model import invariants, memory_store, positions


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Disable the log and the garbage collector, and clear all caches.

    The collector would scan all states repeatedly, although almost none of them is garbage.
    """
    monkeypatch.setattr(logger, "warning", lambda *_, **__: None)
    _forget()
    gc.disable()
    yield
    gc.enable()
    _forget()


def _forget() -> None:
    for module in (positions, memory_store, invariants):
        module.forget()
