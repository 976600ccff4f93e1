"""The part of Cloud Scheduler's REST API v1 that reads, runs, pauses and resumes jobs.

It serves the official client libraries. Each request gets a JSON response, also if it is malformed.
"""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from emulators.scheduler.dispatch import zulu
from emulators.scheduler.engine import Entry, Scheduler
from emulators.scheduler.errors import RequestError
from emulators.scheduler.job import Job
from emulators.serving import Handler, Server

SUPPORTED = (
    "the local Cloud Scheduler serves GET /v1/projects/P/locations/L/jobs, GET …/jobs/JOB and "
    "POST …/jobs/JOB:run, :pause and :resume; to create, change or delete a job, edit its function"
)

_JOBS = re.compile(r"/v1/(projects/([^/]+)/locations/[^/]+)/jobs")
_JOB = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/jobs/[^/:]+)(?::(\w+))?")
_MAX_PAGE = 500
_MAX_BODY_BYTES = 1024 * 1024
_INTEGERS = {"ENABLED": 1, "PAUSED": 2, "POST": 1}  # numbers of the API's enums


class SchedulerServer(Server):
    """The REST API of a scheduler.

    Args:
        address: Host and port to listen on; port 0 selects a free one.
        scheduler: The scheduler of the jobs.
        project: Id of the only project.
        uri: Returns the URL of a job's function.

    Raises:
        OSError: The port is in use.
    """

    def __init__(
        self, address: tuple[str, int], scheduler: Scheduler, project: str, uri: Callable[[Job], str]
    ) -> None:
        super().__init__(address, _Handler)
        self.scheduler = scheduler
        self.project = project
        self.uri = uri

    def resource(self, entry: Entry) -> dict[str, Any]:
        """Return a job as the API shows it."""
        job, retry = entry.job, entry.job.retry
        resource: dict[str, Any] = {
            "name": job.name,
            "httpTarget": {
                "uri": self.uri(job),
                "httpMethod": "POST",
                "headers": {"User-Agent": "Google-Cloud-Scheduler"},
            },
            "schedule": job.schedule,
            "timeZone": job.time_zone,
            "userUpdateTime": zulu(entry.updated),
            "state": entry.state,
            "attemptDeadline": _seconds(job.attempt_deadline),
            "retryConfig": {
                "retryCount": retry.retry_count,
                "maxRetryDuration": _seconds(retry.max_retry_duration),
                "minBackoffDuration": _seconds(retry.min_backoff),
                "maxBackoffDuration": _seconds(retry.max_backoff),
                "maxDoublings": retry.max_doublings,
            },
        }
        if entry.next_time:
            resource["scheduleTime"] = zulu(entry.next_time)
        if entry.last_attempt:
            resource["lastAttemptTime"] = zulu(entry.last_attempt)
        if entry.outcome:
            failed = {"code": entry.outcome.code, "message": entry.outcome.message}
            resource["status"] = failed if entry.outcome.code else {}
        return resource


class _Handler(Handler):
    server: SchedulerServer

    def _answer(self) -> None:
        try:
            self._take_body()
            path, _, parameters = self.path.partition("?")
            query = {key: values[-1] for key, values in parse_qs(parameters).items()}
            content = self._route(unquote(path), query)
            status = HTTPStatus.OK
            if "enum-encoding=int" in query.get("$alt", ""):
                content = _with_integers(content)
        except RequestError as error:
            status = HTTPStatus(error.http_status)
            content = _error(status, error.status, str(error))
        except Exception as error:  # noqa: BLE001 - a bug must not stop the schedules
            status, self.close_connection = HTTPStatus.INTERNAL_SERVER_ERROR, True
            content = _error(status, "INTERNAL", f"{type(error).__name__}: {error}")
        self._send(status, content)

    def __getattr__(self, name: str) -> Any:
        """Handle each HTTP method that the standard library looks up, so that errors have Google's form."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _route(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        scheduler = self.server.scheduler
        if self.command == "GET" and (listed := _JOBS.fullmatch(path)):
            if listed[2] != self.server.project:
                raise RequestError(
                    403, "PERMISSION_DENIED", f"only the project {self.server.project} exists here"
                )
            return self._page(f"{listed[1]}/jobs/", query)
        named = _JOB.fullmatch(path)
        if named and self.command == "GET" and not named[2]:
            return self.server.resource(scheduler.get(named[1]))
        verbs = {"run": scheduler.run, "pause": scheduler.pause, "resume": scheduler.resume}
        if named and self.command == "POST" and named[2] in verbs:
            return self.server.resource(verbs[named[2]](named[1]))
        if named or _JOBS.fullmatch(path):
            raise RequestError(501, "UNIMPLEMENTED", f"{self.command} {path}: {SUPPORTED}")
        raise RequestError(404, "NOT_FOUND", f"{self.command} {path}: {SUPPORTED}")

    def _page(self, prefix: str, query: dict[str, str]) -> dict[str, Any]:
        size, after = query.get("pageSize", "0"), query.get("pageToken", "")
        if not re.fullmatch(r"[0-9]{1,9}", size):
            raise RequestError(400, "INVALID_ARGUMENT", "pageSize must be a number of at least 0")
        if after and not after.startswith(prefix):
            raise RequestError(400, "INVALID_ARGUMENT", "pageToken must be a nextPageToken of the same list")
        entries = [entry for entry in self.server.scheduler.jobs() if entry.job.name.startswith(prefix)]
        entries = [entry for entry in entries if entry.job.name > after]
        length = min(int(size) or _MAX_PAGE, _MAX_PAGE)
        page: dict[str, Any] = {}
        if entries:
            page["jobs"] = [self.server.resource(entry) for entry in entries[:length]]
        if len(entries) > length:
            page["nextPageToken"] = entries[length - 1].job.name
        return page

    def _take_body(self) -> None:
        """Read the body, so that the next request on this connection starts after it."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch(r"[0-9]{1,15}", length):
            self.close_connection = True
            raise RequestError(400, "INVALID_ARGUMENT", "the body must have a Content-Length")
        if int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            raise RequestError(413, "INVALID_ARGUMENT", f"the body must have at most {_MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(length))
        try:
            valid = not body.strip() or isinstance(json.loads(body), dict)
        except (ValueError, RecursionError):
            valid = False
        if not valid:
            raise RequestError(400, "INVALID_ARGUMENT", "the body must be empty or a JSON object")

    def _send(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content, indent=2).encode() + b"\n"
        self.send(status, body, "application/json; charset=UTF-8")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that the standard library cannot parse, in Google's form."""
        self.close_connection = True
        self._send(
            HTTPStatus(code), _error(HTTPStatus(code), "INVALID_ARGUMENT", message or explain or SUPPORTED)
        )


def _error(code: HTTPStatus, status: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code.value, "message": message, "status": status}}


def _seconds(duration: timedelta) -> str:
    return f"{duration // timedelta(seconds=1)}s"


def _with_integers(content: Any) -> Any:
    """Return the content with enums as numbers, which the official client requests."""
    if isinstance(content, list):
        return [_with_integers(item) for item in content]
    if not isinstance(content, dict):
        return content
    return {
        key: _INTEGERS[value] if key in {"state", "httpMethod"} else _with_integers(value)
        for key, value in content.items()
    }
