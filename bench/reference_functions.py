"""Functions that the product's are compared with; functions-framework serves them as it serves those."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import firebase_admin
from firebase_functions import https_fn
from flask import Request, Response

#: The file whose bytes `fixed` returns.
BODY = "NX_BENCH_BODY"

firebase_admin.initialize_app()
_body = Path(os.environ[BODY]).read_bytes() if BODY in os.environ else b"{}"


@https_fn.on_call()
def noop(_: https_fn.CallableRequest[Any]) -> None:
    """Do nothing, as a callable: the SDK's own cost."""


@https_fn.on_request()
def fixed(request: Request) -> Response:
    """Return bytes that are there already."""
    request.get_data()  # else gunicorn must get rid of it
    return Response(_body, content_type="application/json")


@https_fn.on_call()
def hello(_: https_fn.CallableRequest[Any]) -> str:
    """Open a Firestore client and read a document, as any callable that is of use does."""
    from google.cloud import firestore  # noqa: PLC0415  (as the product does: at the first call)

    database = os.environ.get("NX_TASKS_DATABASE")
    client = firestore.Client(project=os.environ["GOOGLE_CLOUD_PROJECT"], database=database)
    return str(client.document("bench/hello").get().exists)
