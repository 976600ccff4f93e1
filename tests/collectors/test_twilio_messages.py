"""Sending and finding messages over real connections, with every possible outcome."""

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulators.twilio.messages import MESSAGING_SERVICE_SID, REFUSED
from emulators.twilio.server import Fault, TwilioServer
from shared.collectors import twilio_messages
from shared.collectors.twilio_messages import (
    LookupFailed,
    MessageRefused,
    OutcomeUnknown,
    SendingRefused,
    TooManyRequests,
    TwilioMessages,
)
from tests.collectors.fleet import account_at, number_of

TO, TEXT = number_of(1), "#RESET#"
BEFORE = datetime.now(UTC)


@pytest.fixture
def messages(twilio: TwilioServer) -> Iterator[TwilioMessages]:
    with closing(TwilioMessages(account_at(twilio.url), backoff_seconds=0.001)) as messages:
        yield messages


def found(messages: TwilioMessages, **changes: Any) -> str | None:
    """The SID of the expected message."""
    return messages.find(TO, TEXT, **{"since": BEFORE, "others": set(), **changes})


def test_a_message_is_sent_and_found(messages: TwilioMessages, twilio: TwilioServer) -> None:
    """It is found under its SID at once, before Twilio has delivered it."""
    sid = messages.send(TO, TEXT)
    (message,) = twilio.messages.all()
    assert (message.sid, message.to, message.body, message.sent) == (sid, TO, TEXT, None)
    assert found(messages) == sid
    assert found(messages) == sid  # Twilio has delivered it by now


def test_only_the_expected_message_is_found(messages: TwilioMessages, twilio: TwilioServer) -> None:
    """Not one with another number or text, of an earlier silence, or with a SID that is already recorded."""
    sid = messages.send(TO, TEXT)
    assert messages.find(number_of(2), TEXT, since=BEFORE, others=set()) is None
    assert messages.find(TO, "other", since=BEFORE, others=set()) is None
    assert found(messages, since=datetime.now(UTC) + timedelta(minutes=6)) is None
    assert found(messages, since=datetime.now(UTC) + timedelta(minutes=4)) == sid  # clocks differ
    assert found(messages, others={sid}) is None


def test_a_message_is_found_among_many(messages: TwilioMessages, twilio: TwilioServer) -> None:
    """On a later page."""
    sid = messages.send(TO, TEXT)
    for _ in range(250):
        twilio.messages.create({"To": TO, "Body": "other", "MessagingServiceSid": MESSAGING_SERVICE_SID})
    assert found(messages) == sid


NOT_ENABLED = "+15005550003"  # region not enabled
RECIPIENTS = {to: code for to, (code, _) in REFUSED.items() if to != NOT_ENABLED} | {"99": 21211}


@pytest.mark.parametrize(("to", "code"), RECIPIENTS.items())
def test_a_permanent_refusal_has_its_code_and_no_number(messages: TwilioMessages, to: str, code: int) -> None:
    """Twilio's own text contains the number and is not repeated."""
    with pytest.raises(MessageRefused) as refused:
        messages.send(to, TEXT)
    assert refused.value.code == code
    assert to.strip("+") not in str(refused.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(400, 21610), MessageRefused),
        (Fault(400, 21703), SendingRefused),
        (Fault(400, 21408), SendingRefused),
        (Fault(400, 21606), SendingRefused),
        (Fault(400, 21608), SendingRefused),
        (Fault(401, 20003), SendingRefused),
        (Fault(403, 20005), SendingRefused),
        (Fault(404, 20404), SendingRefused),
        (Fault(307, 0), SendingRefused),
        (Fault(429, 20429), TooManyRequests),
        (Fault(408, 0), OutcomeUnknown),
        (Fault(500), OutcomeUnknown),
        (Fault(503, content=b"no JSON"), OutcomeUnknown),
        (Fault(None), OutcomeUnknown),
        (Fault(201, content=b"{"), OutcomeUnknown),
        (Fault(201, content=b"[]"), OutcomeUnknown),
    ],
)
def test_each_response_raises_its_error_without_a_second_request(
    messages: TwilioMessages, twilio: TwilioServer, fault: Fault, error: type[Exception]
) -> None:
    twilio.faults["POST"].append(fault)
    with pytest.raises(error) as raised:
        messages.send(TO, TEXT)
    assert raised.type is error
    assert twilio.messages.all() == []


def test_a_refused_connection_means_that_the_message_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    messages = TwilioMessages(account_at(f"http://127.0.0.1:{port}"), backoff_seconds=0.001)
    with closing(messages), pytest.raises(SendingRefused, match="could not connect"):
        messages.send(TO, TEXT)


def test_a_missing_response_leaves_the_outcome_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server accepts the request and does not respond."""
    monkeypatch.setattr(twilio_messages, "TIMEOUTS_SECONDS", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with closing(TwilioMessages(account_at(url))) as messages, pytest.raises(OutcomeUnknown):
            messages.send(TO, TEXT)


def test_a_failed_look_up_is_retried(messages: TwilioMessages, twilio: TwilioServer) -> None:
    """Three failures are retried; the fourth raises an error without the number."""
    sid = messages.send(TO, TEXT)
    faults = [Fault(503), Fault(429, 20429), Fault(None)]
    twilio.faults["GET"].extend(faults)
    assert found(messages) == sid
    twilio.faults["GET"].extend([*faults, Fault(500)])
    with pytest.raises(LookupFailed, match=r"HTTP 500") as failed:
        found(messages)
    assert TO.strip("+") not in str(failed.value)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"messages": [], "next_page_uri": "https://elsewhere.example.com/"}',
        b'{"messages": [], "meta": {"next_page_url": "https://elsewhere.example.com/"}}',
        b'{"messages": [], "meta": {"next_page_url": "https://api.twilio.com@elsewhere.example.com/"}}',
    ],
)
def test_an_invalid_page_does_not_prove_that_a_message_is_missing(
    messages: TwilioMessages, twilio: TwilioServer, content: bytes
) -> None:
    """It raises an error, and links to other hosts are not followed."""
    messages.send(TO, TEXT)
    twilio.faults["GET"].append(Fault(200, content=content))
    with pytest.raises(LookupFailed) as failed:
        found(messages)
    assert "elsewhere" not in str(failed.value)
