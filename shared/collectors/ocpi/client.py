"""OCPI over HTTP: versions and endpoints discovered, lists read page by page, envelopes opened.

Follows "Transport and format", "Status codes" and "Versions module" of OCPI 2.2.1. A Link is
followed within the operator's own origins only; pages that lead nowhere are an error.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from requests.utils import parse_header_links

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

_Data = TypeVar("_Data")


class _Envelope(msgspec.Struct):
    """The response format (4.1.7). `timestamp` is the operator's clock, and nothing here hangs on it."""

    status_code: int
    data: msgspec.Raw = msgspec.Raw(b"null")
    status_message: str | None = None


class _Version(msgspec.Struct):
    version: str
    url: str


class _Endpoint(msgspec.Struct):
    identifier: str
    url: str
    role: str = ""


class _Details(msgspec.Struct):
    endpoints: list[_Endpoint]


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
        versions = {each.version: each.url for each in self._read(self._url, list[_Version])}
        self.version = next((version for version in VERSIONS if version in versions), "")
        if not self.version:
            there = ", ".join(sorted(versions))[:SHOWN] or "none"
            raise self._transport.error(f"speaks OCPI {there}; needed is {' or '.join(VERSIONS)}")
        details = self._read(resolve(self._url, versions[self.version]), _Details)
        for each in details.endpoints:
            if each.identifier == module and each.role == "SENDER":
                return resolve(self._url, each.url)
        raise self._transport.error(f"has no Sender interface of the module {module} in OCPI {self.version}")

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
            answer = self._transport.get(asked)
            records = self._open(answer, list[msgspec.Raw])
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
            link = _next(answer)
            linked = link is not None
            if link is not None:
                asked = link
            elif records and total is not None and read < total:
                asked = _with(asked, offset=str(read))  # a server that counts, and leaves out the Link
            else:
                asked = None

    def _read(self, url: str, kind: type[_Data]) -> _Data:
        return self._open(self._transport.get(url), kind)

    def _open(self, answer: Answer, kind: type[_Data]) -> _Data:
        """Return an answer's data: HTTP must say that all is well, and so must OCPI."""
        where = path_of(answer.url)
        try:
            envelope = msgspec.json.decode(answer.body, type=_Envelope)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            if answer.status != 200:
                raise self._transport.error(f"{where}: HTTP {answer.status}{_hint(answer.status)}") from None
            raise self._transport.error(f"{where}: no OCPI answer: {str(error)[:SHOWN]}") from None
        said = f": {envelope.status_message[:SHOWN]}" if envelope.status_message else ""
        if answer.status != 200:
            raise self._transport.error(
                f"{where}: HTTP {answer.status}{_hint(answer.status)}, OCPI {envelope.status_code}{said}"
            )
        if not 1000 <= envelope.status_code < 2000:
            raise self._transport.error(f"{where}: OCPI status {envelope.status_code}{said}")
        try:
            return msgspec.json.decode(envelope.data, type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise self._transport.error(
                f"{where}: data is not what OCPI says: {str(error)[:SHOWN]}"
            ) from None


class _Trail:
    """Where the reading of a list has been, in a few bytes a page."""

    def __init__(self) -> None:
        self.pages = 0
        self._seen: set[bytes] = set()

    def turns_back(self, url: str, records: list[msgspec.Raw]) -> bool:
        """Tell whether this URL, or this very page, was seen before; remember them."""
        self.pages += 1
        digests = {_digest([url.encode(errors="replace")], b"url"), _digest(records, b"records")}
        seen = not digests.isdisjoint(self._seen)
        self._seen |= digests
        return seen


def _digest(parts: Iterable[bytes | msgspec.Raw], kind: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16, person=kind)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _next(answer: Answer) -> str | None:
    said = answer.headers.get("Link")
    for link in parse_header_links(said) if said else ():
        if "next" in str(link.get("rel", "")).lower().split():
            return resolve(answer.url, link["url"])
    return None


def _count(said: str | None) -> int | None:
    return int(said) if said and said.isascii() and said.isdecimal() and len(said) < 19 else None


def _with(url: str, **parameters: str | None) -> str:
    """Return a URL with these parameters of its query set."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.update({name: value for name, value in parameters.items() if value is not None})
    return urlunsplit(parts._replace(query=urlencode(query, safe=":")))


def _text(moment: datetime | None) -> str | None:
    """Return a DateTime as OCPI writes it: "+00:00 is not the same as UTC"."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _hint(status: int) -> Any:
    hints = {401: " (the operator does not know the token)", 403: " (the token may not read this)"}
    return hints.get(status, "")
