"""The outbox, in which each reset SMS is recorded before it is sent.

The collection `nx-sms-out` has one document per message, whose id consists of device and incident. Documents
are never removed, because they prevent a second message for an incident.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    GoogleAPICallError,
    InternalServerError,
    NotFound,
    ServiceUnavailable,
)
from google.cloud.firestore import FieldFilter

from shared.collectors.firestore_reads import CALL_SECONDS, read_documents, read_page, retried

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from google.cloud.firestore import Client, DocumentReference, DocumentSnapshot

OUTBOX_COLLECTION = "nx-sms-out"

#: About to be sent, or the outcome is not recorded because no response arrived or the sender died.
PENDING = "pending"
#: Accepted by Twilio. `sid` is its SID, and `delivery` whether it arrived.
SENT = "sent"
#: Refused by Twilio, with the error code in `code`.
FAILED = "failed"
#: Looked up, and not found at Twilio. It is never sent again.
UNKNOWN = "unknown"

#: Value of `delivery` while Twilio has not reported whether a sent message arrived.
AWAITED = "awaited"
#: Records per read.
PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class OutgoingSms:
    """A message to send.

    Attributes:
        id: Id of its record, from device and incident.
        device: Id of the device.
        to: Number of the device, in E.164 form.
        text: Text of the message.
        recorded: Time at which it was created, UTC.
    """

    id: str
    device: str
    to: str
    text: str
    recorded: datetime

    @classmethod
    def of(cls, record: DocumentSnapshot[Any]) -> OutgoingSms:
        """Return the message of a record."""
        device, to, text, recorded = (record.get(name) for name in ("device", "to", "text", "recorded"))
        return cls(record.id, device, to, text, recorded)


class Outbox:
    """The records of messages. Each write is safe by itself while other processes write.

    Args:
        client: The database.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._records = client.collection(OUTBOX_COLLECTION)

    def recorded(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that have a record, in any state.

        Args:
            ids: Ids of messages, at most a few hundred.
        """
        found = read_documents(self._client, [self._records.document(each) for each in ids], ["state"])
        return {snapshot.id for snapshot in found}

    def claim(self, sms: OutgoingSms) -> bool:
        """Record a message as pending.

        Returns:
            True for exactly one caller, which must send the message once; False for all others.

        Raises:
            GoogleAPIError: The message may be recorded or not. It must not be sent; if it is recorded, a
                later run looks it up.
        """
        token = secrets.token_hex(8)
        record = self._records.document(sms.id)
        fields = {
            "device": sms.device,
            "to": sms.to,
            "text": sms.text,
            "recorded": sms.recorded,
            "state": PENDING,
            "token": token,
        }
        try:
            record.create(fields, retry=None, timeout=CALL_SECONDS)
        except AlreadyExists:
            return False
        except (DeadlineExceeded, InternalServerError, ServiceUnavailable):
            # The record may exist although the response was lost. The token shows whether it is this call's.
            found = read_documents(self._client, [record], ["state", "token"])
            if not found:
                raise
            return {"state": PENDING, "token": token} == found[0].to_dict()
        return True

    def record_sent(self, sms_id: str, sid: str) -> None:
        """Record that Twilio accepted a message, whatever state is recorded: only its sender knows."""
        self._write(self._records.document(sms_id), {"state": SENT, "sid": sid, "delivery": AWAITED})

    def record_failed(self, sms_id: str, code: int) -> None:
        """Record that Twilio refused a message, whatever state is recorded.

        Args:
            sms_id: Id of the message.
            code: Twilio's error code.
        """
        self._write(self._records.document(sms_id), {"state": FAILED, "code": code})

    def release(self, sms_id: str) -> None:
        """Remove the record of a message that was certainly not sent, so that a later run may send it."""
        record = self._records.document(sms_id)
        for present in read_documents(self._client, [record], ["state"]):
            if present.get("state") != PENDING:
                continue
            option = self._client.write_option(last_update_time=present.update_time)
            try:
                record.delete(option=option, retry=None, timeout=CALL_SECONDS)
            except GoogleAPICallError:
                return  # It stays pending; a later run looks it up and reports it as unknown.

    def pending(self, *, before: datetime) -> list[DocumentSnapshot[Any]]:
        """Return the records of pending messages.

        Args:
            before: Only messages recorded before this time, UTC. Later ones may still be sent.
        """
        query = self._records.where(filter=FieldFilter("state", "==", PENDING)).limit(PAGE_SIZE)
        return [record for record in read_page(query) if record.get("recorded") < before]

    def settle(self, pending: DocumentSnapshot[Any], sid: str | None) -> None:
        """Record the outcome of a pending message, unless its record has changed since it was read.

        Args:
            pending: The record as it was read.
            sid: SID of the message; None if Twilio does not have it.
        """
        fields = {"state": UNKNOWN} if sid is None else {"state": SENT, "sid": sid, "delivery": AWAITED}
        option = self._client.write_option(last_update_time=pending.update_time)
        try:
            pending.reference.update(fields, option=option, retry=None, timeout=CALL_SECONDS)
        except (FailedPrecondition, NotFound):
            return

    def awaiting_delivery(self) -> list[DocumentSnapshot[Any]]:
        """Return the records of sent messages whose delivery Twilio has not reported yet."""
        query = self._records.where(filter=FieldFilter("delivery", "==", AWAITED)).limit(PAGE_SIZE)
        return read_page(query)

    def record_delivery(self, sms_id: str, status: str, code: int | None) -> None:
        """Record whether a sent message arrived.

        Args:
            sms_id: Id of the message.
            status: Twilio's final status, or "unknown".
            code: Twilio's error code, if there is one.
        """
        self._write(self._records.document(sms_id), {"delivery": status, "code": code})

    def sids_to(self, number: str) -> set[str]:
        """Return the SIDs of all messages to a number, of any device."""
        query = self._records.where(filter=FieldFilter("to", "==", number)).limit(PAGE_SIZE)
        return {sid for snapshot in read_page(query) if (sid := (snapshot.to_dict() or {}).get("sid"))}

    def count_by_device(self, since: datetime) -> Counter[str]:
        """Count the messages recorded at a time or later, by device."""
        counts: Counter[str] = Counter()
        query = (
            self._records.where(filter=FieldFilter("recorded", ">=", since))
            .select(["device", "recorded"])
            .order_by("recorded")
            .limit(PAGE_SIZE)
        )
        next_page = query
        while page := read_page(next_page):
            counts.update(str(snapshot.get("device")) for snapshot in page)
            if len(page) < PAGE_SIZE:
                break
            next_page = query.start_after(page[-1])
        return counts

    def count_unknown(self) -> int:
        """Return the number of all messages that are recorded as unknown."""
        query: Any = self._records.where(filter=FieldFilter("state", "==", UNKNOWN)).count()
        found = retried(lambda: list(query.get(retry=None, timeout=CALL_SECONDS)))
        return int(found[0][0].value)

    @staticmethod
    def _write(record: DocumentReference, fields: dict[str, Any]) -> None:
        retried(lambda: record.update(fields, retry=None, timeout=CALL_SECONDS))
