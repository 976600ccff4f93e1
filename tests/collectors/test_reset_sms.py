"""The task send_reset_sms, on a real database and the local Twilio: each silence has one message."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from emulators.twilio.server import Fault
from shared.collectors.reset_sms import KINDS, Tally
from shared.collectors.sms_outbox import OUTBOX_COLLECTION, PENDING
from shared.tasks import TaskName
from tests.collectors.fleet import LATER, LIMITS, Fleet, number_of, send_alone

ROOT = Path(__file__).resolve().parents[2]


def counted(summary: dict[str, Any]) -> dict[str, int]:
    """What a summary counts, without zeros."""
    return {kind: summary[kind] for kind in KINDS if summary[kind]}


def test_a_device_that_is_silent_for_long_gets_one_message(fleet: Fleet) -> None:
    """One, by its firmware, recorded with its SID, and none at the next run; who is well gets none."""
    fleet.add("far", phone=number_of(1), silent_hours=49, firmware="4.0.7")
    fleet.add("late", phone=number_of(2), silent_hours=47)
    fleet.add("well", phone=number_of(3), silent_hours=0)
    fleet.judge()

    first = fleet.run()
    second = fleet.run()

    (message,) = fleet.twilio.messages.all()
    assert (message.to, message.body) == (number_of(1), "RESET")
    (record,) = fleet.records().values()
    assert (record["device"], record["state"], record["sid"]) == ("far", "sent", message.sid)
    assert (first.outcome.status, second.outcome.status) == ("completed", "completed")
    assert (counted(first.summary), first.summary["devices"]) == ({"sent": 1}, {"sent": ["far"]})
    assert counted(second.summary) == {"already": 1}


def test_a_device_that_falls_silent_again_gets_another(fleet: Fleet) -> None:
    """A silence is an incident of its own; a device has no more messages in a day than is allowed."""
    fleet.add("far", phone=number_of(1), silent_hours=72)
    fleet.judge()
    fleet.run()
    fleet.add("far", phone=number_of(1), silent_hours=50)
    fleet.judge()

    assert counted(fleet.run().summary) == {"held_back": 1}
    again = fleet.run(limits=replace(LIMITS, per_device_per_day=2))
    assert counted(again.summary) == {"delivered": 1, "sent": 1}
    assert fleet.received() == [number_of(1)] * 2


def test_a_device_that_came_back_meanwhile_gets_none(fleet: Fleet) -> None:
    """What counts is the device's document when the message is due; one that is gone gets none either."""
    for device in ("back", "gone"):
        fleet.add(device, phone=number_of(1))
    fleet.judge()
    fleet.add("back", phone=number_of(1), silent_hours=0)
    fleet.client.document("nx-devices/gone").delete()
    assert counted(fleet.run().summary) == {"seen_again": 2}
    assert fleet.received() == []


def test_no_message_goes_to_a_number_that_is_none_or_foreign(fleet: Fleet) -> None:
    """They are counted, nothing is recorded, and a number that is put right gets its message."""
    for device, phone in {"a": "5551234", "b": None, "c": "+4915112345678", "d": "+1555000000"}.items():
        fleet.add(device, phone=phone)
    fleet.judge()
    ran = fleet.run()
    assert counted(ran.summary) == {"malformed": 3, "foreign": 1}
    assert ran.summary["devices"] == {"malformed": ["a", "b", "d"], "foreign": ["c"]}
    assert (fleet.received(), fleet.records()) == ([], {})

    fleet.add("a", phone=number_of(4))
    assert counted(fleet.run().summary)["sent"] == 1


def test_a_device_whose_firmware_no_text_is_set_for_gets_none(fleet: Fleet) -> None:
    """It is counted and named, and others get theirs."""
    fleet.add("new", phone=number_of(1), firmware="9.0", silent_hours=80)
    fleet.add("known", phone=number_of(2))
    fleet.judge()
    ran = fleet.run()
    assert counted(ran.summary) == {"no_text": 1, "sent": 1}
    assert (ran.summary["devices"]["no_text"], fleet.received()) == (["new"], [number_of(2)])


def test_a_run_sends_so_many_and_the_next_goes_on(fleet: Fleet) -> None:
    """The longest silence comes first."""
    for number in range(5):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=50 + number)
    fleet.judge()
    few = replace(LIMITS, per_run=2)
    sent = [fleet.run(limits=few).summary["devices"].get("sent") for _ in range(4)]
    assert sent == [["d4", "d3"], ["d2", "d1"], ["d0"], None]


def test_a_dry_run_sends_and_records_nothing(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Summary and log tell who would get one."""
    fleet.add("far", phone=number_of(1))
    fleet.judge()
    ran = fleet.run(dry=True)
    assert (ran.summary["dry_run"], ran.summary["devices"]) == (True, {"would_send": ["far"]})
    assert (fleet.received(), fleet.records()) == ([], {})
    assert "reset SMS not sent: dry run device=far" in capsys.readouterr().out


def test_old_health_sends_nothing(fleet: Fleet) -> None:
    """Who was silent an hour ago may be back: without a result of now there are no messages."""
    assert fleet.run().summary["health"] == "no result yet"
    fleet.add("far", phone=number_of(1))
    fleet.judge()
    assert fleet.run(ahead=timedelta(hours=2)).summary["health"] == "too old"
    assert fleet.received() == []


def test_a_refusal_for_good_is_recorded_with_its_code(fleet: Fleet) -> None:
    """The others get theirs; the refused one is not tried again."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(Fault(400, 21610))
    fleet.judge()
    assert counted(fleet.run().summary) == {"sent": 1, "failed": 1}
    assert (fleet.records()["a"]["state"], fleet.records()["a"]["code"]) == ("failed", 21610)
    assert counted(fleet.run().summary) == {"already": 2}
    assert fleet.received() == [number_of(2)]


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        (Fault(401, 20003), "failed", "NX_TWILIO_AUTH_TOKEN"),
        (Fault(403, 20005), "failed", "NX_TWILIO_ACCOUNT_SID"),
        (Fault(400, 21703), "failed", "NX_TWILIO_MESSAGING_SERVICE_SID"),
        (Fault(302, 0), "failed", "HTTP 302"),
        (Fault(400, 21408), "failed", "code 21408"),
        (Fault(400, 21606), "failed", "code 21606"),
        (Fault(400, 21608), "failed", "code 21608"),
        (Fault(429, 20429), "completed", ""),
    ],
)
def test_while_the_account_is_refused_no_device_loses_its_message(
    fleet: Fleet, fault: Fault, status: str, says: str
) -> None:
    """The run ends at the first, which says what to check; nobody is recorded, and the next run sends."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(fault)
    fleet.judge()
    ran = fleet.run()
    assert (ran.outcome.status, fleet.records()) == (status, {})
    assert says in (ran.outcome.error or "")
    assert counted(fleet.run().summary) == {"sent": 2}
    assert fleet.received() == [number_of(1), number_of(2)]


def test_equal_refusals_in_a_row_end_the_run(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The account may be at fault with a code that nobody has listed: most devices keep their message."""
    for number in range(6):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=80 - number)
    fleet.twilio.faults["POST"].extend([Fault(400, 21999)] * 3)
    fleet.judge()
    ran = fleet.run()
    assert (ran.outcome.status, counted(ran.summary)) == ("completed", {"failed": 3})
    assert "ERROR reset SMS stopped reason=3 refusals in a row with code 21999" in capsys.readouterr().out
    assert counted(fleet.run().summary) == {"already": 3, "sent": 3}


def test_refusals_of_recipients_between_others_end_nothing(fleet: Fleet) -> None:
    """Only refusals with one code and without a message between them are in a row."""
    for number in range(6):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=80 - number)
    fleet.twilio.faults["POST"].extend(
        [Fault(400, 21211), Fault(400, 21211), Fault(400, 21610), Fault(400, 21211)]
    )
    fleet.judge()
    assert counted(fleet.run().summary) == {"failed": 4, "sent": 2}


def test_a_message_that_does_not_arrive_is_reported_and_not_sent_again(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sent is not delivered: later runs read what became of it, with Twilio's code."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.messages.unreachable[number_of(1)] = 30005
    fleet.judge()
    assert counted(fleet.run().summary) == {"sent": 2}
    assert counted(fleet.run().summary) == {"already": 2}  # the networks have not reported yet
    third = fleet.run()
    assert counted(third.summary) == {"already": 2, "delivered": 1, "undelivered": 1}
    assert third.summary["devices"] == {"undelivered": ["a"]}
    assert "WARNING reset SMS not delivered device=a" in capsys.readouterr().out
    found = {device: (record["delivery"], record.get("code")) for device, record in fleet.records().items()}
    assert found == {"a": ("undelivered", 30005), "b": ("delivered", None)}
    assert counted(fleet.run().summary) == {"already": 2}
    assert len(fleet.received()) == 2


def test_a_delivery_that_no_network_reports_is_unknown_after_a_time(fleet: Fleet) -> None:
    """Twilio is not asked for ever."""
    fleet.add("a", phone=number_of(1))
    fleet.judge()
    fleet.run()
    late = fleet.run(ahead=timedelta(days=2, minutes=1))
    assert (late.summary["delivery_unknown"], late.summary["devices"]) == (1, {"delivery_unknown": ["a"]})
    assert fleet.records()["a"]["delivery"] == "unknown"


def test_a_delivery_that_cannot_be_looked_up_stops_no_message(fleet: Fleet) -> None:
    """While Twilio answers no reads, what is due is sent; the next run looks again."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.judge()
    fleet.run()
    fleet.add("b", phone=number_of(2))
    fleet.judge()
    fleet.twilio.faults["GET"].append(Fault(403, 20005))
    ran = fleet.run()
    assert (ran.outcome.status, counted(ran.summary)) == ("completed", {"already": 1, "sent": 1})
    assert fleet.records()["a"]["delivery"] == "awaited"


def test_a_device_with_a_long_id_stops_no_other(fleet: Fleet) -> None:
    """Ids of records have no more bytes than Firestore takes; each device still has one record a silence."""
    long = "d" * 1_490
    fleet.add(long, phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.judge()
    assert counted(fleet.run().summary) == {"sent": 2}
    assert counted(fleet.run().summary) == {"already": 2}
    assert set(fleet.records()) == {long, "b"}


def test_a_device_whose_clock_is_ahead_is_reset_once(fleet: Fleet) -> None:
    """Its silence counts from its last report's arrival, and is one incident whatever is edited meanwhile."""
    days = timedelta(days=3)
    fleet.add("ahead", phone=number_of(1), silent_hours=-24 * 365)
    fleet.judge()
    assert counted(fleet.run().summary) == {}
    fleet.judge(ahead=days)
    assert counted(fleet.run(ahead=days).summary) == {"sent": 1}
    fleet.client.document("nx-devices/ahead").update({"name": "renamed"})
    fleet.judge(ahead=2 * days)
    assert counted(fleet.run(ahead=2 * days).summary)["already"] == 1
    assert len(fleet.received()) == 1


def test_a_device_whose_clock_stands_still_gets_none_when_it_has_reported_since(fleet: Fleet) -> None:
    """Its document was written after its silence was judged, though it claims the same last_seen."""
    days = timedelta(days=3)
    fleet.add("ahead", phone=number_of(1), silent_hours=-24 * 365)
    fleet.judge(ahead=days)
    fleet.add("ahead", phone=number_of(1), silent_hours=-24 * 365, firmware="4.1.1")
    assert counted(fleet.run(ahead=days).summary) == {"seen_again": 1}


def test_one_message_that_twilio_lacks_stops_no_other_look_up(fleet: Fleet) -> None:
    """Its status is asked for again until the time for it has passed; then it is unknown."""
    for number in range(3):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=80 - number)
    fleet.judge()
    fleet.run()
    lost = min(fleet.records().values(), key=lambda record: record["recorded"])["device"]
    (record,) = [
        each for each in fleet.client.collection(OUTBOX_COLLECTION).stream() if each.get("device") == lost
    ]
    record.reference.update({"sid": "SM" + "0" * 32})
    fleet.run()
    assert fleet.run().summary["delivered"] == 2
    assert fleet.records()[lost]["delivery"] == "awaited"
    assert fleet.run(ahead=timedelta(days=2, minutes=1)).summary["delivery_unknown"] == 1


def test_the_summary_fits_whatever_devices_are_called(fleet: Fleet) -> None:
    """Names of many bytes are left out of it, and no run fails for them."""
    for number in range(40):
        fleet.add("\u96fb" * 36 + str(number), phone=None if number % 2 else "+4915112345678")
    fleet.judge()
    tally = Tally()
    for kind in KINDS:
        for number in range(10):
            tally.add(kind, "\u96fb" * 38 + str(number))
    assert len(orjson.dumps(tally.to_summary())) < 10_000
    assert tally.to_summary()["devices"]["left_out"]
    assert fleet.run().outcome.status == "completed"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(None, processed=True),
        Fault(500, processed=True),
        Fault(503, 20503, processed=True),
        Fault(201, processed=True, content=b"<html>"),
        Fault(201, processed=True, content=b'{"sid": null}'),
    ],
    ids=["dropped", "500", "503", "no JSON", "no SID"],
)
def test_a_message_whose_answer_is_lost_is_found_at_once(fleet: Fleet, fault: Fault) -> None:
    """Twilio has it, whatever it answered: it is recorded as sent, and the run goes on."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(fault)
    fleet.judge()
    assert counted(fleet.run().summary) == {"sent": 2}
    first = fleet.twilio.messages.all()[0]
    assert fleet.records()["a"]["sid"] == first.sid
    assert counted(fleet.run(ahead=LATER).summary) == {"already": 2, "delivered": 1}
    assert fleet.received() == [number_of(1), number_of(2)]


def test_a_message_that_twilio_has_not_is_unknown_and_never_sent_again(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """No answer ends the run; the next one looks first, says so aloud, and sends to the others."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(Fault(503))
    fleet.judge()

    first = fleet.run()
    assert (first.outcome.status, counted(first.summary)) == ("completed", {"open": 1})
    assert fleet.states() == {"a": PENDING}
    second = fleet.run(ahead=LATER)
    assert counted(second.summary) == {"unknown": 1, "already": 1, "sent": 1}
    assert (second.summary["devices"]["unknown"], second.summary["unknown_ever"]) == (["a"], 1)
    assert "ERROR reset SMS unknown" in capsys.readouterr().out
    assert fleet.run(ahead=LATER).summary["unknown_ever"] == 1
    assert (fleet.states(), fleet.received()) == ({"a": "unknown", "b": "sent"}, [number_of(2)])


def test_nothing_is_sent_before_what_is_open_is_known(fleet: Fleet) -> None:
    """While Twilio does not say what became of a message, the run fails, and nobody gets one."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(Fault(None))
    fleet.judge()
    fleet.run()
    fleet.twilio.faults["GET"].append(Fault(401, 20003))
    ran = fleet.run(ahead=LATER)
    assert ran.outcome.status == "failed"
    assert "Twilio does not say which messages there are (HTTP 401)" in (ran.outcome.error or "")
    assert (fleet.states(), fleet.received()) == ({"a": PENDING}, [])


def test_a_message_in_the_hands_of_its_sender_is_left_alone(fleet: Fleet) -> None:
    """A run that meets another at its sending neither sends that message nor calls it unknown."""
    fleet.add("a", phone=number_of(1))
    fleet.judge()
    met: list[dict[str, Any]] = []
    fleet.twilio.faults["POST"].append(
        Fault(
            500,
            processed=True,
            before_response=lambda: met.append(send_alone(fleet.client, fleet.twilio.url)),
        )
    )
    ran = fleet.run()
    assert [counted(summary) for summary in met] == [{"already": 1}]
    assert counted(ran.summary) == {"sent": 1}
    assert (fleet.states(), fleet.received()) == ({"a": "sent"}, [number_of(1)])


def test_the_sender_has_the_last_word(fleet: Fleet) -> None:
    """A sender that slept until its message was called unknown, and then sent it, records that."""
    fleet.add("a", phone=number_of(1))
    fleet.judge()

    def settle() -> None:
        for record in fleet.client.collection(OUTBOX_COLLECTION).stream():
            record.reference.update({"state": "unknown"})

    slow = Fault(None, processed=True, before_response=settle)
    fleet.twilio.faults["POST"].append(slow)
    fleet.run()
    assert (fleet.states(), fleet.received()) == ({"a": "sent"}, [number_of(1)])


def test_two_processes_at_once_send_once(fleet: Fleet) -> None:
    """Without the engine between them, on the same devices at the same time: one message each."""
    for number in range(12):
        fleet.add(f"d{number:02}", phone=number_of(number))
    fleet.judge()
    command = [sys.executable, "-m", "tests.collectors.sender", fleet.twilio.url]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0] for process in both]
    assert sum(int(each.splitlines()[-1]) for each in told) == 12, told
    assert sorted(fleet.received()) == [number_of(number) for number in range(12)]
    assert set(fleet.states().values()) == {"sent"}


def test_no_number_is_told(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither log nor history nor error has a whole telephone number, or the token."""
    for number in range(4):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=60 + number)
    fleet.add("bad", phone="+1 202 555", silent_hours=70)
    fleet.twilio.faults["POST"].extend([Fault(400, 21211), Fault(503, processed=True), Fault(401, 20003)])
    fleet.judge()
    capsys.readouterr()
    ran = fleet.run()
    assert ran.outcome.status == "failed"
    runs = fleet.client.collection(f"nx-tasks/{TaskName.send_reset_sms}/nx-runs").stream()
    told = capsys.readouterr().out + repr([run.to_dict() for run in runs]) + repr(ran)
    assert "+1…03" in told  # d3 is silent longest
    assert "202555" not in told
    assert "nx-tasks-local" not in told
