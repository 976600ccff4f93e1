"""Callable that returns what all tasks did in a time range."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions import requests
from functions.authorization import caller_of
from functions.callable_endpoint import callable_function
from functions.responses import Answer
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest

    from functions.authorization import Caller
    from shared.tasks import TaskName

#: Longest time range of one request.
MAX_RANGE = timedelta(days=7)
#: Age of the earliest range: records of the run history are removed after 30 days.
MAX_AGE = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that was checked: its fields, its tasks and its range in UTC, its caller, and its time."""

    sent: requests.ListTimeline
    names: tuple[TaskName, ...]
    since: datetime
    until: datetime
    caller: Caller
    now: datetime


@callable_function(memory=512, service_account=settings.reader_account())
def list_timeline(request: CallableRequest[Any]) -> Answer:
    """Return the runs, skips, incidents and changes of tasks in a time range, and their ticks to come.

    Args:
        request: `{since}`, the start of the range, from a caller who may see the status of the tasks.
            Optional fields: `until`, its end, at most 7 days later; `task_names`, the tasks; `limit`, records
            per task and answer; `cursors`, the `next_cursor` of each task in the answer before, for the next
            page; `changed_since`, the `as_of` of the answer before, for what has changed since.

    Returns:
        `{now, as_of, tasks}`. Each task has `ticks`, those of the next 25 hours, `runs`, newest first, and
        `next_cursor`; with `cursors`, only `runs` and `next_cursor`. With `changed_since`, the answer is
        `{now, as_of, more, tasks}` with the tasks that have changed, and their changed `runs`. If `more` is
        true, ask again with this `as_of`.

    Raises:
        HttpsError: unauthenticated; permission-denied; invalid-argument; resource-exhausted for too many
            calls; unavailable.
    """
    caller = caller_of(request)
    sent = requests.parse(request, requests.ListTimeline)
    names = _names(sent, caller)
    now = datetime.now(UTC)
    asked = _Request(sent, names, *_range(sent, now), caller, now)
    response = _page(asked) if sent.changed_since is None else _changes(asked, sent.changed_since)
    return Answer(tasks.Payload(orjson.dumps(response)))


def _names(sent: requests.ListTimeline, caller: Caller) -> tuple[TaskName, ...]:
    named = sent.task_names if sent.cursors is None else list(sent.cursors)
    if not named:
        every = caller.viewable_tasks()  # denies callers without any task
        return every if named is None else ()
    return tuple(dict.fromkeys(caller.viewable_task(name) for name in named))


def _range(sent: requests.ListTimeline, now: datetime) -> tuple[datetime, datetime]:
    until = now if sent.until is None else min(sent.until, now)
    if not timedelta() <= until - sent.since <= MAX_RANGE or sent.since < now - MAX_AGE:
        raise HttpsError(
            FunctionsErrorCode.INVALID_ARGUMENT,
            f"since must be at most {MAX_RANGE.days} days before until and {MAX_AGE.days} days ago, "
            f"got {sent.since.isoformat()}",
        )
    return sent.since.astimezone(UTC), until.astimezone(UTC)


def _page(asked: _Request) -> dict[str, Any]:
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin import timeline  # noqa: PLC0415

    cursors = asked.sent.cursors or {}
    pages = {name: serializers.position_of(cursors[name]) if cursors else None for name in asked.names}
    if cursors and None in pages.values():
        raise HttpsError(
            FunctionsErrorCode.INVALID_ARGUMENT,
            f"cursors must be the next_cursor of each task in the last answer, got {requests.shown(cursors)}",
        )
    parts = timeline.view_range(
        tasks.store, pages, since=asked.since, until=asked.until, limit=asked.sent.limit
    )
    return {
        "now": serializers.time_text(asked.now),
        "as_of": serializers.time_text(asked.now - timeline.OVERLAP),
        "tasks": [
            {
                "name": name.value,
                **({} if cursors else {"ticks": serializers.ticks_to_come(name, asked.now)}),
                "runs": [serializers.timeline_run_fields(each, name, asked.caller) for each in part.records],
                "next_cursor": serializers.cursor_of(part.next),
            }
            for name, part in parts.items()
        ],
    }


def _changes(asked: _Request, changed_since: datetime) -> dict[str, Any]:
    from functions import serializers  # noqa: PLC0415
    from shared.tasks.admin import timeline  # noqa: PLC0415

    known = max(min(changed_since, asked.now), asked.now - MAX_AGE).astimezone(UTC)
    changes = timeline.view_changes(tasks.store, asked.names, since=known, limit=asked.sent.limit)
    shown = {
        name: [
            serializers.timeline_run_fields(each, name, asked.caller)
            for each in records
            if each.started is not None
            and each.started <= asked.until
            and (each.completed is None or each.completed >= asked.since)
        ]
        for name, records in changes.records.items()
    }
    return {
        "now": serializers.time_text(asked.now),
        "as_of": serializers.time_text(changes.known_until or asked.now - timeline.OVERLAP),
        "more": changes.known_until is not None,
        "tasks": [{"name": name.value, "runs": runs} for name, runs in shown.items() if runs],
    }
