"""The charging locations of all operators, read with OCPI (task `collect_charge_locations`).

Each run reads all locations. Of two records with one (country_code, party_id, id) the newer `last_updated`
wins. Deleted EVSEs and locations are left out. In OCPI, an EVSE is deleted if its status is REMOVED, and a
location if all its EVSEs are. `publish` is not changed; applications that show locations must respect it.
Each record gets the field `nx_operator`. A run may have several legs; each reads on where the last one ended.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.ocpi.crawl import conclude, crawl, merging_seconds, reserved_seconds_of
from shared.collectors.ocpi.crawled import summarise_crawls
from shared.collectors.ocpi.inputs import STEP, Inputs, listed
from shared.collectors.ocpi.memory import FIELD as MEMORY_FIELD
from shared.collectors.ocpi.memory import Memory
from shared.collectors.ocpi.owners import Owners, party_of
from shared.collectors.ocpi.reading import CLOCK_SKEW, Checked, in_utc, key_of, read, read_dated
from shared.collectors.ocpi.records import Location
from shared.collectors.ocpi.spool import Spool, newest
from shared.collectors.ocpi.summary import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shared.collectors.ocpi.crawled import Crawl
    from shared.collectors.ocpi.operators import Operator
    from shared.collectors.ocpi.transport import Limits
    from shared.tasks import TaskRun

#: Upper bounds of the power classes in the summary, in kW. Higher powers are counted as `over_…`.
POWER_BOUNDS_KW = (3.7, 7.4, 11, 22, 50, 150, 350)
#: Factor for a connector's voltage by power type (8.3.3: "line to neutral for AC_3_PHASE").
_PHASES = {"AC_1_PHASE": 1, "AC_2_PHASE": 2, "AC_2_PHASE_SPLIT": 2, "AC_3_PHASE": 3, "DC": 1}

_DECODER = msgspec.json.Decoder(Location)


class _Source(msgspec.Struct):
    """The fields of a record of the last result that decide which operator it belongs to."""

    country_code: str
    party_id: str
    nx_operator: str

    @property
    def party(self) -> str:
        """The party that owns the record, "DE*ABC"."""
        return party_of(self.country_code, self.party_id)


def collect(
    operators: Sequence[Operator],
    previous: Callable[[], Iterable[dict[str, Any]]],
    run: TaskRun,
    *,
    now: datetime | None = None,
    memory: Memory | None = None,
    limits: Limits | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield every location, ordered by key.

    Args:
        operators: The operators to read.
        previous: Reads the last good result. It is called only if an operator failed, whose records are kept,
            or if the memory is empty.
        run: The run; it gets progress, summary and details.
        now: Current time, UTC; by default, this machine's.
        memory: Memory of the last run.
        limits: Limits on the requests to each operator.

    Raises:
        NoOperatorAnswered: All operators failed.
        RunLost, RunCancelled, DeadlineExceeded, LegEnded: The run, or this leg of it, has ended.
    """
    given = Inputs(
        now=now or datetime.now(UTC),
        operators=listed(operators),
        memory=memory or Memory(),
        reserved_seconds=reserved_seconds_of(run),
    )
    inputs = msgspec.convert(run.step(STEP, msgspec.to_builtins, given), Inputs)
    operators = inputs.operators_in(operators)
    owners = Owners(operators, inputs.memory.parties)
    if not inputs.memory.parties:
        # A memory, if there is one, has the parties of all records of the last result.
        for _, source in _sources(previous):
            owners.learn(source.party, source.nx_operator)
    with tempfile.TemporaryDirectory(prefix="nx-locations-") as folder_name:
        folder = Path(folder_name)
        reader = partial(read_dated, read_location, inputs.now + CLOCK_SKEW)
        crawls = crawl(
            operators,
            "locations",
            reader,
            run,
            folder,
            limits=limits,
            reserved_seconds=inputs.reserved_seconds,
        )
        run.ensure_leg_time(merging_seconds(sum(one.read for one in crawls)))
        conclude(crawls, owners, run)
        kept = _keep(previous, {one.operator for one in crawls if one.error}, owners, folder)
        counts = Counts()
        fresh = [one.entries() for one in crawls if not one.error]
        for entry in newest(kept.entries(), *fresh):
            location = without_removed(entry.record)
            counts.add(location)
            if location is not None:
                yield location
            del location  # or it would be in memory while the next one is decoded
        summary = summarise(crawls, kept.count, counts)
        details = summary | {MEMORY_FIELD: Memory(parties=owners.remembered()).to_field()}
        run.summarise(fit(summary, ["reasons", "operators"]), details=details)


def read_location(raw: msgspec.Raw, _version: str) -> Checked[Location]:
    """Check a location; errors as `read`."""
    return read(raw, _DECODER)


def without_removed(location: dict[str, Any]) -> dict[str, Any] | None:
    """Return a location without removed EVSEs; None if no EVSE is left."""
    evses = [evse for evse in location.get("evses") or () if evse["status"] != "REMOVED"]
    return {**location, "evses": evses} if evses else None


def watts(connector: dict[str, Any]) -> int:
    """Return a connector's power in watts, if necessary from voltage, current and phases."""
    max_power: int | None = connector.get("max_electric_power")
    if max_power is not None:
        return max_power
    power: int = connector["max_voltage"] * connector["max_amperage"] * _PHASES[connector["power_type"]]
    return power


def power_class(power: int) -> str:
    """Return the power class of a power in watts, such as `up_to_22_kw`."""
    for bound in POWER_BOUNDS_KW:
        if power <= bound * 1000:
            return f"up_to_{bound:g}_kw"
    return f"over_{POWER_BOUNDS_KW[-1]:g}_kw"


class Counts:
    """Counts EVSEs and connectors by status and power. An EVSE has the power of its strongest connector."""

    def __init__(self) -> None:
        self.locations = 0
        self.deleted = 0
        #: Counts by status and power class.
        self._counts: dict[str, Counter[tuple[str, str]]] = {"evses": Counter(), "connectors": Counter()}

    def add(self, location: dict[str, Any] | None) -> None:
        """Count a location; None for a deleted one."""
        if location is None:
            self.deleted += 1
            return
        self.locations += 1
        for evse in location["evses"]:
            powers = [watts(connector) for connector in evse["connectors"]]
            self._counts["evses"][evse["status"], power_class(max(powers))] += 1
            self._counts["connectors"].update((evse["status"], power_class(power)) for power in powers)

    def to_summary(self) -> dict[str, Any]:
        """Return the counts as fields of a summary."""
        return {name: _by_status_and_power(counts) for name, counts in self._counts.items()}


def summarise(crawls: Sequence[Crawl], kept: int, counts: Counts) -> dict[str, Any]:
    """Return the full summary, for the details. The run's summary may be shortened.

    Args:
        crawls: The outcome of each operator.
        kept: Number of records that failed operators had in the last result.
        counts: The counts of the new result.
    """
    return {
        "count": counts.locations,
        "deleted": counts.deleted,
        **counts.to_summary(),
        "kept_of_failed": kept,
        **summarise_crawls(crawls),
    }


def _by_status_and_power(counts: Counter[tuple[str, str]]) -> dict[str, Any]:
    by_status: Counter[str] = Counter()
    by_power: Counter[str] = Counter()
    by_status_and_power: dict[str, dict[str, int]] = {}
    for (status, power), count in sorted(counts.items()):
        by_status[status] += count
        by_power[power] += count
        by_status_and_power.setdefault(status, {})[power] = count
    return {
        "count": counts.total(),
        "by_status": dict(by_status),
        "by_power": dict(sorted(by_power.items())),
        "by_status_and_power": by_status_and_power,
    }


def _keep(
    previous: Callable[[], Iterable[dict[str, Any]]], failed: set[str], owners: Owners, folder: Path
) -> Spool:
    """Return the records of failed operators in the last good result, of parties that belong to them."""
    spool = Spool(folder, ".kept")
    for record, source in _sources(previous) if failed else ():
        if source.nx_operator in failed and owners.of(source.party) in {source.nx_operator, None}:
            spool.add(key_of(record), in_utc(msgspec.convert(record["last_updated"], type=datetime)), record)
    return spool


def _sources(previous: Callable[[], Iterable[dict[str, Any]]]) -> Iterator[tuple[dict[str, Any], _Source]]:
    """Yield the records of the last result that came from an operator, each with its source."""
    for record in previous():
        # A legacy result may have records without these fields.
        with suppress(msgspec.ValidationError):
            yield record, msgspec.convert(record, _Source)
