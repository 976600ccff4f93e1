"""Operators with TLS: certificates are verified, and time limits hold there as well."""

import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from shared.collectors import charge_locations
from shared.collectors.ocpi.errors import NoOperatorAnswered
from shared.collectors.ocpi.operators import Operator
from shared.collectors.ocpi.transport import Limits
from shared.tasks import TaskName
from tests.collectors.hostile import hostile, serving
from tests.collectors.ocpi_samples import location
from tests.collectors.runs import IMPATIENT, new_run
from tests.collectors.test_ocpi_hostile import silence, trickle, trickling_headers


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """A certificate authority that the client trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return authority


def tls_of(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    """The TLS context of a server with this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def collected(operator: Operator, limits: Limits = IMPATIENT) -> list[dict[str, Any]]:
    """The operator's locations."""
    run = new_run(TaskName.collect_charge_locations)
    return list(charge_locations.collect([operator], list, run, limits=limits))


def test_an_operator_is_read_with_tls(authority: trustme.CA) -> None:
    """From versions to its list."""
    with hostile(serving(location()), tls_of(authority)) as server:
        assert [each["id"] for each in collected(server.operator())] == ["LOC1"]


@pytest.mark.parametrize(
    ("known", "name"), [(False, "127.0.0.1"), (True, "ocpi.example.com")], ids=["unknown", "another's name"]
)
def test_a_server_with_a_wrong_certificate_gets_no_token(
    authority: trustme.CA, known: bool, name: str
) -> None:
    """Of an unknown authority, or for another name."""
    with hostile(serving(location()), tls_of(authority if known else trustme.CA(), name)) as server:
        with pytest.raises(NoOperatorAnswered, match="no trusted TLS connection"):
            collected(server.operator())
        assert server.received_headers == []


def test_links_and_redirects_do_not_leave_tls(authority: trustme.CA) -> None:
    """The token would be sent in the clear."""
    with hostile(serving(location())) as clear:
        for lists in (
            lambda asked: asked.list([location()], Link=f'<{clear.url}/locations>; rel="next"'),
            lambda asked: asked.body(b"", status=308, Location=f"{clear.url}/locations"),
        ):
            with (
                hostile(lists, tls_of(authority)) as server,
                pytest.raises(
                    NoOperatorAnswered, match=r"http://127.0.0.1:[0-9]+ is not an origin that may get"
                ),
            ):
                collected(server.operator())
        assert clear.requests == []


@pytest.mark.parametrize("lists", [trickle, trickling_headers, silence])
def test_slowness_is_bounded_with_tls(authority: trustme.CA, lists: Any) -> None:
    """A slow body or slow headers take no longer than without TLS."""
    with hostile(lists, tls_of(authority)) as server:
        began = time.monotonic()
        with pytest.raises(NoOperatorAnswered, match="no data for too long"):
            collected(server.operator())
        assert time.monotonic() - began < 10


def test_a_missing_handshake_is_bounded() -> None:
    """The server accepts the connection and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/versions"
        began = time.monotonic()
        with pytest.raises(NoOperatorAnswered, match="no data for too long"):
            collected(
                Operator(name="silent", url=url, token="token"), replace(IMPATIENT, connect_seconds=0.2)
            )
        assert time.monotonic() - began < 10
