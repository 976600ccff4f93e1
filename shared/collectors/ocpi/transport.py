"""One GET from an operator, bounded in every way: bytes, silence, time, attempts, and where it goes.

What passes (too many requests, an answer that breaks off, a server at fault) is asked again;
all else is an `OcpiError`. No text that leaves this module holds the token.
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
from shared.collectors.ocpi.errors import OcpiError
from shared.collectors.ocpi.operators import origin_advice, resolve, split

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from shared.collectors.ocpi.operators import Operator

#: HTTP statuses that are asked again: they pass.
PASSING = (408, 429, 500, 502, 503, 504)
#: Redirects within an origin that are followed: a server that adds a slash needs one.
MAX_REDIRECTS = 3
#: Characters of what an operator says that an error shows.
SHOWN = 200
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an operator is borne with.

    Attributes:
        connect_seconds: for a connection, TLS included.
        silence_seconds: between two parts of an answer.
        call_seconds: for one answer as a whole, however it trickles.
        page_bytes: of one answer, decompressed.
        crawl_bytes: of all answers of an operator in one run.
        disk_bytes: of all operators' records in one run, as they are kept until the end; twice as much while
            they are sorted. On Cloud Run the disk is memory.
        attempts: for one request, the first included.
        backoff_seconds: before the third attempt; doubled each time, with jitter. The second comes at once.
        longest_wait_seconds: before an attempt, whatever Retry-After says.
    """

    connect_seconds: float = 10.0
    silence_seconds: float = 30.0
    call_seconds: float = 90.0
    page_bytes: int = 32 << 20
    crawl_bytes: int = 8 << 30
    disk_bytes: int = 300 << 20
    attempts: int = 6
    backoff_seconds: float = 1.0
    longest_wait_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operator answered: the URL that did (after redirects), HTTP status, headers and body."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytearray


class Transport:
    """The way to one operator, for one crawl.

    Args:
        operator: whom to ask.
        limits: how far it is borne with.
        ends_at: when the crawl must be over, by `time.monotonic()`.
        stop: set by whoever wants no more of it.
    """

    def __init__(self, operator: Operator, limits: Limits, ends_at: float, stop: threading.Event) -> None:
        self._operator = operator
        self._limits = limits
        self._ends_at = ends_at
        self._stop = stop
        self._bytes = 0
        self._session = _Session()
        self._session.auth = _TokenAuth(operator)  # as auth, or a .netrc would take its place
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # they would pile up
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter(limits.call_seconds))
        self._secret = _pattern_of(operator.token)
        self._policy = Retry(
            total=limits.attempts - 1,
            backoff_factor=limits.backoff_seconds,
            backoff_jitter=limits.backoff_seconds / 2,
            backoff_max=limits.longest_wait_seconds,
        )

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def get(self, url: str, *, routed: bool = False) -> Answer:
        """Return what an operator answers, of whatever HTTP status that does not pass.

        Args:
            url: Where to send the request.
            routed: Whether to send the operator's message routing headers. OCPI forbids them for its
                configuration modules, such as versions (4.2.2).

        Raises:
            OcpiError: the URL is elsewhere, a bound is reached, or no attempt was answered.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._persist(url, self._operator.routing_headers if routed else {})
            if answer.status not in {301, 302, 303, 307, 308}:
                return answer
            url = resolve(url, answer.headers.get("Location", ""))
        raise self.error(f"{path_of(url)} redirects again and again")

    def error(self, text: str) -> OcpiError:
        """Make an error of a text that may hold what the operator said, the token even."""
        return OcpiError(self.redacted(text))

    def redacted(self, text: str) -> str:
        """Return a text without the token, in whatever form an operator may have sent it back."""
        return self._secret.sub("[token]", text)

    def _persist(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Ask until it is answered, or the attempts are spent."""
        if not self._operator.may_ask(url):
            raise self.error(
                f"leads to {_origin_text(url)}, which may not be sent the token: {origin_advice(url)}"
            )
        policy = self._policy
        while True:
            wait: float | None = None
            try:
                answer = self._ask(url, headers)
                if answer.status not in PASSING:
                    return answer
                wait, why = self._retry_after(answer), f"HTTP {answer.status}"
            except (requests.RequestException, HTTPError, OSError) as error:
                why = _reason(error)
            try:
                policy = policy.increment("GET", url, error=HTTPError(why))
            except MaxRetryError:
                raise self.error(f"{path_of(url)}: {why}, after {self._limits.attempts} attempts") from None
            self._wait(
                min(max(policy.get_backoff_time(), wait or 0.0), self._limits.longest_wait_seconds), why
            )

    def _ask(self, url: str, headers: Mapping[str, str]) -> Answer:
        self._check()
        asked = {"X-Request-ID": str(uuid.uuid4()), "X-Correlation-ID": str(uuid.uuid4()), **headers}
        with self._session.get(
            url,
            headers=asked,
            stream=True,
            allow_redirects=False,  # it would take the token along
            timeout=(self._limits.connect_seconds, self._limits.silence_seconds),
        ) as response:
            return Answer(url, response.status_code, response.headers, self._body(url, response))

    def _body(self, url: str, response: requests.Response) -> bytearray:
        body = bytearray()
        for piece in response.raw.stream(_PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > self._limits.page_bytes:
                raise self.error(
                    f"{path_of(url)}: the answer has more than {self._limits.page_bytes} bytes: "
                    "the operator must keep to `limit`"
                )
        self._bytes += len(body)
        if self._bytes > self._limits.crawl_bytes:
            raise self.error(f"sent more than {self._limits.crawl_bytes} bytes in one run")
        return body

    def _check(self) -> None:
        if self._stop.is_set():
            raise OcpiError("not read to its end: the run has ended")
        if time.monotonic() >= self._ends_at:
            raise OcpiError("too slow: the time that a run has for its operators is over")

    def _wait(self, seconds: float, why: str) -> None:
        logger.info(
            "operator is asked again",
            operator=self._operator.name,
            reason=why,
            wait_seconds=round(seconds, 1),
        )
        self._stop.wait(max(0.0, min(seconds, self._ends_at - time.monotonic())))
        self._check()

    def _retry_after(self, answer: Answer) -> float | None:
        said = answer.headers.get("Retry-After")
        if said is None:
            return None
        try:
            return self._policy.parse_retry_after(said)
        except (InvalidHeader, ValueError, OverflowError):
            return None


def path_of(url: str) -> str:
    """Return a URL's path, which an error may show; its query is left out."""
    parts = split(url)
    return ((parts and parts.path) or "/")[:SHOWN]


class _Session(requests.Session):
    """Looks at no Location, which may be anything; `Transport.get` does."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        """Return where a redirect leads: nowhere."""
        return


class _TokenAuth(requests.auth.AuthBase):
    """`Authorization: Token <Base64 of the token>` (OCPI 2.2.1, 4.1.2)."""

    def __init__(self, operator: Operator) -> None:
        self._said = operator.token if operator.plain_token else _encoded(operator.token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Token {self._said}"
        return request


def _pattern_of(token: str) -> re.Pattern[str]:
    """Return what finds a token as it is, in Base64, in a URL and in JSON."""
    ways = {
        way
        for said in (token, _encoded(token))
        for way in (said, quote(said, safe=""), json.dumps(said)[1:-1])
    }
    return re.compile("|".join(map(re.escape, sorted(ways, key=len, reverse=True))))


def _encoded(token: str) -> str:
    return base64.b64encode(token.encode()).decode()


def _origin_text(url: str) -> str:
    parts = split(url)
    if parts is None:
        return "nowhere"
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme or ''}://{parts.host or ''}{port}"[:SHOWN]


def _reason(error: BaseException) -> str:
    """Return what an error is, in words; its own text may hold a URL with its query."""
    names = {
        "ConnectTimeout": "no connection in time",
        "ConnectionError": "no connection, or it broke off",
        "IncompleteRead": "the answer broke off",
        "ProtocolError": "the answer broke off",
        "ReadTimeout": "silent for too long",
        "ReadTimeoutError": "silent for too long, or the answer took too long as a whole",
        "SSLError": "no trusted TLS connection",
        "DecodeError": "an answer that can't be decompressed",
    }
    return names.get(type(error).__name__, type(error).__name__)
