"""Runs whose checkpoints fail, or whose process dies, as a test plans it."""

from collections.abc import Iterator
from typing import TypeAlias

from shared.tasks import TaskName, TaskRun
from shared.tasks.documents.checkpoints import Changes, Saved
from shared.tasks.errors import StoreUnavailable
from shared.tasks.testing import MemoryCheckpoints, RecordedRun

TASK = TaskName.collect_charge_cdrs
#: A save that fails, and whether it is applied although it fails.
Failure: TypeAlias = tuple[type[Exception], bool]
UNAVAILABLE: Failure = StoreUnavailable, False
IN_DOUBT: Failure = StoreUnavailable, True


class UnreliableCheckpoints(MemoryCheckpoints):
    """Fails saves and uploads, and kills the process, as planned.

    Attributes:
        saves: The plan for the next saves: None to save, or an error and whether the save is applied.
        uploads: The plan for the next uploads: None to store, or an error.
        calls_left: Number of further calls that the process survives.
        sizes: Number of steps, cursors and parts in each commit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.saves: list[Failure | None] = []
        self.uploads: list[type[Exception] | None] = []
        self.calls_left = 1_000_000
        self.sizes: list[tuple[int, int, int]] = []
        self._acknowledged = Saved()

    def burn(self) -> None:
        """Count a call; kill the process if it was the last one."""
        self.calls_left -= 1
        if self.calls_left <= 0:
            self.kill()

    def save(self, changes: Changes) -> None:
        self.burn()
        self.sizes.append((len(changes.steps), len(changes.cursors), len(changes.parts)))
        error, is_applied = (self.saves.pop(0) if self.saves else None) or (None, True)
        before = self.saved
        # The engine numbers parts from the last commit that it knows to be applied.
        self.saved = self._acknowledged
        self.saved = self.copy_of_saved()
        super().save(changes)
        if not is_applied:
            self.saved = before
        if error is not None:
            raise error("injected")
        self._acknowledged = self.saved
        self.burn()

    def upload(self, content: bytes) -> str:
        self.burn()
        error = self.uploads.pop(0) if self.uploads else None
        if error is not None:
            raise error("injected")
        path = super().upload(content)
        self.burn()
        return path

    def handed_on(self) -> MemoryCheckpoints:
        self._acknowledged = self.copy_of_saved()  # the next attempt reads what is persisted
        return super().handed_on()


def pages(run: TaskRun) -> Iterator[dict[str, int]]:
    """A task that yields two records for each of five pages."""
    cursor = run.cursor("pages", start=0)
    while cursor.value < 5:
        yield from ({"page": cursor.value, "record": number} for number in range(2))
        cursor.advance(cursor.value + 1)


ALL_PAGES = [{"page": page, "record": number} for page in range(5) for number in range(2)]


def persisted(run: RecordedRun) -> dict[str, str]:
    """The persisted positions as JSON, by the names of their cursors."""
    return {name: one.value for name, one in run.memory.saved.cursors.items()}
