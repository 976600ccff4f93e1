"""The model's processes: deliveries, readers, watchdog, operator, each running the engine's own procedures.

And the original: its writer and its reader, as its published code has them.
"""

from collections.abc import Generator
from contextlib import suppress
from datetime import datetime, timedelta
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
from shared.tasks.documents.run_writes import AttemptIdentity
from shared.tasks.errors import RunCancelled, RunLost, SchedulerUnavailable, StoreError, TaskSuspended
from shared.tasks.failure import Failure
from shared.tasks.protocol.acquisition import acquire
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.cancellation import cancel
from shared.tasks.protocol.contract_copy import repair_contract_copy
from shared.tasks.protocol.decisions import Busy, Duplicate, EndState, Skip, Start
from shared.tasks.protocol.effects import Commit, ReadContent, ReadDocuments, ReadResult
from shared.tasks.protocol.job_sync import check_job
from shared.tasks.protocol.requested_runs import request_run
from shared.tasks.protocol.result_read import is_current, read_result
from shared.tasks.protocol.run_end import complete, fail
from shared.tasks.protocol.suspension import resume, suspend
from shared.tasks.protocol.watchdog import Findings, watch
from tests.model.requests import Again, Answer, CancelTold, Choose, Got, GotByContract, Remove, Upload
from tests.model.standing import EPOCH, STEP, ModelClock, Procedure, Script

TASK = TaskName.collect_charge_cdrs
NAMES = DocumentNames("d", TASK)
OPTIONS = ExecuteTaskOptions(lease_seconds=60)
#: The deadline of a legacy run.
DEADLINE = 2 * STEP
#: What a reader has where there is no result.
NOTHING = "[]"

#: What a person requests to run: tasks without a schedule can't be.
SCHEDULED = TaskSpec(TASK, schedule="0 0 * * *")
#: The schedule time of a forced run that is delivered with that of the tick to come.
NEXT_TICK = EPOCH + timedelta(days=1)
#: That of one that is delivered with the time of its request.
AT_REQUEST = EPOCH + timedelta(days=2)
#: That of a tick long before anything here.
OLD_TICK = EPOCH - timedelta(hours=1)
#: Prefix of the ids of forced runs that no operator requested.
OWN = "own"
#: Stands for the run that a person requested.
REQUESTED = "the requested run"

#: What a task does between its start and its end, in this order.
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
    """One delivery of a tick, answered as the engine answers it.

    Args:
        tick: the run.
        token: the attempt's fence, and with the tick its name.
        save_in: where its result goes.
        may: what its task may do: complete, fail; extend (the lease) or progress, before it does either.
        after: whose end it waits for.
        schedule_time: as `instance` has it.
    """
    return instance((tick, token), save_in=save_in, may=may, after=after, schedule_time=schedule_time)


def instance(
    *deliveries: tuple[str, str],
    save_in: str = "db",
    may: tuple[str, ...] = ("complete",),
    after: tuple[str, ...] = (),
    schedule_time: datetime | None = None,
) -> Script:
    """An instance that stays warm: later deliveries begin with the status document as the last one left it.

    With a schedule time, its deliveries may answer a request: a tick's, or, where the run's id begins
    with "own", one that a person forced. `AT_REQUEST` stands for the time of the current request.
    """

    def body(clock: ModelClock) -> Procedure:
        remembered, delivered = None, schedule_time
        if schedule_time == AT_REQUEST:
            task, _ = yield ReadDocuments()
            delivered = task.request.at if task.request else EPOCH
        for number, (tick, token) in enumerate(deliveries):
            if number:
                yield Again()
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
    """Deliveries of a forced run, to one instance: with the time of the next tick, or of the request."""
    runs = tuple((f"{OWN}-{token}", token) for token in tokens)
    return instance(*runs, may=may, after=after, schedule_time=schedule_time)


def requester(name: str, after: tuple[str, ...] = ()) -> Script:
    """A person who requests that the task runs now, and does not wait for it."""

    def body(clock: ModelClock) -> Procedure:
        theirs = _Apart(clock, _apart(name))
        with suppress(StoreError, TaskSuspended):
            yield from request_run(NAMES, SCHEDULED, theirs, by=name, reason="r", deadline=0)

    return Script(f"request by {name}", body, "operator", after)


class _Apart(ModelClock):
    """A clock that is a little ahead: no two requests are made in the same microsecond."""

    def __init__(self, clock: ModelClock, ahead: timedelta) -> None:
        self.clock, self.ahead = clock, ahead

    def now(self) -> datetime:
        return self.clock.now() + self.ahead


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
                with suppress(StoreError):  # as an execution does
                    yield from attempt.record_progress({"done": attempt.identity.token})
        if attempt.cancel is not None:  # as the task's next check raises
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


#: The contract's `data` of a result that is kept there; in the document, it is the result itself.
_DATA = {"storage": "https://signed", "none": NO_DATA, "db": None}


def watchdog(name: str = "watchdog") -> Script:
    """A pass of the watchdog over the task."""

    def body(clock: ModelClock) -> Procedure:
        with suppress(StoreError):
            yield from watch(NAMES, TaskSpec(TASK), Findings(), now=clock.now(), deadline=DEADLINE)

    return Script(name, body, "watchdog")


def operator(does: str) -> Script:
    """A person who suspends or resumes the task."""

    def body(clock: ModelClock) -> Procedure:
        change = suspend if does == "suspend" else resume
        with suppress(StoreError):
            yield from change(NAMES, by="p", reason="r", now=clock.now())

    return Script(does, body, "operator")


def steerer(name: str) -> Script:
    """A person who suspends or resumes the task, job and all; the name begins with what they do."""

    def body(clock: ModelClock) -> Procedure:
        change = suspend if name.startswith("suspend") else resume
        now = clock.now() + _apart(name)
        with suppress(StoreError, SchedulerUnavailable):
            yield from change(NAMES, by="p", reason="r", now=now, has_job=True)

    return Script(name, body, "steerer")


def _apart(name: str) -> timedelta:
    """No two calls begin in the same microsecond, which identifies a call, although steps are long."""
    return timedelta(microseconds=crc32(name.encode()) % 1_000_000)


def job_keeper(name: str = "job keeper") -> Script:
    """What a pass of the watchdog does about the task's job."""

    def body(clock: ModelClock) -> Procedure:
        with suppress(StoreError, SchedulerUnavailable):
            yield from check_job(NAMES, [], now=clock.now() + _apart(name))

    return Script(name, body, "steerer")


def canceller(run_id: str) -> Script:
    """A person who cancels a run (`REQUESTED`: the one that was requested), and tells what became of that."""

    def body(clock: ModelClock) -> Procedure:
        with suppress(StoreError):
            meant = run_id
            if run_id == REQUESTED:
                task, _ = yield ReadDocuments()
                if task.request is None:
                    return
                meant = task.request.id
            became = yield from cancel(NAMES, meant, by="p", reason="r", now=clock.now())
            yield CancelTold(meant, became)

    return Script(f"cancel {run_id}", body, "operator")


def reader(name: str = "reader", reads: int = 1) -> Script:
    """An instance that reads: cold first, then warm, asking for the version of what it has."""

    def body(_: ModelClock) -> Procedure:
        has: TaskResult | None = None
        for number in range(reads):
            if number:
                yield Again()
            try:
                if has is None or not (yield from is_current(has.version)):
                    has = yield from read_result(TASK)
            except ResultUnavailable:
                has = None
            yield Got(has)

    return Script(name, body, "reader")


def original(
    result: str, save_in: str = "db", may: tuple[str, ...] = ("complete",), after: tuple[str, ...] = ()
) -> Script:
    """A run of the legacy writer: it overwrites the document, and merges its end into it without a check.

    Args:
        result: what its task gives: "o1" for the first. Its clock tells milliseconds: no two are the same.
        save_in: where that goes: Storage means the contract's path.
        may: what its task may do: complete or fail.
        after: whose end it waits for.
    """

    def body(clock: ModelClock) -> Procedure:
        apart = timedelta(milliseconds=int(result[1:]))
        began = clock.now() + apart
        status = {"source": "ts", "status": "running", "started": began, "timestamp": began, "error": ""}
        yield Commit([_set_document(status, merge=False)])
        ended: dict[str, Any] = {"status": "failed", "error": "E"}
        if (yield Choose(may)) == "complete":
            ended = {"status": "completed", "data": [result]}
            if save_in == "storage":
                yield Upload(contract_object(TASK), result, None)
                ended["data"] = f"https://{result}"
        now = clock.now() + apart
        yield Commit([_set_document({**ended, "completed": now, "timestamp": now}, merge=True)])

    return Script(f"original {result}", body, "original", after, save_in)


def _set_document(fields: dict[str, Any], *, merge: bool) -> Any:
    write = _write.Write.pb()()
    write.update.name = NAMES.status
    encode_fields(fields, write.update.fields)
    if merge:
        write.update_mask.field_paths.extend(fields)
    return write


def contract_reader(name: str = "contract reader") -> Script:
    """A reader that knows only the contract, on an instance that has just begun."""

    def body(_: ModelClock) -> Procedure:
        _, data = yield ReadResult()
        content = data[0] if isinstance(data, list) else NOTHING
        if isinstance(data, str) and data.startswith("http"):
            encoded = yield ReadContent(contract_object(TASK))
            content = orjson.loads(encoded)[0] if encoded else NOTHING
        yield GotByContract(content)

    return Script(name, body, "reader")
