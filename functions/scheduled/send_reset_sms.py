"""Every hour: sends one reset SMS to each device that has been silent for long.

No result is kept; the outbox has the messages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from functions import params
from functions.scheduled_endpoint import scheduled_task
from shared import firebase, settings
from shared.tasks import TaskName, TaskSpec, get_task_result

if TYPE_CHECKING:
    from shared.tasks import TaskRun

SPEC = TaskSpec(TaskName.send_reset_sms, schedule="20 * * * *", deadline_seconds=240, save_in="none")
#: A dry run needs no Twilio account.
SECRETS = [] if settings.sms_dry_run() else [params.secret(settings.TWILIO_AUTH_TOKEN)]

if not settings.sms_dry_run():
    params.ask_for(
        settings.SMS_REGIONS,
        settings.SMS_TEXTS,
        settings.TWILIO_ACCOUNT_SID,
        settings.TWILIO_MESSAGING_SERVICE_SID,
    )


@scheduled_task(SPEC, memory=512, secrets=SECRETS)
def send_reset_sms(run: TaskRun) -> None:
    """Send a reset SMS to each device that has been silent for long."""
    from shared.collectors.reset_sms import ResetSms  # noqa: PLC0415  (every function imports main.py)
    from shared.collectors.twilio_messages import TwilioMessages  # noqa: PLC0415

    messages = None if settings.sms_dry_run() else TwilioMessages(settings.twilio_account())
    reset_sms = ResetSms(
        firebase.firestore_client(),
        messages,
        settings.sms_limits(),
        settings.sms_texts(),
        lambda: datetime.now(UTC),
        run,
    )
    try:
        reset_sms.send(get_task_result(TaskName.collect_devices_health))
    finally:
        if messages is not None:
            messages.close()
