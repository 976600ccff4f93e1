"""The charge point operators of the secret NX_OCPI_OPERATORS, each with its own token.

Errors, logs and an operator's `repr` do not contain the secret.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from urllib.parse import urljoin

import msgspec
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from shared import settings

#: The secret: a JSON list of objects with the fields of `Operator`.
SETTING = settings.OCPI_OPERATORS.name
_EXAMPLE = settings.OCPI_OPERATORS.expected
_PORTS = {"http": 80, "https": 443}
_FIELDS = "name, url, token, origins, plain_token, from, to, parties"

#: Printable ASCII without blanks (4.1.2); other characters cannot be sent in the header.
_Token = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+\Z", max_length=1024)]
#: country_code and party_id, "DE*ABC".
_Party = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{2}\*[ -~]{1,3}\Z")]
#: An operator's name.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=40)]
#: A party in HTTP headers, with a party_id of three letters or digits (4.2.2).
_RoutedParty = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{2}\*[A-Za-z0-9]{3}\Z")]


class Operator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One charge point operator.

    Attributes:
        name: Name in logs, summaries and records.
        url: URL of its version information endpoint, `https://…/versions`.
        token: The credentials token (`CREDENTIALS_TOKEN_C`) from the operator, not encoded.
        origins: Further origins (`https://host[:port]`) that may get the token, for an operator whose
            endpoints have another origin than `url`.
        plain_token: Whether to send the token without Base64, as before OCPI 2.2-d2.
        sender: The party that requests are from, "DE*ABC"; `from` in the secret. None sends no such headers.
        receiver: The party that requests are to; `to` in the secret. None sends no such headers.
        parties: Parties ("DE*ABC": country_code and party_id) that belong to this operator alone. A party
            that no operator lists belongs to the first one that delivers records of it.
    """

    name: Name
    url: str
    token: _Token
    origins: tuple[str, ...] = ()
    plain_token: bool = False
    sender: _RoutedParty | None = msgspec.field(default=None, name="from")
    receiver: _RoutedParty | None = msgspec.field(default=None, name="to")
    parties: tuple[_Party, ...] = ()

    @property
    def routing_headers(self) -> dict[str, str]:
        """The message routing headers of a request to a functional module (4.2)."""
        headers: dict[str, str] = {}
        for direction, party in (("from", self.sender), ("to", self.receiver)):
            if party is not None:
                country_code, party_id = party.split("*")
                headers[f"OCPI-{direction}-country-code"] = country_code
                headers[f"OCPI-{direction}-party-id"] = party_id
        return headers

    def __repr__(self) -> str:
        return f"Operator({self.name})"

    def may_get_token(self, url: str) -> bool:
        """Return whether the token may be sent to the origin of this URL."""
        origin = origin_of(url)
        return origin is not None and origin in map(origin_of, (self.url, *self.origins))


def parse(secret: str) -> tuple[Operator, ...]:
    """Return the operators of the setting.

    Args:
        secret: Value of the secret NX_OCPI_OPERATORS.

    Raises:
        SettingMissing: The secret is empty.
        SettingInvalid: It is not a JSON list of operators, lists an operator or a party twice, or has an
            invalid URL. The text has the variable and the place, but no value that may be secret.
    """
    if not secret.strip():
        raise settings.SettingMissing(f"{SETTING} is not set; set this secret to {_EXAMPLE}")
    try:
        operators = msgspec.json.decode(secret, type=tuple[Operator, ...])
    except msgspec.ValidationError as error:
        reason = str(error)
        if "unknown field" in reason:  # Its name is not shown: it may be a token in the wrong place.
            _, at, place = reason.rpartition(" - at")
            reason = f"unknown field{at}{place if at else ''}; the fields are {_FIELDS}"
        raise settings.SettingInvalid(f"{SETTING} is invalid: {reason}; set it to {_EXAMPLE}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise settings.SettingInvalid(f"{SETTING} is not JSON; set it to {_EXAMPLE}") from None
    if not operators:
        raise settings.SettingInvalid(f"{SETTING} must have at least one operator, got []")
    _check_unique(operators)
    for operator in operators:
        for url in (operator.url, *operator.origins):
            _check_url(operator.name, url)
        if operator.receiver is not None and operator.sender is None:
            raise settings.SettingInvalid(
                f"{SETTING} has `to` without `from` for {operator.name}; add `from`, the sending party"
            )
    return operators


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an HTTP URL; None for other texts."""
    parts = split(url)
    if parts is None or parts.host is None or parts.scheme not in _PORTS:
        return None
    return parts.scheme, parts.host, _PORTS[parts.scheme] if parts.port is None else parts.port


def resolve(base: str, url: str) -> str:
    """Return a URL relative to a page as an absolute one; empty if it is malformed."""
    try:
        return urljoin(base, url)
    except ValueError:
        return ""


def split(url: str) -> Url | None:
    """Parse a URL as urllib3 does for the request; None if it is malformed.

    The standard library finds another host in some URLs, so it must not decide about a link.
    """
    try:
        return parse_url(url)
    except LocationParseError:
        return None


def origin_advice(url: str) -> str:
    """Return the fix for a URL that must not get the token, for an error.

    It suggests an origin only if `parse` accepts it.
    """
    origin = origin_of(url)
    if origin is None:
        return "report it to the operator, because it is not an HTTP URL"
    scheme, host, port = origin
    if not _is_allowed_scheme(scheme):
        return "ask the operator for an https:// URL, because http:// does not encrypt the token"
    text = f"{scheme}://{host}" + ("" if port == _PORTS[scheme] else f":{port}")
    return f'if it belongs to the operator, add "{text}" to its `origins` in {SETTING}'


def _is_allowed_scheme(scheme: str) -> bool:
    """Return whether a token may be sent with this scheme; without TLS only outside the cloud."""
    return scheme == "https" or not settings.in_cloud()


def _check_unique(operators: tuple[Operator, ...]) -> None:
    names = Counter(operator.name.lower() for operator in operators)
    for name, count in names.items():
        if count > 1:
            raise settings.SettingInvalid(f"{SETTING} has {count} operators named {name}; use each name once")
    parties = Counter(
        party for operator in operators for party in {party.upper() for party in operator.parties}
    )
    for party, count in parties.items():
        if count > 1:
            raise settings.SettingInvalid(
                f"{SETTING} has {party} in `parties` of {count} operators; list each party once"
            )


def _check_url(name: str, url: str) -> None:
    parts, origin = split(url), origin_of(url)
    if parts is None or origin is None or parts.auth is not None:
        raise settings.SettingInvalid(
            f"{SETTING} has an invalid URL for {name}; use https://host/path, without user and password"
        )
    if not _is_allowed_scheme(origin[0]):
        raise settings.SettingInvalid(
            f"{SETTING} has an http:// URL for {name}, which does not encrypt its token; use https://"
        )
