"""The demo's charge point operators, and the setting NX_OCPI_OPERATORS that lists them."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoOperator:
    """A charge point operator on this machine."""

    #: Name, which is also the first part of its paths.
    name: str
    #: ISO 3166 codes of its country, with two and with three letters.
    country_code: str
    country: str
    party_id: str
    time_zone: str
    currency: str
    #: Credentials token, valid only for the demo.
    token: str
    locations: int
    cdrs: int
    #: Whether requests for records must have message routing headers, which many servers require.
    needs_routing: bool


#: The party that sends requests, for message routing headers.
REQUESTING_PARTY = "DE*NXT"
OPERATORS = (
    DemoOperator(
        "north", "DE", "DEU", "NXN", "Europe/Berlin", "EUR", "demo-token-of-north", 220, 2600, False
    ),
    DemoOperator("south", "CH", "CHE", "NXS", "Europe/Zurich", "CHF", "demo-token-of-south", 130, 1400, True),
)


def secret(address: str) -> str:
    """Return the value of NX_OCPI_OPERATORS.

    Args:
        address: Host and port of the operators' server.
    """
    return json.dumps([_entry(each, address) for each in OPERATORS])


def _entry(operator: DemoOperator, address: str) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": operator.name,
        "url": f"http://{address}/{operator.name}/versions",
        "token": operator.token,
    }
    if operator.needs_routing:
        entry |= {"from": REQUESTING_PARTY, "to": f"{operator.country_code}*{operator.party_id}"}
    return entry
