"""OCPI over HTTP: discovers versions and endpoints, and reads lists page by page.

Implements "Transport and format", "Status codes" and "Versions module" of OCPI 2.2.1. Links are followed only
within the operator's own origins. A link that cannot be followed is an error.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from shared.collectors.ocpi.envelope import DECODE_ERRORS, open_envelope, open_list, open_usable
from shared.collectors.ocpi.links import LinkError, next_page
from shared.collectors.ocpi.operators import resolve
from shared.collectors.ocpi.transport import MAX_SHOWN, Answer, Transport, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Supported versions, the preferred one first.
VERSIONS = ("2.2.1", "2.2")
#: Records requested per page; an operator may send fewer.
PAGE_RECORDS = 250
#: Pages of a list: enough for a million records at five per page.
MAX_PAGES = 200_000


class _Version(msgspec.Struct):
    version: str
    url: str


class _Endpoint(msgspec.Struct):
    identifier: str
    url: str
    role: str = ""


class _Details(msgspec.Struct):
    endpoints: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
        records: Its records, each as raw JSON.
        total: Value of the header X-Total-Count; None if it is missing or malformed.
    """

    records: list[msgspec.Raw]
    total: int | None


@dataclass(slots=True)
class ListPosition:
    """How far a list has been read.

    Attributes:
        url: URL of the next page; None after the last one.
        linked: Whether the operator linked to that page; otherwise its X-Total-Count suggests it.
        read: Number of records so far.
        pages: Number of pages so far.
        visited: Digests of the URLs and the records of these pages, to detect a list without an end.
        digests: Those of the last page.
    """

    url: str | None
    linked: bool = True
    read: int = 0
    pages: int = 0
    visited: set[bytes] = field(default_factory=set)
    digests: frozenset[bytes] = frozenset()

    def visit(self, url: str, records: list[msgspec.Raw]) -> bool:
        """Add a page; return False if its URL or its records are those of an earlier one.

        The records of empty pages do not count: a server that filters after paging sends several empty pages.
        """
        self.pages += 1
        digests = {_digest([url.encode(errors="replace")], b"url")}
        if records:
            digests.add(_digest(records, b"records"))
        self.digests = frozenset(digests)
        is_new = self.digests.isdisjoint(self.visited)
        self.visited |= self.digests
        return is_new


class OcpiClient:
    """Reads one operator.

    Args:
        transport: Sends requests to the operator.
        url: URL of the operator's version information endpoint.
    """

    def __init__(self, transport: Transport, url: str) -> None:
        self._transport = transport
        self._url = url
        #: The version in use, set by `endpoint`.
        self.version = ""

    def endpoint(self, module: str) -> str:
        """Return the URL of a module's Sender interface.

        Args:
            module: ModuleID, "locations" or "cdrs".

        Raises:
            OcpiError: The operator lacks a supported version or the endpoint, or a response is invalid.
        """
        entries, problem = open_usable(self._list(self._transport.get(self._url)), _Version)
        versions = {each.version: each.url for each in entries}
        self.version = next((version for version in VERSIONS if version in versions), "")
        if not self.version:
            offered = ", ".join(sorted(versions))[:MAX_SHOWN] or "no version"
            raise self._transport.error(
                f"OCPI version must be {' or '.join(VERSIONS)}, got {offered}{_entry_problem(problem)}; "
                "report it to the operator"
            )
        endpoints, problem = self._endpoints(resolve(self._url, versions[self.version]))
        for each in endpoints:
            if each.identifier == module and each.role == "SENDER":
                return resolve(self._url, each.url)
        raise self._transport.error(
            f"no Sender interface of the module {module} in OCPI {self.version}{_entry_problem(problem)}; "
            "report it to the operator"
        )

    def pages(
        self, url: str, *, date_from: datetime | None = None, date_to: datetime | None = None
    ) -> Iterator[Page]:
        """Read a list, page by page. Arguments as of `first_page`, errors as of `pages_from`."""
        return self.pages_from(first_page(url, date_from=date_from, date_to=date_to))

    def pages_from(self, position: ListPosition) -> Iterator[Page]:
        """Read the rest of a list, page by page.

        Args:
            position: Where to begin; each page moves it before it is yielded.

        Raises:
            RequestFailed: A page could not be read; it may be requested again.
            OcpiError: A response is invalid, or a link leads to another origin, to a page that was read, or
                to no URL.
        """
        while position.url is not None:
            url = position.url
            answer = self._transport.get(url, routed=True)
            records = self._list(answer)
            if not position.visit(url, records):
                if not position.linked:  # Only X-Total-Count suggested another page.
                    position.url = None
                    return
                raise self._transport.error(
                    f"{path_of(url)}: page {position.pages} repeats an earlier one; report it to the operator"
                )
            if position.pages > MAX_PAGES:
                raise self._transport.error(
                    f"{path_of(url)}: a list must have at most {MAX_PAGES} pages, got more"
                )
            total = _parse_count(answer.headers.get("X-Total-Count"))
            position.read += len(records)
            position.url = self._next(answer)
            position.linked = position.url is not None
            if position.url is None and records and total is not None and position.read < total:
                position.url = _with_query(url, offset=str(position.read))  # It counts but sends no Link.
            yield Page(records, total)

    def _endpoints(self, url: str) -> tuple[list[_Endpoint], str]:
        """Return the valid endpoints of a version, and why the first invalid one is invalid.

        Invalid ones mostly belong to modules that are not used here.
        """
        answer = self._transport.get(url)
        data = self._open(answer)
        try:
            return open_usable(open_list(msgspec.json.decode(data, type=_Details).endpoints), _Endpoint)
        except DECODE_ERRORS as error:
            self._raise_invalid(answer, error)

    def _list(self, answer: Answer) -> list[msgspec.Raw]:
        data = self._open(answer)
        try:
            return open_list(data)
        except DECODE_ERRORS as error:
            self._raise_invalid(answer, error)

    def _raise_invalid(self, answer: Answer, error: Exception) -> NoReturn:
        raise self._transport.error(
            f"{path_of(answer.url)}: `data` does not follow OCPI: {str(error)[:MAX_SHOWN]}; "
            "report it to the operator"
        ) from None

    def _open(self, answer: Answer) -> msgspec.Raw:
        """Return the data of a response with status codes of success, both of HTTP and of OCPI."""
        where = path_of(answer.url)
        try:
            envelope = open_envelope(answer.body)
        except DECODE_ERRORS as error:
            if answer.status != 200:
                raise self._transport.failure(
                    f"{where}: HTTP {answer.status}{_hint(answer.status)}",
                    refused=400 <= answer.status < 500,
                ) from None
            raise self._transport.failure(
                f"{where}: the response does not follow OCPI: {str(error)[:MAX_SHOWN]}"
            ) from None
        message = f": {envelope.message[:MAX_SHOWN]}" if envelope.message else ""
        if answer.status != 200:
            raise self._transport.failure(
                f"{where}: HTTP {answer.status}{_hint(answer.status)}, OCPI {envelope.status_code}{message}",
                refused=400 <= answer.status < 500,
            )
        if not 1000 <= envelope.status_code < 2000:
            raise self._transport.failure(
                f"{where}: OCPI status {envelope.status_code}{message}",
                refused=2000 <= envelope.status_code < 3000,
            )
        return envelope.data

    def _next(self, answer: Answer) -> str | None:
        """Return the URL of the next page, or None on the last one."""
        try:
            return next_page(answer.headers.get("Link", ""), answer.url)
        except LinkError as error:
            raise self._transport.error(
                f"{path_of(answer.url)}: {error}; report it to the operator"
            ) from None


def first_page(
    url: str, *, date_from: datetime | None = None, date_to: datetime | None = None
) -> ListPosition:
    """Return the position before the first page of a list.

    Args:
        url: URL of the list, from `OcpiClient.endpoint`.
        date_from: Only records updated at this time or later, UTC.
        date_to: Only records updated before this time, UTC. A record that is updated while the pages are
            read leaves such a list, and later records move to pages that were read. Do not use it if no
            record may be missed.
    """
    dates = {"date_from": _date_time(date_from), "date_to": _date_time(date_to)}
    return ListPosition(_with_query(url, **dates, limit=str(PAGE_RECORDS)))


def _digest(parts: Iterable[bytes | msgspec.Raw], kind: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16, person=kind)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _parse_count(header: str | None) -> int | None:
    is_count = header and header.isascii() and header.isdecimal() and len(header) < 19
    return int(header) if header and is_count else None


def _with_query(url: str, **parameters: str | None) -> str:
    """Return a URL with these query parameters replaced; others stay, including repeated ones."""
    parts = urlsplit(url)
    added = {name: value for name, value in parameters.items() if value is not None}
    query = [each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] not in added]
    return urlunsplit(parts._replace(query=urlencode([*query, *added.items()], safe=":")))


def _date_time(moment: datetime | None) -> str | None:
    """Return a DateTime as OCPI writes it: "+00:00 is not the same as UTC"."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _entry_problem(problem: str) -> str:
    """Return the part of an error about an entry of a list that could not be decoded."""
    return f" (an entry could not be decoded: {problem[:MAX_SHOWN]})" if problem else ""


def _hint(status: int) -> str:
    hints = {401: " (the operator does not accept the token)", 403: " (the token has no access to this)"}
    return hints.get(status, "")
