"""OCPI over HTTP: discovers versions and endpoints, and reads lists page by page.

Follows "Transport and format", "Status codes" and "Versions module" of OCPI 2.2.1. A Link is
followed within the operator's own origins only. One that cannot be followed is an error.
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
from shared.collectors.ocpi.transport import SHOWN, Answer, Transport, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Versions that are spoken, the best first.
VERSIONS = ("2.2.1", "2.2")
#: Records asked for at a time; an operator may send fewer.
PAGE_RECORDS = 250
#: Pages of a list: a million records, five at a time.
MOST_PAGES = 200_000


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
        records: its records, each as the JSON it came in.
        total: what X-Total-Count says; None where it says nothing.
    """

    records: list[msgspec.Raw]
    total: int | None


class OcpiClient:
    """Reads one operator.

    Args:
        transport: the way to it.
        url: its version information endpoint.
    """

    def __init__(self, transport: Transport, url: str) -> None:
        self._transport = transport
        self._url = url
        #: The version that is spoken, once `endpoint` has found it.
        self.version = ""

    def endpoint(self, module: str) -> str:
        """Return where the Sender interface of a module is.

        Args:
            module: ModuleID, "locations" or "cdrs".

        Raises:
            OcpiError: no common version, no such endpoint, or no good answer.
        """
        entries, problem = open_usable(self._list(self._transport.get(self._url)), _Version)
        versions = {each.version: each.url for each in entries}
        self.version = next((version for version in VERSIONS if version in versions), "")
        if not self.version:
            there = ", ".join(sorted(versions))[:SHOWN] or "none"
            raise self._transport.error(
                f"speaks OCPI {there}; needed is {' or '.join(VERSIONS)}{_but(problem)}"
            )
        endpoints, problem = self._endpoints(resolve(self._url, versions[self.version]))
        for each in endpoints:
            if each.identifier == module and each.role == "SENDER":
                return resolve(self._url, each.url)
        raise self._transport.error(
            f"has no Sender interface of the module {module} in OCPI {self.version}{_but(problem)}"
        )

    def pages(
        self, url: str, *, date_from: datetime | None = None, date_to: datetime | None = None
    ) -> Iterator[Page]:
        """Read a list, page by page.

        Args:
            url: the endpoint, from `endpoint`.
            date_from: only records updated then or later, UTC.
            date_to: only records updated before, UTC. Records that are updated while the pages are read
                leave such a list, and others move up unseen: leave it out where nothing may be missed.

        Raises:
            OcpiError: a page is no good answer, or leads elsewhere, in circles, or nowhere.
        """
        asked: str | None = _with(
            url, date_from=_text(date_from), date_to=_text(date_to), limit=str(PAGE_RECORDS)
        )
        trail, read, linked = _Trail(), 0, True
        while asked is not None:
            answer = self._transport.get(asked, routed=True)
            records = self._list(answer)
            if trail.turns_back(asked, records):
                if not linked:  # it was our own guess that there is more
                    return
                raise self._transport.error(
                    f"{path_of(asked)}: its pages lead in circles: page {trail.pages}"
                )
            if trail.pages > MOST_PAGES:
                raise self._transport.error(f"{path_of(asked)}: more than {MOST_PAGES} pages")
            total = _count(answer.headers.get("X-Total-Count"))
            yield Page(records, total)
            read += len(records)
            link = self._next(answer)
            linked = link is not None
            if link is not None:
                asked = link
            elif records and total is not None and read < total:
                asked = _with(asked, offset=str(read))  # a server that counts, and leaves out the Link
            else:
                asked = None

    def _endpoints(self, url: str) -> tuple[list[_Endpoint], str]:
        """Return the endpoints of a version that can be used, and why the first of the others cannot.

        Of the others, most belong to modules that are never asked for.
        """
        answer = self._transport.get(url)
        data = self._open(answer)
        try:
            return open_usable(open_list(msgspec.json.decode(data, type=_Details).endpoints), _Endpoint)
        except DECODE_ERRORS as error:
            self._refuse(answer, error)

    def _list(self, answer: Answer) -> list[msgspec.Raw]:
        data = self._open(answer)
        try:
            return open_list(data)
        except DECODE_ERRORS as error:
            self._refuse(answer, error)

    def _refuse(self, answer: Answer, error: Exception) -> NoReturn:
        raise self._transport.error(
            f"{path_of(answer.url)}: `data` is not as OCPI requires: {str(error)[:SHOWN]}; "
            "report it to the operator"
        ) from None

    def _open(self, answer: Answer) -> msgspec.Raw:
        """Return the data of a response that reports success, both by HTTP and by OCPI."""
        where = path_of(answer.url)
        try:
            envelope = open_envelope(answer.body)
        except DECODE_ERRORS as error:
            if answer.status != 200:
                raise self._transport.error(f"{where}: HTTP {answer.status}{_hint(answer.status)}") from None
            raise self._transport.error(f"{where}: no OCPI answer: {str(error)[:SHOWN]}") from None
        said = f": {envelope.message[:SHOWN]}" if envelope.message else ""
        if answer.status != 200:
            raise self._transport.error(
                f"{where}: HTTP {answer.status}{_hint(answer.status)}, OCPI {envelope.status_code}{said}"
            )
        if not 1000 <= envelope.status_code < 2000:
            raise self._transport.error(f"{where}: OCPI status {envelope.status_code}{said}")
        return envelope.data

    def _next(self, answer: Answer) -> str | None:
        """Return the URL of the next page, or None on the last one."""
        try:
            return next_page(answer.headers.get("Link", ""), answer.url)
        except LinkError as error:
            raise self._transport.error(f"{path_of(answer.url)}: {error}") from None


class _Trail:
    """Where the reading of a list has been, in a few bytes a page."""

    def __init__(self) -> None:
        self.pages = 0
        self._seen: set[bytes] = set()

    def turns_back(self, url: str, records: list[msgspec.Raw]) -> bool:
        """Return whether this URL, or a page with the same records, was seen before; remember both.

        Empty pages are all the same, and a server that filters after paging sends several of them.
        """
        self.pages += 1
        digests = {_digest([url.encode(errors="replace")], b"url")}
        if records:
            digests.add(_digest(records, b"records"))
        seen = not digests.isdisjoint(self._seen)
        self._seen |= digests
        return seen


def _digest(parts: Iterable[bytes | msgspec.Raw], kind: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16, person=kind)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _count(said: str | None) -> int | None:
    return int(said) if said and said.isascii() and said.isdecimal() and len(said) < 19 else None


def _with(url: str, **parameters: str | None) -> str:
    """Return a URL with these parameters of its query set; the others stay, repeated ones included."""
    parts = urlsplit(url)
    added = {name: value for name, value in parameters.items() if value is not None}
    query = [each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] not in added]
    return urlunsplit(parts._replace(query=urlencode([*query, *added.items()], safe=":")))


def _text(moment: datetime | None) -> str | None:
    """Return a DateTime as OCPI writes it: "+00:00 is not the same as UTC"."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _but(problem: str) -> str:
    """Return the end of an error that says which entry of a list could not be used."""
    return f"; an entry could not be read: {problem[:SHOWN]}" if problem else ""


def _hint(status: int) -> str:
    hints = {401: " (the operator does not know the token)", 403: " (the token may not read this)"}
    return hints.get(status, "")
