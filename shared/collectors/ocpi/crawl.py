"""Reads all operators in parallel, each into its own spool.

Records that an operator sent before it failed are discarded. Otherwise the next run would start at the newest
of them, and miss older ones that were not sent.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

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
    from shared.collectors.ocpi.reading import Checked, Updated
    from shared.tasks import TaskRun

#: Operators that are read at the same time.
PARALLEL = 4
#: Share of a run's time for reading; the rest is for merging and storing the result.
TIME_SHARE = 0.6

#: Checks a record of an operator with this version of OCPI, or raises SetAside.
Reader: TypeAlias = "Callable[[msgspec.Raw, str], Checked[Updated]]"


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
        owners: The operators, and which parties belong to them.
        module: "locations" or "cdrs".
        read: Checks one record.
        run: The run; it gets the progress, and its end ends the reading.
        folder: Folder of the spools.
        since: Returns, by an operator's name, the earliest `last_updated` to ask for, UTC; None for all
            records.
        limits: Limits on the requests to each operator.

    Returns:
        The outcome of each operator, in the order of `owners`.

    Raises:
        NoOperatorAnswered: All operators failed.
        RunLost, DeadlineExceeded: The run has ended.
    """
    operators = owners.operators
    crawls = [Crawl(each.name, Spool(folder, each.name)) for each in operators]
    deadline = time.monotonic() + run.remaining() * TIME_SHARE
    shares = _Shares(limits or Limits(), deadline, [one.spool for one in crawls])
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix=module) as threads:
        try:
            pending = {
                threads.submit(
                    contextvars.copy_context().run,
                    _crawl_one,
                    one,
                    partial(shares.transport, place, operator),
                    operator.url,
                    module,
                    read,
                    since(operator.name),
                    shares,
                )
                for place, (operator, one) in enumerate(zip(operators, crawls, strict=True))
            }
            _wait(pending, crawls, run)
        finally:
            shares.stop.set()
    owners.settle(crawls)
    _log(crawls, run)
    if all(one.error for one in crawls):
        errors = "; ".join(f"{one.operator}: {one.error}" for one in crawls)
        raise NoOperatorAnswered(f"no operator could be read: {errors[:2000]}")
    return crawls


def _wait(pending: set[Future[None]], crawls: list[Crawl], run: TaskRun) -> None:
    """Wait for all operators and report progress, which raises an error when the run has ended."""
    while pending:
        done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        run.progress(sum(one.read for one in crawls), message="reading operators")
        for one in done:
            one.result()


def _log(crawls: list[Crawl], run: TaskRun) -> None:
    for one in crawls:
        if one.unexpected:
            run.log.error(
                "operator failed with an unexpected error", operator=one.operator, error=one.unexpected
            )
        elif one.error:
            run.log.warning("operator failed", operator=one.operator, error=one.error)
        elif one.set_aside:
            run.log.warning(
                "records set aside",
                operator=one.operator,
                count=one.set_aside,
                error="; ".join("{record}: {reason}".format(**reason) for reason in one.first_reasons),
            )


class _Shares:
    """Divides a run's time and disk between its operators, so that none takes all of it.

    Args:
        limits: Limits on each operator.
        deadline: Time at which all must end, by `time.monotonic()`.
        spools: The operators' records.
    """

    def __init__(self, limits: Limits, deadline: float, spools: list[Spool]) -> None:
        self._limits = limits
        self._deadline = deadline
        self._spools = spools
        #: Set when the run has ended.
        self.stop = threading.Event()

    def transport(self, place: int, operator: Operator) -> Transport:
        """Return a transport to an operator, whose time begins now.

        Args:
            place: Place among all operators, from 0. They are read in this order, `PARALLEL` at a time.
            operator: The operator.
        """
        now = time.monotonic()
        turns = math.ceil(len(self._spools) / PARALLEL) - place // PARALLEL
        return Transport(operator, self._limits, now + (self._deadline - now) / turns, self.stop)

    def check_disk(self, spool: Spool) -> None:
        """Check that an operator's records fit on the disk.

        Raises:
            OcpiError: They exceed its share, and all records exceed the limit.
        """
        share = self._limits.disk_bytes / len(self._spools)
        taken = sum(each.disk_bytes for each in self._spools)
        if spool.disk_bytes > share and taken > self._limits.disk_bytes:
            raise OcpiError(f"sent more records than a run can store, got {spool.count}")


def _crawl_one(
    one: Crawl,
    connect: Callable[[], Transport],
    url: str,
    module: str,
    read: Reader,
    since: datetime | None,
    shares: _Shares,
) -> None:
    transport = connect()
    client = OcpiClient(transport, url)
    try:
        for page in client.pages(client.endpoint(module), date_from=since):
            one.total = page.total if page.total is not None else one.total
            for raw in page.records:
                _add(one, raw, client.version, read, transport, since)
            shares.check_disk(one.spool)
    except OcpiError as error:
        one.error = str(error)
    except Exception as error:  # noqa: BLE001  (the other operators' records are still used)
        one.error = f"could not be read: {type(error).__name__}"
        one.unexpected = transport.redacted(repr(error))
    finally:
        transport.close()
        if one.error:
            one.spool.clear()


def _add(
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
