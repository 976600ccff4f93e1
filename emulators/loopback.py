"""HTTP requests to servers on this machine, never through a proxy."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def request(
    url: str, *, method: str = "GET", body: Any = None, timeout_seconds: float = 5.0
) -> tuple[int, Any]:
    """Send a request to a local server.

    Args:
        url: Address, `http://` and loopback.
        method: HTTP method.
        body: JSON value to send, or None for no body.
        timeout_seconds: Timeout for connecting and for each read, in seconds.

    Returns:
        The HTTP status and the body, parsed if it is JSON, else as text. Status 0 and None if the server does
        not respond.
    """
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - loopback addresses only
    try:
        with _OPENER.open(asked, timeout=timeout_seconds) as answer:
            return answer.status, _parsed(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _parsed(error.read())
    except (OSError, HTTPException):
        return 0, None


def _parsed(content: bytes) -> Any:
    text = content.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
