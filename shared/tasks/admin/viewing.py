"""How tasks and their history are looked at: what is read, in which order, and what it costs.

Procedures that ask for reads, as `reading`; none fetches a result. A look at a system in which
nothing has changed costs one small document a task.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.tasks.protocol.effects import Value

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.admin.views import RunRecord, TaskView
    from shared.tasks.contract import TaskName


#: Documents that tell whether a history has changed.
MOST_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class ReadViews:
    """Read the status documents of these tasks, without results, in one call; answered with `TaskView`s."""

    names: tuple[TaskName, ...]


@dataclass(frozen=True, slots=True)
class ReadWorking:
    """Read the records of runs at work, in one call; answered with their progress by (task, run id)."""

    runs: tuple[tuple[TaskName, str], ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the history, after a record: when that was started, UTC, and its id."""

    started: datetime
    id: str


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Read a task's history, newest first; answered with a list of `RunRecord`.

    Attributes:
        name: the task.
        most: records at most.
        states: none but those in one of these states; all where there are none.
        after: the place to go on from.
    """

    name: TaskName
    most: int
    states: tuple[str, ...] = ()
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class ReadLastChanged:
    """Read what changed last in a task's history; answered with a list of `RunRecord` that tell no more."""

    name: TaskName
    most: int


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """Read one record of the history whole; answered with it, or None if there is none (`views.joined`)."""

    name: TaskName
    id: str


Look: TypeAlias = ReadViews | ReadWorking | ReadHistory | ReadLastChanged | ReadRecord
Looks: TypeAlias = Generator[Look, Any, Value]


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of the history, newest first.

    Attributes:
        records: these.
        next: where the next page begins; None where this is the last.
    """

    records: tuple[RunRecord, ...]
    next: Position | None


def view_tasks(names: tuple[TaskName, ...]) -> Looks[tuple[TaskView, ...]]:
    """Read the status documents of tasks, and the records of runs at work for their progress.

    Args:
        names: the tasks, in the order of the answer.

    Raises:
        StoreUnavailable: Firestore did not answer.
    """
    views: dict[TaskName, TaskView] = yield ReadViews(names)
    at_work = tuple((name, view.document.run_id or "") for name, view in views.items() if view.is_at_work)
    if at_work:
        records = yield ReadWorking(at_work)
        views |= {name: views[name].with_progress(records.get((name, run_id))) for name, run_id in at_work}
    return tuple(views[name] for name in names)


def view_last_changed(name: TaskName) -> Looks[tuple[RunRecord, ...]]:
    """Look at what changed last in a task's history, in whatever it has; errors as `view_tasks`.

    It is another after each write there, whatever that is to: a run at work, an old one that is closed.
    More than one, as of two writes at once the later one may be seen first. What TTL removes is no write.
    """
    found: list[RunRecord] = yield ReadLastChanged(name, MOST_AT_ONCE)
    return tuple(found)


def view_history(
    name: TaskName, *, most: int, states: tuple[str, ...] = (), after: Position | None = None
) -> Looks[HistoryPage]:
    """Look at a page of the history, newest first; errors as `view_tasks`.

    Args:
        name: the task.
        most: records of the page at most.
        states: only those in one of these states; all where there are none.
        after: the last page's `next`.
    """
    found: list[RunRecord] = yield ReadHistory(name, most + 1, states, after)
    records = tuple(found[:most])
    last = records[-1] if len(found) > most else None
    position = None if last is None or last.started is None else Position(last.started, last.id)
    return HistoryPage(records, position)


def view_record(name: TaskName, record_id: str) -> Looks[RunRecord | None]:
    """Look at one document of the history, None where there is none; errors as `view_tasks`."""
    record: RunRecord | None = yield ReadRecord(name, record_id)
    return record
