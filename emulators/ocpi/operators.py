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
    #: Whether requests for its records must have message routing headers, as many servers demand.
    needs_routing: bool


#: The demo's own party, as requests to such an operator name it.
ASKING = "DE*NXT"
OPERATORS = (
    DemoOperator(
        "north", "DE", "DEU", "NXN", "Europe/Berlin", "EUR", "demo-token-of-north", 220, 2600, False
    ),
    DemoOperator("south", "CH", "CHE", "NXS", "Europe/Zurich", "CHF", "demo-token-of-south", 130, 1400, True),
)


def secret(address: str) -> str:
    """What NX_OCPI_OPERATORS is to say.

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
        entry |= {"from": ASKING, "to": f"{operator.country_code}*{operator.party_id}"}
    return entry
