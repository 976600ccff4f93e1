"""A process as Cloud Run has it: credentials from the metadata server, no key. Prints a signed URL.

`python -m tests.engine.signer IAM PATH [SECONDS]`: IAM is where the IAM API is answered here, http://HOST:PORT.
The one thing that is turned aside is the way to that host; libraries and product do what they do there.
"""

import sys
from datetime import timedelta
from typing import Any

import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from shared.tasks.objects import SIGNED_URL_LIFE, Objects

IAM_HOST = "https://iamcredentials.googleapis.com"


def main(iam: str, path: str, seconds: str | None = None) -> None:
    """Sign a URL."""
    send = requests.adapters.HTTPAdapter.send

    def to_here(self: Any, request: Any, **how: Any) -> Any:
        request.url = request.url.replace(IAM_HOST, iam)
        return send(self, request, **how)

    requests.adapters.HTTPAdapter.send = to_here  # type: ignore[method-assign]
    bucket = Client("p", AnonymousCredentials()).bucket("results")  # type: ignore[no-untyped-call]
    life = SIGNED_URL_LIFE if seconds is None else timedelta(seconds=int(seconds))
    print(Objects(lambda: bucket, call_seconds=3.0).signed_url(path, life))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
