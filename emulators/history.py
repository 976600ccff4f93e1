"""Reads the runs of tasks from their run history in Firestore as they end."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore

#: Runs are recorded shortly after they end, so one that ended later can be recorded earlier.
LATE = dt.timedelta(minutes=1)

_FIELDS = ["state", "completed", "duration_ms", "result", "error", "reason", "holder"]
_PLACES = {"db": "database", "storage": "storage", "none": "not stored"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended: completed, failed, or skipped."""

    task: str
    id: str
    state: str
    completed: dt.datetime
    #: None if the task did not run or its duration is unknown.
    duration_ms: float | None
    saved_in: str
    size_bytes: int | None
    #: Reason of a skip: `suspended` or `overlap`.
    reason: str
    #: The error or the reason of a skip, as text.
    remark: str

    @classmethod
    def from_document(cls, task: str, run_id: str, document: dict[str, Any]) -> "Run":
        """Return the run of a document in a run history that has `completed`."""
        result, error = document.get("result") or {}, document.get("error") or {}
        reason, holder = document.get("reason") or "", document.get("holder")
        why = f"{error.get('type')}: {error.get('message')}" if error else reason
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
            remark=_printable(f"{why}, {holder} holds the task" if holder and state == "skipped" else why),
        )

    def cells(self) -> list[str]:
        """Return status, duration, place and size of the result as texts."""
        duration = "-" if self.duration_ms is None else f"{self.duration_ms / 1000:.2f} s"
        return [self.state, duration, _PLACES.get(self.saved_in, "-"), _size(self.size_bytes)]

    def line(self) -> str:
        """Return the run as one line, with the local time of its end."""
        state, duration, place, size = self.cells()
        shown = f"{self.completed.astimezone():%H:%M:%S}  {self.task}  {state:<9}  {duration:>7}  {place:<8}"
        return f"{shown}  {size:>8}  {self.remark}".rstrip()


class History:
    """Returns each ended run once.

    Args:
        client: Client of the stack's Firestore.
        tasks: Names of the tasks.
        since: Runs that ended earlier are ignored.
    """

    def __init__(self, client: firestore.Client, tasks: Iterable[str], since: dt.datetime) -> None:
        self._histories = {task: client.collection("nx-tasks", task, "nx-runs") for task in tasks}
        self._since = dict.fromkeys(self._histories, since)
        self._returned: dict[str, set[tuple[str, dt.datetime]]] = {task: set() for task in self._histories}

    def ended(self) -> list[Run]:
        """Return the runs, and each attempt of a retried run, that ended since the last call, in order."""
        runs = [run for task in self._histories for run in self._ended(task)]
        return sorted(runs, key=lambda run: run.completed)

    def _ended(self, task: str) -> list[Run]:
        ends = firestore.FieldFilter("completed", ">=", self._since[task])
        query = self._histories[task].where(filter=ends).order_by("completed").select(_FIELDS)
        runs = [Run.from_document(task, found.id, found.to_dict() or {}) for found in query.stream()]
        new = [run for run in runs if (run.id, run.completed) not in self._returned[task]]
        if runs:
            # The next query starts at `_since`; only runs that it can find again must be remembered.
            self._returned[task] = {(run.id, run.completed) for run in runs}
            self._since[task] = max(self._since[task], runs[-1].completed - LATE)
        return new


def _printable(text: str) -> str:
    """Return a text as one line, with control characters as escapes."""
    line = " ".join(text.split())
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1e3:.1f} kB" if size_bytes < 1e6 else f"{size_bytes / 1e6:.1f} MB"
