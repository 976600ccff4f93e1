"""Realistic results: charging sites with coordinates, connectors and times."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

_STREETS = ("Harbour Road", "Station Street", "Mill Lane", "Market Square", "Airport Avenue", "Old Bridge")
_STATES = ("AVAILABLE", "AVAILABLE", "AVAILABLE", "CHARGING", "OUTOFORDER")
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

#: Bytes after which the sites repeat, to save memory. The repetition does not improve compression,
#: because deflate looks back only 32 KiB.
DISTINCT = 10_000_000


def charge_locations(size: int) -> list[dict[str, Any]]:
    """Return charging sites with at least that much JSON, the same in each run.

    Args:
        size: bytes; above `DISTINCT`, a multiple of it.
    """
    draw = random.Random(size)  # noqa: S311  (reproducible, not a secret)
    locations: list[dict[str, Any]] = []
    made = 2
    while made < min(size, DISTINCT):
        locations.append(_location(draw))
        made += len(orjson.dumps(locations[-1])) + 1
    return locations * max(1, size // DISTINCT)


def _location(draw: random.Random) -> dict[str, Any]:
    return {
        "id": _id(draw),
        "name": f"{draw.choice(_STREETS)} {draw.randrange(1, 200)}",
        "coordinates": {
            "latitude": f"{draw.uniform(29.5, 33.3):.6f}",
            "longitude": f"{draw.uniform(34.3, 35.7):.6f}",
        },
        "evses": [_evse(draw) for _ in range(draw.randrange(1, 5))],
        "last_updated": _time(draw),
    }


def _evse(draw: random.Random) -> dict[str, Any]:
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_amperage": draw.choice((16, 32, 63)),
        "tariff_id": _id(draw),
        "last_updated": _time(draw),
    }
    return {
        "uid": _id(draw),
        "status": draw.choice(_STATES),
        "connectors": [connector],
        "last_updated": _time(draw),
    }


def _id(draw: random.Random) -> str:
    return f"{draw.getrandbits(80):020x}"


def _time(draw: random.Random) -> str:
    return (_BEGIN + timedelta(milliseconds=draw.randrange(20_000_000_000))).isoformat(
        timespec="milliseconds"
    )
