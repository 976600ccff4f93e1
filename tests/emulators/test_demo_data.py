"""The devices of the demo data."""

import datetime as dt

from emulators import demo_data

NOW = dt.datetime(2026, 1, 15, 12, tzinfo=dt.UTC)


def test_devices_are_the_same_every_time() -> None:
    """There are two hundred devices with unique ids, which depend only on the clock."""
    devices = demo_data.make_devices(NOW)
    assert len({device["id"] for device in devices}) == 200
    assert devices == demo_data.make_devices(NOW)
    later = NOW + dt.timedelta(days=1)
    assert [device["battery_voltage"] for device in devices] == [
        device["battery_voltage"] for device in demo_data.make_devices(later)
    ]


def test_values_are_plausible_for_a_tracker() -> None:
    """Values are in range, some are unknown, and most devices are healthy."""
    devices = demo_data.make_devices(NOW)
    known = [device for device in devices if device["last_seen"]]
    assert 0 < len(devices) - len(known) < 10
    assert all(11.0 <= device["battery_voltage"] <= 14.6 for device in known)
    assert all(0 <= device["gsm_signal"] <= 31 for device in known)
    assert all(device["last_seen"] < NOW for device in known)
    for ails in (
        [device for device in known if device["battery_voltage"] < 12],
        [device for device in known if device["gsm_signal"] < 8],
        [device for device in known if not device["gps_fix"]],
        [device for device in known if NOW - device["last_seen"] > dt.timedelta(hours=1)],
    ):
        assert 5 <= len(ails) <= 40
