"""The local Twilio serves the official library and raw requests."""

import base64
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from emulators.loopback import request
from emulators.stack import ROOT
from emulators.twilio.messages import ACCOUNT_SID, AUTH_TOKEN, MESSAGING_SERVICE_SID, REFUSED, SENDER
from emulators.twilio.server import SHOWN_AT, TwilioServer

TO = "+12025550123"


class Led(TwilioHttpClient):  # type: ignore[misc]
    """The library's HTTP client, redirected to a local server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.session.trust_env = False

    def request(self, method: str, url: str, *arguments: object, **options: object) -> object:
        return super().request(
            method, url.replace("https://api.twilio.com", self._url), *arguments, **options
        )


@pytest.fixture
def server() -> Iterator[TwilioServer]:
    with TwilioServer(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def client(server: TwilioServer) -> Iterator[Client]:
    led = Led(server.url)
    yield Client(ACCOUNT_SID, AUTH_TOKEN, http_client=led)
    led.session.close()


def test_the_official_library_sends_a_message(server: TwilioServer, client: Client) -> None:
    """The message is accepted without a sender, and delivered after a client has listed it."""
    sent = client.messages.create(to=TO, body="hello", messaging_service_sid=MESSAGING_SERVICE_SID)
    assert (sent.status, sent.to, sent.from_, sent.date_sent) == ("accepted", TO, None, None)
    assert (sent.num_segments, sent.direction) == ("0", "outbound-api")
    assert abs(sent.date_created - datetime.now(UTC)) < timedelta(minutes=1)
    client.messages.list()
    read = client.messages(sent.sid).fetch()
    assert (read.status, read.from_, read.body) == ("delivered", SENDER, "hello")
    assert read.date_sent is not None
    _, shown = request(f"{server.url}{SHOWN_AT}")
    assert [message["sid"] for message in shown["messages"]] == [sent.sid]


def test_the_official_library_lists_page_by_page(client: Client) -> None:
    """The newest message comes first for each page size; filters apply."""
    for number in range(7):
        client.messages.create(
            to=f"+1202555010{number}", body=str(number), messaging_service_sid=MESSAGING_SERVICE_SID
        )
    for size in (1, 3, 7, 50):
        listed = client.messages.list(page_size=size)
        assert [message.body for message in listed] == list("6543210")
    assert [message.body for message in client.messages.list(to="+12025550103")] == ["3"]
    assert [message.body for message in client.messages.list(limit=2)] == ["6", "5"]
    now = datetime.now(UTC)
    assert len(client.messages.list(date_sent_after=now - timedelta(days=1))) == 7
    assert client.messages.list(date_sent_before=now - timedelta(days=1)) == []


def test_a_date_filter_omits_unsent_messages(client: Client) -> None:
    """As in Twilio, accepted messages have no date yet."""
    client.messages.create(to=TO, body="x", messaging_service_sid=MESSAGING_SERVICE_SID)
    assert client.messages.list(date_sent_after=datetime.now(UTC) - timedelta(days=1)) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        *(({"to": to}, code) for to, (code, _) in REFUSED.items()),
        ({"to": "12"}, 21211),
        ({"to": ""}, 21604),
        ({"body": ""}, 21602),
        ({"body": "x" * 1601}, 21617),
        ({"messaging_service_sid": f"MG{'9' * 32}"}, 21701),
    ],
)
def test_invalid_messages_are_refused(client: Client, fields: dict[str, str], code: int) -> None:
    """The response is HTTP 400 with Twilio's code."""
    good = {"to": TO, "body": "hello", "messaging_service_sid": MESSAGING_SERVICE_SID}
    with pytest.raises(TwilioRestException) as refused:
        client.messages.create(**{**good, **fields})
    assert (refused.value.status, refused.value.code) == (400, code)
    assert client.messages.list() == []


def test_requests_without_valid_credentials_are_refused(server: TwilioServer) -> None:
    """A wrong token, another account and missing credentials get 401 with code 20003."""
    led = Led(server.url)
    for account, token in ((ACCOUNT_SID, "wrong"), (f"AC{'9' * 32}", AUTH_TOKEN)):
        with pytest.raises(TwilioRestException) as refused:
            Client(account, token, http_client=led).messages.create(to=TO, body="x")
        assert (refused.value.status, refused.value.code) == (401, 20003)
    led.session.close()
    for authorization in (None, "Basic", "Basic %%%", f"Bearer {AUTH_TOKEN}"):
        headers = {} if authorization is None else {"Authorization": authorization}
        url = f"{server.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        assert requests.get(url, headers=headers, timeout=5).json()["code"] == 20003


def test_unknown_resources_are_errors(server: TwilioServer, client: Client) -> None:
    """Unknown messages, paths, pages and methods get Twilio's errors."""
    with pytest.raises(TwilioRestException) as refused:
        client.messages("SM0").fetch()
    assert (refused.value.status, refused.value.code) == (404, 20404)
    encoded = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
    base = f"{server.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"
    for method, url, status in [
        ("GET", f"{server.url}/", 404),
        ("GET", f"{base}.json?{urlencode({'PageSize': 'x'})}", 400),
        ("POST", f"{base}/SM0.json", 405),
        ("PUT", f"{base}.json", 501),
    ]:
        body = b"" if method == "POST" else None
        asked = urllib.request.Request(url, body, {"Authorization": f"Basic {encoded}"}, method=method)
        with pytest.raises(HTTPError) as error:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=5)
        with error.value:
            assert error.value.code == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process(number: int) -> None:
    """The process prints its address and ends with exit code 0."""
    command = [sys.executable, "-m", "emulators.twilio", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Twilio: http://127.0.0.1:")
        process.send_signal(number)
        assert process.wait(20) == 0


def test_the_error_for_a_port_in_use_names_the_port(server: TwilioServer) -> None:
    command = [sys.executable, "-m", "emulators.twilio", "--port", str(server.port)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 1
    assert f"Twilio: cannot listen on 127.0.0.1:{server.port}" in ran.stderr
