"""Who is asked: the charge point operators in the secret NX_OCPI_OPERATORS, each with its own token.

The secret's value is shown by no error and no log; neither is an operator's `repr`.
"""

from __future__ import annotations

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

#: Printable ASCII without blanks (4.1.2): anything else is no token, and could not be sent as one.
_Token = Annotated[str, msgspec.Meta(pattern=r"^[!-~]+\Z", max_length=1024)]
#: country_code and party_id, "DE*ABC".
_Party = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{2}\*[ -~]{1,3}\Z")]
#: An operator's name.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", max_length=40)]
#: The same, as HTTP headers name a party: a party_id of three letters or digits (4.2.2).
_RoutedParty = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{2}\*[A-Za-z0-9]{3}\Z")]


class Operator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One charge point operator.

    Attributes:
        name: what logs, summaries and records call it.
        url: its version information endpoint, `https://…/versions`.
        token: the credentials token (`CREDENTIALS_TOKEN_C`) that it gave out, as it is: not encoded.
        origins: further origins (`https://host[:port]`) that may be sent the token, for an operator
            whose endpoints are elsewhere than its versions.
        plain_token: send the token as it is, as operators of before OCPI 2.2-d2 want it, and not in Base64.
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

    def may_ask(self, url: str) -> bool:
        """Tell whether a URL is of an origin that may be sent the token."""
        origin = origin_of(url)
        return origin is not None and origin in map(origin_of, (self.url, *self.origins))


def parse(said: str) -> tuple[Operator, ...]:
    """Return the operators that the secret names.

    Args:
        said: the secret's value.

    Raises:
        SettingMissing: there is none.
        SettingInvalid: it is no such list, names an operator twice, or has a URL that can't be used; the
            text names the variable and the place, and shows no value.
    """
    if not said.strip():
        raise settings.SettingMissing(f"{SETTING} is not set: set this secret to {_EXAMPLE}")
    try:
        operators = msgspec.json.decode(said, type=tuple[Operator, ...])
    except msgspec.ValidationError as error:
        why = str(error)
        if "unknown field" in why:  # its name may be a token in the wrong place
            why = (
                f"an unknown field{why[why.rfind(' - at') :] if ' - at' in why else ''}; there are {_FIELDS}"
            )
        raise settings.SettingInvalid(f"{SETTING}: {why}; set it to {_EXAMPLE}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise settings.SettingInvalid(f"{SETTING} is no JSON: set it to {_EXAMPLE}") from None
    names = [operator.name.lower() for operator in operators]
    if not operators or len(set(names)) < len(names):
        raise settings.SettingInvalid(f"{SETTING}: name at least one operator, and none twice")
    listed = [party.upper() for operator in operators for party in set(map(str.upper, operator.parties))]
    twice = sorted({party for party in listed if listed.count(party) > 1})
    if twice:
        raise settings.SettingInvalid(
            f"{SETTING}: {twice[0]} is listed in `parties` of two operators; list each party once"
        )
    for operator in operators:
        for url in (operator.url, *operator.origins):
            _check_url(operator.name, url)
        if operator.receiver is not None and operator.sender is None:
            raise settings.SettingInvalid(
                f"{SETTING}: {operator.name} has `to` without `from`: add the party that asks"
            )
    return operators


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an HTTP URL; None of anything else."""
    parts = split(url)
    if parts is None or parts.host is None or parts.scheme not in _PORTS:
        return None
    return parts.scheme, parts.host, _PORTS[parts.scheme] if parts.port is None else parts.port


def resolve(base: str, url: str) -> str:
    """Return where a URL leads from a page; nowhere, as empty text, where it is none."""
    try:
        return urljoin(base, url)
    except ValueError:
        return ""


def split(url: str) -> Url | None:
    """Take a URL apart as its request will; None of what is none.

    The standard library finds another host in some: a Link must not be judged by that.
    """
    try:
        return parse_url(url)
    except LocationParseError:
        return None


def origin_advice(url: str) -> str:
    """Return what to do about a URL that may not be sent the token, for an error.

    An origin is advised only if `parse` accepts it.
    """
    origin = origin_of(url)
    if origin is None:
        return "report it to the operator: it is not an HTTP URL"
    scheme, host, port = origin
    if not _may_be_asked(scheme):
        return "ask the operator for an https:// URL: http:// does not encrypt the token"
    there = f"{scheme}://{host}" + ("" if port == _PORTS[scheme] else f":{port}")
    return f'if that is the operator\'s, add "{there}" to its `origins` in {SETTING}'


def _may_be_asked(scheme: str) -> bool:
    """Return whether a token may be sent by this scheme: without TLS on this machine only."""
    return scheme == "https" or not settings.in_cloud()


def _check_url(name: str, url: str) -> None:
    parts, origin = split(url), origin_of(url)
    if parts is None or origin is None or parts.auth is not None:
        raise settings.SettingInvalid(
            f"{SETTING}: {name} has a URL that is none: use https://host/path, without user and password"
        )
    if not _may_be_asked(origin[0]):
        raise settings.SettingInvalid(
            f"{SETTING}: {name} has an http:// URL, which does not encrypt its token; use https://"
        )
