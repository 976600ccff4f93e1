"""The peers of the collectors, in this process: the demo's charge point operators and a local Twilio."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from emulators.environment import Addresses
from emulators.ocpi.operators import secret
from emulators.ocpi.server import OcpiServer
from emulators.twilio.server import TwilioServer
from shared import firebase
from shared.collectors.ocpi.operators import Operator, parse
from tests.collectors.fleet import Fleet, twilio_running

#: The time from which the demo's records count back.
DEMO_NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def demo_operators() -> Iterator[OcpiServer]:
    """The operators of the local stack."""
    server = OcpiServer(("127.0.0.1", 0), DEMO_NOW)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def north(demo_operators: OcpiServer) -> Operator:
    """One of them, configured like in the setting."""
    return parse(secret(f"127.0.0.1:{demo_operators.port}"))[0]


@pytest.fixture
def both(demo_operators: OcpiServer) -> tuple[Operator, ...]:
    """Both of them."""
    return parse(secret(f"127.0.0.1:{demo_operators.port}"))


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    """A local Twilio for one test."""
    with twilio_running() as server:
        yield server


@pytest.fixture
def fleet(clean_firestore: Addresses, twilio: TwilioServer) -> Fleet:
    """A fleet without devices and messages."""
    return Fleet(firebase.firestore_client(), twilio)
