"""Records of the demo's operators: charging locations and charge detail records, equal on every machine."""

import datetime as dt
import math
from typing import Any

from emulators.ocpi.operators import DemoOperator

#: Days over which the charging sessions are distributed.
SESSION_DAYS = 120
_CITIES = (
    ("Bernau", "52.67982", "13.58709"),
    ("Lindau", "47.54612", "9.68431"),
    ("Celle", "52.62412", "10.08107"),
    ("Marburg", "50.80904", "8.77069"),
    ("Jena", "50.92878", "11.5899"),
    ("Landshut", "48.54295", "12.14634"),
    ("Lahr", "48.34042", "7.86886"),
)
#: Standard, format, power type, volts, amperes, and watts if they are less than volts and amperes allow.
_PLUGS: tuple[tuple[str, str, str, int, int, int | None], ...] = (
    ("IEC_62196_T2", "SOCKET", "AC_3_PHASE", 230, 16, None),
    ("IEC_62196_T2", "CABLE", "AC_3_PHASE", 230, 32, None),
    ("IEC_62196_T2_COMBO", "CABLE", "DC", 500, 125, 50_000),
    ("IEC_62196_T2_COMBO", "CABLE", "DC", 920, 500, 300_000),
    ("DOMESTIC_F", "SOCKET", "AC_1_PHASE", 230, 16, None),
)
_STATUSES = ("AVAILABLE",) * 6 + ("CHARGING",) * 4 + ("OUTOFORDER", "RESERVED", "UNKNOWN", "BLOCKED")


def make_locations(operator: DemoOperator, now: dt.datetime) -> list[dict[str, Any]]:
    """Make an operator's locations, including some with defects that real operators have.

    Args:
        operator: The operator.
        now: Time that `last_updated` counts back from; aware.

    Returns:
        Location objects. In a few, every EVSE is removed, and two lack a required field.
    """
    return [_make_location(operator, number, now) for number in range(1, operator.locations + 1)]


def make_cdrs(operator: DemoOperator, now: dt.datetime) -> list[dict[str, Any]]:
    """Make an operator's charge detail records, oldest first.

    Args:
        operator: The operator.
        now: Time that sessions count back from; aware.

    Returns:
        CDR objects. One in a hundred is cancelled by a credit CDR, and two are not valid.
    """
    count = operator.cdrs - operator.cdrs // 100
    cdrs = [_make_cdr(operator, number, count, now) for number in range(1, count + 1)]
    credited = [cdr for number, cdr in enumerate(cdrs, 1) if number % 100 == 50]
    cdrs += [_make_credit(cdr, now) for cdr in credited]
    return sorted(cdrs, key=lambda cdr: str(cdr["last_updated"]))


def text(moment: dt.datetime) -> str:
    """Return a time in OCPI's format."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _make_location(operator: DemoOperator, number: int, now: dt.datetime) -> dict[str, Any]:
    city, latitude, longitude = _CITIES[number % len(_CITIES)]
    updated = text(now - dt.timedelta(hours=number * 37 % 500, minutes=1))
    location: dict[str, Any] = {
        "country_code": operator.country_code,
        "party_id": operator.party_id,
        "id": f"LOC{number:04}",
        "publish": number % 25 != 0,
        "name": f"{operator.name.title()} {number}",
        "address": f"Ringstraße {number}",
        "city": city,
        "postal_code": f"{10000 + number}",
        "country": operator.country,
        "coordinates": _around(operator, latitude, longitude, number),
        "parking_type": "PARKING_LOT" if number % 2 else "ON_STREET",
        "evses": [_make_evse(operator, number, place, updated) for place in range(1, 2 + number % 4)],
        "operator": {"name": f"{operator.name.title()} Charging"},
        "time_zone": operator.time_zone,
        "opening_times": {"twentyfourseven": True},
        "last_updated": updated,
    }
    if number % 60 == 30:
        del location["time_zone"]
    return location


def _around(operator: DemoOperator, latitude: str, longitude: str, number: int) -> dict[str, str]:
    """Return distinct coordinates around a city, arranged like the seeds of a sunflower."""
    seed = number // len(_CITIES) + 0.5
    angle, degrees = seed * 2.4 + operator.locations, 0.07 * math.sqrt(seed)
    return {
        "latitude": f"{float(latitude) + degrees * math.sin(angle):.6f}",
        "longitude": f"{float(longitude) + degrees * 1.5 * math.cos(angle):.6f}",
    }


def _make_evse(operator: DemoOperator, number: int, place: int, updated: str) -> dict[str, Any]:
    standard, form, power_type, volts, amperes, watts = _PLUGS[(number * 7 + place) % len(_PLUGS)]
    connector = {
        "id": "1",
        "standard": standard,
        "format": form,
        "power_type": power_type,
        "max_voltage": volts,
        "max_amperage": amperes,
        "tariff_ids": ["T1"],
        "last_updated": updated,
    }
    removed = number % 40 == 0 or (number % 10 == 3 and place == 1)
    return {
        "uid": f"E{number:04}-{place}",
        "evse_id": f"{operator.country_code}*{operator.party_id}*E{number:04}{place}",
        "status": "REMOVED" if removed else _STATUSES[(number + place * 5) % len(_STATUSES)],
        "capabilities": ["RFID_READER", "REMOTE_START_STOP_CAPABLE"],
        "connectors": [connector if watts is None else connector | {"max_electric_power": watts}],
        "last_updated": updated,
    }


def _make_cdr(operator: DemoOperator, number: int, count: int, now: dt.datetime) -> dict[str, Any]:
    started = now - dt.timedelta(days=SESSION_DAYS) * (1 - (number - 1) / count) - dt.timedelta(hours=7)
    hours = round(0.4 + number * 37 % 60 / 10, 4)
    energy = round(4 + number * 53 % 5600 / 100, 4)
    price = {"excl_vat": round(energy * 0.42, 4), "incl_vat": round(energy * 0.42 * 1.19, 4)}
    place = 1 + number % operator.locations
    standard, form, power_type, *_ = _PLUGS[(place * 7 + 1) % len(_PLUGS)]
    city, latitude, longitude = _CITIES[place % len(_CITIES)]
    cdr: dict[str, Any] = {
        "country_code": operator.country_code,
        "party_id": operator.party_id,
        "id": f"CDR{number:06}",
        "start_date_time": text(started),
        "end_date_time": text(started + dt.timedelta(hours=hours)),
        "session_id": f"S{number:06}",
        "cdr_token": {
            "country_code": operator.country_code,
            "party_id": "NXT",
            "uid": f"0400{number % 400:08X}",
            "type": "RFID",
            "contract_id": f"{operator.country_code}-NXT-C{number % 400:08}",
        },
        "auth_method": "WHITELIST",
        "cdr_location": {
            "id": f"LOC{place:04}",
            "address": f"Ringstraße {place}",
            "city": city,
            "postal_code": f"{10000 + place}",
            "country": operator.country,
            "coordinates": _around(operator, latitude, longitude, place),
            "evse_uid": f"E{place:04}-1",
            "evse_id": f"{operator.country_code}*{operator.party_id}*E{place:04}1",
            "connector_id": "1",
            "connector_standard": standard,
            "connector_format": form,
            "connector_power_type": power_type,
        },
        "currency": operator.currency,
        "charging_periods": [
            {
                "start_date_time": text(started),
                "dimensions": [{"type": "ENERGY", "volume": energy}, {"type": "TIME", "volume": hours}],
                "tariff_id": "T1",
            }
        ],
        "total_cost": price,
        "total_energy": energy,
        "total_energy_cost": price,
        "total_time": hours,
        "last_updated": text(started + dt.timedelta(hours=hours, minutes=number % 20)),
    }
    if number == 77:
        del cdr["cdr_token"]
    if number == 177:
        cdr["total_energy"] = "a lot"
    return cdr


def _make_credit(cdr: dict[str, Any], now: dt.datetime) -> dict[str, Any]:
    negative = {name: -amount for name, amount in cdr["total_cost"].items()}
    updated = min(dt.datetime.fromisoformat(cdr["last_updated"]) + dt.timedelta(days=3), now)
    return cdr | {
        "id": f"{cdr['id']}-C",
        "credit": True,
        "credit_reference_id": cdr["id"],
        "total_cost": negative,
        "last_updated": text(updated),
    }
