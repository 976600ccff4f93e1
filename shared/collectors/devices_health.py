"""Judges every device by its last report (task `collect_devices_health`).

Reports are documents of the collection `nx-devices`. A value that is missing or of the wrong type is a
finding about the device, and does not fail the run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.collectors.firestore_reads import read_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.cloud.firestore import Client, DocumentSnapshot

    from shared.tasks import TaskRun

DEVICES_COLLECTION = "nx-devices"
#: The fields that are read; the telephone number is not needed.
FIELDS = ("name", "last_seen", "battery_voltage", "gsm_signal", "gps_fix", "firmware")

#: Devices per request, about a megabyte.
PAGE_SIZE = 5_000

#: Silence after which a device is offline.
OFFLINE_AFTER = timedelta(hours=24)
#: Silence after which a device is late.
LATE_AFTER = timedelta(hours=1)
#: How far a device's clock may be ahead of the time at which its report was stored.
MAX_CLOCK_LEAD = timedelta(minutes=5)
#: Voltages of a 12 V battery below which it is empty, or low.
BATTERY_EMPTY_VOLTS, BATTERY_LOW_VOLTS = 11.5, 12.0
#: GSM signal (CSQ of modems, 0 to 31; 99 is unknown) below which it is bad, or weak.
SIGNAL_BAD, SIGNAL_WEAK = 5, 10
SIGNAL_UNKNOWN = 99

#: Values of `health`, from best to worst.
HEALTH = ("good", "degraded", "unhealthy", "offline")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a device.

    Attributes:
        health: The health of a device with this fault, one of `HEALTH`.
        reason: The fault in words.
    """

    health: str
    reason: str


def collect(client: Client, now: datetime, run: TaskRun | None = None) -> list[dict[str, Any]]:
    """Return the health of every device, ordered by id.

    Args:
        client: The database.
        now: Current time, UTC.
        run: The run, which gets progress and summary; None outside a task.

    Raises:
        GoogleAPIError: Firestore did not respond in time.
        RunLost: Another attempt holds the task.
        DeadlineExceeded: The run's deadline has passed.
    """
    devices: list[dict[str, Any]] = []
    for page in _pages(client):
        devices += [
            judge(snapshot.id, snapshot.to_dict() or {}, now, stored=snapshot.update_time)
            for snapshot in page
        ]
        if run is not None:
            run.progress(len(devices), message="judging devices")
    if run is not None:
        run.summarise({"count": len(devices), "by_health": count_by_health(devices)})
    return devices


def _pages(client: Client) -> Iterator[list[DocumentSnapshot[Any]]]:
    """Yield all devices in pages, ordered by id, so that requests do not grow with the fleet."""
    query = client.collection(DEVICES_COLLECTION).select(FIELDS).order_by("__name__").limit(PAGE_SIZE)
    next_page = query
    while page := read_page(next_page):
        yield page
        if len(page) < PAGE_SIZE:
            return
        next_page = query.start_after(page[-1])


def judge(
    device_id: str, report: Mapping[str, object], now: datetime, *, stored: datetime | None = None
) -> dict[str, Any]:
    """Return the health of a device, the reasons, and the values that it depends on.

    Silence is measured from `last_seen`, or from `stored` if that is earlier. Otherwise a device whose clock
    is ahead would not become silent in time.

    Args:
        device_id: Id of the document.
        report: Last report of the device, with the fields of `FIELDS`; any may be missing or invalid.
        now: Current time, UTC.
        stored: Time at which the document was last written, UTC.
    """
    last_seen = _moment(report.get("last_seen"))
    silent_since = min(last_seen, stored) if last_seen and stored else last_seen
    clock = _clock(last_seen, stored or now)
    findings = [*_silence(silent_since, now), *clock, *_battery(report), *_signal(report), *_position(report)]
    worst = max((finding.health for finding in findings), key=HEALTH.index, default="good")
    return {
        "id": device_id,
        "name": _text(report.get("name")),
        "health": worst,
        "reasons": [finding.reason for finding in findings],
        "last_seen": last_seen,
        "silent_since": silent_since,
        "battery_voltage": _number(report.get("battery_voltage")),
        "gsm_signal": _number(report.get("gsm_signal")),
        "gps_fix": report.get("gps_fix") if isinstance(report.get("gps_fix"), bool) else None,
        "firmware": _text(report.get("firmware")),
    }


def count_by_health(devices: Iterable[Mapping[str, object]]) -> dict[str, int]:
    """Return the number of devices by health."""
    counts = Counter(device["health"] for device in devices)
    return {health: counts[health] for health in HEALTH}


def _silence(silent_since: datetime | None, now: datetime) -> list[Finding]:
    if silent_since is None:
        return [Finding("offline", "never seen")]
    silent = now - silent_since
    if silent > OFFLINE_AFTER:
        return [Finding("offline", f"silent for {_duration(silent)}")]
    if silent > LATE_AFTER:
        return [Finding("degraded", f"silent for {_duration(silent)}")]
    return []


def _clock(last_seen: datetime | None, stored: datetime) -> list[Finding]:
    ahead = last_seen - stored if last_seen else timedelta(0)
    return [Finding("degraded", f"clock ahead by {_duration(ahead)}")] if ahead > MAX_CLOCK_LEAD else []


def _battery(report: Mapping[str, object]) -> list[Finding]:
    volts = _number(report.get("battery_voltage"))
    if volts is None:
        return [Finding("degraded", "battery voltage unknown")]
    if volts < BATTERY_EMPTY_VOLTS:
        return [Finding("unhealthy", f"battery empty ({volts:.1f} V)")]
    if volts < BATTERY_LOW_VOLTS:
        return [Finding("degraded", f"battery low ({volts:.1f} V)")]
    return []


def _signal(report: Mapping[str, object]) -> list[Finding]:
    signal = _number(report.get("gsm_signal"))
    if signal is None or signal == SIGNAL_UNKNOWN:
        return [Finding("degraded", "GSM signal unknown")]
    if signal < SIGNAL_BAD:
        return [Finding("unhealthy", f"GSM signal bad ({signal:g})")]
    if signal < SIGNAL_WEAK:
        return [Finding("degraded", f"GSM signal weak ({signal:g})")]
    return []


def _position(report: Mapping[str, object]) -> list[Finding]:
    return [] if report.get("gps_fix") is True else [Finding("degraded", "no GPS fix")]


def _duration(silent: timedelta) -> str:
    minutes = int(silent.total_seconds() // 60)
    hours = minutes // 60
    if hours < 1:
        return f"{minutes} min"
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h"


def _moment(value: object) -> datetime | None:
    """Return a time with a time zone; None for other values."""
    return value if isinstance(value, datetime) and value.utcoffset() is not None else None


def _number(value: object) -> float | None:
    """Return a finite number; None for other values, such as NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < float("inf") else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
