"""What tests of tasks need: a run without any server (docs/api.md, "Test a task")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.documents.checkpoints import Saved

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.tasks.documents.checkpoints import Changes


class MemoryCheckpoints:
    """Keeps the checkpoints of a run in memory. It implements `CheckpointBackend`."""

    def __init__(self) -> None:
        self.saved = Saved()
        self.objects: dict[str, bytes] = {}

    def save(self, changes: Changes) -> None:
        """Keep changes."""
        self.saved.steps.update((one.name, one) for one in changes.steps)
        self.saved.cursors.update((one.name, one) for one in changes.cursors)
        self.saved.parts += changes.parts

    def upload(self, content: bytes) -> str:
        """Keep an object; return its path."""
        path = f"memory/{len(self.objects)}"
        self.objects[path] = content
        return path

    def open(self, path: str) -> Iterable[bytes] | None:
        """Return an object's bytes; None if it does not exist."""
        content = self.objects.get(path)
        return None if content is None else [content]
