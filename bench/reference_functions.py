"""Functions that the product's functions are compared with, served by functions-framework as well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import firebase_admin
from firebase_functions import https_fn
from flask import Request, Response

#: The file whose bytes `fixed` returns. Importing `bench.serving` for the name would slow the start down.
BODY = "NX_BENCH_BODY"

firebase_admin.initialize_app()
_body = Path(os.environ[BODY]).read_bytes() if BODY in os.environ else b"{}"


@https_fn.on_call()
def noop(_: https_fn.CallableRequest[Any]) -> None:
    """Do nothing: the cost of the SDK."""


@https_fn.on_request()
def fixed(request: Request) -> Response:
    """Return constant bytes."""
    request.get_data()  # otherwise gunicorn must discard it
    return Response(_body, content_type="application/json")


@https_fn.on_call()
def hello(_: https_fn.CallableRequest[Any]) -> str:
    """Read a document with a new Firestore client, the least that a useful callable does."""
    from google.cloud import firestore  # noqa: PLC0415  (at the first call, as the product does)

    database = os.environ.get("NX_TASKS_DATABASE")
    client = firestore.Client(project=os.environ["GOOGLE_CLOUD_PROJECT"], database=database)
    return str(client.document("bench/hello").get().exists)
