"""Another engine behind the public functions of `shared.tasks`."""

import pytest

from shared import tasks
from shared.tasks import TaskEngine


def use_engine(patch: pytest.MonkeyPatch, engine: TaskEngine) -> None:
    """Bind the functions of `shared.tasks` to another engine, as the package binds them to its own."""
    for name in tasks.__all__:
        bound = getattr(tasks, name)
        if isinstance(getattr(bound, "__self__", None), TaskEngine):
            patch.setattr(tasks, name, getattr(engine, name))
    patch.setattr(tasks, "cache_manager", engine.cache)
