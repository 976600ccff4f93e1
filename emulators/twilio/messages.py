"""The messages of an account and their states, in memory; none is delivered."""

import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

#: Credentials of the local account, which the stack passes to the functions in their environment.
ACCOUNT_SID = f"AC{'0' * 31}1"
AUTH_TOKEN = "nx-tasks-local"  # noqa: S105 - valid only for the local Twilio
MESSAGING_SERVICE_SID = f"MG{'0' * 31}1"
#: The number that the messaging service sends from.
SENDER = "+12025550100"

#: Twilio's own test recipients, with the error code and message for each.
REFUSED = {
    "+15005550001": (21211, "Invalid 'To' Phone Number: +1500555XXXX"),
    "+15005550002": (21612, "Message cannot be sent with the current combination of 'To' and 'From'"),
    "+15005550003": (21408, "Permission to send an SMS has not been enabled for the region"),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient"),
    "+15005550009": (21614, "'To' number is not a valid mobile number"),
}
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_MAX_BODY_CHARACTERS = 1_600


class Refusal(Exception):
    """A request that Twilio refuses, with an HTTP status and Twilio's error code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """A message as Twilio stores it."""

    sid: str
    to: str
    body: str
    created: datetime
    sent: datetime | None = None
    #: Twilio's error code if the network did not deliver it; None if it arrives.
    undelivered: int | None = None

    def to_resource(self) -> dict[str, Any]:
        """Return the message as the API shows it. An accepted one has no sender and no sending date."""
        uri = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{self.sid}"
        return {
            "account_sid": ACCOUNT_SID,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": _rfc2822(self.created),
            "date_sent": _rfc2822(self.sent) if self.sent else None,
            "date_updated": _rfc2822(self.sent or self.created),
            "direction": "outbound-api",
            "error_code": self.undelivered if self.sent else None,
            "error_message": None,
            "from": SENDER if self.sent else None,
            "messaging_service_sid": MESSAGING_SERVICE_SID,
            "num_media": "0",
            "num_segments": "1" if self.sent else "0",
            "price": None,
            "price_unit": None,
            "sid": self.sid,
            "status": self._status(),
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }

    def _status(self) -> str:
        if self.sent is None:
            return "accepted"
        return "delivered" if self.undelivered is None else "undelivered"


class Messages:
    """All messages. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[Message] = []
        #: Error codes by recipient, for networks that deliver nothing.
        self.unreachable: dict[str, int] = {}

    def create(self, fields: Mapping[str, str]) -> Message:
        """Accept a message. The networks report its delivery when it is next read.

        Raises:
            Refusal: Twilio would refuse the message.
        """
        to, body = fields.get("To", ""), fields.get("Body", "")
        if not to:
            raise Refusal(400, 21604, "A 'To' phone number is required.")
        if not body:
            raise Refusal(400, 21602, "Message body is required.")
        if len(body) > _MAX_BODY_CHARACTERS:
            raise Refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit")
        if "MessagingServiceSid" not in fields:
            raise Refusal(400, 21603, "A 'From' phone number is required.")
        if fields["MessagingServiceSid"] != MESSAGING_SERVICE_SID:
            raise Refusal(400, 21701, "The Messaging Service does not exist")
        if to in REFUSED:
            raise Refusal(400, *REFUSED[to])
        if not _E164.fullmatch(to):
            raise Refusal(400, 21211, f"The 'To' number {to} is not a valid phone number.")
        code = self.unreachable.get(to)
        message = Message(f"SM{secrets.token_hex(16)}", to, body, datetime.now(UTC), undelivered=code)
        with self._lock:
            self._messages.append(message)
        return message

    def get(self, sid: str) -> Message:
        """Return a message, then record that its network reported on it.

        Raises:
            Refusal: No message has this SID.
        """
        with self._lock:
            found = [message for message in self._messages if message.sid == sid]
        if not found:
            raise Refusal(404, 20404, f"The requested resource Messages/{sid} was not found")
        self._report({sid})
        return found[0]

    def listed(self, query: Mapping[str, str]) -> list[Message]:
        """Return the messages that match filters, newest first, then record that networks reported on them.

        Args:
            query: `To`, `From`, `DateSent`, `DateSent>` and `DateSent<`. Dates are days or times.
        """
        with self._lock:
            found = [message for message in reversed(self._messages) if _passes(message, query)]
        self._report({message.sid for message in found})
        return found

    def all(self) -> list[Message]:
        """Return all messages, oldest first, without changing them."""
        with self._lock:
            return list(self._messages)

    def _report(self, sids: set[str]) -> None:
        """Record that the networks have reported on these messages."""
        with self._lock:
            self._messages = [
                replace(message, sent=message.sent or datetime.now(UTC)) if message.sid in sids else message
                for message in self._messages
            ]


def _passes(message: Message, query: Mapping[str, str]) -> bool:
    if query.get("To", message.to) != message.to or query.get("From", SENDER) != SENDER:
        return False
    dates = {name: query[name] for name in ("DateSent", "DateSent>", "DateSent<") if name in query}
    if not dates:
        return True
    if message.sent is None:  # accepted and not sent, so it has no sending date
        return False
    day = message.sent.date().isoformat()
    return (
        dates.get("DateSent", day)[:10] == day
        and dates.get("DateSent>", day)[:10] <= day
        and dates.get("DateSent<", day)[:10] >= day
    )


def _rfc2822(moment: datetime) -> str:
    return format_datetime(moment)
