"""The common code of callables: the protocol, its limits, and the translation of errors.

Only this module translates errors of the engine to `HttpsError`. Clients see the text, so it contains what to
do, and no paths, traces, data of other people or names of tasks.
"""

from __future__ import annotations

import functools
import logging
import math
import os
from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError, on_call
from firebase_functions.options import CorsOptions
from flask import Request, Response, jsonify

from functions.cors import Origins
from functions.declarations import check_options, check_parameters
from functions.rate_limit import RateLimit
from functions.requests import MAX_SHOWN
from functions.responses import Answer, put_into
from shared import firebase, logger, settings, tasks
from shared.tasks import (
    InvalidOptions,
    JobMissing,
    NotScheduled,
    ResultTooLarge,
    ResultUnavailable,
    SchedulerUnavailable,
    StoreUnavailable,
    TaskError,
    TaskSuspended,
    UnknownTask,
)

if TYPE_CHECKING:
    from collections.abc import Callable

#: The SDK types its decorators by their arguments only, not by their result.
_on_call: Any = on_call

#: Concurrent requests per instance, Cloud Run's own default. A read mostly waits, for the network or for the
#: thread that fetches, so many threads cost little. With fewer threads than concurrent requests, reads of
#: cached results would wait behind fetches.
CONCURRENCY = 80
#: Instances per callable, which limit the costs of too many calls. `docs/scale.md` shows how many reads they
#: serve. A region's quota allows ten times as many.
MAX_INSTANCES = 100
#: Cores of an instance. With the SDK's default, a part of a core, Cloud Run sends one request at a time.
CPU = 1
#: Seconds for which the URL of a result that is too large for a response is valid. URLs that IAM signs are
#: guaranteed for 12 hours.
URL_SECONDS = 15 * 60
#: Key in the WSGI environ for a response's body, on its way from the function to `on_request`. The SDK leaves
#: no other way: `on_call` passes a function only its request, and encodes the returned value as JSON.
_BODY = "nx.body"
#: Bytes of a request, which contains only a few names and flags.
MAX_REQUEST_BYTES = 64 * 1024
#: Nested levels of a request. Python's own limit depends on the call stack, so that a request could be
#: decoded here and fail in on_call.
MAX_REQUEST_DEPTH = 32

#: What to do instead of options that `callable_function` sets.
_FIXES = {
    "cors": "set NX_TASKS_CORS_ORIGINS",
    "enforce_app_check": "set NX_TASKS_APP_CHECK",
}

#: The message that `on_call` logs for each accepted call.
_CALL_ACCEPTED = "Callable request verification passed: %s"


def _is_logged(record: logging.LogRecord) -> bool:
    """Drop the message for accepted calls: one line per read is of little use, and logs cost money."""
    return record.msg != _CALL_ACCEPTED


logging.getLogger().addFilter(_is_logged)


def callable_function(
    *,
    concurrency: int = CONCURRENCY,
    cpu: int = CPU,
    max_instances: int = MAX_INSTANCES,
    **options: Any,
) -> Callable[[Callable[[CallableRequest[Any]], Any]], Callable[[Request], Response]]:
    """Define a callable of the Firebase client SDK from a function.

    `on_call` checks tokens and implements the protocol. This adds CORS for the configured origins, a rate
    limit per user, invalid-argument for malformed requests, and the translation of the engine's errors.

    Args:
        concurrency: Concurrent requests per instance, and its number of threads.
        cpu: Cores of an instance; concurrent requests need at least 1.
        max_instances: Maximum number of instances.
        options: Further options of `on_call`, such as `memory` (MB).

    Returns:
        A decorator for a function that gets the request, and returns JSON values or an `Answer`.

    Raises:
        SettingInvalid: A setting is invalid. This also ends a deployment, which imports main.py.
        ValueError: An option is invalid, or the function does not have one parameter.
    """
    origins = Origins(settings.cors_origins())
    per_minute = settings.calls_per_minute()
    limit = RateLimit(per_minute) if per_minute else None

    def decorate(function: Callable[[CallableRequest[Any]], Any]) -> Callable[[Request], Response]:
        name = function.__name__
        check_options(name, {"cpu": cpu, **options}, _FIXES)
        check_parameters(function, name, (1,), "one parameter, the request")
        _set_threads(name, concurrency)

        @_on_call(
            enforce_app_check=settings.app_check(),
            cors=CorsOptions(cors_origins=[]),  # The default allows all origins.
            concurrency=concurrency,
            cpu=cpu,
            max_instances=max_instances,
            **options,
        )  # type: ignore[untyped-decorator]
        @functools.wraps(function)
        def called(request: CallableRequest[Any]) -> Any:
            _check_limit(limit, request)
            return _call(function, request)

        @functools.wraps(called)  # Discovery reads the attributes that on_call has set.
        def on_request(request: Request) -> Response:
            response = _respond(called, request)
            response.headers.add("Cache-Control", "private, no-store")
            response.headers.add("Vary", "Accept-Encoding, Origin")
            origins.add_headers(request, response)
            return response

        return on_request

    return decorate


def _set_threads(name: str, concurrency: int) -> None:
    """Set the number of gunicorn's threads if this process serves this function.

    functions-framework reads THREADS after it has imported main.py; its default is 4 per core. A deployment
    cannot set variables for a single function.
    """
    if os.environ.get("FUNCTION_TARGET") == name:
        os.environ.setdefault("THREADS", str(concurrency))


def _respond(called: Callable[[Request], Response], request: Request) -> Response:
    if request.method == "OPTIONS":
        return Response(status=204)
    problem = _problem_of(request)
    if problem is not None:
        return _error_response(400, "INVALID_ARGUMENT", problem)
    try:
        firebase.app()  # The token check of on_call needs it.
    except Exception as error:  # noqa: BLE001  (only the log shows faults of a deployment)
        logger.error("callable not ready", function=called.__name__, error=error)
        return _error_response(500, "INTERNAL", "INTERNAL")
    response = called(request)
    body = request.environ.pop(_BODY, None)
    if body is not None:
        pieces, compressed = body
        put_into(response, pieces, compressed=compressed)
    return response


def _pass_body(result: Any, request: CallableRequest[Any]) -> Any:
    """Return a result for `on_call` to encode, or put the body of an `Answer` into the environ."""
    if not isinstance(result, Answer):
        return result
    request.raw_request.environ[_BODY] = result.body(request.raw_request)
    return None


def _error_response(http_status: int, status: str, message: str) -> Response:
    response = jsonify(error={"status": status, "message": message})
    response.status_code = http_status
    return response


def _check_limit(limit: RateLimit | None, request: CallableRequest[Any]) -> None:
    """Count a call of a signed-in user. The function itself denies other callers."""
    if limit is None or request.auth is None:
        return
    wait_seconds = math.ceil(limit.take(request.auth.uid or ""))
    if wait_seconds:
        raise HttpsError(
            FunctionsErrorCode.RESOURCE_EXHAUSTED,
            f"more than {limit.per_minute} calls in a minute; call again in {wait_seconds} s",
            {"retry_after_seconds": wait_seconds},
        )


def _call(function: Callable[[CallableRequest[Any]], Any], request: CallableRequest[Any]) -> Any:
    try:
        return _pass_body(function(request), request)
    except HttpsError:
        raise
    except UnknownTask as error:
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, "unknown task_name") from error
    except ResultTooLarge as error:
        raise too_large_error(error) from error
    except InvalidOptions as error:  # The text is written for the caller.
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, str(error)) from error
    except (TaskSuspended, NotScheduled, JobMissing) as error:
        raise HttpsError(FunctionsErrorCode.FAILED_PRECONDITION, str(error)) from error
    except SchedulerUnavailable as error:
        logger.error("scheduler unavailable", function=function.__name__, error=error)
        raise HttpsError(
            FunctionsErrorCode.UNAVAILABLE,
            "Cloud Scheduler did not answer, and the change may be incomplete; call again to complete it",
        ) from error
    except StoreUnavailable as error:
        logger.error("firestore unavailable", function=function.__name__, error=error, cause=error.__cause__)
        raise HttpsError(FunctionsErrorCode.UNAVAILABLE, "Firestore did not answer; try again") from error
    except ResultUnavailable as error:
        logger.error("result unavailable", function=function.__name__, error=error, cause=error.__cause__)
        raise HttpsError(
            FunctionsErrorCode.UNAVAILABLE, "the result cannot be read now; try again later"
        ) from error
    except Exception as error:
        logger.error("callable failed", function=function.__name__, error=repr(error))
        raise HttpsError(
            FunctionsErrorCode.INTERNAL, "The call failed. The log contains the reason."
        ) from error


def too_large_error(error: ResultTooLarge) -> HttpsError:
    """Return the error for a result that no response can hold, with the URL of its object if there is one."""
    problem = "the result is larger than a response may be"
    if error.path is None:
        return HttpsError(FunctionsErrorCode.RESOURCE_EXHAUSTED, f"{problem}; send Accept-Encoding: gzip")
    try:
        url = tasks.sign_result_url(error.path, expires_in_seconds=URL_SECONDS)
    except TaskError as unsigned:
        logger.error("no URL for a large result", error=unsigned, cause=unsigned.__cause__)
        return HttpsError(FunctionsErrorCode.UNAVAILABLE, f"{problem} and has no URL now; try again later")
    details = {"url": url, "expires_in_seconds": URL_SECONDS}
    return HttpsError(FunctionsErrorCode.RESOURCE_EXHAUSTED, f"{problem}; read it from details.url", details)


def _problem_of(request: Request) -> str | None:
    """Describe the fault of a request that on_call would answer with INTERNAL; None if it is valid."""
    if request.method != "POST":
        return f"the method must be POST, got {request.method[:MAX_SHOWN]}"
    if _drain_if_too_large(request):
        return f"the request must have at most {MAX_REQUEST_BYTES} bytes, got more"
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:  # Not a ValueError, but also the caller's mistake.
        body = None
    if not isinstance(body, dict) or body.keys() != {"data"}:
        return 'the body must be a JSON object with the field "data" and no other'
    if _may_be_deep(request) and _is_deeper(body, MAX_REQUEST_DEPTH):
        return f"the request must have at most {MAX_REQUEST_DEPTH} levels of lists and objects, got more"
    return None


def _may_be_deep(request: Request) -> bool:
    """Return whether a body has enough brackets to be too deep. Counting is faster than traversing."""
    body = request.get_data()
    return body.count(b"{") + body.count(b"[") > MAX_REQUEST_DEPTH


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _drain_if_too_large(request: Request) -> bool:
    """Return whether the body is too large, after reading such a body to its end.

    If it were not read, the client would get a reset instead of the response.
    """
    length = request.content_length
    too_large = length is not None and length > MAX_REQUEST_BYTES
    if length is None:  # A chunked body has no length.
        request.max_content_length = MAX_REQUEST_BYTES + 1
        too_large = len(request.get_data()) > MAX_REQUEST_BYTES
    if too_large and request.environ.get("wsgi.input_terminated"):
        while request.environ["wsgi.input"].read(MAX_REQUEST_BYTES):
            pass
    return too_large
