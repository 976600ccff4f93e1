"""The engine tests' fixtures serve here as well."""

from tests.engine.conftest import clock, engine, line, storage_line, world

__all__ = ["clock", "engine", "line", "storage_line", "world"]
