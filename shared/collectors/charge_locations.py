"""The charging locations of all operators, by OCPI (task `collect_charge_locations`).

Each run reads the full set. Of two records of one (country_code, party_id, id) the newer
`last_updated` wins. What was deleted is left out: in OCPI an EVSE is deleted by the status REMOVED, and a
location by having no other EVSEs left. `publish` stays as it was given: who shows a location must
respect it. Each record has one field more than it came with, `nx_operator`.
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

from shared.collectors.ocpi.crawl import crawl
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

#: Upper bounds, in kW, of the powers that are counted together; what is above the last is `over_…`.
POWER_BOUNDS_KW = (3.7, 7.4, 11, 22, 50, 150, 350)
#: Phases that a connector's voltage counts for (8.3.3: "line to neutral for AC_3_PHASE").
_PHASES = {"AC_1_PHASE": 1, "AC_2_PHASE": 2, "AC_2_PHASE_SPLIT": 2, "AC_3_PHASE": 3, "DC": 1}

_DECODER = msgspec.json.Decoder(Location)


class _Source(msgspec.Struct):
    """The fields of a record of the last result that decide which operator it belongs to."""

    country_code: str
    party_id: str
    nx_operator: str

    @property
    def party(self) -> str:
        """The party that owns it, "DE*ABC"."""
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
        operators: whom to ask.
        previous: Reads the last good result. It is read only if an operator failed, whose records are
            kept, or if nothing is remembered.
        run: told how far the work is, and what came of it.
        now: Current time, UTC; by default, this machine's.
        memory: What the last run remembered.
        limits: how far operators are borne with.

    Raises:
        NoOperatorAnswered: all have failed.
        RunLost, DeadlineExceeded: the run has ended.
    """
    now = now or datetime.now(UTC)
    memory = memory or Memory()
    owners = Owners(operators, memory.parties)
    if not memory.parties:
        # Otherwise the memory, published with the last result, has the party of each of its records.
        for _, source in _sources(previous):
            owners.learn(source.party, source.nx_operator)
    with tempfile.TemporaryDirectory(prefix="nx-locations-") as made:
        folder = Path(made)
        reader = partial(read_dated, read_location, now + CLOCK_SKEW)
        crawls = crawl(owners, "locations", reader, run, folder, limits=limits)
        kept = _keep(previous, {one.operator for one in crawls if one.error}, owners, folder)
        counts = Counts()
        fresh = [one.entries() for one in crawls if not one.error]
        for entry in newest(kept.entries(), *fresh):
            location = without_removed(entry.record)
            counts.add(location)
            if location is not None:
                yield location
        summary = summarise(crawls, kept.count, counts)
        remembered = Memory(parties=owners.remembered())
        details = summary | {MEMORY_FIELD: remembered.to_field()}
        run.summarise(fit(summary, ["reasons", "operators"]), details=details)


def read_location(raw: msgspec.Raw, _version: str) -> Checked[Location]:
    """Check one location."""
    return read(raw, _DECODER)


def without_removed(location: dict[str, Any]) -> dict[str, Any] | None:
    """Return a location without the EVSEs that were removed; None where no EVSE is left."""
    evses = [evse for evse in location.get("evses") or () if evse["status"] != "REMOVED"]
    return {**location, "evses": evses} if evses else None


def watts(connector: dict[str, Any]) -> int:
    """Return the power of a connector: what it says, else what voltage, current and phases make."""
    most: int | None = connector.get("max_electric_power")
    if most is not None:
        return most
    power: int = connector["max_voltage"] * connector["max_amperage"] * _PHASES[connector["power_type"]]
    return power


def power_class(power: int) -> str:
    """Return the powers, in watts, that this one is counted with."""
    for bound in POWER_BOUNDS_KW:
        if power <= bound * 1000:
            return f"up_to_{bound:g}_kw"
    return f"over_{POWER_BOUNDS_KW[-1]:g}_kw"


class Counts:
    """EVSEs and connectors by status and power: an EVSE has the power of its strongest connector."""

    def __init__(self) -> None:
        self.locations = 0
        self.deleted = 0
        #: By status and power.
        self._counted: dict[str, Counter[tuple[str, str]]] = {"evses": Counter(), "connectors": Counter()}

    def add(self, location: dict[str, Any] | None) -> None:
        """Count a location; None is one that was deleted."""
        if location is None:
            self.deleted += 1
            return
        self.locations += 1
        for evse in location["evses"]:
            powers = [watts(connector) for connector in evse["connectors"]]
            self._counted["evses"][evse["status"], power_class(max(powers))] += 1
            self._counted["connectors"].update((evse["status"], power_class(power)) for power in powers)

    def told(self) -> dict[str, Any]:
        """Return the counts for a summary."""
        return {what: _told(counted) for what, counted in self._counted.items()}


def summarise(crawls: Sequence[Crawl], kept: int, counts: Counts) -> dict[str, Any]:
    """Return the summary in full, for the details; the run's summary may be a shortened copy."""
    reasons = [{"operator": one.operator, **reason} for one in crawls for reason in one.reasons]
    return {
        "count": counts.locations,
        "deleted": counts.deleted,
        **counts.told(),
        "operators_failed": sum(bool(one.error) for one in crawls),
        "kept_of_failed": kept,
        "set_aside": sum(one.set_aside for one in crawls if not one.error),
        "operators": sorted(
            (one.told() for one in crawls), key=lambda told: told["state"]
        ),  # failed ones first
        "reasons": reasons,
    }


def _told(counted: Counter[tuple[str, str]]) -> dict[str, Any]:
    by_status: Counter[str] = Counter()
    by_power: Counter[str] = Counter()
    by_both: dict[str, dict[str, int]] = {}
    for (status, power), count in sorted(counted.items()):
        by_status[status] += count
        by_power[power] += count
        by_both.setdefault(status, {})[power] = count
    return {
        "count": counted.total(),
        "by_status": dict(by_status),
        "by_power": dict(sorted(by_power.items())),
        "by_status_and_power": by_both,
    }


def _keep(
    previous: Callable[[], Iterable[dict[str, Any]]], failed: set[str], owners: Owners, folder: Path
) -> Spool:
    """Return the records that failed operators had in the last good result, of parties that are theirs."""
    spool = Spool(folder, ".kept")
    for record, source in _sources(previous) if failed else ():
        if source.nx_operator in failed and owners.of(source.party) in {source.nx_operator, None}:
            spool.add(key_of(record), in_utc(msgspec.convert(record["last_updated"], type=datetime)), record)
    return spool


def _sources(previous: Callable[[], Iterable[dict[str, Any]]]) -> Iterator[tuple[dict[str, Any], _Source]]:
    """Yield the records of the last result that came from an operator, each with its source."""
    for record in previous():
        # Another implementation may have written the result.
        with suppress(msgspec.ValidationError):
            yield record, msgspec.convert(record, _Source)
