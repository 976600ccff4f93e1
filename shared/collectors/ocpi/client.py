"""OCPI over HTTP: discovers versions and endpoints, and reads lists page by page.

Implements "Transport and format", "Status codes" and "Versions module" of OCPI 2.2.1. Links are followed only
within the operator's own origins. A link that cannot be followed is an error.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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
        """Read a list, page by page.

        Args:
            url: URL of the list, from `endpoint`.
            date_from: Only records updated at this time or later, UTC.
            date_to: Only records updated before this time, UTC. A record that is updated while the pages are
                read leaves such a list, and later records move to pages that were read. Do not use it if no
                record may be missed.

        Raises:
            OcpiError: A response is invalid, or a link leads to another origin, to a page that was read, or
                to no URL.
        """
        page_url: str | None = _with_query(
            url, date_from=_date_time(date_from), date_to=_date_time(date_to), limit=str(PAGE_RECORDS)
        )
        visited, read, linked = _VisitedPages(), 0, True
        while page_url is not None:
            answer = self._transport.get(page_url, routed=True)
            records = self._list(answer)
            if not visited.add(page_url, records):
                if not linked:  # Only X-Total-Count suggested another page.
                    return
                raise self._transport.error(
                    f"{path_of(page_url)}: page {visited.count} repeats an earlier one; "
                    "report it to the operator"
                )
            if visited.count > MAX_PAGES:
                raise self._transport.error(
                    f"{path_of(page_url)}: a list must have at most {MAX_PAGES} pages, got more"
                )
            total = _parse_count(answer.headers.get("X-Total-Count"))
            yield Page(records, total)
            read += len(records)
            link = self._next(answer)
            linked = link is not None
            if link is not None:
                page_url = link
            elif records and total is not None and read < total:
                page_url = _with_query(page_url, offset=str(read))  # The server counts but sends no Link.
            else:
                page_url = None

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
                raise self._transport.error(f"{where}: HTTP {answer.status}{_hint(answer.status)}") from None
            raise self._transport.error(
                f"{where}: the response does not follow OCPI: {str(error)[:MAX_SHOWN]}"
            ) from None
        message = f": {envelope.message[:MAX_SHOWN]}" if envelope.message else ""
        if answer.status != 200:
            raise self._transport.error(
                f"{where}: HTTP {answer.status}{_hint(answer.status)}, OCPI {envelope.status_code}{message}"
            )
        if not 1000 <= envelope.status_code < 2000:
            raise self._transport.error(f"{where}: OCPI status {envelope.status_code}{message}")
        return envelope.data

    def _next(self, answer: Answer) -> str | None:
        """Return the URL of the next page, or None on the last one."""
        try:
            return next_page(answer.headers.get("Link", ""), answer.url)
        except LinkError as error:
            raise self._transport.error(
                f"{path_of(answer.url)}: {error}; report it to the operator"
            ) from None


class _VisitedPages:
    """The pages of a list that were read, in a few bytes per page."""

    def __init__(self) -> None:
        self.count = 0
        self._digests: set[bytes] = set()

    def add(self, url: str, records: list[msgspec.Raw]) -> bool:
        """Add a page; return False if its URL or its records are those of an earlier one.

        The records of empty pages do not count: a server that filters after paging sends several empty pages.
        """
        self.count += 1
        digests = {_digest([url.encode(errors="replace")], b"url")}
        if records:
            digests.add(_digest(records, b"records"))
        is_new = digests.isdisjoint(self._digests)
        self._digests |= digests
        return is_new


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
