"""One GET request to an operator, limited in bytes, time, attempts and origins.

Transient failures are retried: too many requests, broken connections, server errors. Others raise an
`OcpiError`. No text that leaves this module contains the token.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import quote

import requests
from urllib3 import Retry
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError

from shared import logger
from shared.collectors.ocpi.bounded import BoundedAdapter
from shared.collectors.ocpi.errors import OcpiError, ReadingEnded, RequestFailed
from shared.collectors.ocpi.operators import origin_advice, resolve, split

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from shared.collectors.ocpi.operators import Operator

#: HTTP statuses that are retried.
TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)
#: Redirects that are followed within an operator's origins. A server that adds a slash needs one.
MAX_REDIRECTS = 3
#: Characters of an operator's text that an error shows.
MAX_SHOWN = 200
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the requests to an operator.

    Attributes:
        connect_seconds: Seconds to establish a connection, including TLS.
        read_seconds: Seconds between two parts of a response.
        call_seconds: Seconds for a whole response.
        page_bytes: Bytes of a response, decompressed.
        crawl_bytes: Bytes of all responses of an operator in one run, over all its legs.
        disk_bytes: Bytes of the stored records of all operators in one run; sorting takes twice as much. On
            Cloud Run the disk is memory.
        attempts: Attempts per request, including the first.
        backoff_seconds: Seconds before the third attempt, doubled for each further one, with jitter. The
            second attempt follows the first at once.
        max_wait_seconds: Longest wait before an attempt, whatever Retry-After contains.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    call_seconds: float = 90.0
    page_bytes: int = 32 << 20
    crawl_bytes: int = 8 << 30
    disk_bytes: int = 300 << 20
    attempts: int = 6
    backoff_seconds: float = 1.0
    max_wait_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An operator's response.

    Attributes:
        url: The URL that responded, after redirects.
        status: HTTP status.
        headers: HTTP headers.
        body: The body, decompressed.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytearray


class Transport:
    """Sends the requests of one crawl to one operator.

    Args:
        operator: The operator.
        limits: Limits on its requests.
        deadline: Time at which the crawl must end, by `time.monotonic()`.
        stop: Set when the run, or this leg of it, has ended.
        received_bytes: Bytes that the operator has sent in earlier legs.

    Attributes:
        received_bytes: Bytes of all its responses so far.
    """

    def __init__(
        self,
        operator: Operator,
        limits: Limits,
        deadline: float,
        stop: threading.Event,
        received_bytes: int = 0,
    ) -> None:
        self._operator = operator
        self._limits = limits
        self._deadline = deadline
        self._stop = stop
        self.received_bytes = received_bytes
        self._session = _Session()
        self._session.auth = _TokenAuth(operator)  # As a header, .netrc would replace it.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # Cookies would accumulate.
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter(limits.call_seconds))
        self._secret = _pattern_of(operator.token)
        self._policy = Retry(
            total=limits.attempts - 1,
            backoff_factor=limits.backoff_seconds,
            backoff_jitter=limits.backoff_seconds / 2,
            backoff_max=limits.max_wait_seconds,
        )

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, url: str, *, routed: bool = False) -> Answer:
        """Send a GET request; return the response if its HTTP status is not a transient one.

        Args:
            url: Where to send the request.
            routed: Whether to send the operator's message routing headers. OCPI forbids them for its
                configuration modules, such as versions (4.2.2).

        Raises:
            RequestFailed: All attempts failed.
            OcpiError: The URL is of another origin, or a limit is exceeded.
            ReadingEnded: The run, or this leg of it, has ended.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get_with_retries(url, self._operator.routing_headers if routed else {})
            if answer.status not in {301, 302, 303, 307, 308}:
                return answer
            url = resolve(url, answer.headers.get("Location", ""))
        raise self.error(f"{path_of(url)}: more than {MAX_REDIRECTS} redirects; report it to the operator")

    def error(self, text: str) -> OcpiError:
        """Return an error with a text from which the token is removed."""
        return OcpiError(self.redacted(text))

    def failure(self, text: str, *, refused: bool = False) -> RequestFailed:
        """Return an error after which the request may be sent again, without the token like `error`."""
        return RequestFailed(self.redacted(text), refused=refused)

    def redacted(self, text: str) -> str:
        """Return a text without the token, in any encoding in which an operator may have sent it back."""
        return self._secret.sub("[token]", text)

    def _get_with_retries(self, url: str, headers: Mapping[str, str]) -> Answer:
        if not self._operator.may_get_token(url):
            raise self.error(
                f"{_origin_text(url)} is not an origin that may get the token; {origin_advice(url)}"
            )
        policy = self._policy
        while True:
            retry_after: float | None = None
            try:
                answer = self._get_once(url, headers)
                if answer.status not in TRANSIENT_STATUSES:
                    return answer
                retry_after, reason = self._retry_after(answer), f"HTTP {answer.status}"
            except (requests.RequestException, HTTPError, OSError) as error:
                reason = _reason(error)
            try:
                policy = policy.increment("GET", url, error=HTTPError(reason))
            except MaxRetryError:
                raise self.failure(
                    f"{path_of(url)}: {reason}, after {self._limits.attempts} attempts"
                ) from None
            wait_seconds = max(policy.get_backoff_time(), retry_after or 0.0)
            self._wait(min(wait_seconds, self._limits.max_wait_seconds), reason)

    def _get_once(self, url: str, headers: Mapping[str, str]) -> Answer:
        self._check()
        ids = {"X-Request-ID": str(uuid.uuid4()), "X-Correlation-ID": str(uuid.uuid4())}
        with self._session.get(
            url,
            headers={**ids, **headers},
            stream=True,
            allow_redirects=False,  # requests would send the token to the new origin.
            timeout=(self._limits.connect_seconds, self._limits.read_seconds),
        ) as response:
            return Answer(url, response.status_code, response.headers, self._body(url, response))

    def _body(self, url: str, response: requests.Response) -> bytearray:
        body = bytearray()
        for piece in response.raw.stream(_PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > self._limits.page_bytes:
                raise self.error(
                    f"{path_of(url)}: a page must have at most {self._limits.page_bytes} bytes, got more; "
                    "ask the operator to respect `limit`"
                )
        self.received_bytes += len(body)
        if self.received_bytes > self._limits.crawl_bytes:
            raise self.error(
                f"an operator may send at most {self._limits.crawl_bytes} bytes in one run, got more"
            )
        return body

    def _check(self) -> None:
        if self._stop.is_set():
            raise ReadingEnded("not read completely because the run has ended")
        if time.monotonic() >= self._deadline:
            raise OcpiError("too slow: not read completely in the time that a run has for its operators")

    def _wait(self, wait_seconds: float, reason: str) -> None:
        logger.info(
            "retrying request to operator",
            operator=self._operator.name,
            reason=reason,
            wait_seconds=round(wait_seconds, 1),
        )
        self._stop.wait(max(0.0, min(wait_seconds, self._deadline - time.monotonic())))
        self._check()

    def _retry_after(self, answer: Answer) -> float | None:
        header = answer.headers.get("Retry-After")
        if header is None:
            return None
        try:
            return self._policy.parse_retry_after(header)
        except (InvalidHeader, ValueError, OverflowError):
            return None


def path_of(url: str) -> str:
    """Return a URL's path without its query, for errors."""
    parts = split(url)
    return ((parts and parts.path) or "/")[:MAX_SHOWN]


class _Session(requests.Session):
    """Ignores Location, which may be malformed; `Transport.get` follows redirects."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        """Return no target."""
        return


class _TokenAuth(requests.auth.AuthBase):
    """`Authorization: Token <Base64 of the token>` (OCPI 2.2.1, 4.1.2)."""

    def __init__(self, operator: Operator) -> None:
        self._credentials = operator.token if operator.plain_token else _base64(operator.token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Token {self._credentials}"
        return request


def _pattern_of(token: str) -> re.Pattern[str]:
    """Return a pattern of the token as it is, in Base64, in a URL and in JSON."""
    forms = {
        form
        for text in (token, _base64(token))
        for form in (text, quote(text, safe=""), json.dumps(text)[1:-1])
    }
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))


def _base64(token: str) -> str:
    return base64.b64encode(token.encode()).decode()


def _origin_text(url: str) -> str:
    parts = split(url)
    if parts is None:
        return "a malformed URL"
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme or ''}://{parts.host or ''}{port}"[:MAX_SHOWN]


def _reason(error: BaseException) -> str:
    """Describe an error. Its own text may contain a URL with its query."""
    names = {
        "ConnectTimeout": "no connection in time",
        "ConnectionError": "no connection, or it was lost",
        "IncompleteRead": "the response was incomplete",
        "ProtocolError": "the response was incomplete",
        "ReadTimeout": "no data for too long",
        "ReadTimeoutError": "no data for too long, or the whole response took too long",
        "SSLError": "no trusted TLS connection",
        "DecodeError": "the response could not be decompressed",
    }
    return names.get(type(error).__name__, type(error).__name__)
