"""All operators side by side: each read to its end into a spool of its own, or failed and told.

What an operator sent before it failed is not used: newer records with older ones missing would
hide these from the next run.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.collectors.ocpi.client import OcpiClient
from shared.collectors.ocpi.crawled import OPERATOR_FIELD, Crawl
from shared.collectors.ocpi.errors import NoOperatorAnswered, OcpiError, SetAside
from shared.collectors.ocpi.owners import count_party, party_of
from shared.collectors.ocpi.spool import Spool
from shared.collectors.ocpi.transport import Limits, Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    import msgspec

    from shared.collectors.ocpi.operators import Operator
    from shared.collectors.ocpi.owners import Owners
    from shared.collectors.ocpi.reading import Checked
    from shared.tasks import TaskRun

#: Operators that are read at the same time.
PARALLEL = 4
#: Share of a run's time that operators have; the rest is for merging and keeping the result.
TIME_SHARE = 0.6


#: Checks one record of an operator that speaks this version of OCPI, or raises SetAside.
Reader: TypeAlias = "Callable[[msgspec.Raw, str], Checked[Any]]"


def crawl(
    owners: Owners,
    module: str,
    read: Reader,
    run: TaskRun,
    folder: Path,
    *,
    since: Callable[[str], datetime | None] = lambda _: None,
    limits: Limits | None = None,
) -> list[Crawl]:
    """Read a module of all operators.

    Args:
        owners: The operators to ask, and which parties belong to them.
        module: "locations" or "cdrs".
        read: checks one record.
        run: told how far it is; its end ends the reading.
        folder: where spools go.
        since: from an operator's name, the oldest last update that is wanted, UTC; None is all.
        limits: how far operators are borne with.

    Returns:
        What became of each, in their order.

    Raises:
        NoOperatorAnswered: all have failed.
        RunLost, DeadlineExceeded: the run has ended.
    """
    operators = owners.operators
    crawls = [Crawl(each.name, Spool(folder, each.name)) for each in operators]
    ends_at = time.monotonic() + run.remaining() * TIME_SHARE
    bounds = _Bounds(limits or Limits(), ends_at, [one.spool for one in crawls])
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix=module) as threads:
        try:
            at_work = {
                threads.submit(
                    contextvars.copy_context().run,
                    _crawl_one,
                    one,
                    partial(bounds.transport, place, operator),
                    operator.url,
                    module,
                    read,
                    since(operator.name),
                    bounds,
                )
                for place, (operator, one) in enumerate(zip(operators, crawls, strict=True))
            }
            _attend(at_work, crawls, run)
        finally:
            bounds.stop.set()
    owners.settle(crawls)
    _log(crawls, run)
    if all(one.error for one in crawls):
        told = "; ".join(f"{one.operator}: {one.error}" for one in crawls)
        raise NoOperatorAnswered(f"no operator could be read: {told[:2000]}")
    return crawls


def _attend(at_work: set[Future[None]], crawls: list[Crawl], run: TaskRun) -> None:
    """Wait for all, tell how far they are, and notice when the run has ended."""
    while at_work:
        done, at_work = wait(at_work, timeout=0.5, return_when=FIRST_COMPLETED)
        run.progress(sum(one.read for one in crawls), message="reading operators")
        for one in done:
            one.result()


def _log(crawls: list[Crawl], run: TaskRun) -> None:
    for one in crawls:
        if one.unforeseen:
            run.log.error(
                "operator failed with an unexpected error", operator=one.operator, error=one.unforeseen
            )
        elif one.error:
            run.log.warning(
                "operator failed, its last good records stay", operator=one.operator, error=one.error
            )
        elif one.set_aside:
            run.log.warning(
                "records set aside",
                operator=one.operator,
                count=one.set_aside,
                error="; ".join("{record}: {reason}".format(**reason) for reason in one.first_reasons),
            )


class _Bounds:
    """What the operators of a run share, its time and the disk: none can take all of it.

    Args:
        limits: how far each is borne with.
        ends_at: when all must be over, by `time.monotonic()`.
        spools: where their records go.
    """

    def __init__(self, limits: Limits, ends_at: float, spools: list[Spool]) -> None:
        self._limits = limits
        self._ends_at = ends_at
        self._spools = spools
        #: Set by whoever wants no more of them.
        self.stop = threading.Event()

    def transport(self, place: int, operator: Operator) -> Transport:
        """Return the way to an operator, whose time begins now.

        Args:
            place: its place among all, from 0: they are read in this order, so many at a time.
            operator: whom to ask.
        """
        now = time.monotonic()
        turns = math.ceil(len(self._spools) / PARALLEL) - place // PARALLEL
        return Transport(operator, self._limits, now + (self._ends_at - now) / turns, self.stop)

    def check_disk(self, spool: Spool) -> None:
        """See that there is room for what this spool has.

        Raises:
            OcpiError: there is not.
        """
        share = self._limits.disk_bytes / len(self._spools)
        taken = sum(each.disk_bytes for each in self._spools)
        if spool.disk_bytes > share and taken > self._limits.disk_bytes:
            raise OcpiError(f"sent more records than a run has room for: {spool.count}")


def _crawl_one(
    one: Crawl,
    connect: Callable[[], Transport],
    url: str,
    module: str,
    read: Reader,
    since: datetime | None,
    bounds: _Bounds,
) -> None:
    transport = connect()
    client = OcpiClient(transport, url)
    try:
        for page in client.pages(client.endpoint(module), date_from=since):
            one.total = page.total if page.total is not None else one.total
            for raw in page.records:
                _take(one, raw, client.version, read, transport, since)
            bounds.check_disk(one.spool)
    except OcpiError as error:
        one.error = str(error)
    except Exception as error:  # noqa: BLE001  (whatever it is, the others' records are worth having)
        one.error = f"could not be read: {type(error).__name__}"
        one.unforeseen = transport.redacted(repr(error))
    finally:
        transport.close()
        if one.error:
            one.spool.clear()


def _take(
    one: Crawl, raw: msgspec.Raw, version: str, read: Reader, transport: Transport, since: datetime | None
) -> None:
    try:
        checked = read(raw, version)
    except SetAside as aside:
        reason, name = transport.redacted(aside.reason), transport.redacted(aside.record)
        one.add_aside(SetAside(reason, name, aside.updated), since)
        return
    record = checked.record
    count_party(one.parties, party_of(record["country_code"], record["party_id"]))
    record[OPERATOR_FIELD] = one.operator
    one.spool.add(checked.key, checked.updated, record)
