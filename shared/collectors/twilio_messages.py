"""Sends messages through Twilio and finds those that were sent, by Twilio's own library.

Twilio has no idempotency key for messages: a request that is sent again is a second message. So
sending is never repeated here, and every way in which it can end has a name of its own. Errors
carry Twilio's codes and never its texts, which hold telephone numbers.
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

#: Seconds to connect, and to wait for an answer.
TIMEOUTS = (5.0, 15.0)
#: Seconds by which two clocks, ours and Twilio's, may differ.
CLOCK_MARGIN = timedelta(minutes=5)
#: Messages to one number that are looked through, newest first; a device gets a few a year.
MOST_LOOKED_THROUGH = 1_000

#: Codes of HTTP 400 that are about the account, its messaging service, its senders or the configured text,
#: not about the recipient: 21408 (region not enabled), 21606 (sender cannot send), 21608 (trial account), …
_ABOUT_THE_ACCOUNT = frozenset({
    20003, 20005, 20008, 21212, 21408, 21601, 21602, 21603, 21606, 21607, 21608, 21611, 21617, 21618, 21619,
    21659, 21660, 21701, 21703, 21704, 21705, 21712, 30001, 30002, 30034, 30127, 63038,
})  # fmt: skip
#: Statuses of a message that Twilio changes no more, by whether it arrived.
_FINAL = {"delivered": True, "read": True, "undelivered": False, "failed": False, "canceled": False}
#: What can be asked again without doing anything twice: reads, and connections that were never made.
_REPEATS = Retry(
    total=3,
    other=0,
    allowed_methods={"GET"},
    status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=0.3,
    raise_on_status=False,
    respect_retry_after_header=False,  # it may say hours
)


class MessageRefused(Exception):
    """Twilio refuses this message for good; nothing was sent.

    Attributes:
        code: Twilio's error code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"Twilio refuses the message (code {code})")
        self.code = code


class SendingRefused(Exception):
    """Twilio takes no messages now, or none from this account; nothing was sent."""


class TooManyRequests(SendingRefused):
    """Twilio wants fewer messages at a time; nothing was sent."""


class OutcomeUnknown(Exception):
    """The request went out and no answer says what became of it: there may be a message."""


class LookupFailed(Exception):
    """Twilio could not be asked which messages there are."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message that Twilio accepted.

    Attributes:
        arrived: Whether the recipient's network took it.
        status: Twilio's word for it: delivered, undelivered, failed, …
        code: Twilio's error code, if there is one.
    """

    arrived: bool
    status: str
    code: int | None


class TwilioMessages:
    """The messages of a messaging service.

    Args:
        account: who sends.
        session: carries the requests; by default one of its own, which repeats reads.
    """

    def __init__(self, account: TwilioAccount, session: requests.Session | None = None) -> None:
        self._service = account.messaging_service_sid
        self._session = session or _session()
        self._client = Client(
            account.account_sid, account.auth_token, http_client=_Http(account.url, self._session)
        )

    def close(self) -> None:
        """Close the connections; one that is idle until the next run would break a send."""
        self._session.close()

    def send(self, to: str, text: str) -> str:
        """Send a message, once.

        Returns:
            Its SID: Twilio has it.

        Raises:
            MessageRefused: it did not take this one.
            SendingRefused: it takes none.
            OutcomeUnknown: it may have it.
        """
        try:
            message = self._client.messages.create(to=to, body=text, messaging_service_sid=self._service)
        except (TwilioRestException, TwilioServiceException) as error:
            raise _refusal(error.status, error.code or 0) from None
        except requests.ConnectionError as error:
            if _never_connected(error):
                raise SendingRefused("Twilio can't be reached") from None
            raise OutcomeUnknown(type(error).__name__) from None
        except Exception as error:  # noqa: BLE001  (whatever it is, the request may have arrived)
            raise OutcomeUnknown(type(error).__name__) from None
        if not message.sid:
            raise OutcomeUnknown("an answer without a SID")
        return str(message.sid)

    def find(self, to: str, text: str, *, since: datetime, others: Collection[str]) -> str | None:
        """Find a message that was sent, by what is known of it.

        There is no filter by date: Twilio's is by the time of sending, and leaves out a message that
        it has and has not sent yet.

        Args:
            to: the recipient.
            text: what it says.
            since: when it was recorded, before it was sent.
            others: SIDs that are known to be other messages'.

        Returns:
            Its SID; None where Twilio has no such message.

        Raises:
            LookupFailed: it can't be said.
        """
        try:
            for message in self._client.messages.stream(to=to, page_size=100, limit=MOST_LOOKED_THROUGH):
                if self._fits(message, text, since) and message.sid not in others:
                    return str(message.sid)
        except Exception as error:  # noqa: BLE001  (no answer is no answer)
            raise LookupFailed(
                f"Twilio does not say which messages there are ({_told(error)}); none is sent before it does"
            ) from None
        return None

    def delivery(self, sid: str) -> Delivery | None:
        """Return what became of a message, or None while that is not final.

        Args:
            sid: The message's SID.

        Raises:
            LookupFailed: Twilio did not answer.
        """
        try:
            message = self._client.messages(sid).fetch()
        except Exception as error:  # noqa: BLE001  (no answer is no answer)
            raise LookupFailed(f"Twilio did not return a message's status ({_told(error)})") from None
        arrived = _FINAL.get(str(message.status))
        return None if arrived is None else Delivery(arrived, str(message.status), message.error_code)

    def _fits(self, message: Any, text: str, since: datetime) -> bool:
        return (
            message.direction == "outbound-api"
            and message.messaging_service_sid == self._service
            and (message.body or "").endswith(text)  # a trial account's messages have a sentence before
            and (message.date_created is None or message.date_created >= since - CLOCK_MARGIN)
        )


class _Http(HttpClient):  # type: ignore[misc]  # the library has no types
    """Carries the library's requests, to Twilio or to what stands in for it. It logs nothing.

    Args:
        url: where Twilio's API is.
        session: sends them.
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
        if not url.startswith(f"{TWILIO_API}/"):  # a page's link to elsewhere must not get the token
            raise ValueError("Twilio names an address that is not its own")
        answer = self._session.request(
            method,
            self._url + url.removeprefix(TWILIO_API),
            params=params,
            data=data,
            headers=headers,
            auth=auth,
            timeout=TIMEOUTS,
            allow_redirects=False,
        )
        return Response(answer.status_code, answer.text, answer.headers)


def _session() -> requests.Session:
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=_REPEATS))
    return session


def _told(error: Exception) -> str:
    """Say what went wrong without the error's own text, which may hold a number."""
    answers = [argument for argument in error.args if isinstance(argument, Response)]
    return f"HTTP {answers[0].status_code}" if answers else type(error).__name__


def _refusal(status: int, code: int) -> Exception:
    """Say what an answer other than 2xx means for a message."""
    told = f"HTTP {status}, code {code}"
    if status >= 500 or status == 408:
        return OutcomeUnknown(told)
    if status == 429:
        return TooManyRequests(f"Twilio wants fewer requests ({told})")
    if status == 400 and code not in _ABOUT_THE_ACCOUNT:
        return MessageRefused(code)
    names = "NX_TWILIO_ACCOUNT_SID, NX_TWILIO_AUTH_TOKEN and NX_TWILIO_MESSAGING_SERVICE_SID"
    return SendingRefused(f"Twilio takes no messages from this account ({told}): check {names}")


def _never_connected(error: requests.ConnectionError) -> bool:
    """Tell whether nothing can have been sent: there was no connection to send it on."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)
