"""Sends an attempt to its function, through the trigger address of the Functions emulator.

Every attempt has a thread of its own, so that a hanging function delays no other attempt. Never decides on
retries.
"""

import contextlib
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException, IncompleteRead
from socket import SHUT_RDWR
from typing import Protocol
from urllib.parse import quote, urlsplit

from emulators.scheduler.job import Job
from emulators.scheduler.schedule import zone_of

#: Codes of google.rpc for HTTP answers, as the service reports them; any other is UNKNOWN.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 500: 13, 501: 12, 503: 14, 504: 4}
OK, UNKNOWN, DEADLINE_EXCEEDED, UNAVAILABLE = 0, 2, 4, 14

_READ_AT_MOST = 64 * 1024  # bytes of an answer; enough for the list of valid triggers
_TIMES_MOVED = 3  # a reload may come between two tries to follow one


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery: the function's job, the tick it is for, and the how-manieth it is, from 1."""

    job: Job
    schedule_time: datetime
    number: int
    started: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: a code of google.rpc and what a person reads."""

    code: int
    message: str


class Dispatcher(Protocol):
    """Sends attempts; tests have their own."""

    def send(self, attempt: Attempt, done: Callable[[Outcome], None]) -> Callable[[], None]:
        """Starts the delivery and returns at once.

        Args:
            attempt: What to deliver.
            done: Called once, on any thread, with the outcome; also after the attempt was given up.

        Returns:
            A function that gives the attempt up.
        """


class HttpDispatcher:
    """Delivers to a Functions emulator.

    Args:
        functions_url: Its address, ``http://HOST:PORT``.

    Raises:
        ValueError: The address is not of that form.
    """

    def __init__(self, functions_url: str) -> None:
        parts = urlsplit(functions_url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{functions_url!r} is not of the form http://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port or 80
        self._url = functions_url.rstrip("/")
        self._generations: dict[str, int] = {}

    def uri(self, job: Job) -> str:
        """Where this job is delivered, as far as is known."""
        return self._url + self._path(job)

    def send(self, attempt: Attempt, done: Callable[[Outcome], None]) -> Callable[[], None]:
        """Starts the delivery on a thread of its own."""
        connection = HTTPConnection(
            self._host, self._port, timeout=attempt.job.attempt_deadline.total_seconds()
        )
        threading.Thread(
            target=lambda: done(self._deliver(connection, attempt)), name=attempt.job.id, daemon=True
        ).start()
        return lambda: _give_up(connection)

    def _deliver(self, connection: HTTPConnection, attempt: Attempt) -> Outcome:
        try:
            for _ in range(_TIMES_MOVED):
                path = self._path(attempt.job)
                status, body = self._post(connection, path, attempt)
                connection.close()  # a server may drop it without saying so
                if status == 404:
                    self._learn(attempt.job, body)
                if status != 404 or path == self._path(attempt.job):
                    break
        except TimeoutError:
            return Outcome(DEADLINE_EXCEEDED, "no answer within the attempt deadline")
        except (OSError, HTTPException, ValueError) as error:
            return Outcome(UNAVAILABLE, f"{type(error).__name__}: {error}")
        finally:
            connection.close()
        code = OK if 200 <= status < 300 else _CODES.get(status, UNKNOWN)
        return Outcome(code, f"HTTP {status}")

    def _post(self, connection: HTTPConnection, path: str, attempt: Attempt) -> tuple[int, str]:
        headers = {
            "User-Agent": "Google-Cloud-Scheduler",
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": attempt.job.id,
            **_schedule_time(attempt),
            "Content-Length": "0",
            "Connection": "close",
        }
        connection.request("POST", path, headers=headers)
        with connection.getresponse() as response:
            body = response.read(_READ_AT_MOST)
            if response.length and len(body) < _READ_AT_MOST:
                raise IncompleteRead(body, response.length)  # read with a limit does not notice
            return response.status, body.decode("utf-8", "replace")

    def _path(self, job: Job) -> str:
        trigger = f"{job.region}-{job.function}-{self._generations.get(job.id, 0)}"
        return f"/functions/projects/{quote(job.project)}/triggers/{quote(trigger)}"

    def _learn(self, job: Job, body: str) -> None:
        """Remembers the newest name of a trigger, from a 404 that lists all that a reload left."""
        names = body.partition("valid functions are:")[2]
        trigger = re.escape(f"{job.region}-{job.function}")
        if numbers := re.findall(rf"(?<![\w-]){trigger}-(\d+)(?![\w-])", names):
            self._generations[job.id] = max(map(int, numbers))


def _schedule_time(attempt: Attempt) -> dict[str, str]:
    """The header with the tick's time, as the service has been seen to send it.

    It is in the job's zone and has a fraction of a second, another one for a retry. The service documents
    it for unix-cron schedules only, so that the English forms get none.
    """
    if attempt.job.schedule.strip().lower().startswith("every"):
        return {}
    fraction = timedelta(microseconds=random.randrange(1, 1_000_000))  # noqa: S311 no secret
    moment = (
        attempt.schedule_time.replace(microsecond=0).astimezone(zone_of(attempt.job.time_zone)) + fraction
    )
    return {"X-CloudScheduler-ScheduleTime": moment.isoformat()}


def zulu(moment: datetime) -> str:
    """This moment as RFC 3339 in UTC, with a fraction only where it has one."""
    return moment.isoformat().replace("+00:00", "Z")


def _give_up(connection: HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):  # closed by now
            connection.sock.shutdown(SHUT_RDWR)  # wakes the thread that reads from it; close alone does not
