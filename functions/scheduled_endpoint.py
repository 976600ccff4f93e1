"""One delivery of Cloud Scheduler: a request in, a run of the task, an answer out.

The answer is what makes Cloud Scheduler's retries work: 2xx only where the tick is dealt with
for good. It says no more than that; the log has the detail.
"""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from firebase_functions.options import Timezone
from firebase_functions.scheduler_fn import ScheduledEvent, on_schedule
from flask import Request, Response, g
from msgspec import Struct

from functions import instance
from shared import logger
from shared.tasks import ExecuteTaskOptions, TaskSpec, execute_task, register
from shared.tasks.cron import tick_at, unix_cron
from shared.tasks.specs import LONGEST_TIMEOUT_SECONDS, MIN_BACKOFF_SECONDS, RETRY_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between a task's deadline and its function's time-out, to record how the run ended.
TIMEOUT_MARGIN_SECONDS = 60

#: The SDK types its decorators by what they take, not by what they return.
_on_schedule: Any = on_schedule

#: How far ahead of this instance's clock a delivered tick may be.
EARLIEST = timedelta(seconds=5)

#: What Cloud Scheduler is told. It retries on anything but 2xx.
_ANSWERS = {"completed": 200, "cancelled": 200, "duplicate": 200, "skipped": 200, "busy": 503}

_TRACE = re.compile(r"(?:00-)?([0-9a-f]{32})\b")


class Delivery(Struct, frozen=True):
    """One delivery of Cloud Scheduler.

    Attributes:
        source: the job's name; "manual" where none is told.
        tick: the tick that is delivered, UTC; None for a run of its own.
        schedule_time: the time that Cloud Scheduler delivered, UTC; that of its arrival if it named none.
    """

    source: str
    tick: datetime | None
    schedule_time: datetime


def scheduled_task(
    spec: TaskSpec, **options: Any
) -> Callable[[Callable[..., Any]], Callable[[Request], Response]]:
    """Make a task the scheduled function of its name.

    Args:
        spec: what is decided for the task; registered here.
        options: Further options of `on_schedule`, such as `memory` (MB) and `secrets`; see docs/api.md.

    Returns:
        A decorator for the task, `def` or `async def`, taking its `TaskRun` or nothing.

    Raises:
        ValueError: the function is not named as its task, has no schedule, or its deadline is
            longer than Cloud Scheduler waits.
    """
    register(spec)
    timeout = int(spec.deadline_seconds) + TIMEOUT_MARGIN_SECONDS
    schedule = spec.schedule
    if schedule is None:
        raise ValueError(f"{spec.name.value} has no schedule: give its TaskSpec one")
    if timeout > LONGEST_TIMEOUT_SECONDS:
        longest = LONGEST_TIMEOUT_SECONDS - TIMEOUT_MARGIN_SECONDS
        raise ValueError(f"{spec.name.value}: a deadline is at most {longest} s for Cloud Scheduler")

    def decorate(task: Callable[..., Any]) -> Callable[[Request], Response]:
        if task.__name__ != spec.name.value:
            raise ValueError(f"name the function {spec.name.value}, as its task, not {task.__name__}")

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
                ),
            )
            return _ANSWERS.get(outcome.status, 500)

        make = scheduled_function(
            schedule=schedule, time_zone=spec.time_zone, timeout_seconds=timeout, **options
        )
        return make(run)

    return decorate


def scheduled_function(
    *, schedule: str, time_zone: str, timeout_seconds: int, **options: Any
) -> Callable[[Callable[[Delivery], int]], Callable[[Request], Response]]:
    """Make a scheduled function of what is to be done for a delivery.

    Only a POST is one: the Functions emulator asks each new process for its health with a GET,
    which functions-framework hands to the function like any other request.

    Args:
        schedule: unix-cron.
        time_zone: IANA name of the schedule's zone.
        timeout_seconds: after which the platform ends the function.
        options: further options of `on_schedule`.

    Returns:
        A decorator for what is to be done: it returns the HTTP status, and names the function.

    Raises:
        ValueError: the schedule is not unix-cron; the text says what to use instead.
    """
    unix_cron(schedule)

    def decorate(handle: Callable[[Delivery], int]) -> Callable[[Request], Response]:
        @_on_schedule(
            schedule=schedule,
            timezone=Timezone(time_zone),
            timeout_sec=timeout_seconds,
            retry_count=RETRY_COUNT,
            min_backoff_seconds=MIN_BACKOFF_SECONDS,
            **options,
        )  # type: ignore[untyped-decorator]
        @functools.wraps(handle)
        def on_tick(event: ScheduledEvent) -> None:
            # on_schedule passes its handler only the event and drops what it returns: `g` carries both.
            g.status = handle(Delivery(event.job_name or "manual", g.tick, g.schedule_time))

        @functools.wraps(on_tick)  # discovery reads the attributes that on_schedule set
        def on_request(request: Request) -> Response:
            if request.method != "POST":
                return Response(status=204)
            _take_trace(request)
            g.schedule_time = _schedule_time(request)
            g.tick = _tick(g.schedule_time, schedule, time_zone)
            g.schedule_time = g.schedule_time or datetime.now(UTC)
            instance.delivery_began()
            try:
                on_tick(request)
            except BaseException as error:  # noqa: BLE001  (a task's SystemExit must not end the server)
                logger.error("delivery failed", error=repr(error))
            # on_schedule answers an exception with its text; it is in the log, and stays there.
            status: int = g.get("status", 500)
            text = "ok" if status < 300 else "not completed; see the log"
            return instance.answered(Response(text, status, mimetype="text/plain"))

        return on_request

    return decorate


def _schedule_time(request: Request) -> datetime | None:
    """Return the schedule time of a delivery, UTC; None if it names none that can be understood."""
    said = request.headers.get("X-CloudScheduler-ScheduleTime")
    if not said:
        return None
    with suppress(ValueError, OverflowError):  # no time at all, or one that UTC has no year for
        moment = datetime.fromisoformat(said)
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
    logger.warning("schedule time not understood", schedule_time=said[:60])
    return None


def _tick(moment: datetime | None, schedule: str, time_zone: str) -> datetime | None:
    """Return the tick that a schedule time names, in UTC; None if the run is one of its own.

    Cloud Scheduler sends schedule times with a fraction of a second, and a retry may have another one:
    a tick is identified by its minute. A job that a person runs is delivered with the time of the tick
    to come, as recordings of the service show. It is not that tick, which must still run. Whether it is
    a run that a person requested is decided later (`shared.tasks.protocol.decisions.answers_request`).
    """
    tick = None
    if moment is None:
        return None
    with suppress(ValueError, OverflowError):  # a moment at the end of the years that a zone has
        tick = tick_at(schedule, time_zone, moment)
    if tick is None:
        logger.warning(  # the run has an id of its own, so duplicates of this delivery are not detected
            "delivery outside its schedule",
            schedule_time=moment,
            schedule=schedule,
            time_zone=time_zone,
        )
    elif tick > datetime.now(UTC) + EARLIEST:
        logger.info("delivery before its tick", tick=tick)
        tick = None
    return tick


def _take_trace(request: Request) -> None:
    """Join this request's log entries to its trace; runs and their threads inherit it."""
    said = request.headers.get("traceparent") or request.headers.get("X-Cloud-Trace-Context") or ""
    found = _TRACE.match(said)
    logger.trace.set(found.group(1) if found else "")
