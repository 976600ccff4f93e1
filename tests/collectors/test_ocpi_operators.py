"""Operators are read from one secret, which errors do not show."""

import json
from typing import Any

import pytest

from shared.collectors.ocpi.operators import Operator, origin_of, parse
from shared.settings import SettingInvalid, SettingMissing

NORTH = {"name": "north", "url": "https://ocpi.example.com/versions", "token": "s3cret-of-north"}


def test_operators_are_read_from_the_secret() -> None:
    """Each has its own token, and defaults for missing fields."""
    south = {
        "name": "south",
        "url": "https://south.example.com:8443/ocpi/versions",
        "token": "other",
        "origins": ["https://data.south.example.com"],
        "plain_token": True,
    }
    north, second = parse(json.dumps([NORTH, south]))
    assert (north.name, north.token, north.origins, north.plain_token) == (
        "north",
        "s3cret-of-north",
        (),
        False,
    )
    assert (second.token, second.origins, second.plain_token) == (
        "other",
        ("https://data.south.example.com",),
        True,
    )


def test_routing_parties_are_optional() -> None:
    """Sender and receiver become the message routing headers."""
    setting = [
        NORTH,
        {**NORTH, "name": "a", "from": "DE*NXT"},
        {**NORTH, "name": "b", "from": "DE*NXT", "to": "nl*tnm"},
    ]
    none, one, both = (operator.routing_headers for operator in parse(json.dumps(setting)))
    assert none == {}
    assert one == {"OCPI-from-country-code": "DE", "OCPI-from-party-id": "NXT"}
    assert both == {**one, "OCPI-to-country-code": "nl", "OCPI-to-party-id": "tnm"}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"from": "DEU*NXT"}, r"at `\$\[0\].from`"),
        ({"from": "D1*NXT"}, r"at `\$\[0\].from`"),
        ({"from": "DE*NX"}, r"at `\$\[0\].from`"),
        ({"from": "DE*N*T"}, r"at `\$\[0\].from`"),
        ({"from": "DE*NXT\n"}, r"at `\$\[0\].from`"),
        ({"from": "DE*NXT", "to": "DENXT"}, r"at `\$\[0\].to`"),
        ({"from": {"country_code": "DE", "party_id": "NXT"}}, r"at `\$\[0\].from`"),
        ({"to": "DE*NXT"}, "NX_OCPI_OPERATORS has `to` without `from` for north"),
    ],
)
def test_a_party_that_cannot_be_sent_is_refused(wrong: dict[str, Any], error: str) -> None:
    """The error names its place in the setting."""
    with pytest.raises(SettingInvalid, match=error):
        parse(json.dumps([{**NORTH, **wrong}]))


def test_a_party_listed_by_two_operators_is_refused() -> None:
    """The error names the party; case is ignored."""
    south = {**NORTH, "name": "south"}
    north, _ = parse(
        json.dumps([{**NORTH, "parties": ["DE*NXN", "de*nxn"]}, {**south, "parties": ["CH*NXS"]}])
    )
    assert north.parties == ("DE*NXN", "de*nxn")
    with pytest.raises(SettingInvalid, match=r"has DE\*NXN in `parties` of 2 operators"):
        parse(json.dumps([{**NORTH, "parties": ["DE*NXN"]}, {**south, "parties": ["de*nxn"]}]))
    for wrong in ("NXN", "DE*", "DEU*NXN", "DE*NXNN", "DE-NXN"):
        with pytest.raises(SettingInvalid, match=r"\.parties"):
            parse(json.dumps([{**NORTH, "parties": [wrong]}]))


@pytest.mark.parametrize("setting", ["", "  \n"])
def test_the_error_for_a_missing_secret_names_it(setting: str) -> None:
    with pytest.raises(SettingMissing, match=r"NX_OCPI_OPERATORS is not set.*\"token\""):
        parse(setting)


@pytest.mark.parametrize(
    "setting",
    [
        "s3cret-of-north",
        '{"north": "s3cret-of-north"}',
        "[]",
        json.dumps([NORTH, NORTH]),
        json.dumps([NORTH, {**NORTH, "name": "NORTH"}]),
        json.dumps([{**NORTH, "name": ".kept"}]),
        json.dumps([{**NORTH, "token": ["s3cret-of-north"]}]),
        json.dumps([{**NORTH, "s3cret-of-north": 1}]),
        json.dumps([{**NORTH, "token": ""}]),
        json.dumps([{**NORTH, "token": "s3cret-of-north\n"}]),
        json.dumps([{**NORTH, "token": "s3cret-of-nörth", "plain_token": True}]),
        json.dumps([{**NORTH, "name": "s3cret-of-north /"}]),
        json.dumps([{"name": "north", "token": "s3cret-of-north"}]),
        json.dumps([{**NORTH, "url": "ftp://s3cret-of-north"}]),
        json.dumps([{**NORTH, "url": "https://u:s3cret-of-north@ocpi.example.com"}]),
        json.dumps([{**NORTH, "url": "https://[s3cret-of-north"}]),
        json.dumps([{**NORTH, "url": "https://ocpi.example.com:s3cret-of-north"}]),
        json.dumps([{**NORTH, "origins": ["s3cret-of-north"]}]),
        '["\\ud800s3cret-of-north"]',
        "[" * 5000,
    ],
    ids=range(20),
)
def test_an_invalid_setting_is_refused_and_not_shown(setting: str) -> None:
    """The value may contain a token."""
    with pytest.raises(SettingInvalid, match="NX_OCPI_OPERATORS") as refused:
        parse(setting)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_http_urls_are_refused_in_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would send the token in the clear; on this machine they are accepted."""
    setting = json.dumps([{**NORTH, "url": "http://ocpi.example.com/versions"}])
    monkeypatch.delenv("K_REVISION", raising=False)
    assert parse(setting)
    monkeypatch.setenv("K_REVISION", "collect-00001-abc")
    with pytest.raises(SettingInvalid, match="has an http:// URL for north"):
        parse(setting)


def test_the_repr_of_an_operator_does_not_contain_its_token() -> None:
    (north,) = parse(json.dumps([NORTH]))
    assert repr(north) == str(north) == f"{[north]!r}"[1:-1] == "Operator(north)"


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://ocpi.example.com/cdrs?x=1", True),
        ("https://OCPI.example.com:443/", True),
        ("https://ocpi.example.com:8443/", False),
        ("http://ocpi.example.com/", False),
        ("https://ocpi.example.com.evil.example/", False),
        ("https://ocpi.example.com@evil.example/", False),
        ("https://evil.example/ocpi.example.com", False),
        ("https://data.example.com/x", True),
        ("//ocpi.example.com/", False),
        ("", False),
        ("https://[", False),
        ("https://evil.example\\@ocpi.example.com/", False),
        ("https://ocpi.example.com\\@evil.example/", True),  # the rest is a path
        ("https://ocpi.example.com:0/", False),
        ("https://ocpi.example.com:99999/", False),
        ("file:///etc/passwd", False),
    ],
)
def test_the_token_may_be_sent_only_to_the_origins_of_its_operator(url: str, may: bool) -> None:
    """Scheme, host and port must match its versions URL or a listed origin."""
    known: dict[str, Any] = {**NORTH, "origins": ("https://data.example.com",)}
    assert Operator(**known).may_get_token(url) is may


def test_an_origin_has_a_default_port() -> None:
    assert origin_of("https://h/x") == ("https", "h", 443)
    assert origin_of("http://h/x") == ("http", "h", 80)
