"""A process as on Cloud Run, with credentials of the metadata server and without a key. Prints a signed URL.

`python -m tests.engine.signer IAM PATH [answer]`: requests to the IAM API go to IAM, http://HOST:PORT.
With `answer` it prints the error details that a callable returns for a result that is too large.
"""

import json
import sys
from typing import Any

import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from functions.callable_endpoint import too_large_error
from shared import tasks
from shared.tasks import ResultTooLarge, TaskEngine
from shared.tasks.backends.storage import Objects

IAM_HOST = "https://iamcredentials.googleapis.com"


def main(iam: str, path: str, answer: str | None = None) -> None:
    """Sign a URL."""
    send = requests.adapters.HTTPAdapter.send

    def to_here(self: Any, request: Any, **how: Any) -> Any:
        request.url = request.url.replace(IAM_HOST, iam)
        return send(self, request, **how)

    requests.adapters.HTTPAdapter.send = to_here  # type: ignore[method-assign]
    bucket = Client("p", AnonymousCredentials()).bucket("results")  # type: ignore[no-untyped-call]
    objects = Objects(lambda: bucket, call_seconds=3.0)
    if answer is None:
        print(objects.sign_url(path))  # noqa: T201
        return
    tasks.sign_result_url = TaskEngine(objects=objects).sign_result_url
    print(json.dumps(too_large_error(ResultTooLarge(path)).details))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
