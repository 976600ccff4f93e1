"""HTTP, with what fails told in words."""

from __future__ import annotations

from typing import Any

import requests

from cli.errors import CliError, Exit

#: Seconds until a connection must stand, and of silence that is borne: run_task waits for a run to begin.
TIMEOUT = (10, 90)


def post(url: str, body: Any, headers: dict[str, str] | None = None, **how: Any) -> requests.Response:
    """Send JSON, and return the answer, whatever it is.

    Args:
        url: where to.
        body: what.
        headers: beside the usual ones.
        how: of `requests`.

    Raises:
        CliError: nobody answered.
    """
    try:
        return requests.post(url, json=body, headers=headers, timeout=TIMEOUT, **how)
    except requests.RequestException as error:
        host = "/".join(url.split("/")[:3])
        started = "is the local stack running (make run)?" if _is_local(url) else "try again"
        raise CliError(
            Exit.unavailable, f"{host} does not answer: {started} ({type(error).__name__})"
        ) from error


def _is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "http://localhost"))
