"""Requests a run of a task now (docs/protocol.md, "Requested runs")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from shared.tasks.documents import operator_writes
from shared.tasks.documents.actions import RunRequest
from shared.tasks.documents.run_ids import request_run_id, skip_id
from shared.tasks.errors import NotScheduled, StoreUnavailable, TaskSuspended, WriteConflict, WriteUnknown
from shared.tasks.protocol.decisions import LEGACY_HOLDER, living_holder
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadDocuments, RunJob, ask
from shared.tasks.protocol.operator_action import CHANGE_TRIES, checked_action
from shared.tasks.protocol.request_decision import REQUEST_WINDOW
from shared.tasks.specs import RETRY_PERIOD

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.clock import Clock
    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.actions import Action
    from shared.tasks.documents.models import RunDocument
    from shared.tasks.specs import TaskSpec


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What a request for a run led to.

    Attributes:
        outcome: "started"; "busy" if another run holds the task; "requested" if Cloud Scheduler accepted
            the request and no run began in time.
        run_id: The run that answers the request, or the one that holds the task; None if that is not known.
    """

    outcome: Literal["started", "busy", "requested"]
    run_id: str | None = None


def request_run(
    names: DocumentNames, spec: TaskSpec, clock: Clock, *, by: str, reason: str, deadline: float
) -> Procedure[RequestOutcome]:
    """Let Cloud Scheduler run a task now, and wait for the run that begins.

    The request is written to the status document, where `answers_request` finds it for a delivery.
    If the process dies before it calls Cloud Scheduler, the request expires, and the next one calls again.
    The deadline is on the clock's monotonic scale. The errors are those of `Operations.request_run`.
    """
    now = clock.now()
    action = checked_action(by, reason, now)
    if spec.schedule is None:
        raise NotScheduled(f"{spec.name.value} has no schedule, so Cloud Scheduler has no job to run")
    request = yield from _write_request(names, spec, action, now=now)
    if isinstance(request, RequestOutcome):
        return request
    yield from ask(RunJob())
    tries = 0
    while clock.monotonic() < deadline:
        _, record = yield from ask(ReadDocuments(request.id))
        if record is not None:
            return RequestOutcome("started", request.id)
        document, skipped = yield from ask(ReadDocuments(skip_id(request.id)))
        if skipped is not None and document.is_suspended:
            raise _suspended(spec)
        if skipped is not None:
            return RequestOutcome("busy", document.run_id)
        yield from ask(Pause(tries))
        tries += 1
    return RequestOutcome("requested", request.id)


def _write_request(
    names: DocumentNames, spec: TaskSpec, action: Action, *, now: datetime
) -> Procedure[RunRequest | RequestOutcome]:
    """Write a request for the next delivery, or join one that no delivery has answered yet.

    Returns:
        The request, or the outcome if another run holds the task.
    """
    deadline = timedelta(seconds=spec.deadline_seconds)
    own = RunRequest(request_run_id(now), action.by, action.reason, now, now)
    for tries in range(CHANGE_TRIES):
        document, _ = yield from ask(ReadDocuments())
        record = skipped = None
        last: RunRequest | None = document.request
        if last is not None:
            _, skipped = yield from ask(ReadDocuments(skip_id(last.id)))
            document, record = yield from ask(ReadDocuments(last.id))
            if document.request != last:
                continue
        if document.is_suspended:
            raise _suspended(spec)
        if last is not None and (last.id, last.by) == (own.id, own.by):
            return last  # only the response was lost
        holder = living_holder(document, now=now, deadline=deadline)
        if holder is not None:
            return RequestOutcome("busy", None if holder == LEGACY_HOLDER else holder)
        # A skipped delivery has answered its request: no other delivery will.
        if last is not None and record is None and skipped is None and now < last.at + REQUEST_WINDOW:
            request, commit = last, operator_writes.join_request(names, last, action, now=now)
        else:
            request = replace(own, since=_since(last, record, now))
            commit = operator_writes.request(names, document, request)
        try:
            yield from ask(Commit(commit))
        except (WriteConflict, WriteUnknown):
            yield from ask(Pause(tries))
        else:
            return request
    raise StoreUnavailable(
        f"no run of {spec.name.value} could be requested: other writers changed it each time; try again"
    )


def _suspended(spec: TaskSpec) -> TaskSuspended:
    return TaskSuspended(f"{spec.name.value} is suspended, so the run would be skipped; resume it first")


def _since(last: RunRequest | None, record: RunDocument | None, now: datetime) -> datetime:
    """Return the schedule time from which deliveries answer a new request, UTC."""
    if last is None:
        return now
    ended = record.completed if record is not None and record.completed is not None else last.at
    return last.since if now < ended + RETRY_PERIOD else now
