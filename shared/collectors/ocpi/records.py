r"""The objects of OCPI 2.2.1's Locations and CDRs modules: their required fields and types.

Other fields are allowed and stay in the record. Lengths are checked only for identities, because a record
is not worth losing for a name that is too long. Plugs (`standard`) and dimensions may be any text, since new
ones appear faster than versions of OCPI. The package ocpi-types is not used: its licence is the AGPL, and
its errors are bare asserts without a place.

A required text may be `#NA` (4.1, "No data available") if the operator has no value. An identity
(`country_code`, `party_id` and `id` of a record) may not.

Patterns end with `\Z`, because `$` would allow a trailing newline, which ends a record in a spool.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  (msgspec reads the annotations)
from typing import Annotated, Any, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

#: Value of a required text if the operator has none.
NOT_AVAILABLE = "#NA"
#: CiString: printable ASCII, case-insensitive.
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=36, pattern=r"^[ -~]*\Z")]
#: The id of a CDR, which may have a suffix.
CdrId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=39, pattern=r"^[ -~]*\Z")]
CountryCode: TypeAlias = Annotated[str, Meta(min_length=2, max_length=2, pattern=r"^[A-Za-z]*\Z")]
PartyId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=3, pattern=r"^[ -~]*\Z")]
Currency: TypeAlias = Annotated[str, Meta(pattern=r"^(?:[A-Z]{3}|#NA)\Z")]
#: A JSON number. (Decimal would also accept text.)
Number: TypeAlias = int | float
Text: TypeAlias = str
NotEmpty: TypeAlias = Annotated[str, Meta(min_length=1)]

EvseStatus: TypeAlias = Literal[
    "AVAILABLE",
    "BLOCKED",
    "CHARGING",
    "INOPERATIVE",
    "OUTOFORDER",
    "PLANNED",
    "REMOVED",
    "RESERVED",
    "UNKNOWN",
]
PowerType: TypeAlias = Literal["AC_1_PHASE", "AC_2_PHASE", "AC_2_PHASE_SPLIT", "AC_3_PHASE", "DC"]
ConnectorFormat: TypeAlias = Literal["SOCKET", "CABLE"]
TokenType: TypeAlias = Literal["AD_HOC_USER", "APP_USER", "OTHER", "RFID", "#NA"]
AuthMethod: TypeAlias = Literal["AUTH_REQUEST", "COMMAND", "WHITELIST", "#NA"]


class GeoLocation(Struct):
    """8.4.14; decimal degrees, as text."""

    latitude: Annotated[str, Meta(pattern=r"^(?:-?[0-9]{1,2}\.[0-9]{1,17}|#NA)\Z")]
    longitude: Annotated[str, Meta(pattern=r"^(?:-?[0-9]{1,3}\.[0-9]{1,17}|#NA)\Z")]


class Connector(Struct, kw_only=True):
    """8.3.3."""

    id: Id
    standard: NotEmpty
    format: ConnectorFormat
    power_type: PowerType
    max_voltage: int
    max_amperage: int
    max_electric_power: int | None = None
    tariff_ids: list[str] | None = None
    terms_and_conditions: Text | None = None
    last_updated: datetime


class Evse(Struct, kw_only=True):
    """8.3.2."""

    uid: Id
    evse_id: Text | None = None
    status: EvseStatus
    capabilities: list[str] | None = None
    connectors: Annotated[list[Connector], Meta(min_length=1)]
    floor_level: Text | None = None
    coordinates: GeoLocation | None = None
    physical_reference: Text | None = None
    parking_restrictions: list[str] | None = None
    last_updated: datetime


class Place(Struct, kw_only=True):
    """The fields that a Location and the CdrLocation of a CDR have in common."""

    name: Text | None = None
    address: Text
    city: Text
    postal_code: Text | None = None
    country: Text
    coordinates: GeoLocation


class Location(Place, kw_only=True):
    """8.3.1."""

    country_code: CountryCode
    party_id: PartyId
    id: Id
    publish: bool
    publish_allowed_to: list[dict[str, Any]] | None = None
    state: Text | None = None
    parking_type: Text | None = None
    evses: list[Evse] | None = None
    operator: dict[str, Any] | None = None
    facilities: list[str] | None = None
    time_zone: NotEmpty
    charging_when_closed: bool | None = None
    last_updated: datetime


class Price(Struct):
    """16.5."""

    excl_vat: Number
    incl_vat: Number | None = None


class CdrToken(Struct, kw_only=True):
    """10.4.5."""

    country_code: Annotated[str, Meta(pattern=r"^(?:[A-Za-z]{2}|#NA)\Z")]
    party_id: PartyId
    uid: Id
    type: TokenType
    contract_id: Id


class CdrToken22(CdrToken, kw_only=True):
    """The same in OCPI 2.2, without the party."""

    country_code: Text | None = None  # type: ignore[assignment]
    party_id: PartyId | None = None  # type: ignore[assignment]


class CdrLocation(Place, kw_only=True):
    """10.4.4.

    A reservation that did not become a charging session has no EVSE and no connector. Their ids are `#NA`,
    and the other fields of the connector may have any value.
    """

    id: Id
    evse_uid: Id
    evse_id: NotEmpty
    connector_id: Id
    connector_standard: NotEmpty
    connector_format: Text
    connector_power_type: Text

    def __post_init__(self) -> None:
        if NOT_AVAILABLE in (self.evse_uid, self.evse_id, self.connector_id):
            return
        for name, allowed in _OF_CONNECTORS.items():
            value = getattr(self, name)
            if value not in allowed and value != NOT_AVAILABLE:
                raise ValueError(f"Invalid enum value {value[:40]!r} of `{name}`")


#: The allowed values of a known connector.
_OF_CONNECTORS = {
    "connector_format": get_args(ConnectorFormat),
    "connector_power_type": get_args(PowerType),
}


class CdrDimension(Struct):
    """10.4.2."""

    type: NotEmpty
    volume: Number


class ChargingPeriod(Struct, kw_only=True):
    """10.4.6."""

    start_date_time: datetime
    dimensions: Annotated[list[CdrDimension], Meta(min_length=1)]
    tariff_id: Text | None = None


class Cdr(Struct, kw_only=True):
    """10.3.1."""

    country_code: CountryCode
    party_id: PartyId
    id: CdrId
    start_date_time: datetime
    end_date_time: datetime
    session_id: Text | None = None
    cdr_token: CdrToken
    auth_method: AuthMethod
    authorization_reference: Text | None = None
    cdr_location: CdrLocation
    meter_id: Text | None = None
    currency: Currency
    tariffs: list[dict[str, Any]] | None = None
    charging_periods: Annotated[list[ChargingPeriod], Meta(min_length=1)]
    signed_data: dict[str, Any] | None = None
    total_cost: Price
    total_fixed_cost: Price | None = None
    total_energy: Number
    total_energy_cost: Price | None = None
    total_time: Number
    total_time_cost: Price | None = None
    total_parking_time: Number | None = None
    total_parking_cost: Price | None = None
    total_reservation_cost: Price | None = None
    remark: Text | None = None
    invoice_reference_id: Text | None = None
    credit: bool | None = None
    credit_reference_id: CdrId | None = None
    last_updated: datetime


class Cdr22(Cdr, kw_only=True):
    """The same in OCPI 2.2."""

    cdr_token: CdrToken22
