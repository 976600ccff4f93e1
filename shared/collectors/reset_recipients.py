"""Finds the devices that get a reset SMS: silent for long in the health result, and still silent now.

The health result has no telephone numbers. They are read from the documents of these devices only.
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

#: Fields of a recipient's document that are read.
FIELDS = ("phone", "last_seen", "firmware")
#: Bytes of the longest document id that Firestore accepts.
MAX_ID_BYTES = 1_500


@dataclass(frozen=True, slots=True)
class Silence:
    """A silent device. It is one incident until the device reports again.

    Attributes:
        device: The device's id.
        since: Time at which the device was last seen, by its own clock; UTC.
        counted_from: Time from which the silence is measured, UTC: `since`, or the arrival of the last report
            if that is earlier.
    """

    device: str
    since: datetime
    counted_from: datetime

    @property
    def incident(self) -> str:
        """Document id of the silence, unique among all silences."""
        since = f"{self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        incident = f"{self.device}.{since}"
        if len(incident.encode()) <= MAX_ID_BYTES:
            return incident
        return f"{hashlib.sha256(self.device.encode()).hexdigest()}.{since}"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A device that is still silent, with its number and firmware.

    Attributes:
        silence: The silence.
        phone: The number in the device's document, not checked.
        firmware: Version of the firmware; None if it is not known.
    """

    silence: Silence
    phone: object
    firmware: str | None


class _Judged(msgspec.Struct):
    """The fields of a device in the health result that are used here."""

    id: str
    health: str
    last_seen: datetime | None = None
    silent_since: datetime | None = None


def silences(health: bytes, *, now: datetime, longer_than: timedelta) -> list[Silence]:
    """Return the devices that are offline and have been silent for longer than a time, the longest first.

    A device that was never seen is left out, because the start of its silence is not known.

    Args:
        health: Result of `collect_devices_health`, as JSON.
        now: Current time, UTC.
        longer_than: Minimum duration of a silence.

    Raises:
        msgspec.DecodeError: The JSON is not such a result.
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


def still_silent(client: Client, silent: Sequence[Silence]) -> list[Recipient]:
    """Return the devices that have not reported since, in the same order.

    Args:
        client: The database.
        silent: The silent devices, at most a few hundred.

    Raises:
        GoogleAPIError: Firestore did not respond in time.
    """
    devices = client.collection(DEVICES_COLLECTION)
    references = [devices.document(silence.device) for silence in silent]
    reports = {snapshot.id: snapshot for snapshot in read_documents(client, references, FIELDS)}
    return list(_recipients(silent, reports))


def _recipients(silent: Sequence[Silence], reports: dict[str, DocumentSnapshot[Any]]) -> Iterable[Recipient]:
    for silence in silent:
        snapshot = reports.get(silence.device)
        if snapshot is None:
            continue
        report = snapshot.to_dict() or {}
        if silence.counted_from < silence.since and snapshot.update_time > silence.counted_from:
            continue  # The device's clock is ahead, and may have stopped. It has reported since.
        last_seen, firmware = report.get("last_seen"), report.get("firmware")
        if isinstance(last_seen, datetime) and last_seen.astimezone(UTC) == silence.since:
            yield Recipient(silence, report.get("phone"), firmware if isinstance(firmware, str) else None)
