"""HTTP requests; failures become errors that say what to do."""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

from cli.errors import CliError, Exit

#: Timeouts for connecting and for each read, in seconds; `run_task` waits for a run to start.
TIMEOUT_SECONDS = (10, 90)
#: What to do if a function of the local stack fails or is missing.
LOADING_HINT = "If the code of the functions cannot be loaded, the console of `make run` shows the error."


def post(url: str, body: Any, headers: dict[str, str] | None = None, **options: Any) -> requests.Response:
    """Send JSON and return the response, whatever its status.

    Args:
        url: Address of the server.
        body: JSON value to send.
        headers: Additional headers.
        options: Further arguments of `requests`.

    Raises:
        CliError: The server did not respond.
    """
    try:
        return request("POST", url, json=body, headers=headers, **options)
    except requests.RequestException as error:
        host = "/".join(url.split("/")[:3])
        fix = "try again"
        if is_loopback(url):
            fix = f"is the local stack running (make run)? {LOADING_HINT}"
        raise CliError(
            Exit.unavailable, f"{host} does not respond ({type(error).__name__}): {fix}"
        ) from error


def request(method: str, url: str, **options: Any) -> requests.Response:
    """Send a request without credentials other than those in `options`. Loopback uses no proxy.

    Args:
        method: HTTP method.
        url: Address of the server.
        options: Further arguments of `requests`.

    Raises:
        requests.RequestException: The server did not respond.
    """
    session = requests.Session()
    # Otherwise requests would replace the Authorization header by an entry of ~/.netrc.
    session.trust_env = False
    session.proxies = {} if is_loopback(url) else get_environ_proxies(url)
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return session.request(method, url, timeout=TIMEOUT_SECONDS, **options)


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is a loopback address."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
