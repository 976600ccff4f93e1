"""Demo data for the local stack: 200 devices and two users, the same on every machine.

`python -m emulators.demo_data` writes it to the stack in the environment.
"""

import datetime as dt
import os
from typing import Any

from emulators.environment import PROJECT

DEVICES = "nx-devices"
DEVICE_COUNT = 200
#: Area codes whose numbers 555-0100 to 555-0199 are reserved for fiction.
_AREAS = (202, 212, 213, 215, 303, 305, 312, 404, 415, 512)
PASSWORD = "nx-tasks-demo"  # noqa: S105 - valid only on the Auth emulator
#: E-mail address and the claim `role` of each demo user.
USERS = {"operator@example.com": "operator", "viewer@example.com": "viewer"}


def make_devices(now: dt.datetime, count: int = DEVICE_COUNT) -> list[dict[str, Any]]:
    """Make trackers in electric cars: most are healthy, the others cover each kind of failure.

    Args:
        now: Time that `last_seen` counts back from; aware.
        count: Number of devices.

    Returns:
        Documents for `nx-devices`, each with its `id`.
    """
    return [_make_device(number, now) for number in range(1, count + 1)]


def _make_device(number: int, now: dt.datetime) -> dict[str, Any]:
    # 37 and 100 are coprime, so the remainders vary without randomness.
    variation = number * 37 % 100
    device: dict[str, Any] = {
        "id": f"tracker-{number:04}",
        "name": f"Tracker {number}",
        "phone": _phone(number),
        "last_seen": now - dt.timedelta(minutes=1 + variation % 25, seconds=number),
        "battery_voltage": round(12.4 + variation * 0.02, 2),
        "gsm_signal": 14 + variation % 18,
        "gps_fix": True,
        "firmware": f"4.{number % 3}.{variation % 10}",
    }
    return device | _defects(number, variation, now)


def _phone(number: int) -> str:
    area = _AREAS[number // 100 % len(_AREAS)]
    return f"+1{area}55501{number % 100:02}"


def _defects(number: int, variation: int, now: dt.datetime) -> dict[str, Any]:
    match number % 20:
        case 3:  # the 12 V battery is low
            return {"battery_voltage": round(11.6 + variation * 0.003, 2)}
        case 7:  # poor reception
            return {"gsm_signal": 3 + variation % 5}
        case 11:  # in a garage, underground
            return {"gps_fix": False, "gsm_signal": 4 + variation % 4}
        case 13:  # battery nearly empty
            return {
                "battery_voltage": round(11.0 + variation * 0.002, 2),
                "gsm_signal": variation % 3,
                "gps_fix": False,
            }
        case 17:  # silent for two hours to weeks
            return {"last_seen": now - dt.timedelta(hours=2 + variation * 5)}
        case 19 if number % 40 == 19:  # never reported since installation
            return {"last_seen": None, "battery_voltage": None, "gsm_signal": None, "gps_fix": None}
    return {}


def without_none(device: dict[str, Any]) -> dict[str, Any]:
    """Return the device as older writers store it, without the unknown fields."""
    return {name: value for name, value in device.items() if value is not None}


def seed(now: dt.datetime) -> None:
    """Write devices and users to the emulators in the environment, replacing existing ones.

    Args:
        now: Time that `last_seen` counts back from; aware.
    """
    seed_devices(now)
    seed_users()


def seed_devices(now: dt.datetime) -> None:
    """Write the devices. The argument is that of `seed`."""
    from google.cloud import firestore  # noqa: PLC0415 - takes half a second, needed only here

    client = firestore.Client(database=os.environ["NX_TASKS_DATABASE"])
    batch = client.batch()
    for number, device in enumerate(make_devices(now)):
        # Half of the devices with unknown values lack the fields instead.
        batch.set(
            client.document(DEVICES, device["id"]), without_none(device) if number % 80 < 40 else device
        )
    batch.commit()


def seed_users() -> None:
    """Write the users, and revoke the tokens that existing ones have."""
    import firebase_admin  # noqa: PLC0415 - as above
    from firebase_admin import auth  # noqa: PLC0415

    app = firebase_admin.initialize_app(options={"projectId": PROJECT}, name="demo-data")
    for email, role in USERS.items():
        uid = f"demo-{role}"
        try:
            auth.create_user(uid=uid, email=email, email_verified=True, password=PASSWORD, app=app)
        except (auth.UidAlreadyExistsError, auth.EmailAlreadyExistsError):
            auth.update_user(uid, email=email, email_verified=True, password=PASSWORD, app=app)
        auth.set_custom_user_claims(uid, {"role": role}, app=app)
    firebase_admin.delete_app(app)


if __name__ == "__main__":
    seed(dt.datetime.now(dt.UTC))
