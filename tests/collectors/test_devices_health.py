"""Rules for the health of devices, and the collector on a real database."""

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPIError
from hypothesis import given
from hypothesis import strategies as st

from emulators import demo_data
from shared import firebase
from shared.collectors import devices_health, firestore_reads
from shared.collectors.devices_health import (
    DEVICES_COLLECTION,
    FIELDS,
    HEALTH,
    collect,
    count_by_health,
    judge,
)
from tests.faults.faulty import Fault, Faulty, faulty_client

NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)
WELL = {
    "name": "Tracker 1",
    "last_seen": NOW - timedelta(minutes=3),
    "battery_voltage": 12.6,
    "gsm_signal": 20,
    "gps_fix": True,
    "firmware": "4.1.0",
}
BREATH = timedelta(microseconds=1)

#: Values that a Firestore document can hold, valid or invalid for a device.
ANY_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
ANY_REPORT = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, ANY_VALUE))
NO_NUMBER = [None, math.nan, math.inf, -math.inf, "12.6", "", True, [12.6], {"volts": 12.6}, b"\x0c"]


def judged(**changes: Any) -> tuple[str, list[str]]:
    """Health and reasons of a healthy device with changed fields."""
    device = judge("d", WELL | changes, NOW)
    return device["health"], device["reasons"]


def test_silence_counts_from_the_arrival_of_the_report_when_the_clock_is_ahead() -> None:
    """Such a device can be silent, too, and its clock is a reason."""
    ahead = WELL | {"last_seen": NOW + timedelta(days=365)}
    fresh = judge("d", ahead, NOW, stored=NOW - timedelta(minutes=3))
    assert (fresh["health"], fresh["reasons"]) == ("degraded", ["clock ahead by 365 d 0 h"])
    silent = judge("d", ahead, NOW, stored=NOW - timedelta(hours=30))
    assert (silent["health"], silent["reasons"][0]) == ("offline", "silent for 1 d 6 h")
    assert silent["silent_since"] == NOW - timedelta(hours=30)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(minutes=5)])
def test_a_small_clock_skew_is_accepted(ahead: timedelta) -> None:
    """And so is a report that was stored long after `last_seen`."""
    device = judge("d", WELL | {"last_seen": NOW + ahead}, NOW, stored=NOW)
    assert (device["health"], device["reasons"]) == ("good", [])
    late = judge("d", WELL | {"last_seen": NOW - timedelta(minutes=50)}, NOW, stored=NOW)
    assert (late["health"], late["silent_since"]) == ("good", NOW - timedelta(minutes=50))


def test_a_healthy_device_is_good() -> None:
    """It has the values that are judged, and no reasons."""
    last_seen = WELL["last_seen"]
    expected = {"id": "d", "health": "good", "reasons": [], "silent_since": last_seen, **WELL}
    assert judge("d", WELL, NOW) == expected


@pytest.mark.parametrize(
    ("silent", "health", "reasons"),
    [
        (timedelta(0), "good", []),
        (-timedelta(minutes=2), "good", []),
        (timedelta(hours=1), "good", []),
        (timedelta(hours=1) + BREATH, "degraded", ["silent for 1 h"]),
        (timedelta(hours=24), "degraded", ["silent for 1 d 0 h"]),
        (timedelta(hours=24) + BREATH, "offline", ["silent for 1 d 0 h"]),
        (timedelta(days=9, hours=5), "offline", ["silent for 9 d 5 h"]),
    ],
)
def test_silence_is_judged_beyond_its_thresholds(silent: timedelta, health: str, reasons: list[str]) -> None:
    """After more than an hour it is degraded, after more than a day offline."""
    assert judged(last_seen=NOW - silent) == (health, reasons)


@pytest.mark.parametrize(
    ("volts", "health", "reasons"),
    [
        (12.0, "good", []),
        (math.nextafter(12.0, 0), "degraded", ["battery low (12.0 V)"]),
        (11.5, "degraded", ["battery low (11.5 V)"]),
        (math.nextafter(11.5, 0), "unhealthy", ["battery empty (11.5 V)"]),
        (11, "unhealthy", ["battery empty (11.0 V)"]),
        (0, "unhealthy", ["battery empty (0.0 V)"]),
        (-3.5, "unhealthy", ["battery empty (-3.5 V)"]),
    ],
)
def test_the_battery_is_judged_below_its_thresholds(volts: float, health: str, reasons: list[str]) -> None:
    """Below 12.0 V it is low, below 11.5 V empty."""
    assert judged(battery_voltage=volts) == (health, reasons)


@pytest.mark.parametrize(
    ("signal", "health", "reasons"),
    [
        (31, "good", []),
        (10, "good", []),
        (9, "degraded", ["GSM signal weak (9)"]),
        (5, "degraded", ["GSM signal weak (5)"]),
        (4.5, "unhealthy", ["GSM signal bad (4.5)"]),
        (4, "unhealthy", ["GSM signal bad (4)"]),
        (0, "unhealthy", ["GSM signal bad (0)"]),
        (-1, "unhealthy", ["GSM signal bad (-1)"]),
        (99, "degraded", ["GSM signal unknown"]),
    ],
)
def test_the_signal_is_judged_below_its_thresholds(signal: float, health: str, reasons: list[str]) -> None:
    """Below 10 it is weak, below 5 bad; 99 means unknown to a modem."""
    assert judged(gsm_signal=signal) == (health, reasons)


@pytest.mark.parametrize("fix", [False, None, 0, 1, "true", [True]])
def test_only_true_is_a_gps_fix(fix: object) -> None:
    assert judged(gps_fix=fix) == ("degraded", ["no GPS fix"])


@pytest.mark.parametrize("value", NO_NUMBER, ids=repr)
def test_an_invalid_number_is_shown_as_null_with_a_reason(value: object) -> None:
    """Missing, not finite, or of a wrong type."""
    assert judged(battery_voltage=value) == ("degraded", ["battery voltage unknown"])
    assert judged(gsm_signal=value) == ("degraded", ["GSM signal unknown"])
    device = judge("d", WELL | {"battery_voltage": value, "gsm_signal": value}, NOW)
    assert (device["battery_voltage"], device["gsm_signal"]) == (None, None)


@pytest.mark.parametrize("value", [None, "2026-05-05T12:00:00Z", 1777982400, True, datetime(2026, 5, 5)])  # noqa: DTZ001
def test_an_invalid_last_seen_counts_as_never(value: object) -> None:
    """A time without a zone is ambiguous and therefore invalid."""
    device = judge("d", WELL | {"last_seen": value}, NOW)
    assert (device["health"], device["reasons"], device["last_seen"]) == ("offline", ["never seen"], None)


def test_a_device_that_reports_nothing_is_offline() -> None:
    """The reasons name each missing value."""
    device = judge("d", {}, NOW)
    assert device["health"] == "offline"
    assert device["reasons"] == ["never seen", "battery voltage unknown", "GSM signal unknown", "no GPS fix"]


def test_the_worst_health_wins_and_every_reason_is_listed() -> None:
    """Reasons are in the order silence, battery, signal, position."""
    ill = {"last_seen": NOW - timedelta(hours=2), "battery_voltage": 11.0, "gsm_signal": 7, "gps_fix": False}
    assert judged(**ill) == (
        "unhealthy",
        ["silent for 2 h", "battery empty (11.0 V)", "GSM signal weak (7)", "no GPS fix"],
    )
    assert judged(**ill | {"last_seen": NOW - timedelta(hours=30)})[0] == "offline"


@given(ANY_REPORT)
def test_any_report_can_be_judged(report: dict[str, Any]) -> None:
    """The result is one of four healths, with reasons unless it is good, and deterministic."""
    device = judge("d", report, NOW)
    assert device == judge("d", dict(reversed(report.items())), NOW)
    assert device["health"] in HEALTH
    assert bool(device["reasons"]) == (device["health"] != "good")
    assert set(device) == {"id", "health", "reasons", "silent_since", *FIELDS}
    numbers = (device["battery_voltage"], device["gsm_signal"])
    assert all(number is None or math.isfinite(number) for number in numbers)


@given(ANY_REPORT)
def test_health_is_that_of_the_worst_field(report: dict[str, Any]) -> None:
    """The reasons are those of all fields."""
    device = judge("d", WELL | report, NOW)
    alone = [judge("d", WELL | {field: report[field]}, NOW) for field in FIELDS if field in report]
    worst = max((device["health"] for device in alone), key=HEALTH.index, default="good")
    assert device["health"] == worst
    assert sorted(device["reasons"]) == sorted(reason for device in alone for reason in device["reasons"])


@given(ANY_REPORT, ANY_VALUE)
def test_the_telephone_number_does_not_affect_the_health(report: dict[str, Any], phone: object) -> None:
    """Nor does any other field that the rules do not use."""
    private = {"phone": phone, "owner": "someone"}
    assert judge("d", report | private, NOW) == judge("d", report, NOW)


@given(st.lists(ANY_REPORT, max_size=8))
def test_every_health_is_counted(reports: list[dict[str, Any]]) -> None:
    """The four counts, including zeros, are ordered from best to worst."""
    devices = [judge(str(number), report, NOW) for number, report in enumerate(reports)]
    counted = count_by_health(devices)
    assert list(counted) == ["good", "degraded", "unhealthy", "offline"]
    assert counted == {health: [d["health"] for d in devices].count(health) for health in HEALTH}


@pytest.mark.usefixtures("clean_firestore")
def test_every_device_of_the_database_is_judged() -> None:
    """Once, ordered by id, without its telephone number."""
    client = firebase.firestore_client()
    batch = client.batch()
    for number, device in enumerate(reversed(demo_data.make_devices(NOW))):
        stored = demo_data.without_none(device) if number % 2 else device
        batch.set(client.document(DEVICES_COLLECTION, device["id"]), stored)
    batch.set(client.document("nx-tasks", "no-device"), {"name": "elsewhere"})
    batch.commit()

    judged_devices = collect(client, NOW)

    ids = [device["id"] for device in judged_devices]
    assert ids == [f"tracker-{number:04}" for number in range(1, 201)]
    # See demo_data for the share of each fault.
    expected = {"good": 145, "degraded": 30, "unhealthy": 10, "offline": 15}
    assert count_by_health(judged_devices) == expected
    assert Counter(device["health"] for device in judged_devices) == expected
    assert demo_data.make_devices(NOW)[0]["phone"][:5] == "+1202"
    assert "+1202" not in repr(judged_devices)
    assert judged_devices[16] == judge("tracker-0017", demo_data.make_devices(NOW)[16], NOW)


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize(("count", "pages"), [(6, 1), (7, 2), (20, 3), (21, 4)])
def test_devices_are_read_in_pages(monkeypatch: pytest.MonkeyPatch, count: int, pages: int) -> None:
    """Each device is judged once, whatever their number."""
    monkeypatch.setattr(devices_health, "PAGE_SIZE", 7)
    make_devices(count)
    faulty = Faulty(Fault(0))
    judged_devices = collect(faulty_client(faulty), NOW)
    assert [device["id"] for device in judged_devices] == [
        f"tracker-{number:04}" for number in range(1, count + 1)
    ]
    assert faulty.calls == ["RunQuery"] * pages


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("kind", ["fail 1", "fail 3", "lose answer"])
def test_a_failed_page_is_requested_again(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Or its response is lost."""
    monkeypatch.setattr(devices_health, "PAGE_SIZE", 7)
    make_devices(20)
    judged_devices = collect(faulty_client(Faulty(Fault(2, kind))), NOW)
    assert [device["id"] for device in judged_devices] == [f"tracker-{number:04}" for number in range(1, 21)]


@pytest.mark.usefixtures("clean_firestore")
def test_an_unreadable_page_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete list of devices is not published."""
    monkeypatch.setattr(devices_health, "PAGE_SIZE", 7)
    monkeypatch.setattr(firestore_reads, "RETRY", firestore_reads.RETRY.with_timeout(0.5))
    make_devices(20)
    with pytest.raises(GoogleAPIError):
        collect(faulty_client(Faulty(Fault(2, "fail all"))), NOW)


def make_devices(count: int) -> None:
    client = firebase.firestore_client()
    batch = client.batch()
    for device in demo_data.make_devices(NOW, count):
        batch.set(client.document(DEVICES_COLLECTION, device["id"]), device)
    batch.commit()


@pytest.mark.usefixtures("clean_firestore")
def test_a_database_without_devices_gives_an_empty_list() -> None:
    assert collect(firebase.firestore_client(), NOW) == []
