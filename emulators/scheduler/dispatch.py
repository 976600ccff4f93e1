"""Sends attempts to functions, at the Functions emulator's addresses of their triggers.

Each attempt has its own thread, so that a hanging function does not delay others. `engine` decides about
retries.
"""

import contextlib
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from socket import SHUT_RDWR
from typing import Protocol
from urllib.parse import quote, urlsplit

from emulators.scheduler.job import Job
from emulators.scheduler.schedule import zone_of

#: Codes of google.rpc by HTTP status, as the service reports them; others are UNKNOWN.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 500: 13, 501: 12, 503: 14, 504: 4}
OK, UNKNOWN, DEADLINE_EXCEEDED, UNAVAILABLE = 0, 2, 4, 14

_MAX_BODY_BYTES = 64 * 1024  # enough for the list of valid triggers
_LOOK_UP_SECONDS = 5  # timeout for asking for a trigger's name
_MAX_TRIES = 3  # code may be reloaded again before the next try


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery of a tick or of a forced run."""

    job: Job
    schedule_time: datetime
    #: Number of the attempt, from 1.
    number: int
    started: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: a code of google.rpc, and a message for people."""

    code: int
    message: str


class Dispatcher(Protocol):
    """Sends attempts. Tests use their own implementation."""

    def send(self, attempt: Attempt, done: Callable[[Outcome], None]) -> Callable[[], None]:
        """Start a delivery and return at once.

        Args:
            attempt: The attempt to deliver.
            done: Called once with the outcome, on any thread, also if the attempt was aborted.

        Returns:
            A function that aborts the attempt.
        """


class HttpDispatcher:
    """Delivers attempts to a Functions emulator.

    Args:
        functions_url: URL of the emulator, `http://HOST:PORT`.

    Raises:
        ValueError: The URL does not have this form.
    """

    def __init__(self, functions_url: str) -> None:
        parts = urlsplit(functions_url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"the URL must have the form http://HOST:PORT, got {functions_url!r}")
        self._host, self._port = parts.hostname, parts.port or 80
        self._url = functions_url.rstrip("/")
        self._generations: dict[str, int] = {}

    def uri(self, job: Job) -> str:
        """Return the URL of a job's function: the present one, or the last known if no function responds."""
        connection = HTTPConnection(self._host, self._port, timeout=_LOOK_UP_SECONDS)
        with contextlib.suppress(OSError, HTTPException, ValueError), contextlib.closing(connection):
            # The 404 response to an unknown trigger lists the present ones.
            connection.request("POST", f"{self._triggers(job)}/unknown", headers={"Content-Length": "0"})
            self._update_trigger(job, _read_body(connection.getresponse()))
        return self._url + self._path(job)

    def send(self, attempt: Attempt, done: Callable[[Outcome], None]) -> Callable[[], None]:
        """Start a delivery on its own thread."""
        connection = HTTPConnection(
            self._host, self._port, timeout=attempt.job.attempt_deadline.total_seconds()
        )
        threading.Thread(
            target=lambda: done(self._deliver(connection, attempt)), name=attempt.job.id, daemon=True
        ).start()
        return lambda: _abort(connection)

    def _deliver(self, connection: HTTPConnection, attempt: Attempt) -> Outcome:
        try:
            for _ in range(_MAX_TRIES):
                path = self._path(attempt.job)
                status, body = self._post(connection, path, attempt)
                connection.close()  # the server may have dropped it unnoticed
                if status == 404:
                    self._update_trigger(attempt.job, body)
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
        response = connection.getresponse()
        return response.status, _read_body(response)

    def _path(self, job: Job) -> str:
        trigger = f"{job.region}-{job.function}-{self._generations.get(job.id, 0)}"
        return f"{self._triggers(job)}/{quote(trigger)}"

    @staticmethod
    def _triggers(job: Job) -> str:
        return f"/functions/projects/{quote(job.project)}/triggers"

    def _update_trigger(self, job: Job, body: str) -> None:
        """Store a trigger's newest name, from a 404 response that lists the names after a reload."""
        names = body.partition("valid functions are:")[2]
        trigger = re.escape(f"{job.region}-{job.function}")
        if numbers := re.findall(rf"(?<![\w-]){trigger}-(\d+)(?![\w-])", names):
            self._generations[job.id] = max(map(int, numbers))


def _read_body(response: HTTPResponse) -> str:
    with response:
        body = response.read(_MAX_BODY_BYTES)
        if response.length and len(body) < _MAX_BODY_BYTES:
            # A read with a limit does not detect a truncated body.
            raise IncompleteRead(body, response.length)
        return body.decode("utf-8", "replace")


def _schedule_time(attempt: Attempt) -> dict[str, str]:
    """Return the header with the tick's time, as recordings of the service show it.

    The time is in the job's zone and has a fraction of a second, which differs between retries. The service
    documents the header only for unix-cron schedules, so the English forms have none.
    """
    if attempt.job.schedule.strip().lower().startswith("every"):
        return {}
    fraction = timedelta(microseconds=random.randrange(1, 1_000_000))  # noqa: S311 - not a secret
    moment = (
        attempt.schedule_time.replace(microsecond=0).astimezone(zone_of(attempt.job.time_zone)) + fraction
    )
    return {"X-CloudScheduler-ScheduleTime": moment.isoformat()}


def zulu(moment: datetime) -> str:
    """Return a UTC time in RFC 3339, with a fraction only if it has one."""
    return moment.isoformat().replace("+00:00", "Z")


def _abort(connection: HTTPConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):  # already closed
            connection.sock.shutdown(SHUT_RDWR)  # unlike close, wakes the thread that reads from it
