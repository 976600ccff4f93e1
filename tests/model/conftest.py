"""What every exploration needs."""

from collections.abc import Iterator

import pytest

from shared import logger
from tests.model import memory_store, standing


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Millions of log lines help nobody; and what was remembered of one protocol is not another's."""
    monkeypatch.setattr(logger, "warning", lambda *_, **__: None)
    _forget()
    yield
    _forget()


def _forget() -> None:
    standing.forget()
    memory_store.forget()
