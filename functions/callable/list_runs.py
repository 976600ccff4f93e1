"""Callable that returns the run history of a task: runs, skips, incidents and operators' changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import FunctionsErrorCode, HttpsError

from functions import requests
from functions.authorization import caller_of
from functions.callable_endpoint import callable_function
from shared import settings, tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest

    from shared.tasks.admin.queries import Position
    from shared.tasks.admin.records import RunRecord

#: No record is outside of these times, and Firestore refuses some times beyond them.
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


@callable_function(memory=512, service_account=settings.reader_account())
def list_runs(request: CallableRequest[Any]) -> dict[str, Any]:
    """Return a page of the run history of a task, newest first.

    Args:
        request: `{task_name}`, from a caller who may see the task's status. Optional fields: `limit`, runs
            per page; `states` and `outcomes`, those to list; `since` and `until`, the range of the records'
            start, without its end; `cursor`, the `next_cursor` of the previous page; `if_version`, the
            version of the first page that the caller has.

    Returns:
        `{version, runs, next_cursor}`, or `{version, not_modified: true}`, which takes at most three small
        reads. With `outcomes`, a page may have fewer runs than `limit`, and even none, although there is a
        next one: failed and cancelled runs are stored with the same state.

    Raises:
        HttpsError: unauthenticated; permission-denied; invalid-argument; resource-exhausted for too many
            calls; unavailable.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)
    from shared.tasks.admin import queries  # noqa: PLC0415
    from shared.tasks.admin.records import states_of  # noqa: PLC0415

    caller = caller_of(request)
    sent = requests.parse(request, requests.ListRuns)
    name = caller.viewable_task(sent.task_name)
    limit, states, outcomes = sent.limit, tuple(sorted(set(sent.states))), tuple(sorted(set(sent.outcomes)))
    since, until = _time_range(sent)
    after = _position(sent.cursor)
    query = [limit, states, outcomes, str(since), str(until)]
    version = _version(queries.view_last_changed(tasks.store, name), query)
    if after is None and sent.if_version == version:
        return {"version": version, "not_modified": True}
    page = queries.view_history(
        tasks.store,
        name,
        limit=limit,
        states=states or states_of(outcomes),
        since=since,
        until=until,
        after=after,
    )
    shown = [record for record in page.records if not outcomes or record.outcome in outcomes]
    runs = [serializers.run_fields(record, name, caller) for record in shown]
    return {"version": version, "runs": runs, "next_cursor": serializers.cursor_of(page.next)}


def _version(changed: tuple[RunRecord, ...], query: list[object]) -> str:
    from functions.serializers import version_of  # noqa: PLC0415

    changes = [[each.id, each.update_time.seconds, each.update_time.nanos] for each in changed]
    return version_of([query, changes])


def _time_range(sent: requests.ListRuns) -> tuple[datetime | None, datetime | None]:
    """Return the range in UTC, limited to times that Firestore can compare with."""
    if sent.since is not None and sent.until is not None and sent.since >= sent.until:
        raise HttpsError(
            FunctionsErrorCode.INVALID_ARGUMENT,
            f"since must be before until, got {sent.since.isoformat()} and {sent.until.isoformat()}",
        )
    since, until = (
        None if moment is None else min(max(moment, _EARLIEST), _LATEST).astimezone(UTC)
        for moment in (sent.since, sent.until)
    )
    return since, until


def _position(cursor: str | None) -> Position | None:
    from functions.serializers import position_of  # noqa: PLC0415

    if cursor is None:
        return None
    position = position_of(cursor)
    if position is None:
        raise HttpsError(
            FunctionsErrorCode.INVALID_ARGUMENT,
            f"cursor must be a next_cursor of this list or null, got {requests.shown(cursor)}",
        )
    return position
