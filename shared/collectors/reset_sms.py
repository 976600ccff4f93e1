"""Sends one reset SMS to each device that is silent for long (task `send_reset_sms`).

In this order: messages whose outcome earlier runs could not record are looked up at Twilio, and so is the
delivery of sent ones; then each message is recorded, sent once, and its outcome recorded. However a run ends,
nothing is sent a second time; an outcome that cannot be found is reported as unknown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.collectors.ocpi.summary import fit
from shared.collectors.phone_numbers import BadNumber, check_regions, checked_number, masked
from shared.collectors.reset_recipients import silences, still_silent
from shared.collectors.reset_texts import reset_text
from shared.collectors.sms_outbox import Outbox, OutgoingSms
from shared.collectors.twilio_messages import (
    LookupFailed,
    MessageRefused,
    OutcomeUnknown,
    SendingRefused,
    TooManyRequests,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from google.cloud.firestore import Client

    from shared.collectors.reset_recipients import Recipient, Silence
    from shared.collectors.twilio_messages import TwilioMessages
    from shared.settings import SmsLimits
    from shared.tasks import TaskResult, TaskRun

#: A health result that is older is not acted upon: who was silent then may long be back.
HEALTH_AGE = timedelta(hours=1)
#: For how long a pending message may be in the hands of a sender; no run takes longer.
IN_FLIGHT = timedelta(minutes=5)
#: Devices that are looked at together.
CHUNK = 100
#: For how long Twilio is asked whether a message arrived; some networks never report it.
DELIVERY_AWAITED = timedelta(days=2)
#: Seconds of a run that looking up deliveries leaves for sending.
SENDING_SECONDS = 40.0
#: Failed look-ups of deliveries in a row after which a run looks up no more.
FAILED_LOOKUPS = 3
#: Refusals with one code, in a row, that end a run: they are hardly about the recipients.
EQUAL_REFUSALS = 3
#: Devices that the summary names of each kind, and the characters of a name.
MOST_NAMED, MOST_CHARACTERS = 10, 40

#: Kinds of outcomes that the summary counts, in the order of a message's way.
KINDS = (
    "already",  # has got one for this silence, or was to get one
    "seen_again",  # has come back, or is gone, since the health result
    "malformed",  # has no telephone number that is one
    "foreign",  # has one of a country that is not allowed
    "no_text",  # has a firmware that no text is set for
    "held_back",  # has had its messages of a day
    "would_send",  # in a dry run
    "sent",
    "failed",  # refused by Twilio
    "open",  # no answer says whether it was sent: looked up by the next run
    "unknown",  # looked up, and not found
    "delivered",  # sent by an earlier run, and arrived
    "undelivered",  # sent by an earlier run, and did not arrive
    "delivery_unknown",  # sent by an earlier run; the network never reported whether it arrived
)
#: Kinds that the summary names devices of: who got a message, and who gets none for what reason.
_NAMED = (
    "malformed",
    "foreign",
    "no_text",
    "held_back",
    "would_send",
    "sent",
    "failed",
    "open",
    "unknown",
    "undelivered",
    "delivery_unknown",
)


class Tally:
    """What a run has done, counted and named."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._named: dict[str, list[str]] = {kind: [] for kind in _NAMED}

    def add(self, kind: str, device: str) -> None:
        """Count a device."""
        self._counts[kind] += 1
        if kind in self._named and len(self._named[kind]) < MOST_NAMED:
            self._named[kind].append(device[:MOST_CHARACTERS])

    def to_summary(self) -> dict[str, Any]:
        """Return all counts, and as many devices of each named kind as a summary can hold."""
        counts = {kind: self._counts[kind] for kind in KINDS}
        named = {kind: devices for kind, devices in self._named.items() if devices}
        return counts | {"devices": fit(named, tuple(named))}


@dataclass(frozen=True, slots=True)
class ResetSms:
    """A run of the task.

    Args:
        client: the database.
        messages: sends; None in a dry run, in which nothing is sent or recorded.
        limits: who may get one, and how many.
        texts: what resets which firmware, by the beginning of its version.
        clock: tells the time, UTC.
        run: asked whether to go on; told what was done.
    """

    client: Client
    messages: TwilioMessages | None
    limits: SmsLimits
    texts: Mapping[str, str]
    clock: Callable[[], datetime]
    run: TaskRun

    def send(self, health: TaskResult) -> None:
        """Settle what is open, then send what is due.

        Args:
            health: the last good result of `collect_devices_health`.

        Raises:
            SettingInvalid: a country that may get one is none.
            LookupFailed: Twilio did not say what became of earlier messages. None were sent.
            SendingRefused: Twilio takes no messages from this account.
            GoogleAPIError: Firestore did not answer within its time.
            RunLost: another attempt holds the task.
            DeadlineExceeded: the run's deadline has passed.
        """
        check_regions(self.limits.regions)
        outbox, tally = Outbox(self.client), Tally()
        told: dict[str, Any] = {"dry_run": self.messages is None}
        try:
            if self.messages is not None:
                self._settle(outbox, self.messages, tally)
                self._look_up_deliveries(outbox, self.messages, tally)
            found = self._silences(health, told)
            told["silent"] = len(found)
            self._send_due(outbox, found, tally)
            told["unknown_ever"] = outbox.count_unknown()
        finally:
            self.run.summarise(told | tally.to_summary())

    def _silences(self, health: TaskResult, told: dict[str, Any]) -> list[Silence]:
        now = self.clock()
        if health.payload is None or health.completed is None:
            told["health"] = "no result yet"
            return []
        if now - health.completed > HEALTH_AGE:
            told["health"] = "too old"
            self.run.log.warning("health of devices too old: nothing sent", completed=health.completed)
            return []
        longer_than = timedelta(hours=self.limits.offline_hours)
        return silences(health.payload.json, now=now, longer_than=longer_than)

    def _settle(self, outbox: Outbox, messages: TwilioMessages, tally: Tally) -> None:
        """Look up what was left open: its sender died, or got no answer."""
        for pending in outbox.unsettled(self.clock() - IN_FLIGHT):
            self.run.check()
            sms = OutgoingSms.of(pending)
            sid = self._look_up(outbox, messages, sms)
            outbox.settle(pending, sid)
            tally.add("unknown" if sid is None else "sent", sms.device)
            if sid is None:
                self.run.log.error(
                    "reset SMS unknown: Twilio has none like it; it is not sent again",
                    device=sms.device,
                    sms=sms.id,
                )
            else:
                self.run.log.info("reset SMS found at Twilio", device=sms.device, sid=sid)

    def _look_up_deliveries(self, outbox: Outbox, messages: TwilioMessages, tally: Tally) -> None:
        """Record whether sent messages arrived. One that did not is reported and not sent again."""
        failures = 0
        for record in outbox.awaited():
            self.run.check()
            # The next run goes on; sending must not wait for a Twilio that answers no reads.
            if self.run.remaining() < SENDING_SECONDS or failures == FAILED_LOOKUPS:
                return
            sms = OutgoingSms.of(record)
            delivery = None
            try:
                delivery = messages.delivery(record.get("sid"))
                failures = 0
            except LookupFailed as error:  # one message that Twilio lacks must not stop the others' look-up
                self.run.log.warning(
                    "delivery of reset SMS not looked up", device=sms.device, reason=str(error)
                )
                failures += 1
            if delivery is None and self.clock() - sms.recorded > DELIVERY_AWAITED:
                outbox.record_delivery(sms.id, "unknown", None)
                tally.add("delivery_unknown", sms.device)
            elif delivery is not None:
                outbox.record_delivery(sms.id, delivery.status, delivery.code)
                tally.add("delivered" if delivery.arrived else "undelivered", sms.device)
                if not delivery.arrived:
                    self.run.log.warning(
                        "reset SMS not delivered",
                        device=sms.device,
                        to=masked(sms.to),
                        status=delivery.status,
                        code=delivery.code,
                    )

    def _send_due(self, outbox: Outbox, found: list[Silence], tally: Tally) -> None:
        refused: list[int] = []
        for count, sms in enumerate(self._due(outbox, found, tally)):
            if count == self.limits.per_run:
                self.run.log.warning("more devices are silent than a run may reset", limit=count)
                return
            self.run.check()
            if self.messages is None:
                tally.add("would_send", sms.device)
                self.run.log.info("reset SMS not sent: dry run", device=sms.device, to=masked(sms.to))
            elif not self._send(outbox, self.messages, sms, tally, refused):
                return

    def _due(self, outbox: Outbox, found: list[Silence], tally: Tally) -> Iterator[OutgoingSms]:
        """Give the messages that nobody has recorded and nothing forbids."""
        lately = outbox.by_device(self.clock() - timedelta(days=1)) if found else Counter[str]()
        for start in range(0, len(found), CHUNK):
            chunk = found[start : start + CHUNK]
            known = outbox.known([silence.incident for silence in chunk])
            fresh = [silence for silence in chunk if silence.incident not in known]
            recipients = {recipient.silence: recipient for recipient in still_silent(self.client, fresh)}
            for silence in chunk:
                recipient = recipients.get(silence)
                if silence.incident in known:
                    tally.add("already", silence.device)
                elif recipient is None:
                    tally.add("seen_again", silence.device)
                elif lately[silence.device] >= self.limits.per_device_per_day:
                    tally.add("held_back", silence.device)
                else:
                    yield from self._addressed(recipient, tally)

    def _addressed(self, recipient: Recipient, tally: Tally) -> Iterator[OutgoingSms]:
        device = recipient.silence.device
        number = checked_number(recipient.phone, self.limits.regions)
        if isinstance(number, BadNumber):
            tally.add(number.value, device)
            return
        text = reset_text(recipient.firmware, self.texts)
        if text is None:
            tally.add("no_text", device)
            return
        yield OutgoingSms(recipient.silence.incident, device, number, text, self.clock())

    def _send(
        self, outbox: Outbox, messages: TwilioMessages, sms: OutgoingSms, tally: Tally, refused: list[int]
    ) -> bool:
        """Record, send, record the outcome; return whether the run goes on.

        The run ends when no response shows what became of a message: an outage of Twilio costs one device its
        message, not each of them. It also ends after `EQUAL_REFUSALS` refusals with one code in a row, so
        that a mistake in the account with a code that is not listed costs no more devices their message.

        Args:
            outbox: the records.
            messages: sends.
            sms: the message.
            tally: counts the outcome.
            refused: Codes of the refusals before this message, in a row; changed by this call.
        """
        if not outbox.claim(sms):
            tally.add("already", sms.device)
            return True
        try:
            sid: str | None = messages.send(sms.to, sms.text)
        except MessageRefused as refusal:
            outbox.record_failed(sms.id, refusal.code)
            tally.add("failed", sms.device)
            self.run.log.warning("reset SMS refused", device=sms.device, to=masked(sms.to), code=refusal.code)
            refused[:] = [code for code in refused if code == refusal.code] + [refusal.code]
            if len(refused) < EQUAL_REFUSALS:
                return True
            reason = f"{len(refused)} refusals in a row with code {refusal.code}"
            self.run.log.error("reset SMS stopped", reason=reason)  # noqa: TRY400  (no trace is wanted)
            return False
        except TooManyRequests as refusal:
            outbox.release(sms.id)
            self.run.log.warning("no more reset SMS in this run", reason=str(refusal))
            return False
        except SendingRefused as refusal:
            outbox.release(sms.id)
            self.run.log.error("reset SMS stopped", reason=str(refusal))  # noqa: TRY400  (the run's end has it)
            raise
        except OutcomeUnknown as unknown:
            sid = self._found_at_once(outbox, messages, sms, unknown)
        refused.clear()
        if sid is None:
            tally.add("open", sms.device)
            return False
        outbox.record_sent(sms.id, sid)
        tally.add("sent", sms.device)
        self.run.log.info("reset SMS sent", device=sms.device, to=masked(sms.to), sid=sid)
        return True

    def _found_at_once(
        self, outbox: Outbox, messages: TwilioMessages, sms: OutgoingSms, unknown: OutcomeUnknown
    ) -> str | None:
        """Look for a message whose answer was lost. One that isn't there may still come."""
        try:
            sid = self._look_up(outbox, messages, sms)
        except LookupFailed:
            sid = None
        if sid is None:
            self.run.log.warning("reset SMS open: no answer", device=sms.device, reason=str(unknown))
        return sid

    @staticmethod
    def _look_up(outbox: Outbox, messages: TwilioMessages, sms: OutgoingSms) -> str | None:
        others = outbox.sids_to(sms.to)
        return messages.find(sms.to, sms.text, since=sms.recorded, others=others)
