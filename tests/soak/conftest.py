"""The engine tests' fixtures serve here as well."""

from tests.engine.conftest import world

__all__ = ["world"]
