"""The outbox: each reset SMS is recorded here before it is sent, under an id that only one can have.

Collection `nx-sms-out`, a document a message, its id made of device and incident. Documents are
never removed: they are what keeps an incident from a second message.
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

from shared.collectors.firestore_reads import CALL_SECONDS, read_documents, read_page, repeated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from google.cloud.firestore import Client, DocumentReference, DocumentSnapshot

OUTBOX_COLLECTION = "nx-sms-out"

#: Recorded, and not known to be anything else: about to be sent, sent, or its sender died.
PENDING = "pending"
#: Twilio has it; `sid` tells it, and `delivery` what became of it.
SENT = "sent"
#: Twilio refused it; `code` says why. There is no message.
FAILED = "failed"
#: Nobody knows, and Twilio doesn't. Never sent again.
UNKNOWN = "unknown"

#: Value of `delivery` while Twilio has not reported whether a sent message arrived.
AWAITED = "awaited"
#: Records that are read at once, at most.
PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class OutgoingSms:
    """A message that is to be sent.

    Attributes:
        id: made of device and incident.
        device: the device's id.
        to: its number, in E.164 form.
        text: what it says.
        recorded: when it was decided on, UTC.
    """

    id: str
    device: str
    to: str
    text: str
    recorded: datetime

    @classmethod
    def of(cls, record: DocumentSnapshot[Any]) -> OutgoingSms:
        """Return the message that a record is of."""
        device, to, text, recorded = (record.get(name) for name in ("device", "to", "text", "recorded"))
        return cls(record.id, device, to, text, recorded)


class Outbox:
    """The records. Every write holds for itself, whatever other processes do.

    Args:
        client: the database.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._records = client.collection(OUTBOX_COLLECTION)

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that have a record, of whatever state.

        Args:
            ids: a few hundred at most.
        """
        found = read_documents(self._client, [self._records.document(each) for each in ids], ["state"])
        return {snapshot.id for snapshot in found}

    def claim(self, sms: OutgoingSms) -> bool:
        """Record a message as pending. Who is told True, and nobody else, may send it, once.

        Raises:
            GoogleAPIError: it may be recorded or not; then it will be found, and not be sent.
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
            # The answer may be lost and the record there: the token says whose it is.
            found = read_documents(self._client, [record], ["state", "token"])
            if not found:
                raise
            return {"state": PENDING, "token": token} == found[0].to_dict()
        return True

    def record_sent(self, sms_id: str, sid: str) -> None:
        """Record that Twilio has a message: its sender knows, whatever is recorded by then."""
        self._write(self._records.document(sms_id), {"state": SENT, "sid": sid, "delivery": AWAITED})

    def record_failed(self, sms_id: str, code: int) -> None:
        """Record that Twilio refused a message, and why, as `record_sent`."""
        self._write(self._records.document(sms_id), {"state": FAILED, "code": code})

    def release(self, sms_id: str) -> None:
        """Take back the record of a message that was not sent for certain: a later run may send it."""
        record = self._records.document(sms_id)
        for present in read_documents(self._client, [record], ["state"]):
            if present.get("state") != PENDING:
                continue
            option = self._client.write_option(last_update_time=present.update_time)
            try:
                record.delete(option=option, retry=None, timeout=CALL_SECONDS)
            except GoogleAPICallError:
                return  # it stays pending, will be looked up, and be told as unknown

    def unsettled(self, before: datetime) -> list[DocumentSnapshot[Any]]:
        """Return records that are still pending.

        Args:
            before: later ones may be in the hands of a sender.
        """
        query = self._records.where(filter=FieldFilter("state", "==", PENDING)).limit(PAGE_SIZE)
        return [pending for pending in read_page(query) if pending.get("recorded") < before]

    def settle(self, pending: DocumentSnapshot[Any], sid: str | None) -> None:
        """Record what was found out of a pending message, unless its sender has said more by now.

        Args:
            pending: the record, as it was read.
            sid: the message's; None where Twilio has none.
        """
        fields = {"state": UNKNOWN} if sid is None else {"state": SENT, "sid": sid, "delivery": AWAITED}
        option = self._client.write_option(last_update_time=pending.update_time)
        try:
            pending.reference.update(fields, option=option, retry=None, timeout=CALL_SECONDS)
        except (FailedPrecondition, NotFound):
            return

    def awaited(self) -> list[DocumentSnapshot[Any]]:
        """Return sent messages whose delivery Twilio has not reported yet."""
        query = self._records.where(filter=FieldFilter("delivery", "==", AWAITED)).limit(PAGE_SIZE)
        return read_page(query)

    def record_delivery(self, sms_id: str, status: str, code: int | None) -> None:
        """Record what became of a sent message; it is never sent again by itself."""
        self._write(self._records.document(sms_id), {"delivery": status, "code": code})

    def sids_to(self, number: str) -> set[str]:
        """Return the SIDs of the messages to a number, of whatever device's."""
        query = self._records.where(filter=FieldFilter("to", "==", number)).limit(PAGE_SIZE)
        return {sid for snapshot in read_page(query) if (sid := (snapshot.to_dict() or {}).get("sid"))}

    def by_device(self, since: datetime) -> Counter[str]:
        """Count the messages recorded since then, by device."""
        counted: Counter[str] = Counter()
        query = (
            self._records.where(filter=FieldFilter("recorded", ">=", since))
            .select(["device", "recorded"])
            .order_by("recorded")
            .limit(PAGE_SIZE)
        )
        following = query
        while page := read_page(following):
            counted.update(str(snapshot.get("device")) for snapshot in page)
            if len(page) < PAGE_SIZE:
                break
            following = query.start_after(page[-1])
        return counted

    def count_unknown(self) -> int:
        """Return how many messages are recorded as unknown, of all time."""
        query: Any = self._records.where(filter=FieldFilter("state", "==", UNKNOWN)).count()
        found = repeated(lambda: list(query.get(retry=None, timeout=CALL_SECONDS)))
        return int(found[0][0].value)

    @staticmethod
    def _write(record: DocumentReference, fields: dict[str, Any]) -> None:
        repeated(lambda: record.update(fields, retry=None, timeout=CALL_SECONDS))
