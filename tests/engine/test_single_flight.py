"""Concurrent requests for one thing share one call."""

import threading
from typing import Any

import pytest

from shared.tasks.serving.single_flight import SingleFlight
from tests.support.world import in_thread


def test_one_request_leads_and_the_others_share_its_result() -> None:
    """At most one call at a time; after it, the next request leads another."""
    calls: SingleFlight[str] = SingleFlight()
    call, is_leader = calls.join(1.0)
    other, follows = calls.join(2.0)
    assert (is_leader, follows) == (True, False)
    assert other is call
    thread, found = in_thread(other.wait)
    assert calls.run(call, lambda: "found") == "found"
    thread.join(10)
    assert found == ["found"]
    assert calls.join(3.0)[1]


def test_a_failure_raises_for_every_request_that_shares_the_call() -> None:
    """No request waits for ever or retries, and the next one makes a new call."""
    calls: SingleFlight[str] = SingleFlight()
    call, _ = calls.join(1.0)

    def fails() -> str:
        raise ConnectionError("down")

    with pytest.raises(ConnectionError):
        calls.run(call, fails)
    with pytest.raises(ConnectionError, match="down"):
        call.wait()
    assert calls.join(2.0)[1]


def test_requests_stop_waiting_for_a_leader_whose_thread_has_ended() -> None:
    """They get no result from it and may lead a call of their own."""
    calls: SingleFlight[str] = SingleFlight()
    call, _ = calls.join(1.0)
    waiting = threading.Event()

    def waits() -> Any:
        waiting.set()
        return call.wait()

    thread, found = in_thread(waits)
    assert waiting.wait(10)

    def exits() -> str:
        raise SystemExit

    with pytest.raises(SystemExit):
        calls.run(call, exits)
    thread.join(10)
    assert found == [None]
