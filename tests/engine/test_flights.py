"""One does a thing, the others wait for it."""

import threading
from typing import Any

import pytest

from shared.tasks.serving.single_flight import Flights
from tests.engine.world import in_thread


def test_one_leads_and_the_others_get_what_it_found() -> None:
    """At most one flight at a time; after it, the next who comes leads another."""
    flights: Flights[str] = Flights()
    flight, leads = flights.join(1.0)
    other, follows = flights.join(2.0)
    assert (leads, follows) == (True, False)
    assert other is flight
    thread, found = in_thread(other.wait)
    assert flights.lead(flight, lambda: "found") == "found"
    thread.join(10)
    assert found == ["found"]
    assert flights.join(3.0)[1]


def test_a_failure_fails_everybody_aboard_once() -> None:
    """Nobody waits for ever, nobody tries again by himself, and the next begins anew."""
    flights: Flights[str] = Flights()
    flight, _ = flights.join(1.0)

    def fails() -> str:
        raise ConnectionError("down")

    with pytest.raises(ConnectionError):
        flights.lead(flight, fails)
    with pytest.raises(ConnectionError, match="down"):
        flight.wait()
    assert flights.join(2.0)[1]


def test_whoever_waits_for_a_leader_that_was_ended_waits_no_longer() -> None:
    """A thread that is told to exit takes nobody with it."""
    flights: Flights[str] = Flights()
    flight, _ = flights.join(1.0)
    waiting = threading.Event()

    def waits() -> Any:
        waiting.set()
        return flight.wait()

    thread, found = in_thread(waits)
    assert waiting.wait(10)

    def exits() -> str:
        raise SystemExit

    with pytest.raises(SystemExit):
        flights.lead(flight, exits)
    thread.join(10)
    assert found == [None]
