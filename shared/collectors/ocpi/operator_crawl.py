"""Reads one operator, over all legs of a run.

The operator's cursor keeps all that a later leg needs: each page's records, and after them a `PageRecord`.
The position of the cursor has only what is small. A leg replays both.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import orjson

from shared.collectors.ocpi.client import ListPosition, OcpiClient, first_page
from shared.collectors.ocpi.crawled import SetAsides  # noqa: TC001  (msgspec reads the annotation)
from shared.collectors.ocpi.errors import OcpiError, ReadingEnded, RequestFailed, SetAside
from shared.collectors.ocpi.operators import SETTING
from shared.collectors.ocpi.reading import in_utc, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shared.collectors.ocpi.client import Page
    from shared.collectors.ocpi.crawl import Shares
    from shared.collectors.ocpi.crawled import Crawl
    from shared.collectors.ocpi.operators import Operator
    from shared.collectors.ocpi.reading import Checked, Updated

#: Requests for one page after the first failed one, each with all the attempts of a request.
RETRIES = 4
#: Longest pause before each of them, in seconds.
MAX_PAUSE_SECONDS = 900.0
#: An operator that was read for less time is not tried again: the next run reads it soon enough.
MIN_SECONDS_TO_RETRY = 60.0
#: Characters of an error in a position, which may have 10,000 bytes.
_ERROR_LENGTH = 750
#: Kept values between two checks whether the leg has ended.
_CHECK_STEP = 1_000

#: Checks a record of an operator with this version of OCPI, or raises SetAside.
Reader: TypeAlias = "Callable[[msgspec.Raw, str], Checked[Updated]]"


class Position(msgspec.Struct, kw_only=True):
    """The position of an operator's cursor.

    Attributes:
        state: "read" and "failed" are final.
        pages: Pages of the list that were read.
        kept: Values that the cursor keeps, and how many of them no longer count (`skipped`).
        source: Digest of the operator's URL; another URL has other pages.
        version: Its version of OCPI; empty before the first page.
        received_bytes: Bytes of its responses.
        began, ends: `TaskRun.remaining` when its reading began, and when its time ends.
        failures: Failed requests for the next page.
        restarted: Whether it was read again from the first page because it had forgotten the next one.
        error, unexpected: As in `Crawl`.
    """

    state: Literal["reading", "read", "failed"] = "reading"
    pages: int = 0
    kept: int = 0
    skipped: int = 0
    source: str
    version: str = ""
    received_bytes: int = 0
    began: float
    ends: float
    failures: int = 0
    restarted: bool = False
    error: str = ""
    unexpected: str = ""


class PageRecord(msgspec.Struct, kw_only=True, array_like=True):
    """What is kept of a page beside its records.

    Attributes:
        next: URL of the next page; None after the last one.
        linked: As `ListPosition.linked`.
        digests: As `ListPosition.digests`, in Base64.
        total: As `Crawl.total`.
        set_asides: As `Crawl.set_asides`; None if they are those of the page before.
    """

    next: str | None
    linked: bool
    digests: list[bytes]
    total: int | None
    set_asides: SetAsides | None


class OperatorCrawl:
    """Reads one operator.

    Args:
        one: Gets its records.
        operator: The operator; without a URL if it was removed from the setting during the run.
        place: Its place among all operators, from 0.
        module: "locations" or "cdrs".
        read: Checks one record.
        since: The earliest `last_updated` to ask for, UTC; None for all records.
        shares: Its share of time and disk.
    """

    def __init__(
        self,
        one: Crawl,
        operator: Operator,
        place: int,
        module: str,
        read: Reader,
        since: datetime | None,
        shares: Shares,
    ) -> None:
        self._one = one
        self._operator = operator
        self._place = place
        self._module = module
        self._read = read
        self._since = since
        self._shares = shares
        self._run = shares.run
        self._list = ListPosition(None)
        self._pages: Iterator[Page] | None = None
        self._version = ""
        #: Whether the URL of the next page was not received just now, so that the operator may have
        #: forgotten it.
        self._is_stored = False

    def work(self) -> None:
        """Read the operator to its end, or until it has failed. Continues what earlier legs did.

        Raises:
            ReadingEnded: The run, or this leg of it, has ended.
            BaseException: What `Cursor.advance` and `Cursor.kept` raise.
        """
        # A cursor measures the time of its work from here on.
        self._cursor = self._run.cursor(self._operator.name)
        self._position = self._resumed()
        if self._position.state != "reading":
            return
        seconds = self._run.remaining() - self._position.ends
        self._transport = self._shares.transport(self._operator, seconds, self._position.received_bytes)
        try:
            while self._position.state == "reading":
                self._read_page()
        finally:
            self._transport.close()

    def _resumed(self) -> Position:
        """Return the position, after replaying what the cursor keeps."""
        source = hashlib.blake2b(self._operator.url.encode(), digest_size=8).hexdigest()
        began = self._run.remaining()
        new = Position(source=source, began=began, ends=began - self._shares.seconds_for(self._place))
        stored = self._cursor.value
        self._position = position = new if stored is None else msgspec.convert(stored, Position)
        for place, value in enumerate(islice(self._cursor.kept(), position.skipped, None) if stored else ()):
            if place % _CHECK_STEP == 0 and self._shares.stop.is_set():
                raise ReadingEnded("not read further because the leg has ended")
            self._replay(value)
        self._list.pages, self._list.read = position.pages, self._one.read
        self._is_stored = position.pages > 0
        if position.state == "failed":
            self._one.fail(position.error, position.unexpected)
        elif position.state == "reading" and not self._operator.url:
            self._fail(f"removed from {SETTING} while the run was reading it")
        elif position.state == "reading" and position.source != source:
            position.source = source
            self._restart("its URL in the setting has changed")
        return position

    def _replay(self, value: Any) -> None:
        if isinstance(value, dict):
            updated = msgspec.convert(value["last_updated"], type=datetime)
            self._one.add(key_of(value), in_utc(updated), value)
            return
        page = msgspec.convert(value, PageRecord)
        self._list.url, self._list.linked = page.next, page.linked
        self._list.visited.update(page.digests)
        self._one.total = page.total
        if page.set_asides is not None:
            self._one.set_asides = page.set_asides

    def _read_page(self) -> None:
        set_aside = self._one.set_aside
        try:
            page = self._next_page()
            records = [] if page is None else self._take(page)
        except ReadingEnded:
            raise
        except RequestFailed as error:
            self._after_failure(error)
        except OcpiError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001  (the other operators' records are still used)
            self._fail(f"could not be read: {type(error).__name__}", self._transport.redacted(repr(error)))
        else:
            if page is None:
                self._position.state = "read"
                self._advance()
            else:
                self._keep(records, has_set_aside=self._one.set_aside > set_aside)

    def _next_page(self) -> Page | None:
        """Return the next page; None after the last one."""
        if self._pages is None:
            client = OcpiClient(self._transport, self._operator.url)
            if not self._position.version:
                self._list = first_page(client.endpoint(self._module), date_from=self._since)
                self._version = client.version
            else:
                self._version = self._position.version
            self._pages = client.pages_from(self._list)
        return next(self._pages, None)

    def _take(self, page: Page) -> list[bytes]:
        """Add the records of a page; return them as JSON."""
        one = self._one
        one.total = page.total if page.total is not None else one.total
        taken = (self._take_record(raw) for raw in page.records)
        records = [record for record in taken if record is not None]
        self._shares.check_disk(one.spool)
        return records

    def _take_record(self, raw: msgspec.Raw) -> bytes | None:
        """Add a record and return it as JSON; None if it is set aside. One record is decoded at a time."""
        try:
            checked = self._read(raw, self._version)
        except SetAside as aside:
            reason, name = self._transport.redacted(aside.reason), self._transport.redacted(aside.record)
            self._one.add_aside(SetAside(reason, name, aside.updated), self._since)
            return None
        return self._one.add(checked.key, checked.updated, checked.record)

    def _keep(self, records: list[bytes], *, has_set_aside: bool) -> None:
        """Persist a page with its records."""
        position, where = self._position, self._list
        page = PageRecord(
            next=where.url,
            linked=where.linked,
            digests=[*where.digests],
            total=self._one.total,
            set_asides=self._one.set_asides if has_set_aside else None,
        )
        position.pages, position.version = where.pages, self._version
        position.kept += len(records) + 1
        position.failures, self._is_stored = 0, False
        position.received_bytes = self._transport.received_bytes
        self._advance(chain(_decoded(records), [msgspec.to_builtins(page)]))

    def _advance(self, keep: Iterable[Any] = ()) -> None:
        self._cursor.advance(msgspec.to_builtins(self._position), keep=keep)

    def _after_failure(self, error: RequestFailed) -> None:
        """Try the page again later, or start again, or fail."""
        position, run = self._position, self._run
        self._pages = None
        position.failures += 1
        worked_seconds = position.began - run.remaining()
        pause_seconds = min(worked_seconds / RETRIES, MAX_PAUSE_SECONDS)
        if (
            position.failures <= RETRIES
            and worked_seconds >= MIN_SECONDS_TO_RETRY
            and pause_seconds < run.remaining() - position.ends
        ):
            run.log.warning(
                "page of operator could not be read, and is tried again",
                operator=self._operator.name,
                error=error,
                wait_seconds=round(pause_seconds),
            )
            self._is_stored = True
            self._advance()
            self._shares.stop.wait(pause_seconds)
        elif error.refused and self._is_stored and position.pages and not position.restarted:
            position.restarted = True
            self._restart(str(error))
        else:
            self._fail(str(error))

    def _restart(self, reason: str) -> None:
        """Read the operator again from its first page; what it has sent no longer counts."""
        self._run.log.warning(
            "operator is read again from its first page", operator=self._operator.name, error=reason
        )
        position = self._position
        position.pages, position.version, position.failures = 0, "", 0
        position.skipped = position.kept
        self._is_stored = False
        self._one.restart()

    def _fail(self, error: str, unexpected: str = "") -> None:
        self._one.fail(error[:_ERROR_LENGTH], unexpected[:_ERROR_LENGTH])
        position = self._position
        position.state, position.error, position.unexpected = (
            "failed",
            self._one.error,
            self._one.unexpected,
        )
        self._advance()


def _decoded(records: list[bytes]) -> Iterator[Any]:
    """Yield the records decoded, and let go of each: a page may have many megabytes."""
    records.reverse()
    while records:
        yield orjson.loads(records.pop())
