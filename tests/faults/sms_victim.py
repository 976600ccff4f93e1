"""A process that sends reset SMS and is killed meanwhile: `-m tests.faults.sms_victim AT KIND URL`."""

import sys

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


if __name__ == "__main__":
    send_with(Fault(int(sys.argv[1]), sys.argv[2]), sys.argv[3])
