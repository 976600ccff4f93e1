"""Looks up at Twilio what became of messages of earlier runs, and records it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from shared.collectors.phone_numbers import masked
from shared.collectors.sms_outbox import OutgoingSms
from shared.collectors.twilio_messages import LookupFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.collectors.sms_outbox import Outbox
    from shared.collectors.sms_tally import Tally
    from shared.collectors.twilio_messages import TwilioMessages
    from shared.tasks import TaskRun

#: Time after which no sender handles a pending message any more; no run takes longer.
SENDER_GONE_AFTER = timedelta(minutes=5)
#: How long Twilio is asked whether a message arrived. Some networks never report it.
DELIVERY_AWAITED = timedelta(days=2)
#: Seconds of a run that are left for sending when deliveries are looked up.
SENDING_SECONDS = 40.0
#: Failed look-ups of deliveries in a row after which a run stops looking up.
MAX_FAILED_LOOKUPS = 3


def settle_pending(
    outbox: Outbox, messages: TwilioMessages, tally: Tally, run: TaskRun, now: datetime
) -> None:
    """Look up pending messages whose sender died, or got no response.

    Args:
        outbox: The records.
        messages: The messages at Twilio.
        tally: Counts the outcomes.
        run: The run; it is checked before each message.
        now: Current time, UTC.

    Raises:
        LookupFailed: Twilio did not respond, so nothing may be sent.
    """
    for pending in outbox.pending(before=now - SENDER_GONE_AFTER):
        run.check()
        sms = OutgoingSms.of(pending)
        sid = find_sid(outbox, messages, sms)
        outbox.settle(pending, sid)
        tally.add("unknown" if sid is None else "sent", sms.device)
        if sid is None:  # It is not sent again: it may have been sent.
            run.log.error("reset SMS unknown", device=sms.device, sms=sms.id)
        else:
            run.log.info("reset SMS found at Twilio", device=sms.device, sid=sid)


def look_up_deliveries(
    outbox: Outbox, messages: TwilioMessages, tally: Tally, run: TaskRun, clock: Callable[[], datetime]
) -> None:
    """Record whether sent messages arrived. One that did not is reported and not sent again.

    A run that has little time left, or that Twilio does not answer, leaves the rest to the next run.

    Args:
        outbox: The records.
        messages: The messages at Twilio.
        tally: Counts the outcomes.
        run: The run; it is checked before each message.
        clock: Returns the current time, UTC.
    """
    failures = 0
    for record in outbox.awaiting_delivery():
        run.check()
        if run.remaining() < SENDING_SECONDS or failures == MAX_FAILED_LOOKUPS:
            return
        sms = OutgoingSms.of(record)
        delivery = None
        try:
            delivery = messages.delivery(record.get("sid"))
            failures = 0
        except LookupFailed as error:  # Twilio may lack a single message; the others are still looked up.
            run.log.warning("delivery of reset SMS not looked up", device=sms.device, reason=str(error))
            failures += 1
        if delivery is not None:
            outbox.record_delivery(sms.id, delivery.status, delivery.code)
            tally.add("delivered" if delivery.arrived else "undelivered", sms.device)
            if not delivery.arrived:
                run.log.warning(
                    "reset SMS not delivered",
                    device=sms.device,
                    to=masked(sms.to),
                    status=delivery.status,
                    code=delivery.code,
                )
        elif clock() - sms.recorded > DELIVERY_AWAITED:
            outbox.record_delivery(sms.id, "unknown", None)
            tally.add("delivery_unknown", sms.device)


def find_sid(outbox: Outbox, messages: TwilioMessages, sms: OutgoingSms) -> str | None:
    """Return the SID of a message whose outcome is not recorded; None if Twilio does not have it.

    Raises:
        LookupFailed: Twilio did not respond.
    """
    others = outbox.sids_to(sms.to)
    return messages.find(sms.to, sms.text, since=sms.recorded, others=others)
