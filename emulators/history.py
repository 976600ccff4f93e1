"""The runs of tasks as they end, read from their history in Firestore; never writes there."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore

#: A run is in the history a little after the end that it names; one that ended later may be there before it.
LATE = dt.timedelta(minutes=1)

_FIELDS = ["state", "completed", "duration_ms", "result", "error", "reason", "holder"]
_PLACES = {"db": "database", "storage": "storage", "none": "nowhere"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended: completed, failed, or skipped."""

    task: str
    id: str
    state: str
    completed: dt.datetime
    #: None where the task did not work, or nobody knows for how long.
    duration_ms: float | None
    saved_in: str
    size_bytes: int | None
    #: Why it was skipped: `suspended` or `overlap`.
    reason: str
    #: What went wrong, or why it was skipped, for a person.
    remark: str

    @classmethod
    def from_document(cls, task: str, run_id: str, document: dict[str, Any]) -> "Run":
        """The run of a document in a task's history that has `completed`."""
        result, error = document.get("result") or {}, document.get("error") or {}
        reason, holder = document.get("reason") or "", document.get("holder")
        says = f"{error.get('type')}: {error.get('message')}" if error else reason
        state = document.get("state", "?")
        return cls(
            task=task,
            id=run_id,
            state=state,
            completed=document["completed"],
            duration_ms=document.get("duration_ms"),
            saved_in=result.get("saved_in", ""),
            size_bytes=result.get("size_bytes"),
            reason=reason,
            remark=_printable(f"{says}, {holder} holds the task" if holder and state == "skipped" else says),
        )

    def cells(self) -> list[str]:
        """Status, duration, where the result was saved and its size, for a person."""
        duration = "-" if self.duration_ms is None else f"{self.duration_ms / 1000:.2f} s"
        return [self.state, duration, _PLACES.get(self.saved_in, "-"), _size(self.size_bytes)]

    def line(self) -> str:
        """All of it on one line, for a person, with the local time at which it ended."""
        state, duration, place, size = self.cells()
        shown = f"{self.completed.astimezone():%H:%M:%S}  {self.task}  {state:<9}  {duration:>7}  {place:<8}"
        return f"{shown}  {size:>8}  {self.remark}".rstrip()


class History:
    """Tells each run once.

    Args:
        client: The stack's Firestore.
        tasks: Names of the tasks.
        since: Runs that ended before are passed over.
    """

    def __init__(self, client: firestore.Client, tasks: Iterable[str], since: dt.datetime) -> None:
        self._histories = {task: client.collection("nx-tasks", task, "nx-runs") for task in tasks}
        self._since = dict.fromkeys(self._histories, since)
        self._told: dict[str, set[tuple[str, dt.datetime]]] = {task: set() for task in self._histories}

    def ended(self) -> list[Run]:
        """The runs that ended since the last call, in that order; one that is retried, each time."""
        runs = [run for task in self._histories for run in self._ended(task)]
        return sorted(runs, key=lambda run: run.completed)

    def _ended(self, task: str) -> list[Run]:
        ends = firestore.FieldFilter("completed", ">=", self._since[task])
        query = self._histories[task].where(filter=ends).order_by("completed").select(_FIELDS)
        runs = [Run.from_document(task, found.id, found.to_dict() or {}) for found in query.stream()]
        new = [run for run in runs if (run.id, run.completed) not in self._told[task]]
        if runs:
            # What the next question finds and this one found was told: nothing before needs remembering.
            self._told[task] = {(run.id, run.completed) for run in runs}
            self._since[task] = max(self._since[task], runs[-1].completed - LATE)
        return new


def _printable(text: str) -> str:
    """A text on one line, with control characters as escapes, so that no terminal obeys them."""
    line = " ".join(text.split())
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1e3:.1f} kB" if size_bytes < 1e6 else f"{size_bytes / 1e6:.1f} MB"
