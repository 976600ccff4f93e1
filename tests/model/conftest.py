"""What every exploration needs."""

import gc
from collections.abc import Iterator

import pytest

from shared import logger
from tests.model import invariants, memory_store, standing


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log nothing, keep nothing of another exploration, and collect no garbage meanwhile.

    The collector would look through all states again and again, and hardly any of them is garbage.
    """
    monkeypatch.setattr(logger, "warning", lambda *_, **__: None)
    _forget()
    gc.disable()
    yield
    gc.enable()
    _forget()


def _forget() -> None:
    for module in (standing, memory_store, invariants):
        module.forget()
