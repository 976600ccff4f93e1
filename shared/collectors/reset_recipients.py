"""Who gets a reset SMS: devices that the health result shows silent for long, and that still are.

The health result has no telephone number. Numbers are read from the devices' documents, of those
devices alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from shared.collectors.devices_health import DEVICES_COLLECTION
from shared.collectors.firestore_reads import read_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.cloud.firestore import Client, DocumentSnapshot

#: What a recipient's document is asked for.
FIELDS = ("phone", "last_seen", "firmware")
#: Bytes of a document id at most, Firestore's limit.
MAX_ID_BYTES = 1_500


@dataclass(frozen=True, slots=True)
class Silence:
    """A device that is silent: one incident, until it is seen again.

    Attributes:
        device: The device's id.
        since: Time at which the device was last seen, by its own clock; UTC.
        counted_from: Time from which the silence counts: `since`, or the arrival of the last report if
            that is earlier; UTC.
    """

    device: str
    since: datetime
    counted_from: datetime

    @property
    def incident(self) -> str:
        """Document id of the silence, different from that of every other silence."""
        since = f"{self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        incident = f"{self.device}.{since}"
        if len(incident.encode()) <= MAX_ID_BYTES:
            return incident
        return f"{hashlib.sha256(self.device.encode()).hexdigest()}.{since}"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A device that is still silent, and where it is reached.

    Attributes:
        silence: its incident.
        phone: what its document has as its number, right or wrong.
        firmware: its firmware's version, where it is known.
    """

    silence: Silence
    phone: object
    firmware: str | None


class _Judged(msgspec.Struct):
    """A device of the health result, as far as it matters here."""

    id: str
    health: str
    last_seen: datetime | None = None
    silent_since: datetime | None = None


def silences(health: bytes, *, now: datetime, longer_than: timedelta) -> list[Silence]:
    """Return the devices that were found offline and are silent for longer, the longest first.

    A device that was never seen is not among them: nobody knows since when it is silent.

    Args:
        health: the result of `collect_devices_health`, as JSON.
        now: the time that silences are measured to, UTC.
        longer_than: how long a silence must be.

    Raises:
        msgspec.DecodeError: it is no such result.
    """
    devices = msgspec.json.decode(health, type=list[_Judged])
    found = [
        Silence(device.id, device.last_seen, device.silent_since or device.last_seen)
        for device in devices
        if device.health == "offline"
        and device.last_seen
        and now - (device.silent_since or device.last_seen) > longer_than
    ]
    return sorted(found, key=lambda silence: (silence.since, silence.device))


def still_silent(client: Client, found: Sequence[Silence]) -> list[Recipient]:
    """Return those that have not been seen since, in the same order, with what a message needs.

    Args:
        client: the database.
        found: a few hundred at most.

    Raises:
        GoogleAPIError: Firestore did not answer within its time.
    """
    devices = client.collection(DEVICES_COLLECTION)
    references = [devices.document(silence.device) for silence in found]
    reports = {snapshot.id: snapshot for snapshot in read_documents(client, references, FIELDS)}
    return list(_recipients(found, reports))


def _recipients(found: Sequence[Silence], reports: dict[str, DocumentSnapshot[Any]]) -> Iterable[Recipient]:
    for silence in found:
        snapshot = reports.get(silence.device)
        if snapshot is None:
            continue
        report = snapshot.to_dict() or {}
        if silence.counted_from < silence.since and snapshot.update_time > silence.counted_from:
            continue  # a clock that is ahead, and stands still perhaps: the device has reported since
        seen, firmware = report.get("last_seen"), report.get("firmware")
        if isinstance(seen, datetime) and seen.astimezone(UTC) == silence.since:
            yield Recipient(silence, report.get("phone"), firmware if isinstance(firmware, str) else None)
