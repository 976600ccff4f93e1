"""What callables share: who may call, what they may say, and how errors are told.

The engine's errors become `HttpsError` here and nowhere else. A client reads the text, so it
says what to do and nothing of paths, traces or other people's data.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError, on_call
from flask import Request, Response, jsonify
from flask_cors import cross_origin

from shared import firebase, logger, settings
from shared.tasks import ResultUnavailable, TaskName, UnknownTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The SDK types its decorators by what they take, not by what they return.
_on_call: Any = on_call

#: Bytes of a request; a callable here takes a few names and flags.
MAX_REQUEST_BYTES = 64 * 1024


def callable_function(
    **options: Any,
) -> Callable[[Callable[[CallableRequest[Any]], Any]], Callable[[Request], Response]]:
    """Make a function a callable of the Firebase client SDK.

    `on_call` checks the tokens and speaks the protocol. Around it: a body that is no JSON
    object is the caller's mistake and not INTERNAL, and the engine's errors are told as such.

    Args:
        options: further options of `on_call`: memory, concurrency, say.
    """

    def decorate(function: Callable[[CallableRequest[Any]], Any]) -> Callable[[Request], Response]:
        @_on_call(enforce_app_check=settings.app_check(), **options)  # type: ignore[untyped-decorator]
        @functools.wraps(function)
        def called(request: CallableRequest[Any]) -> Any:
            return _told(function, request)

        @cross_origin(methods="POST", origins="*")
        @functools.wraps(called)  # discovery reads the attributes that on_call set
        def on_request(request: Request) -> Response:
            mistake = _mistake_of(request)
            if mistake is not None:
                error = {"status": "INVALID_ARGUMENT", "message": mistake}
                return jsonify(error=error), 400  # type: ignore[return-value]  # Flask takes a pair
            try:
                firebase.app()  # on_call's token check needs it
            except Exception as error:  # noqa: BLE001  (a deployment's mistake is told in the log alone)
                logger.error("callable not ready", function=function.__name__, error=error)
                return jsonify(error={"status": "INTERNAL", "message": "INTERNAL"}), 500  # type: ignore[return-value]
            answer: Response = called(request)
            answer.headers["Cache-Control"] = "private, no-store"
            return answer

        return on_request

    return decorate


def signed_in(request: CallableRequest[Any]) -> Mapping[str, Any]:
    """Return the claims of the caller.

    Raises:
        HttpsError: unauthenticated, where nobody is signed in.
    """
    if request.auth is None:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, "sign in first")
    return request.auth.token or {}


def fields_of(request: CallableRequest[Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return what the caller sent, which must be an object with exactly these fields.

    Raises:
        HttpsError: invalid-argument; the text names the fields.
    """
    wanted = "{" + ", ".join(names) + "}"
    if not isinstance(request.data, dict):
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, f"send an object {wanted}; {_hint()}")
    if set(request.data) != set(names):
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, f"send exactly {wanted}; {_hint()}")
    return dict(request.data)


def task_name_of(value: object) -> TaskName:
    """Return the task that a caller names.

    Raises:
        HttpsError: invalid-argument; the text lists the names there are.
    """
    if not isinstance(value, str) or value not in set(TaskName):
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, f"unknown task_name; {_hint()}")
    return TaskName(value)


def _hint() -> str:
    return f"task_name is one of {', '.join(sorted(TaskName))}"


def _told(function: Callable[[CallableRequest[Any]], Any], request: CallableRequest[Any]) -> Any:
    try:
        return function(request)
    except HttpsError:
        raise
    except UnknownTask as error:
        raise HttpsError(FunctionsErrorCode.INVALID_ARGUMENT, f"unknown task_name; {_hint()}") from error
    except ResultUnavailable as error:
        logger.error("result unavailable", function=function.__name__, error=error, cause=error.__cause__)
        raise HttpsError(
            FunctionsErrorCode.UNAVAILABLE, "the result can't be read now; try again later"
        ) from error
    except Exception as error:
        logger.error("callable failed", function=function.__name__, error=repr(error))
        raise HttpsError(FunctionsErrorCode.INTERNAL, "this failed; the log says why") from error


def _mistake_of(request: Request) -> str | None:
    """Return what is wrong with a request that on_call would answer with INTERNAL; None if nothing is."""
    if request.method != "POST":
        return None if request.method == "OPTIONS" else f"send a POST; {_hint()}"
    if _is_too_large(request):
        return f"the request is larger than {MAX_REQUEST_BYTES} bytes"
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:  # no ValueError, though JSON nested that deep is the caller's mistake too
        body = None
    if not isinstance(body, dict) or set(body) != {"data"}:
        return f'send JSON: an object with the one field "data"; {_hint()}'
    return None


def _is_too_large(request: Request) -> bool:
    """Tell whether the body is, reading it to its end: else the client meets a reset and no answer."""
    too_large = (request.content_length or 0) > MAX_REQUEST_BYTES
    if not too_large:
        request.max_content_length = MAX_REQUEST_BYTES + 1  # a body may not tell its length
        too_large = len(request.get_data()) > MAX_REQUEST_BYTES
    if too_large and request.environ.get("wsgi.input_terminated"):
        while request.environ["wsgi.input"].read(MAX_REQUEST_BYTES):
            pass
    return too_large
