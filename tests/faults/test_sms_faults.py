"""Faults of each kind at each call of send_reset_sms: no second message, and no forgotten device."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from emulators.environment import Addresses
from shared import firebase
from shared.collectors import firestore_reads
from shared.tasks import TaskName
from tests.collectors.fleet import LATER, Fleet, number_of, twilio_running
from tests.faults.faulty import KINDS, Fault
from tests.faults.sms_victim import MANY_A_DAY, run_sms_victim, send_with
from tests.faults.victims import check_killed

Record = Callable[[str, object], None]

#: Devices that get a message.
DEVICES = {f"d{number}": number_of(number) for number in range(3)}
#: Calls of a run that sends to all of them.
CALLS = 19
EVERY = [(at, kind) for at in range(1, CALLS + 1) for kind in KINDS]
#: Faults that `make test` injects: each call once, each kind often. A lasting failure takes longer.
QUICK = [kind for kind in KINDS if kind != "fail all"]
SOME = [(at, kind) for at, kind in EVERY if kind == QUICK[at % len(QUICK)]]
#: Name of the runs in the table of docs/reliability.md.
RUN = "none, with SMS"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that fails for good is given up within a second, and not within a minute."""
    monkeypatch.setattr(firestore_reads, "RETRY", firestore_reads.RETRY.with_timeout(1.0))


@pytest.fixture
def fleet(clean_firestore: Addresses) -> Iterator[Fleet]:
    """Three devices that collect_devices_health has found silent."""
    with twilio_running() as server:
        fleet = Fleet(firebase.firestore_client(), server)
        for device, number in DEVICES.items():
            fleet.add(device, phone=number)
        fleet.judge()
        yield fleet


def run_with(fault: Fault, url: str) -> None:
    """Run the task with a fault; in a process of its own if the fault kills it."""
    if not fault.kind.startswith("kill"):
        send_with(fault, url)
        return
    check_killed(run_sms_victim, fault, url)


def let_time_pass(fleet: Fleet) -> None:
    """End the lease of a killed attempt."""
    status = fleet.client.document(f"nx-tasks/{TaskName.send_reset_sms}")
    if "lease_until" in ((status.get().to_dict() or {}).get("run") or {}):
        status.update({"run.lease_until": datetime.now(UTC) - timedelta(minutes=5)})


def survives(fleet: Fleet, fault: Fault) -> None:
    """Inject a fault into a run, carry out the next run, and check messages and records."""
    run_with(fault, fleet.twilio.url)
    let_time_pass(fleet)
    following = fleet.run(ahead=LATER, limits=MANY_A_DAY)
    assert following.outcome.status == "completed"
    received, states = Counter(fleet.received()), fleet.states()
    for device, number in DEVICES.items():
        assert received[number] == (states[device] == "sent"), (device, states, received)
        assert states[device] in {"sent", "unknown"}
    assert {record["sid"] for record in fleet.records().values() if "sid" in record} == {
        message.sid for message in fleet.twilio.messages.all()
    }
    assert list(states.values()).count("unknown") <= 1  # a fault costs one device its message at most


def test_a_run_makes_the_expected_calls(fleet: Fleet, record_property: Record) -> None:
    """Faults are injected at all calls of a run only if it makes no others."""
    ran, faulty = send_with(Fault(0), fleet.twilio.url, document_seconds=10.0)
    assert ran.summary["sent"] == 3
    record_property("calls", (RUN, faulty.calls))
    assert len(faulty.calls) == CALLS, faulty.calls


@pytest.mark.parametrize(("at", "kind"), SOME)
def test_a_fault_sends_no_second_message(fleet: Fleet, at: int, kind: str, record_property: Record) -> None:
    """Each device gets one message or is recorded as unknown; the records agree with Twilio's."""
    record_property("fault", (RUN, at, kind))
    survives(fleet, Fault(at, kind))


@pytest.mark.full
@pytest.mark.parametrize(("at", "kind"), [each for each in EVERY if each not in SOME])
def test_no_fault_sends_a_second_message(fleet: Fleet, at: int, kind: str, record_property: Record) -> None:
    """Faults of all kinds at all calls."""
    record_property("fault", (RUN, at, kind))
    survives(fleet, Fault(at, kind))
