"""The fixtures of the engine tests."""

from tests.engine.conftest import world

__all__ = ["world"]
