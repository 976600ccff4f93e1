"""Operators with TLS: whom it shows to be another is not read, and bounds hold there as well."""

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
    """Whoever it vouches for is believed."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return authority


def tls_of(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    """What a server of this name shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def collected(operator: Operator, limits: Limits = IMPATIENT) -> list[dict[str, Any]]:
    """Its locations."""
    run = new_run(TaskName.collect_charge_locations)
    return list(charge_locations.collect([operator], list, run, limits=limits))


def test_an_operator_is_read_with_tls(authority: trustme.CA) -> None:
    """From versions to its list."""
    with hostile(serving(location()), tls_of(authority)) as server:
        assert [each["id"] for each in collected(server.operator())] == ["LOC1"]


@pytest.mark.parametrize(
    ("known", "name"), [(False, "127.0.0.1"), (True, "ocpi.example.com")], ids=["unknown", "another's name"]
)
def test_who_can_not_show_who_it_is_gets_no_token(authority: trustme.CA, known: bool, name: str) -> None:
    """A certificate of nobody's, or of another's."""
    with hostile(serving(location()), tls_of(authority if known else trustme.CA(), name)) as server:
        with pytest.raises(NoOperatorAnswered, match="no trusted TLS connection"):
            collected(server.operator())
        assert server.headers_seen == []


def test_tls_is_not_given_up_on_the_way(authority: trustme.CA) -> None:
    """Neither by a Link nor by a redirect: the token would go in clear."""
    with hostile(serving(location())) as clear:
        for lists in (
            lambda asked: asked.list([location()], Link=f'<{clear.url}/locations>; rel="next"'),
            lambda asked: asked.body(b"", status=308, Location=f"{clear.url}/locations"),
        ):
            with (
                hostile(lists, tls_of(authority)) as server,
                pytest.raises(
                    NoOperatorAnswered, match=r"leads to http://127.0.0.1:[0-9]+, which may not be sent"
                ),
            ):
                collected(server.operator())
        assert clear.asked == []


@pytest.mark.parametrize("lists", [trickle, trickling_headers, silence])
def test_slowness_is_bounded_with_tls(authority: trustme.CA, lists: Any) -> None:
    """A byte now and then, in the body or before it, holds nobody longer than in clear."""
    with hostile(lists, tls_of(authority)) as server:
        began = time.monotonic()
        with pytest.raises(NoOperatorAnswered, match="silent for too long"):
            collected(server.operator())
        assert time.monotonic() - began < 10


def test_a_handshake_that_never_comes_is_bounded() -> None:
    """A server that takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/versions"
        began = time.monotonic()
        with pytest.raises(NoOperatorAnswered, match="silent for too long"):
            collected(
                Operator(name="silent", url=url, token="token"), replace(IMPATIENT, connect_seconds=0.5)
            )
        assert time.monotonic() - began < 10
