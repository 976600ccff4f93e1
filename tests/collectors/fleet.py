"""A small fleet on the stack's Firestore with its own Twilio; a real engine runs the task."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.firestore import Client

from emulators.twilio.messages import ACCOUNT_SID, AUTH_TOKEN, MESSAGING_SERVICE_SID
from emulators.twilio.server import TwilioServer
from shared.collectors import devices_health
from shared.collectors.reset_sms import ResetSms
from shared.collectors.sms_outbox import OUTBOX_COLLECTION
from shared.collectors.twilio_messages import TwilioMessages
from shared.settings import SmsLimits, TwilioAccount
from shared.tasks import TaskEngine, TaskName, TaskOutcome, TaskRun
from shared.tasks.clock import Clock
from tests.collectors.runs import new_run

LIMITS = SmsLimits(offline_hours=48, per_run=50, per_device_per_day=1, regions=frozenset({"US"}))
TEXTS = {"4.0.": "RESET", "4.": "#RESET#"}
#: Longer than a sender may take to send one message.
LATER = timedelta(minutes=10)


@contextmanager
def twilio_running() -> Iterator[TwilioServer]:
    """Run a local Twilio that no other test uses."""
    with TwilioServer(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def account_at(url: str) -> TwilioAccount:
    """The local account."""
    return TwilioAccount(url, ACCOUNT_SID, MESSAGING_SERVICE_SID, AUTH_TOKEN)


def number_of(device: int) -> str:
    """A telephone number that is not in use."""
    return f"+120255501{device:02}"


class AheadClock(Clock):
    """The system's clock, put forward."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


@dataclass
class Ran:
    """The outcome and the summary of a completed run."""

    outcome: TaskOutcome
    summary: dict[str, Any]


def run_task(
    engine: TaskEngine,
    client: Client,
    messages: TwilioMessages | None,
    *,
    limits: SmsLimits = LIMITS,
    ahead: timedelta = timedelta(0),
) -> Ran:
    """Run the task once.

    Args:
        engine: Runs the task.
        client: The database, as the task sees it.
        messages: Sends the messages; None in a dry run.
        limits: Who may get a message.
        ahead: How far the task's clock is ahead.
    """
    runs: list[TaskRun] = []

    def send(run: TaskRun) -> None:
        runs.append(run)
        task = ResetSms(client, messages, limits, TEXTS, lambda: datetime.now(UTC) + ahead, run)
        task.send(engine.get_task_result(TaskName.collect_devices_health))

    outcome = engine.execute_task("test", TaskName.send_reset_sms, send, {"save_in": "none"})
    return Ran(outcome, (runs[0].summary or {}) if runs else {})


def send_alone(client: Client, url: str) -> dict[str, Any]:
    """Send the due messages without an engine, so that other senders are not excluded.

    Args:
        client: The database.
        url: The Twilio to send to.

    Returns:
        The summary.
    """
    run = new_run(TaskName.send_reset_sms, deadline_seconds=60)
    with closing(TwilioMessages(account_at(url), backoff_seconds=0.001)) as messages:
        task = ResetSms(client, messages, LIMITS, TEXTS, lambda: datetime.now(UTC), run)
        task.send(TaskEngine().get_task_result(TaskName.collect_devices_health))
    return run.summary or {}


@dataclass
class Fleet:
    """The devices, the outbox, and the messages that Twilio has."""

    client: Client
    twilio: TwilioServer
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def add(self, device: str, *, phone: object, silent_hours: float = 72.0, firmware: str = "4.1.0") -> None:
        """Write a device whose last report is `silent_hours` old."""
        last_seen = self.began - timedelta(hours=silent_hours)
        fields = {"phone": phone, "last_seen": last_seen, "firmware": firmware}
        self.client.document(f"{devices_health.DEVICES_COLLECTION}/{device}").set(fields)

    def judge(self, ahead: timedelta = timedelta(0)) -> None:
        """Run collect_devices_health with a clock that is `ahead`."""
        clock = AheadClock(ahead)
        task = lambda run: devices_health.collect(self.client, clock.now(), run)  # noqa: E731
        engine = TaskEngine(clock=clock)
        outcome = engine.execute_task("test", TaskName.collect_devices_health, task, {"save_in": "db"})
        assert outcome.status == "completed"

    def run(self, **options: Any) -> Ran:
        """Run send_reset_sms on a cold instance; with `dry=True`, as a dry run."""
        if options.pop("dry", False):
            return run_task(TaskEngine(), self.client, None, **options)
        with closing(TwilioMessages(account_at(self.twilio.url), backoff_seconds=0.001)) as messages:
            return run_task(TaskEngine(), self.client, messages, **options)

    def records(self) -> dict[str, dict[str, Any]]:
        """The outbox, by device."""
        found = self.client.collection(OUTBOX_COLLECTION).stream()
        return {record.get("device"): record.to_dict() or {} for record in found}

    def states(self) -> dict[str, str]:
        """The recorded state of each device."""
        return {device: record["state"] for device, record in self.records().items()}

    def received(self) -> list[str]:
        """The number of each message that Twilio has, in the order of arrival."""
        return [message.to for message in self.twilio.messages.all()]
