"""What callables share: the protocol, its limits, and how errors are told.

The engine's errors become `HttpsError` here and nowhere else. A client reads the text, so it
says what to do and nothing of paths, traces, other people's data or the names there are.
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

#: The SDK types its decorators by what they take, not by what they return.
_on_call: Any = on_call

#: Requests that an instance takes at once, Cloud Run's own default. Most of a read is waiting, for
#: the network or for the one thread that fetches, so that many threads cost little; fewer threads
#: than Cloud Run believes there are would leave reads of what is at hand queueing behind fetches.
CONCURRENCY = 80
#: Instances at most: what a caller that went wild, or many, may cost. `docs/scale.md` tells how
#: many reads they serve; a region's quota allows ten times as many.
MAX_INSTANCES = 100
#: Cores of an instance. The SDK's own default is a part of one, with which Cloud Run sends an
#: instance a single request at a time.
CPU = 1
#: Seconds until the URL expires that an answer gives in place of a result that it can't hold. Far below
#: the 12 hours for which URLs signed by IAM are guaranteed.
URL_SECONDS = 15 * 60
#: Key in the WSGI environ for a response's body, on its way from the function to `on_request`. The SDK leaves
#: no other way: `on_call` passes a function only its request, and encodes the returned value as JSON.
_BODY = "nx.body"
#: Bytes of a request; a callable here takes a few names and flags.
MAX_REQUEST_BYTES = 64 * 1024
#: Levels of lists and objects in a request. Python's own bound depends on the stack at hand, so
#: that a request could be read here and fail in on_call.
MAX_REQUEST_DEPTH = 32


#: What `on_call` writes into the log for each call that it lets in.
_LET_IN = "Callable request verification passed: %s"


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Leave out that a caller was let in: nobody misses a line for each read, and the log charges for it."""
    return record.msg != _LET_IN


logging.getLogger().addFilter(_is_worth_a_line)


def callable_function(
    *,
    concurrency: int = CONCURRENCY,
    cpu: int = CPU,
    max_instances: int = MAX_INSTANCES,
    **options: Any,
) -> Callable[[Callable[[CallableRequest[Any]], Any]], Callable[[Request], Response]]:
    """Make a function a callable of the Firebase client SDK.

    `on_call` checks the tokens and speaks the protocol. Around it: a body that is no JSON
    object is the caller's mistake and not INTERNAL, the setting's origins are let in, who is
    signed in has a limit of calls, and the engine's errors are told as such.

    Args:
        concurrency: requests at once, in Cloud Run and on as many threads in the instance.
        cpu: cores of an instance; more than one request at once needs a whole one.
        max_instances: how many there may be.
        options: Further options of `on_call`, such as `memory` (MB).

    Raises:
        SettingInvalid: a setting means nothing. A deployment ends there, as it imports main.py.
    """
    origins = Origins(settings.cors_origins())
    per_minute = settings.calls_per_minute()
    limit = RateLimit(per_minute) if per_minute else None

    def decorate(function: Callable[[CallableRequest[Any]], Any]) -> Callable[[Request], Response]:
        _have_threads(function.__name__, concurrency)

        @_on_call(
            enforce_app_check=settings.app_check(),
            cors=CorsOptions(cors_origins=[]),  # else it lets every origin in
            concurrency=concurrency,
            cpu=cpu,
            max_instances=max_instances,
            **options,
        )  # type: ignore[untyped-decorator]
        @functools.wraps(function)
        def called(request: CallableRequest[Any]) -> Any:
            _check_limit(limit, request)
            return _call(function, request)

        @functools.wraps(called)  # discovery reads the attributes that on_call set
        def on_request(request: Request) -> Response:
            answer = _answer(called, request)
            answer.headers.add("Cache-Control", "private, no-store")
            answer.headers.add("Vary", "Accept-Encoding, Origin")
            origins.admit(request, answer)
            return answer

        return on_request

    return decorate


def _have_threads(name: str, concurrency: int) -> None:
    """Have gunicorn serve that many requests at once in the process whose function this is.

    functions-framework reads THREADS after it imported main.py; its own default is 4 a core. A
    deployment has no variables for a single function.
    """
    if os.environ.get("FUNCTION_TARGET") == name:
        os.environ.setdefault("THREADS", str(concurrency))


def _answer(called: Callable[[Request], Response], request: Request) -> Response:
    if request.method == "OPTIONS":
        return Response(status=204)
    mistake = _mistake_of(request)
    if mistake is not None:
        return _refusal(400, "INVALID_ARGUMENT", mistake)
    try:
        firebase.app()  # on_call's token check needs it
    except Exception as error:  # noqa: BLE001  (a deployment's mistake is told in the log alone)
        logger.error("callable not ready", function=called.__name__, error=error)
        return _refusal(500, "INTERNAL", "INTERNAL")
    answer = called(request)
    body = request.environ.pop(_BODY, None)
    if body is not None:
        pieces, compressed = body
        put_into(answer, pieces, compressed=compressed)
    return answer


def _put_by(answered: Any, request: CallableRequest[Any]) -> Any:
    """Keep an answer that is there as bytes out of `on_call`'s hands, which would make JSON of it anew."""
    if not isinstance(answered, Answer):
        return answered
    request.raw_request.environ[_BODY] = answered.body(request.raw_request)
    return None


def _refusal(http_status: int, status: str, message: str) -> Response:
    answer = jsonify(error={"status": status, "message": message})
    answer.status_code = http_status
    return answer


def _check_limit(limit: RateLimit | None, request: CallableRequest[Any]) -> None:
    """Count a call of who is signed in; whether others may call is the function's to say."""
    if limit is None or request.auth is None:
        return
    wait = math.ceil(limit.take(request.auth.uid or ""))
    if wait:
        raise HttpsError(
            FunctionsErrorCode.RESOURCE_EXHAUSTED,
            f"more than {limit.per_minute} calls in a minute; call again in {wait} s",
            {"retry_after_seconds": wait},
        )


def _call(function: Callable[[CallableRequest[Any]], Any], request: CallableRequest[Any]) -> Any:
    try:
        return _put_by(function(request), request)
    except HttpsError:
        raise
    except UnknownTask as error:
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, "unknown task_name") from error
    except ResultTooLarge as error:
        raise _handed_off(error) from error
    except InvalidOptions as error:  # its text is for whoever chose them
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


def _handed_off(error: ResultTooLarge) -> HttpsError:
    """Hand a result that no answer holds to Storage: a URL of its object, for a short while."""
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


def _mistake_of(request: Request) -> str | None:
    """Return what is wrong with a request that on_call would answer with INTERNAL; None if nothing is."""
    if request.method != "POST":
        return f"the method must be POST, got {request.method[:MAX_SHOWN]}"
    if _is_too_large(request):
        return f"the request must have at most {MAX_REQUEST_BYTES} bytes, got more"
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:  # no ValueError, though JSON nested that deep is the caller's mistake too
        body = None
    if not isinstance(body, dict) or body.keys() != {"data"}:
        return 'the body must be a JSON object with the field "data" and no other'
    if _may_be_deep(request) and _is_deeper(body, MAX_REQUEST_DEPTH):
        return f"the request must have at most {MAX_REQUEST_DEPTH} levels of lists and objects, got more"
    return None


def _may_be_deep(request: Request) -> bool:
    """Tell whether a body has brackets enough to be too deep: to count them costs less than to look."""
    sent = request.get_data()
    return sent.count(b"{") + sent.count(b"[") > MAX_REQUEST_DEPTH


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _is_too_large(request: Request) -> bool:
    """Tell whether the body is, reading it to its end: else the client meets a reset and no answer."""
    length = request.content_length
    too_large = length is not None and length > MAX_REQUEST_BYTES
    if length is None:  # a body that doesn't tell its length ends where it ends
        request.max_content_length = MAX_REQUEST_BYTES + 1
        too_large = len(request.get_data()) > MAX_REQUEST_BYTES
    if too_large and request.environ.get("wsgi.input_terminated"):
        while request.environ["wsgi.input"].read(MAX_REQUEST_BYTES):
            pass
    return too_large
