"""Turns a delivery into a run of its task, or a leg of one, and the outcome into an HTTP status.

Cloud Scheduler delivers ticks, and Cloud Tasks the further legs of long runs. The status decides whether they
retry: it is 2xx only if the tick or the leg needs no further delivery.
The response contains nothing else; the log has the details.
"""

from __future__ import annotations

import functools
import re
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from firebase_functions.options import Timezone
from firebase_functions.scheduler_fn import on_schedule
from flask import Request, Response
from msgspec import Meta, Struct

from functions import instance
from functions.declarations import check_options, check_parameters
from shared import logger
from shared.tasks import ExecuteTaskOptions, TaskName, TaskSpec, execute_task, register
from shared.tasks.cron import MAX_TICK_LEAD, tick_at, unix_cron
from shared.tasks.options import Continuation
from shared.tasks.specs import MIN_BACKOFF_SECONDS, RETRY_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

#: HTTP status by the outcome of a run; 500 for all others. Cloud Scheduler and Cloud Tasks retry on anything
#: but 2xx.
HTTP_STATUSES = {
    "completed": 200,
    "waiting": 200,
    "cancelled": 200,
    "duplicate": 200,
    "skipped": 200,
    "busy": 503,
}
#: Largest body of a continuation, in bytes.
MAX_BODY_BYTES = 2_000
#: Run ids are times, random hexadecimal numbers, and `request-` with a time.
RUN_ID = r"\A[A-Za-z0-9][A-Za-z0-9.:-]*\Z"

#: The SDK types its decorators by their arguments only, not by their result.
_on_schedule: Any = on_schedule

#: What to do instead of options that a task's spec or this module sets.
_FIXES = {
    "schedule": "set `schedule` in the TaskSpec",
    "timezone": "set `time_zone` in the TaskSpec",
    "time_zone": "set `time_zone` in the TaskSpec",
    "timeout_sec": "set `deadline_seconds` in the TaskSpec",
    "timeout_seconds": "set `deadline_seconds` in the TaskSpec",
    "retry_count": "it is set by scheduled_task",
    "min_backoff_seconds": "it is set by scheduled_task",
}
_FUNCTION_FIXES = {
    "timezone": "pass `time_zone`",
    "timeout_sec": "pass `timeout_seconds`",
    "retry_count": "it is set by scheduled_function",
    "min_backoff_seconds": "it is set by scheduled_function",
}

_TRACE = re.compile(r"(?:00-)?([0-9a-f]{32})\b")


class ContinuationBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a delivery by Cloud Tasks, which `shared.tasks.backends.leg_queue` creates.

    Attributes:
        task_name: The task.
        run_id: The run to continue.
        leg: Number of the leg.
    """

    task_name: TaskName
    run_id: Annotated[str, Meta(max_length=200, pattern=RUN_ID)]
    leg: Annotated[int, Meta(ge=1, le=1_000_000)]


class Delivery(Struct, frozen=True):
    """One delivery of Cloud Scheduler or Cloud Tasks.

    Attributes:
        source: Name of the job, from the header `X-CloudScheduler-JobName`; "manual" if there is none.
        tick: The tick that is delivered, UTC; None if the delivery is not of a tick.
        schedule_time: The header `X-CloudScheduler-ScheduleTime`, UTC; the time of arrival if it is missing
            or malformed; None for a continuation.
        continuation: The leg of a long run that Cloud Tasks delivers; None for a delivery of Cloud Scheduler.
    """

    source: str
    tick: datetime | None
    schedule_time: datetime | None
    continuation: Continuation | None = None


def scheduled_task(
    spec: TaskSpec, **options: Any
) -> Callable[[Callable[..., Any]], Callable[[Request], Response]]:
    """Define the scheduled function that runs a task, under the task's name.

    Args:
        spec: The task's schedule, deadline and storage. It is registered here.
        options: Further options of `on_schedule`, such as `memory` (MB) and `secrets`; see docs/api.md.

    Returns:
        A decorator for the task, a `def` or `async def` function with one parameter, a `TaskRun`, or none.

    Raises:
        ValueError: The spec has no schedule, an option is invalid, or the function has another name than the
            task or too many parameters.
    """
    check_options(spec.name.value, options, _FIXES)
    register(spec)
    schedule = spec.schedule
    if schedule is None:
        raise ValueError(f"{spec.name.value} has no schedule; set `schedule` in its TaskSpec")

    def decorate(task: Callable[..., Any]) -> Callable[[Request], Response]:
        if task.__name__ != spec.name.value:
            raise ValueError(
                f"the function of task {spec.name.value} is named {task.__name__}; give it the task's name"
            )
        check_parameters(task, spec.name.value, (1, 0), "one parameter, a TaskRun, or none")

        @functools.wraps(task)
        def run(delivery: Delivery) -> int:
            outcome = execute_task(
                delivery.source,
                spec.name,
                task,
                ExecuteTaskOptions(
                    save_in=spec.save_in,
                    scheduled_for=delivery.tick,
                    schedule_time=delivery.schedule_time,
                    deadline_seconds=spec.deadline_seconds,
                    leg_seconds=spec.leg_seconds,
                    continuation=delivery.continuation,
                ),
            )
            return HTTP_STATUSES.get(outcome.status, 500)

        make = scheduled_function(
            schedule=schedule,
            time_zone=spec.time_zone,
            timeout_seconds=spec.timeout_seconds,
            **options,
        )
        return make(run)

    return decorate


def scheduled_function(
    *, schedule: str, time_zone: str, timeout_seconds: int, **options: Any
) -> Callable[[Callable[[Delivery], int]], Callable[[Request], Response]]:
    """Define a scheduled function from a handler of deliveries.

    Requests other than POST are not deliveries. The Functions emulator, for example, checks the health of
    each new process with a GET.

    Args:
        schedule: Schedule in unix-cron format.
        time_zone: IANA name of the schedule's time zone.
        timeout_seconds: Seconds after which the platform ends an invocation.
        options: Further options of `on_schedule`.

    Returns:
        A decorator for the handler, which returns an HTTP status. The function gets the handler's name.

    Raises:
        ValueError: The schedule is not in unix-cron format, or an option is invalid.
    """
    unix_cron(schedule)

    def decorate(handle: Callable[[Delivery], int]) -> Callable[[Request], Response]:
        check_options(handle.__name__, options, _FUNCTION_FIXES)
        # on_schedule only describes the function for discovery. The function that it makes is not called: it
        # keeps the request from the handler, drops the returned status, and responds with texts of errors.
        described = _on_schedule(
            schedule=schedule,
            timezone=Timezone(time_zone),
            timeout_sec=timeout_seconds,
            retry_count=RETRY_COUNT,
            min_backoff_seconds=MIN_BACKOFF_SECONDS,
            **options,
        )(handle)

        @functools.wraps(described)  # Discovery reads the attributes that on_schedule has set.
        def on_request(request: Request) -> Response:
            if request.method != "POST":
                return Response(status=204)
            _join_trace(request)
            try:
                delivery = _delivery(request, described.__name__, schedule, time_zone)
            except ValueError as error:
                logger.warning("delivery refused", function=described.__name__, error=error)
                return Response("not a delivery; see the log", 400, mimetype="text/plain")
            instance.count_delivery()
            try:
                status = handle(delivery)
            except BaseException as error:  # noqa: BLE001  (a task's SystemExit must not end the server)
                logger.error("delivery failed", error=repr(error), traceback=traceback.format_exc())
                status = 500
            text = "ok" if status < 300 else "not completed; see the log"
            return instance.end_after(Response(text, status, mimetype="text/plain"))

        return on_request

    return decorate


def _delivery(request: Request, name: str, schedule: str, time_zone: str) -> Delivery:
    """Return what a request delivers.

    Raises:
        ValueError: It is a malformed delivery of Cloud Tasks.
    """
    if "X-CloudTasks-QueueName" in request.headers:
        continuation = _continuation(request, name)
        return Delivery("cloud tasks", tick=None, schedule_time=None, continuation=continuation)
    if _is_continuation(request):
        raise ValueError("a continuation must be delivered by Cloud Tasks; its header is missing")
    schedule_time = _schedule_time(request)
    return Delivery(
        source=request.headers.get("X-CloudScheduler-JobName") or "manual",
        tick=None if schedule_time is None else _tick(schedule_time, schedule, time_zone),
        schedule_time=schedule_time or datetime.now(UTC),
    )


def _continuation(request: Request, name: str) -> Continuation:
    """Return the leg that Cloud Tasks delivers. Raises ValueError if the request delivers none."""
    for header in ("Content-Encoding", "Transfer-Encoding"):  # `leg_queue` uses neither
        if header in request.headers:
            raise ValueError(f"the body of the Cloud Task has the {header} {request.headers[header][:60]!r}")
    length = request.content_length or 0
    if not 0 < length <= MAX_BODY_BYTES:
        raise ValueError(f"the body of the Cloud Task must have 1 to {MAX_BODY_BYTES} bytes, got {length}")
    try:
        body = msgspec.json.decode(request.stream.read(length), type=ContinuationBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the body of the Cloud Task is not a continuation: {error}") from None
    if body.task_name.value != name:
        raise ValueError(f"the Cloud Task continues a run of {body.task_name.value}, not of {name}")
    return Continuation(body.run_id, body.leg)


def _is_continuation(request: Request) -> bool:
    """Return whether the body is that of a Cloud Task, which must start no run of its own."""
    length = request.content_length or 0
    if not 0 < length <= MAX_BODY_BYTES:
        return False
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        msgspec.json.decode(request.get_data(), type=ContinuationBody)
        return True
    return False


def _schedule_time(request: Request) -> datetime | None:
    """Return the schedule time of a delivery, UTC; None if it is missing or malformed."""
    header = request.headers.get("X-CloudScheduler-ScheduleTime")
    if not header:
        return None
    with suppress(ValueError, OverflowError):  # not a time, or one outside the years of UTC
        moment = datetime.fromisoformat(header)
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
    logger.warning("schedule time not understood", schedule_time=header[:60])
    return None


def _tick(schedule_time: datetime, schedule: str, time_zone: str) -> datetime | None:
    """Return the tick of a schedule time, UTC; None if it has none.

    Cloud Scheduler sends schedule times with a fraction of a second, which may differ in a retry, so a tick
    is identified by its minute. A job that a person runs is delivered with the time of the next tick, as
    recordings of the service show. It is not that tick, which must still run. Whether it is a run that a
    person requested is decided later (`shared.tasks.protocol.request_decision.answers_request`).
    """
    tick = None
    with suppress(ValueError, OverflowError):  # outside the years that a time zone covers
        tick = tick_at(schedule, time_zone, schedule_time)
    if tick is None:
        # The run gets a random id, so duplicates of this delivery are not detected.
        logger.warning(
            "delivery outside its schedule",
            schedule_time=schedule_time,
            schedule=schedule,
            time_zone=time_zone,
        )
    elif tick > datetime.now(UTC) + MAX_TICK_LEAD:
        logger.info("delivery before its tick", tick=tick)
        tick = None
    return tick


def _join_trace(request: Request) -> None:
    """Set the trace of this request's log entries; runs and their threads inherit it."""
    header = request.headers.get("traceparent") or request.headers.get("X-Cloud-Trace-Context") or ""
    found = _TRACE.match(header)
    logger.trace.set(found.group(1) if found else "")
