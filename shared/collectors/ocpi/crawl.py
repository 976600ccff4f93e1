"""Reads all operators in parallel, each into its own spool, over all legs of a run.

Records that an operator sent before it failed are discarded. Otherwise the next run would start at the newest
of them, and miss older ones that were not sent.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from shared.collectors.ocpi.crawled import Crawl
from shared.collectors.ocpi.errors import NoOperatorAnswered, OcpiError
from shared.collectors.ocpi.operator_crawl import OperatorCrawl
from shared.collectors.ocpi.spool import Spool
from shared.collectors.ocpi.transport import Limits, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from shared.collectors.ocpi.operator_crawl import Reader
    from shared.collectors.ocpi.operators import Operator
    from shared.collectors.ocpi.owners import Owners
    from shared.tasks import TaskRun

#: Operators that are read at the same time.
PARALLEL = 4
#: Share of a run's time for merging and storing the result; the rest is for reading.
MERGE_SHARE = 0.4
#: Longest such time, in seconds: two legs, in case that the first one fails.
MAX_MERGE_SECONDS = 3_600.0
#: Time for merging: for the calls of Storage and Firestore, and for each record of the last result and of the
#: operators. A test machine with two busy cores takes less than half of that.
_MERGING_SECONDS = 60.0
_MERGING_SECONDS_PER_RECORD = 0.001


def reserved_seconds_of(run: TaskRun) -> float:
    """Return the seconds at the end of a run, which begins now, in which no operator is read."""
    return min(run.remaining() * MERGE_SHARE, MAX_MERGE_SECONDS)


def merging_seconds(records: int) -> float:
    """Return the seconds of a leg in which so many records can be read, merged and stored."""
    return _MERGING_SECONDS + records * _MERGING_SECONDS_PER_RECORD


def crawl(  # noqa: PLR0913  (each is an input of its own)
    operators: Sequence[Operator],
    module: str,
    read: Reader,
    run: TaskRun,
    folder: Path,
    *,
    since: Callable[[str], datetime | None] = lambda _: None,
    limits: Limits | None = None,
    reserved_seconds: float | None = None,
) -> list[Crawl]:
    """Read a module of all operators. Each has a cursor with its name, at which the next leg continues.

    Args:
        operators: The operators, the same ones in each leg.
        module: "locations" or "cdrs".
        read: Checks one record.
        run: The run; it gets the progress, and its end ends the reading.
        folder: Folder of the spools.
        since: Returns, by an operator's name, the earliest `last_updated` to ask for, UTC; None for all
            records. It must return the same in each leg.
        limits: Limits on the requests to each operator.
        reserved_seconds: Seconds at the end of the run in which no operator is read, the same in each leg;
            by default, those of a run that begins now.

    Returns:
        The outcome of each operator, in the order of `operators`, for `conclude`.

    Raises:
        RunLost, RunCancelled, DeadlineExceeded, LegEnded: The run, or this leg of it, has ended.
        TaskError: A checkpoint could not be read or persisted.
    """
    crawls = [Crawl(each.name, Spool(folder, each.name)) for each in operators]
    if reserved_seconds is None:
        reserved_seconds = reserved_seconds_of(run)
    shares = Shares(limits or Limits(), run, reserved_seconds, [one.spool for one in crawls])
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix=module) as threads:
        try:
            pending = {
                threads.submit(
                    contextvars.copy_context().run,
                    OperatorCrawl(one, operator, place, module, read, since(operator.name), shares).work,
                )
                for place, (operator, one) in enumerate(zip(operators, crawls, strict=True))
            }
            _wait(pending, crawls, run)
        finally:
            shares.stop.set()
    return crawls


def conclude(crawls: list[Crawl], owners: Owners, run: TaskRun) -> None:
    """Decide which operator's records of each party count, and log failures and records set aside.

    Raises:
        NoOperatorAnswered: All operators failed.
    """
    owners.settle(crawls)
    _log(crawls, run)
    if all(one.error for one in crawls):
        errors = "; ".join(f"{one.operator}: {one.error}" for one in crawls)
        raise NoOperatorAnswered(f"no operator could be read: {errors[:2000]}")


def _wait(pending: set[Future[None]], crawls: list[Crawl], run: TaskRun) -> None:
    """Wait for all operators and report progress.

    When the run or the leg ends, its error is raised here even while operators are waiting for responses.
    """
    while pending:
        done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        run.progress(sum(one.read for one in crawls), message="reading operators")
        for one in done:
            one.result()
        if pending:
            run.ensure_leg_time(0)


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
                received=one.read,
                error="; ".join("{record}: {reason}".format(**reason) for reason in one.first_reasons),
            )


class Shares:
    """Divides a run's time and disk between its operators, so that none takes all of it.

    Args:
        limits: Limits on each operator.
        run: The run.
        reserved_seconds: Seconds at the end of the run in which none is read.
        spools: The operators' records.

    Attributes:
        run: The run.
        stop: Set when the run, or this leg of it, has ended.
    """

    def __init__(self, limits: Limits, run: TaskRun, reserved_seconds: float, spools: list[Spool]) -> None:
        self.run = run
        self.stop = threading.Event()
        self._limits = limits
        self._reserved_seconds = reserved_seconds
        self._spools = spools

    def seconds_for(self, place: int) -> float:
        """Return the seconds for an operator that begins now.

        Args:
            place: Its place among all operators, from 0. They are read in this order, `PARALLEL` at a time.
        """
        turns = math.ceil(len(self._spools) / PARALLEL) - place // PARALLEL
        return (self.run.remaining() - self._reserved_seconds) / turns

    def transport(self, operator: Operator, seconds: float, received_bytes: int) -> Transport:
        """Return a transport to an operator.

        Args:
            operator: The operator.
            seconds: Seconds that are left for it.
            received_bytes: Bytes that it has sent in earlier legs.
        """
        return Transport(operator, self._limits, time.monotonic() + seconds, self.stop, received_bytes)

    def check_disk(self, spool: Spool) -> None:
        """Check that an operator's records fit on the disk.

        Raises:
            OcpiError: They exceed its share, and all records exceed the limit.
        """
        share = self._limits.disk_bytes / len(self._spools)
        taken = sum(each.disk_bytes for each in self._spools)
        if spool.disk_bytes > share and taken > self._limits.disk_bytes:
            raise OcpiError(f"sent more records than a run can store, got {spool.count}")
