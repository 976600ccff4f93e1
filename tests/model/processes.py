"""The model's processes: deliveries, readers, watchdog and operators that run the engine's procedures.

The legacy writer and the reader that knows only the contract follow the published TypeScript code.
"""

from collections.abc import Generator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zlib import crc32

import orjson
from google.cloud.firestore_v1.types import write as _write

from functions import scheduled_endpoint as answering
from shared.tasks import ExecuteTaskOptions, ResultUnavailable, TaskName, TaskResult, TaskSpec
from shared.tasks.contract import NO_DATA, DocumentNames, contract_object, run_object
from shared.tasks.documents.codec import encode_fields
from shared.tasks.documents.models import TaskDocument
from shared.tasks.documents.result_pointer import ResultPointer
from shared.tasks.documents.run_ids import AttemptIdentity
from shared.tasks.errors import (
    LegQueueUnavailable,
    RunCancelled,
    RunLost,
    SchedulerUnavailable,
    StoreError,
    TaskSuspended,
)
from shared.tasks.failure import Failure
from shared.tasks.protocol.acquisition import acquire
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.cancellation import cancel
from shared.tasks.protocol.contract_copy import repair_contract_copy
from shared.tasks.protocol.decisions import Busy, Duplicate, EndState, Skip, Start
from shared.tasks.protocol.effects import Commit, ReadContent, ReadDocuments, ReadResult
from shared.tasks.protocol.job_sync import watch_job
from shared.tasks.protocol.requested_runs import request_run
from shared.tasks.protocol.result_read import is_current, read_result
from shared.tasks.protocol.run_end import complete, fail
from shared.tasks.protocol.suspension import change_suspension, end_suspension
from shared.tasks.protocol.watchdog import Findings, watch
from tests.model.positions import EPOCH, STEP, ModelClock, Procedure, Script
from tests.model.requests import (
    Answer,
    CancelReport,
    Choose,
    ContractReadReport,
    ReadReport,
    Remove,
    StartNext,
    Upload,
)

TASK = TaskName.collect_charge_cdrs
NAMES = DocumentNames("d", TASK)
OPTIONS = ExecuteTaskOptions(lease_seconds=60)
#: The deadline of a legacy run.
DEADLINE = 2 * STEP
#: The content for a task without a result.
NOTHING = "[]"

#: The task that operators request, because a request requires a schedule.
SCHEDULED = TaskSpec(TASK, schedule="0 0 * * *")
#: The schedule time of a forced run that is delivered with the time of the next tick.
NEXT_TICK = EPOCH + timedelta(days=1)
#: The schedule time of a forced run that is delivered with the time of its request.
AT_REQUEST = EPOCH + timedelta(days=2)
#: The schedule time of a tick before all other events.
OLD_TICK = EPOCH - timedelta(hours=1)
#: Prefix of the ids of forced runs that no operator requested.
OWN = "own"
#: Placeholder for the id of the run that an operator requested.
REQUESTED = "the requested run"

#: Actions of a task between its start and its end, in order.
BETWEEN = {
    "extend": ("extend",),
    "progress": ("progress",),
    "progress twice": ("progress", "progress"),
}

_NOT_TAKEN = {Duplicate: "duplicate", Skip: "skipped", Busy: "busy"}


def delivery(
    tick: str,
    token: str,
    save_in: str = "db",
    may: tuple[str, ...] = ("complete",),
    after: tuple[str, ...] = (),
    schedule_time: datetime | None = None,
) -> Script:
    """One delivery of a tick.

    Args:
        tick: The run's id.
        token: The attempt's fencing token; together with the tick, the process's name.
        save_in: Where the result is stored.
        may: Possible actions of the task: complete or fail, and before that extend (the lease) or progress.
        after: Processes that must have ended before.
        schedule_time: The delivery's schedule time, see `instance`.
    """
    return instance((tick, token), save_in=save_in, may=may, after=after, schedule_time=schedule_time)


def instance(
    *deliveries: tuple[str, str],
    save_in: str = "db",
    may: tuple[str, ...] = ("complete",),
    after: tuple[str, ...] = (),
    schedule_time: datetime | None = None,
) -> Script:
    """A warm instance: each delivery begins with the status document that the last one cached.

    With a schedule time, its deliveries may answer a request, as ticks or, if the run's id begins with
    "own", as forced runs. `AT_REQUEST` stands for the time of the current request.
    """

    def body(clock: ModelClock) -> Procedure:
        remembered, delivered = None, schedule_time
        if schedule_time == AT_REQUEST:
            task, _ = yield ReadDocuments()
            delivered = task.request.at if task.request else EPOCH
        for number, (tick, token) in enumerate(deliveries):
            if number:
                yield StartNext()
            due = None if tick.startswith(OWN) else schedule_time or EPOCH
            run = AttemptIdentity(NAMES, tick, token, "model", due, delivered)
            remembered = yield from _deliver(Attempt(run, OPTIONS, clock), remembered, save_in, may)

    return Script(", then ".join(map("/".join, deliveries)), body, "delivery", after, save_in)


def forced(
    *tokens: str,
    may: tuple[str, ...] = ("complete",),
    after: tuple[str, ...] = (),
    schedule_time: datetime = NEXT_TICK,
) -> Script:
    """Deliveries of a forced run to one instance, with the time of the next tick or of the request."""
    runs = tuple((f"{OWN}-{token}", token) for token in tokens)
    return instance(*runs, may=may, after=after, schedule_time=schedule_time)


def requester(name: str, after: tuple[str, ...] = ()) -> Script:
    """An operator who requests a run and does not wait for it."""

    def body(clock: ModelClock) -> Procedure:
        own_clock = _OffsetClock(clock, _offset(name))
        with suppress(StoreError, TaskSuspended):
            yield from request_run(NAMES, SCHEDULED, own_clock, by=name, reason="r", deadline=0)

    return Script(f"request by {name}", body, "operator", after)


class _OffsetClock(ModelClock):
    """A clock with an offset, so that no two requests are made in the same microsecond."""

    def __init__(self, clock: ModelClock, offset: timedelta) -> None:
        self.clock, self.offset = clock, offset

    def now(self) -> datetime:
        return self.clock.now() + self.offset


def _deliver(
    attempt: Attempt, remembered: TaskDocument | None, save_in: str, may: tuple[str, ...]
) -> Generator[Any, Any, TaskDocument | None]:
    try:
        decision = yield from acquire(attempt, remembered, deadline=1)
        if isinstance(decision, Start):
            outcome = yield from _work(attempt, save_in, may)
        else:
            outcome = _NOT_TAKEN[type(decision)]
    except RunLost:
        outcome = "lost"
    except StoreError:
        outcome = "failed"
    yield Answer(attempt.identity.run_id, outcome, answering.HTTP_STATUSES.get(outcome, 500))
    return attempt.remembered()


def _work(attempt: Attempt, save_in: str, may: tuple[str, ...]) -> Procedure:
    chosen = yield Choose(may)
    if chosen in BETWEEN:
        for step in BETWEEN[chosen]:
            if step == "extend":
                yield from attempt.extend()
            else:
                with suppress(StoreError):  # as the runtime does
                    yield from attempt.record_progress({"done": attempt.identity.token})
        if attempt.cancel is not None:  # The task's next cancellation check raises.
            return (yield from _fail(attempt))
        chosen = yield Choose(tuple(each for each in may if each not in BETWEEN))
    if chosen == "fail":
        return (yield from _fail(attempt))
    try:
        return (yield from _publish(attempt, save_in))
    except RunCancelled:
        ended = yield from _fail(attempt)
        if ended == "cancelled" and save_in == "storage":
            yield Remove(run_object(TASK, attempt.identity.run_id, attempt.identity.token))
        return ended


def _fail(attempt: Attempt) -> Procedure:
    stands = yield from fail(attempt, Failure("E", "failed"), duration=0, deadline=1)
    ended = "failed" if attempt.cancel is None else "cancelled"
    return ended if stands is EndState.recorded else "superseded"


def _publish(attempt: Attempt, save_in: str) -> Procedure:
    run = attempt.identity
    version, path, data = f"{run.run_id}.{run.token}", None, _DATA[save_in]
    if save_in == "storage":
        path = run_object(TASK, run.run_id, run.token)
        yield Upload(path, version, version)
    pointer = ResultPointer(version=version, saved_in=save_in, path=path)
    stands = yield from complete(attempt, data=data or [version], result=pointer, duration=0, deadline=1)
    if stands is EndState.superseded:
        if path is not None and attempt.is_object_unused:
            yield Remove(path)
        return "superseded"
    if path is not None:
        with suppress(StoreError):
            yield from repair_contract_copy(TASK)
    return "completed"


#: The contract's `data` by storage location; None stands for the result itself.
_DATA = {"storage": "https://signed", "none": NO_DATA, "db": None}


def watchdog(name: str = "watchdog") -> Script:
    """A pass of the watchdog over the task."""

    def body(clock: ModelClock) -> Procedure:
        now, spec = clock.now(), TaskSpec(TASK)
        with suppress(StoreError, LegQueueUnavailable):
            yield from watch(NAMES, spec, Findings(), now=now, deadline=DEADLINE, token=name)

    return Script(name, body, "watchdog")


@cache
def last_watchdog(turn: int) -> Script:
    """A pass of the watchdog after all other processes have ended."""
    return watchdog(f"last watchdog {turn}")


def operator(action: str) -> Script:
    """An operator who suspends or resumes the task; the name begins with the action."""

    def body(clock: ModelClock) -> Procedure:
        suspend, now = action.startswith("suspend"), clock.now()
        how: dict[str, Any] = {"by": "p", "reason": action, "now": now, "until": _end_of(action, now)}
        with suppress(StoreError):
            yield from change_suspension(NAMES, suspend=suspend, **how)

    return Script(action, body, "operator")


def job_operator(name: str) -> Script:
    """An operator who suspends or resumes a task with a job; the name begins with the action."""

    def body(clock: ModelClock) -> Procedure:
        suspend = name.startswith("suspend")
        now = clock.now() + _offset(name)
        how: dict[str, Any] = {"by": "p", "reason": name, "now": now, "until": _end_of(name, clock.now())}
        with suppress(StoreError, SchedulerUnavailable):
            yield from change_suspension(NAMES, suspend=suspend, **how, has_job=True)

    return Script(name, body, "job operator")


def _end_of(name: str, now: datetime) -> datetime | None:
    """Return the end of a suspension, which is later than any `_offset`."""
    return now + timedelta(seconds=1) if name.endswith(" until a time") else None


def _offset(name: str) -> timedelta:
    """Return a unique offset, because the microsecond of its start identifies a call."""
    return timedelta(microseconds=crc32(name.encode()) % 1_000_000)


def job_keeper(name: str = "job keeper") -> Script:
    """The part of a watchdog pass that repairs the task's job."""

    def body(clock: ModelClock) -> Procedure:
        with suppress(StoreError, SchedulerUnavailable):
            yield from watch_job(NAMES, [], now=clock.now() + _offset(name))

    return Script(name, body, "job operator")


def resumer(name: str = "watchdog with a job") -> Script:
    """The part of a watchdog pass that ends suspensions, of a task with a job, and repairs the job."""

    def body(clock: ModelClock) -> Procedure:
        now = clock.now() + timedelta(seconds=1) + _offset(name)
        with suppress(StoreError, SchedulerUnavailable):
            document, _ = yield ReadDocuments()
            yield from end_suspension(NAMES, document, now=now, has_job=True)
            yield from watch_job(NAMES, [], now=now)

    return Script(name, body, "job operator")


def canceller(run_id: str) -> Script:
    """An operator who cancels a run, or with `REQUESTED` the requested one, and reports the response."""

    def body(clock: ModelClock) -> Procedure:
        with suppress(StoreError):
            target = run_id
            if run_id == REQUESTED:
                task, _ = yield ReadDocuments()
                if task.request is None:
                    return
                target = task.request.id
            outcome = yield from cancel(NAMES, target, by="p", reason="r", now=clock.now())
            yield CancelReport(target, outcome)

    return Script(f"cancel {run_id}", body, "operator")


def reader(name: str = "reader", reads: int = 1) -> Script:
    """An instance that reads cold first, then warm by checking the version of its cached result."""

    def body(_: ModelClock) -> Procedure:
        cached: TaskResult | None = None
        for number in range(reads):
            if number:
                yield StartNext()
            try:
                if cached is None or not (yield from is_current(cached.version)):
                    cached = yield from read_result(TASK)
            except ResultUnavailable:
                cached = None
            yield ReadReport(cached)

    return Script(name, body, "reader")


def legacy_writer(
    result: str, save_in: str = "db", may: tuple[str, ...] = ("complete",), after: tuple[str, ...] = ()
) -> Script:
    """A run of the legacy writer, which writes the document without preconditions.

    Args:
        result: The task's result, "o1" for the first; its number is the clock's offset in milliseconds.
        save_in: Where the result is stored; Storage means the contract's path.
        may: Possible actions of the task: complete or fail.
        after: Processes that must have ended before.
    """

    def body(clock: ModelClock) -> Procedure:
        offset = timedelta(milliseconds=int(result[1:]))
        began = clock.now() + offset
        status = {"source": "ts", "status": "running", "started": began, "timestamp": began, "error": ""}
        yield Commit([_set_document(status, merge=False)])
        ended: dict[str, Any] = {"status": "failed", "error": "E"}
        if (yield Choose(may)) == "complete":
            ended = {"status": "completed", "data": [result]}
            if save_in == "storage":
                yield Upload(contract_object(TASK), result, None)
                ended["data"] = f"https://{result}"
        now = clock.now() + offset
        yield Commit([_set_document({**ended, "completed": now, "timestamp": now}, merge=True)])

    return Script(f"legacy {result}", body, "legacy writer", after, save_in)


def _set_document(fields: dict[str, Any], *, merge: bool) -> Any:
    write = _write.Write.pb()()
    write.update.name = NAMES.status
    encode_fields(fields, write.update.fields)
    if merge:
        write.update_mask.field_paths.extend(fields)
    return write


def contract_reader(name: str = "contract reader") -> Script:
    """A reader that knows only the contract, on a new instance."""

    def body(_: ModelClock) -> Procedure:
        _, data = yield ReadResult()
        content = data[0] if isinstance(data, list) else NOTHING
        if isinstance(data, str) and data.startswith("http"):
            encoded = yield ReadContent(contract_object(TASK))
            content = orjson.loads(encoded)[0] if encoded else NOTHING
        yield ContractReadReport(content)

    return Script(name, body, "reader")
