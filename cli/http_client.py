"""HTTP, with failures reported in words."""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

from cli.errors import CliError, Exit

#: Seconds to connect, and longest silence in seconds: `run_task` waits for a run to start.
TIMEOUT = (10, 90)


def post(url: str, body: Any, headers: dict[str, str] | None = None, **how: Any) -> requests.Response:
    """Send JSON and return the response, whatever its status.

    Args:
        url: Address of the server.
        body: JSON value to send.
        headers: Headers beside the usual ones.
        how: Further arguments of `requests`.

    Raises:
        CliError: The server did not answer.
    """
    try:
        return request("POST", url, json=body, headers=headers, **how)
    except requests.RequestException as error:
        host = "/".join(url.split("/")[:3])
        started = "is the local stack running (make run)?" if is_loopback(url) else "try again"
        raise CliError(
            Exit.unavailable, f"{host} does not answer: {started} ({type(error).__name__})"
        ) from error


def request(method: str, url: str, **how: Any) -> requests.Response:
    """Send a request with no credentials but those in `how`, to loopback never through a proxy.

    Args:
        method: HTTP method.
        url: Address of the server.
        how: Further arguments of `requests`.

    Raises:
        requests.RequestException: The server did not answer.
    """
    session = requests.Session()
    # With it, requests would replace the Authorization header by an entry of ~/.netrc.
    session.trust_env = False
    session.proxies = {} if is_loopback(url) else get_environ_proxies(url)
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return session.request(method, url, timeout=TIMEOUT, **how)


def is_loopback(url: str) -> bool:
    """Return whether the URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
