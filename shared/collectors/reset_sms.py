"""Sends one reset SMS to each device that has been silent for long (task `send_reset_sms`).

A run first looks up what became of messages of earlier runs. Then it records each message, sends it once, and
records the outcome. However a run ends, no message is sent twice. An outcome that cannot be found is reported
as unknown.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.collectors.phone_numbers import BadNumber, check_regions, checked_number, masked
from shared.collectors.reset_recipients import silences, still_silent
from shared.collectors.reset_texts import reset_text
from shared.collectors.sms_outbox import Outbox, OutgoingSms
from shared.collectors.sms_settling import find_sid, look_up_deliveries, settle_pending
from shared.collectors.sms_tally import Tally
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

#: A health result that is older is not used, because silent devices may have reported since.
MAX_HEALTH_AGE = timedelta(hours=1)
#: Devices whose documents are read in one request.
CHUNK = 100
#: Refusals with the same code, in a row, after which a run ends. They are hardly about the recipients.
MAX_EQUAL_REFUSALS = 3


class ResetSms:
    """One run of the task.

    Args:
        client: The database.
        messages: Sends messages; None for a dry run, in which nothing is sent or recorded.
        limits: Limits on the messages, and the allowed countries.
        texts: Reset text by the beginning of a firmware's version.
        clock: Returns the current time, UTC.
        run: The run; it is checked before each message, and gets the summary.
    """

    def __init__(
        self,
        client: Client,
        messages: TwilioMessages | None,
        limits: SmsLimits,
        texts: Mapping[str, str],
        clock: Callable[[], datetime],
        run: TaskRun,
    ) -> None:
        self._client = client
        self._messages = messages
        self._limits = limits
        self._texts = texts
        self._clock = clock
        self._run = run
        self._outbox = Outbox(client)
        self._tally = Tally()
        #: Codes of the last refusals in a row, all equal.
        self._refusals: list[int] = []

    def send(self, health: TaskResult) -> None:
        """Look up messages of earlier runs, then send the messages that are due.

        Args:
            health: The last good result of `collect_devices_health`.

        Raises:
            SettingInvalid: An allowed country does not exist.
            LookupFailed: Twilio did not return the outcome of earlier messages. None were sent.
            SendingRefused: Twilio takes no messages from this account.
            GoogleAPIError: Firestore did not respond in time.
            RunLost: Another attempt holds the task.
            DeadlineExceeded: The run's deadline has passed.
        """
        check_regions(self._limits.regions)
        summary: dict[str, Any] = {"dry_run": self._messages is None}
        try:
            if self._messages is not None:
                settle_pending(self._outbox, self._messages, self._tally, self._run, self._clock())
                look_up_deliveries(self._outbox, self._messages, self._tally, self._run, self._clock)
            silent = self._silences(health, summary)
            summary["silent"] = len(silent)
            self._send_due(silent)
            summary["unknown_ever"] = self._outbox.count_unknown()
        finally:
            self._run.summarise(summary | self._tally.to_summary())

    def _silences(self, health: TaskResult, summary: dict[str, Any]) -> list[Silence]:
        now = self._clock()
        if health.payload is None or health.completed is None:
            summary["health"] = "no result yet"
            return []
        if now - health.completed > MAX_HEALTH_AGE:
            summary["health"] = "too old"
            self._run.log.warning("health of devices too old", completed=health.completed)
            return []
        longer_than = timedelta(hours=self._limits.offline_hours)
        return silences(health.payload.json, now=now, longer_than=longer_than)

    def _send_due(self, silent: list[Silence]) -> None:
        for count, sms in enumerate(self._due(silent)):
            if count == self._limits.per_run:
                self._run.log.warning("limit of reset SMS per run reached", limit=count)
                return
            self._run.check()
            if self._messages is None:
                self._tally.add("would_send", sms.device)
                self._run.log.info("reset SMS not sent: dry run", device=sms.device, to=masked(sms.to))
            elif not self._send(self._messages, sms):
                return

    def _due(self, silent: list[Silence]) -> Iterator[OutgoingSms]:
        """Yield the messages that have no record and that no rule forbids; count all others."""
        recent = self._outbox.count_by_device(self._clock() - timedelta(days=1)) if silent else Counter[str]()
        for start in range(0, len(silent), CHUNK):
            chunk = silent[start : start + CHUNK]
            recorded = self._outbox.recorded([silence.incident for silence in chunk])
            unrecorded = [silence for silence in chunk if silence.incident not in recorded]
            recipients = {each.silence: each for each in still_silent(self._client, unrecorded)}
            for silence in chunk:
                recipient = recipients.get(silence)
                if silence.incident in recorded:
                    self._tally.add("already", silence.device)
                elif recipient is None:
                    self._tally.add("seen_again", silence.device)
                elif recent[silence.device] >= self._limits.per_device_per_day:
                    self._tally.add("held_back", silence.device)
                else:
                    sms = self._message_to(recipient)
                    if sms is not None:
                        yield sms

    def _message_to(self, recipient: Recipient) -> OutgoingSms | None:
        """Return the message to a recipient; None, counted, without a usable number or text."""
        device = recipient.silence.device
        number = checked_number(recipient.phone, self._limits.regions)
        if isinstance(number, BadNumber):
            self._tally.add(number.value, device)
            return None
        text = reset_text(recipient.firmware, self._texts)
        if text is None:
            self._tally.add("no_text", device)
            return None
        return OutgoingSms(recipient.silence.incident, device, number, text, self._clock())

    def _send(self, messages: TwilioMessages, sms: OutgoingSms) -> bool:
        """Record a message, send it and record the outcome; return whether the run continues.

        The run ends if no response shows the outcome, so that an outage of Twilio costs one device its
        message and not all. It also ends after `MAX_EQUAL_REFUSALS`, so that a fault of the account whose
        code is not listed as such costs no more devices their message.
        """
        if not self._outbox.claim(sms):
            self._tally.add("already", sms.device)
            return True
        try:
            sid: str | None = messages.send(sms.to, sms.text)
        except MessageRefused as refusal:
            return self._record_refusal(sms, refusal.code)
        except TooManyRequests as refusal:
            self._outbox.release(sms.id)
            self._run.log.warning("no more reset SMS in this run", reason=str(refusal))
            return False
        except SendingRefused as refusal:
            self._outbox.release(sms.id)
            self._run.log.error("reset SMS stopped", reason=str(refusal))  # noqa: TRY400  (raised below)
            raise
        except OutcomeUnknown as unknown:
            sid = self._find_at_once(messages, sms, unknown)
        self._refusals.clear()
        if sid is None:
            self._tally.add("open", sms.device)
            return False
        self._outbox.record_sent(sms.id, sid)
        self._tally.add("sent", sms.device)
        self._run.log.info("reset SMS sent", device=sms.device, to=masked(sms.to), sid=sid)
        return True

    def _record_refusal(self, sms: OutgoingSms, code: int) -> bool:
        self._outbox.record_failed(sms.id, code)
        self._tally.add("failed", sms.device)
        self._run.log.warning("reset SMS refused", device=sms.device, to=masked(sms.to), code=code)
        self._refusals = [each for each in self._refusals if each == code] + [code]
        if len(self._refusals) < MAX_EQUAL_REFUSALS:
            return True
        reason = f"{len(self._refusals)} refusals in a row with code {code}"
        self._run.log.error("reset SMS stopped", reason=reason)
        return False

    def _find_at_once(
        self, messages: TwilioMessages, sms: OutgoingSms, unknown: OutcomeUnknown
    ) -> str | None:
        """Look for a message whose response was lost. One that is not found may still reach Twilio."""
        try:
            sid = find_sid(self._outbox, messages, sms)
        except LookupFailed:
            sid = None
        if sid is None:
            self._run.log.warning("reset SMS open: no answer", device=sms.device, reason=str(unknown))
        return sid
