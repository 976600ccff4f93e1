"""Who the demo's charge point operators are, and the secret with which they are asked."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoOperator:
    """A charge point operator of this machine."""

    #: What it is called, and where its paths begin.
    name: str
    #: ISO 3166 codes of its country, of two and of three letters.
    country_code: str
    country: str
    party_id: str
    time_zone: str
    currency: str
    #: Its credentials token, which opens nothing but the demo.
    token: str
    locations: int
    cdrs: int


OPERATORS = (
    DemoOperator("north", "DE", "DEU", "NXN", "Europe/Berlin", "EUR", "demo-token-of-north", 220, 2600),
    DemoOperator("south", "CH", "CHE", "NXS", "Europe/Zurich", "CHF", "demo-token-of-south", 130, 1400),
)


def secret(address: str) -> str:
    """What NX_OCPI_OPERATORS is to say.

    Args:
        address: Host and port of the operators' server.
    """
    return json.dumps(
        [
            {"name": each.name, "url": f"http://{address}/{each.name}/versions", "token": each.token}
            for each in OPERATORS
        ]
    )
