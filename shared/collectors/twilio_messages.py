"""Sends messages through Twilio and finds sent ones, with Twilio's own library.

Twilio has no idempotency key for messages, so repeating a request would send a second message. Sending is
therefore never retried, and each way in which it can end has its own error. Errors contain Twilio's codes but
not its texts, which contain telephone numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from twilio.base.exceptions import TwilioRestException, TwilioServiceException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client
from urllib3.exceptions import NewConnectionError
from urllib3.util import Retry

from shared.settings import TWILIO_API

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from shared.settings import TwilioAccount

#: Seconds to connect, and to wait for a response.
TIMEOUTS_SECONDS = (5.0, 15.0)
#: How far Twilio's clock may differ from this one.
CLOCK_SKEW = timedelta(minutes=5)
#: Messages to one number that are searched, newest first. A device gets a few per year.
MAX_SEARCHED = 1_000

#: Error codes of HTTP 400 about the account, its messaging service, its senders or the configured text, and
#: not about the recipient: 21408 (region not enabled), 21606 (sender cannot send), 21608 (trial account), …
_ABOUT_THE_ACCOUNT = frozenset({
    20003, 20005, 20008, 21212, 21408, 21601, 21602, 21603, 21606, 21607, 21608, 21611, 21617, 21618, 21619,
    21659, 21660, 21701, 21703, 21704, 21705, 21712, 30001, 30002, 30034, 30127, 63038,
})  # fmt: skip
#: Final statuses of a message, and whether it arrived.
_FINAL = {"delivered": True, "read": True, "undelivered": False, "failed": False, "canceled": False}
#: Retries reads, and requests for which no connection was established.
_RETRIES = Retry(
    total=3,
    other=0,
    allowed_methods={"GET"},
    status_forcelist=(429, 500, 502, 503, 504),
    raise_on_status=False,
    respect_retry_after_header=False,  # It may ask for hours.
)


class MessageRefused(Exception):
    """Twilio refused this message permanently; nothing was sent.

    Attributes:
        code: Twilio's error code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"Twilio refused the message (code {code})")
        self.code = code


class SendingRefused(Exception):
    """Twilio accepts no messages now, or none from this account; nothing was sent."""


class TooManyRequests(SendingRefused):
    """Twilio asks for a slower pace; nothing was sent."""


class OutcomeUnknown(Exception):
    """A request was sent and no valid response arrived, so the message may have been sent."""


class LookupFailed(Exception):
    """Twilio did not return which messages it has."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of a message that Twilio accepted.

    Attributes:
        arrived: Whether the recipient's network accepted it.
        status: Twilio's status: delivered, undelivered, failed, …
        code: Twilio's error code, if there is one.
    """

    arrived: bool
    status: str
    code: int | None


class TwilioMessages:
    """The messages of a messaging service.

    Args:
        account: The account that sends.
        session: Sends the requests. The default is a session that retries reads.
        backoff_seconds: Factor of the default session's waits, which are 0, 2 and 4 times as long.
    """

    def __init__(
        self,
        account: TwilioAccount,
        session: requests.Session | None = None,
        *,
        backoff_seconds: float = 0.3,
    ) -> None:
        self._service = account.messaging_service_sid
        self._session = session or _session(backoff_seconds)
        self._client = Client(
            account.account_sid, account.auth_token, http_client=_Http(account.url, self._session)
        )

    def close(self) -> None:
        """Close the connections. One that was idle until the next run could break a send."""
        self._session.close()

    def send(self, to: str, text: str) -> str:
        """Send a message once.

        Args:
            to: Number of the recipient, in E.164 form.
            text: Text of the message.

        Returns:
            The SID of the message, which Twilio has accepted.

        Raises:
            MessageRefused: Twilio refused this message.
            SendingRefused: Twilio accepts no messages.
            OutcomeUnknown: Twilio may have the message.
        """
        try:
            message = self._client.messages.create(to=to, body=text, messaging_service_sid=self._service)
        except (TwilioRestException, TwilioServiceException) as error:
            raise _refusal(error.status, error.code or 0) from None
        except requests.ConnectionError as error:
            if _never_connected(error):
                raise SendingRefused("could not connect to Twilio; nothing was sent") from None
            raise OutcomeUnknown(type(error).__name__) from None
        except Exception as error:  # noqa: BLE001  (after any error, the request may have arrived)
            raise OutcomeUnknown(type(error).__name__) from None
        if not message.sid:
            raise OutcomeUnknown("response without a SID")
        return str(message.sid)

    def find(self, to: str, text: str, *, since: datetime, others: Collection[str]) -> str | None:
        """Find a sent message by recipient, text and time.

        Twilio's filter by date is not used. It compares the time of sending, and leaves out messages that
        Twilio has accepted and not sent yet.

        Args:
            to: Number of the recipient.
            text: Text of the message.
            since: Time at which the message was recorded, before it was sent; UTC.
            others: SIDs of other messages.

        Returns:
            The SID; None if Twilio has no such message.

        Raises:
            LookupFailed: Twilio did not return its messages.
        """
        try:
            for message in self._client.messages.stream(to=to, page_size=100, limit=MAX_SEARCHED):
                if self._fits(message, text, since) and message.sid not in others:
                    return str(message.sid)
        except Exception as error:  # noqa: BLE001  (any error means that the outcome is not known)
            raise LookupFailed(
                f"Twilio did not return its messages ({_kind_of(error)}); nothing is sent until it does"
            ) from None
        return None

    def delivery(self, sid: str) -> Delivery | None:
        """Return the outcome of a message; None while it is not final.

        Args:
            sid: The message's SID.

        Raises:
            LookupFailed: Twilio did not return the message.
        """
        try:
            message = self._client.messages(sid).fetch()
        except Exception as error:  # noqa: BLE001  (any error means that the outcome is not known)
            raise LookupFailed(
                f"Twilio did not return a message's status ({_kind_of(error)}); the next run asks again"
            ) from None
        arrived = _FINAL.get(str(message.status))
        return None if arrived is None else Delivery(arrived, str(message.status), message.error_code)

    def _fits(self, message: Any, text: str, since: datetime) -> bool:
        return (
            message.direction == "outbound-api"
            and message.messaging_service_sid == self._service
            and (message.body or "").endswith(text)  # Trial accounts put a sentence before the text.
            and (message.date_created is None or message.date_created >= since - CLOCK_SKEW)
        )


class _Http(HttpClient):  # type: ignore[misc]  # the library has no types
    """Sends the library's requests to Twilio, or to a stand-in. It logs nothing.

    Args:
        url: Base URL of Twilio's API, or of a stand-in.
        session: Sends the requests.
    """

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url
        self._session = session

    def request(  # noqa: PLR0913, PLR0917  (the library's own signature)
        self,
        method: str,
        url: str,
        params: dict[str, Any] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002
        allow_redirects: bool = False,  # noqa: ARG002
    ) -> Response:
        if not url.startswith(f"{TWILIO_API}/"):  # A link to another host must not get the token.
            raise ValueError("a page of Twilio links to another host")
        response = self._session.request(
            method,
            self._url + url.removeprefix(TWILIO_API),
            params=params,
            data=data,
            headers=headers,
            auth=auth,
            timeout=TIMEOUTS_SECONDS,
            allow_redirects=False,
        )
        return Response(response.status_code, response.text, response.headers)


def _session(backoff_seconds: float) -> requests.Session:
    session, retries = requests.Session(), _RETRIES.new(backoff_factor=backoff_seconds)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    return session


def _kind_of(error: Exception) -> str:
    """Describe an error without its own text, which may contain a number."""
    responses = [argument for argument in error.args if isinstance(argument, Response)]
    return f"HTTP {responses[0].status_code}" if responses else type(error).__name__


def _refusal(status: int, code: int) -> Exception:
    """Return the error for a response other than 2xx."""
    response = f"HTTP {status}, code {code}"
    if status >= 500 or status == 408:
        return OutcomeUnknown(response)
    if status == 429:
        return TooManyRequests(
            f"Twilio accepts fewer requests per second ({response}); the next run continues"
        )
    if status == 400 and code not in _ABOUT_THE_ACCOUNT:
        return MessageRefused(code)
    names = "NX_TWILIO_ACCOUNT_SID, NX_TWILIO_AUTH_TOKEN and NX_TWILIO_MESSAGING_SERVICE_SID"
    return SendingRefused(f"Twilio accepts no messages from this account ({response}); check {names}")


def _never_connected(error: requests.ConnectionError) -> bool:
    """Return whether no connection was established, so that nothing can have been sent."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)
