"""`get_task_data` on an instance that counts its document reads and downloads.

functions-framework serves it from this file. A GET returns the counts.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
from flask import Request, Response, jsonify
from msgspec.structs import replace

import main
from shared import firebase

if TYPE_CHECKING:
    from collections.abc import Callable

_first, _counting = threading.Lock(), threading.Lock()
_counts = {"document reads": 0, "downloads": 0}
_wraps = {"done": False}


class _Reads(grpc.UnaryStreamClientInterceptor):
    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        _count("document reads")
        return continuation(details, request)


def counted(request: Request) -> Response:
    """Serve `get_task_data`."""
    if request.method == "GET":
        return jsonify(_counts)
    with _first:  # not at import: gunicorn forks after it, and a channel does not survive a fork
        if not _wraps["done"]:
            _count_calls()
            _wraps["done"] = True
    return main.get_task_data(request)


def _count_calls() -> None:
    wire = firebase.firestore_wire()
    counting = replace(wire, channel=grpc.intercept_channel(wire.channel, _Reads()))
    firebase._made["wire"] = counting  # noqa: SLF001  (later calls get this one)
    firebase.storage_wire().session.hooks["response"].append(lambda *_, **__: _count("downloads"))


def _count(what: str) -> None:
    with _counting:
        _counts[what] += 1
