"""A run that sends reset SMS and meets a fault, also in a process that is killed meanwhile."""

from msgspec.structs import replace

from shared.collectors.twilio_messages import TwilioMessages
from tests.collectors.fleet import LIMITS, Ran, account_at, run_task
from tests.faults.faulty import Fault, Faulty, HastyClock, engine_behind, faulty_client

#: High, so that only the outbox prevents a second message to a device.
MANY_A_DAY = replace(LIMITS, per_device_per_day=24)


def send_with(fault: Fault, url: str, *, document_seconds: float = 0.3) -> tuple[Ran, Faulty]:
    """Run the task once with a fault in a call of the engine, of the outbox or to Twilio.

    Args:
        fault: the fault, and the call that it happens to.
        url: URL of Twilio.
        document_seconds: longest duration of a call of the engine to Firestore.
    """
    faulty = Faulty(fault)
    engine = engine_behind(faulty, HastyClock(), document_seconds=document_seconds, object_seconds=1.0)
    messages = TwilioMessages(account_at(url), faulty)
    return run_task(engine, faulty_client(faulty), messages, limits=MANY_A_DAY), faulty


def run_sms_victim(fault: Fault, url: str) -> None:
    """Run the task with the fault."""
    send_with(fault, url)
