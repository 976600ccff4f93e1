"""What the callables accept: one struct per kind of request, validated by msgspec.

Unknown fields are refused. `parse` turns a violation into invalid-argument. The text for the caller is built
from the names and descriptions of the fields and the value that was sent.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import msgspec
from firebase_functions.https_fn import FunctionsErrorCode, HttpsError
from msgspec import UNSET, Meta, Struct, UnsetType

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest

#: Runs on a page of the run history if the caller does not specify a limit.
DEFAULT_LIMIT = 50
#: Largest page of the run history.
MAX_RUNS = 200
#: Smallest and largest number of records of one task in a timeline's answer.
MIN_TIMELINE_LIMIT, MAX_TIMELINE_LIMIT = 10, 2_000
#: Tasks that one request may name.
MAX_NAMES = 100
#: States by which one request may filter.
MAX_STATES = 10
#: Characters of a value that an error shows.
MAX_SHOWN = 60

Text = Annotated[str, Meta(description="text")]
TextOrNull = Annotated[str | None, Meta(description="text or null")]
Flag = Annotated[bool, Meta(description="true or false")]
_A_TIME = 'a time with its zone, such as "2026-11-30T12:00:00Z"'
Time = Annotated[datetime, Meta(tz=True, description=_A_TIME)]
TimeOrNull = Annotated[Time | None, Meta(description=f"{_A_TIME}, or null")]
State = Annotated[str, Meta(pattern=r"^[a-z_]{1,30}\Z")]


class GetTaskData(Struct, frozen=True, forbid_unknown_fields=True):
    """What `get_task_data` accepts; see docs/api.md.

    Attributes:
        task_name: The task. Authorization rejects a value of any type that is not a task of the caller.
        if_version: The version that the caller has. Null and a missing field differ: null asks for the
            versioned response.
        describe: Whether metadata is returned instead of the data.
        details: Whether the result's details are returned instead of the data. Overrides `describe`.
    """

    task_name: Any
    if_version: Annotated[str | UnsetType | None, Meta(description="text or null")] = UNSET
    describe: Flag = False
    details: Flag = False


class ListTasks(Struct, frozen=True, forbid_unknown_fields=True):
    """What `list_tasks` accepts."""

    if_version: TextOrNull = None


class ListRuns(Struct, frozen=True, forbid_unknown_fields=True):
    """What `list_runs` accepts.

    Attributes:
        task_name: The task, as in `GetTaskData`.
        limit: Runs per page.
        cursor: The `next_cursor` of the previous page.
        states: States to list; empty for all.
        outcomes: Outcomes to list; empty for all.
        since, until: Only records that started in this range, without its end.
        if_version: The version of the first page that the caller has.
    """

    task_name: Any
    limit: Annotated[int, Meta(ge=1, le=MAX_RUNS, description=f"a whole number from 1 to {MAX_RUNS}")] = (
        DEFAULT_LIMIT
    )
    cursor: TextOrNull = None
    states: Annotated[
        list[State],
        Meta(
            max_length=MAX_STATES,
            description=f'a list of up to {MAX_STATES} states, such as "failed"',
        ),
    ] = []
    outcomes: Annotated[
        list[State],
        Meta(
            max_length=MAX_STATES,
            description=f'a list of up to {MAX_STATES} outcomes, such as "cancelled"',
        ),
    ] = []
    since: TimeOrNull = None
    until: TimeOrNull = None
    if_version: TextOrNull = None


class ListTimeline(Struct, frozen=True, forbid_unknown_fields=True):
    """What `list_timeline` accepts.

    Attributes:
        since: Start of the time range.
        until: End of the time range; null for now.
        task_names: The tasks, as in `GetTaskData`; null for all.
        cursors: The `next_cursor` of each task to read a further page of; null for the first page.
        limit: Records per task and answer.
        changed_since: The `as_of` of the last answer, to get only what has changed since.
    """

    since: Time
    until: TimeOrNull = None
    task_names: Annotated[
        Annotated[list[Any], Meta(max_length=MAX_NAMES)] | None,
        Meta(description=f"a list of up to {MAX_NAMES} names of tasks, or null"),
    ] = None
    cursors: Annotated[
        Annotated[dict[str, str], Meta(max_length=MAX_NAMES)] | None,
        Meta(description=f"an object with the next_cursor of up to {MAX_NAMES} tasks, or null"),
    ] = None
    limit: Annotated[
        int,
        Meta(
            ge=MIN_TIMELINE_LIMIT,
            le=MAX_TIMELINE_LIMIT,
            description=f"a whole number from {MIN_TIMELINE_LIMIT} to {MAX_TIMELINE_LIMIT}",
        ),
    ] = MAX_TIMELINE_LIMIT
    changed_since: TimeOrNull = None


class GetRun(Struct, frozen=True, forbid_unknown_fields=True):
    """What `get_run` accepts.

    Attributes:
        task_name: The task, as in `GetTaskData`.
        id: The run, or another record of the history.
        if_version: The version of the run that the caller has.
    """

    task_name: Text
    id: Text
    if_version: TextOrNull = None


class ChangeTask(Struct, frozen=True, forbid_unknown_fields=True):
    """What `run_task` and `resume_task` accept."""

    task_name: Text
    reason: Text


class SuspendTask(Struct, frozen=True, forbid_unknown_fields=True):
    """What `suspend_task` accepts.

    Attributes:
        until: When the watchdog resumes the task; null if an operator does.
    """

    task_name: Text
    reason: Text
    until: TimeOrNull = None


class CancelRun(Struct, frozen=True, forbid_unknown_fields=True):
    """What `cancel_run` accepts."""

    task_name: Text
    id: Text
    reason: Text


T = TypeVar("T", bound=Struct)


def parse(request: CallableRequest[Any], kind: type[T]) -> T:
    """Validate what a caller sent.

    Args:
        request: The call.
        kind: The struct that it must match.

    Raises:
        HttpsError: invalid-argument; the text contains the field, what it accepts, and the value.
    """
    try:
        return msgspec.convert(request.data, kind)
    except msgspec.ValidationError as error:
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, _text(request.data, kind, error)) from error


def shown(value: object) -> str:
    """Return a value of a request as an error shows it: JSON, shortened to `MAX_SHOWN` characters."""
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def _text(sent: object, kind: type[Struct], error: msgspec.ValidationError) -> str:
    """Describe a violation. msgspec's own text names types of Python, and no optional fields."""
    fields = msgspec.structs.fields(kind)
    accepted = ", ".join(field.name if field.required else f"{field.name}?" for field in fields)
    place = re.search(r" - at `\$\.(\w+)", str(error))
    if isinstance(sent, dict):
        for field in fields:
            if field.required and field.name not in sent:
                return f"{field.name} is missing; send {{{accepted}}}"
        for name in sent:
            if name not in {field.name for field in fields}:
                return f"unknown field {shown(name)}; send {{{accepted}}}"
    if not isinstance(sent, dict) or place is None:
        return f"the data must be an object {{{accepted}}}, got {shown(sent)}"
    name = place[1]
    field_type = get_type_hints(kind, include_extras=True)[name]
    return f"{name} must be {field_type.__metadata__[0].description}, got {shown(sent[name])}"
