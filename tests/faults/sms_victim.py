"""A process that sends reset SMS and is killed on the way: `-m tests.faults.sms_victim AT KIND URL`."""

import sys

from msgspec.structs import replace

from shared.collectors.twilio_messages import TwilioMessages
from tests.collectors.fleet import LIMITS, Ran, account_at, run_task
from tests.faults.faulty import Fault, Faulty, HastyClock, engine_behind, faulty_client

#: The outbox alone keeps a device from a second message here.
MANY_A_DAY = replace(LIMITS, per_device_per_day=24)


def send_with(fault: Fault, url: str, *, document_seconds: float = 0.3) -> tuple[Ran, Faulty]:
    """Run the task once, the fault on its way: to the engine's calls, the outbox's and Twilio's alike.

    Args:
        fault: what befalls which call.
        url: the Twilio that is sent to.
        document_seconds: that bound a call of the engine's.
    """
    faulty = Faulty(fault)
    engine = engine_behind(faulty, HastyClock(), document_seconds=document_seconds, object_seconds=1.0)
    messages = TwilioMessages(account_at(url), faulty)
    return run_task(engine, faulty_client(faulty), messages, limits=MANY_A_DAY), faulty


if __name__ == "__main__":
    send_with(Fault(int(sys.argv[1]), sys.argv[2]), sys.argv[3])
