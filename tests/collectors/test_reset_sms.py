"""The task send_reset_sms, on a real database and the local Twilio, sends one message per silence."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from emulators.twilio.server import Fault
from shared.collectors.sms_outbox import OUTBOX_COLLECTION, PENDING
from shared.collectors.sms_tally import KINDS, Tally
from shared.tasks import TaskName
from tests.collectors.fleet import LATER, LIMITS, Fleet, number_of, send_alone

ROOT = Path(__file__).resolve().parents[2]


def counted(summary: dict[str, Any]) -> dict[str, int]:
    """The counts of a summary that are not zero."""
    return {kind: summary[kind] for kind in KINDS if summary[kind]}


def test_a_device_with_a_long_silence_gets_one_message(fleet: Fleet) -> None:
    """The text depends on its firmware, the record has the SID, and the next run sends none."""
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
    """Each silence is an incident; the daily limit of a device holds."""
    fleet.add("far", phone=number_of(1), silent_hours=72)
    fleet.judge()
    fleet.run()
    fleet.add("far", phone=number_of(1), silent_hours=50)
    fleet.judge()

    assert counted(fleet.run().summary) == {"held_back": 1}
    again = fleet.run(limits=replace(LIMITS, per_device_per_day=2))
    assert counted(again.summary) == {"delivered": 1, "sent": 1}
    assert fleet.received() == [number_of(1)] * 2


def test_a_device_that_reported_again_gets_none(fleet: Fleet) -> None:
    """The device's document counts when the message is due; a deleted device gets none either."""
    for device in ("back", "gone"):
        fleet.add(device, phone=number_of(1))
    fleet.judge()
    fleet.add("back", phone=number_of(1), silent_hours=0)
    fleet.client.document("nx-devices/gone").delete()
    assert counted(fleet.run().summary) == {"seen_again": 2}
    assert fleet.received() == []


def test_malformed_and_foreign_numbers_get_no_message(fleet: Fleet) -> None:
    """They are counted and not recorded; a corrected number gets its message."""
    for device, phone in {"a": "5551234", "b": None, "c": "+4915112345678", "d": "+1555000000"}.items():
        fleet.add(device, phone=phone)
    fleet.judge()
    ran = fleet.run()
    assert counted(ran.summary) == {"malformed": 3, "foreign": 1}
    assert ran.summary["devices"] == {"malformed": ["a", "b", "d"], "foreign": ["c"]}
    assert (fleet.received(), fleet.records()) == ([], {})

    fleet.add("a", phone=number_of(4))
    assert counted(fleet.run().summary)["sent"] == 1


def test_a_device_without_a_text_for_its_firmware_gets_none(fleet: Fleet) -> None:
    """It is counted and named; other devices get theirs."""
    fleet.add("new", phone=number_of(1), firmware="9.0", silent_hours=80)
    fleet.add("known", phone=number_of(2))
    fleet.judge()
    ran = fleet.run()
    assert counted(ran.summary) == {"no_text": 1, "sent": 1}
    assert (ran.summary["devices"]["no_text"], fleet.received()) == (["new"], [number_of(2)])


def test_a_run_sends_up_to_its_limit_and_the_next_continues(fleet: Fleet) -> None:
    """The longest silence comes first."""
    for number in range(5):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=50 + number)
    fleet.judge()
    few = replace(LIMITS, per_run=2)
    sent = [fleet.run(limits=few).summary["devices"].get("sent") for _ in range(4)]
    assert sent == [["d4", "d3"], ["d2", "d1"], ["d0"], None]


def test_a_dry_run_sends_and_records_nothing(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Summary and log show who would get a message."""
    fleet.add("far", phone=number_of(1))
    fleet.judge()
    ran = fleet.run(dry=True)
    assert (ran.summary["dry_run"], ran.summary["devices"]) == (True, {"would_send": ["far"]})
    assert (fleet.received(), fleet.records()) == ([], {})
    assert "reset SMS not sent: dry run device=far" in capsys.readouterr().out


def test_no_message_is_sent_with_an_old_health_result(fleet: Fleet) -> None:
    """A device that was silent an hour ago may have reported since."""
    assert fleet.run().summary["health"] == "no result yet"
    fleet.add("far", phone=number_of(1))
    fleet.judge()
    assert fleet.run(ahead=timedelta(hours=2)).summary["health"] == "too old"
    assert fleet.received() == []


def test_a_permanent_refusal_is_recorded_with_its_code(fleet: Fleet) -> None:
    """Other devices get theirs; the refused message is not sent again."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(Fault(400, 21610))
    fleet.judge()
    assert counted(fleet.run().summary) == {"sent": 1, "failed": 1}
    assert (fleet.records()["a"]["state"], fleet.records()["a"]["code"]) == ("failed", 21610)
    assert counted(fleet.run().summary) == {"already": 2}
    assert fleet.received() == [number_of(2)]


@pytest.mark.parametrize(
    ("fault", "status", "text"),
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
def test_devices_keep_their_message_while_the_account_is_refused(
    fleet: Fleet, fault: Fault, status: str, text: str
) -> None:
    """The run ends at the first refusal with a hint, records no device, and the next run sends."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(fault)
    fleet.judge()
    ran = fleet.run()
    assert (ran.outcome.status, fleet.records()) == (status, {})
    assert text in (ran.outcome.error or "")
    assert counted(fleet.run().summary) == {"sent": 2}
    assert fleet.received() == [number_of(1), number_of(2)]


def test_equal_refusals_in_a_row_end_the_run(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """The cause may be the account, with a code that is not listed; most devices keep their message."""
    for number in range(6):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=80 - number)
    fleet.twilio.faults["POST"].extend([Fault(400, 21999)] * 3)
    fleet.judge()
    ran = fleet.run()
    assert (ran.outcome.status, counted(ran.summary)) == ("completed", {"failed": 3})
    assert "ERROR reset SMS stopped reason=3 refusals in a row with code 21999" in capsys.readouterr().out
    assert counted(fleet.run().summary) == {"already": 3, "sent": 3}


def test_different_refusals_in_a_row_do_not_end_the_run(fleet: Fleet) -> None:
    """Only refusals with the same code and without a sent message between them count."""
    for number in range(6):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=80 - number)
    fleet.twilio.faults["POST"].extend(
        [Fault(400, 21211), Fault(400, 21211), Fault(400, 21610), Fault(400, 21211)]
    )
    fleet.judge()
    assert counted(fleet.run().summary) == {"failed": 4, "sent": 2}


def test_an_undelivered_message_is_reported_and_not_sent_again(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """Later runs read the delivery state with Twilio's code."""
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


def test_an_unreported_delivery_becomes_unknown(fleet: Fleet) -> None:
    """Its status is not requested any more."""
    fleet.add("a", phone=number_of(1))
    fleet.judge()
    fleet.run()
    late = fleet.run(ahead=timedelta(days=2, minutes=1))
    assert (late.summary["delivery_unknown"], late.summary["devices"]) == (1, {"delivery_unknown": ["a"]})
    assert fleet.records()["a"]["delivery"] == "unknown"


def test_a_failed_look_up_of_a_delivery_does_not_stop_messages(fleet: Fleet) -> None:
    """Due messages are sent; the next run looks again."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.judge()
    fleet.run()
    fleet.add("b", phone=number_of(2))
    fleet.judge()
    fleet.twilio.faults["GET"].append(Fault(403, 20005))
    ran = fleet.run()
    assert (ran.outcome.status, counted(ran.summary)) == ("completed", {"already": 1, "sent": 1})
    assert fleet.records()["a"]["delivery"] == "awaited"


def test_a_device_with_a_long_id_gets_one_message_per_silence(fleet: Fleet) -> None:
    """The record's id is short enough for Firestore."""
    long = "d" * 1_490
    fleet.add(long, phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.judge()
    assert counted(fleet.run().summary) == {"sent": 2}
    assert counted(fleet.run().summary) == {"already": 2}
    assert set(fleet.records()) == {long, "b"}


def test_a_device_whose_clock_is_ahead_is_reset_once(fleet: Fleet) -> None:
    """Its silence counts from the arrival of its last report, and later edits do not start another."""
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


def test_a_device_with_a_stopped_clock_that_reported_again_gets_none(fleet: Fleet) -> None:
    """Its document was written after the health result, with the same last_seen."""
    days = timedelta(days=3)
    fleet.add("ahead", phone=number_of(1), silent_hours=-24 * 365)
    fleet.judge(ahead=days)
    fleet.add("ahead", phone=number_of(1), silent_hours=-24 * 365, firmware="4.1.1")
    assert counted(fleet.run(ahead=days).summary) == {"seen_again": 1}


def test_a_message_missing_at_twilio_does_not_stop_other_look_ups(fleet: Fleet) -> None:
    """Its status is requested until the time limit; then it is unknown."""
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


def test_the_summary_leaves_out_long_device_ids_to_fit(fleet: Fleet) -> None:
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
def test_a_message_with_a_lost_response_is_found_at_once(fleet: Fleet, fault: Fault) -> None:
    """Twilio has it, so it is recorded as sent and the run continues."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(fault)
    fleet.judge()
    assert counted(fleet.run().summary) == {"sent": 2}
    first = fleet.twilio.messages.all()[0]
    assert fleet.records()["a"]["sid"] == first.sid
    assert counted(fleet.run(ahead=LATER).summary) == {"already": 2, "delivered": 1}
    assert fleet.received() == [number_of(1), number_of(2)]


def test_a_message_missing_at_twilio_is_unknown_and_never_sent_again(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing response ends the run; the next one looks first, logs it, and sends the others."""
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
    assert "ERROR reset SMS unknown device=" in capsys.readouterr().out
    assert fleet.run(ahead=LATER).summary["unknown_ever"] == 1
    assert (fleet.states(), fleet.received()) == ({"a": "unknown", "b": "sent"}, [number_of(2)])


def test_no_message_is_sent_before_open_messages_are_resolved(fleet: Fleet) -> None:
    """While Twilio does not return the state of a message, the run fails and sends none."""
    fleet.add("a", phone=number_of(1), silent_hours=80)
    fleet.add("b", phone=number_of(2))
    fleet.twilio.faults["POST"].append(Fault(None))
    fleet.judge()
    fleet.run()
    fleet.twilio.faults["GET"].append(Fault(401, 20003))
    ran = fleet.run(ahead=LATER)
    assert ran.outcome.status == "failed"
    assert "Twilio did not return its messages (HTTP 401)" in (ran.outcome.error or "")
    assert (fleet.states(), fleet.received()) == ({"a": PENDING}, [])


def test_a_message_that_another_run_is_sending_is_not_touched(fleet: Fleet) -> None:
    """It is neither sent again nor marked unknown."""
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


def test_a_slow_sender_overrides_the_state_unknown(fleet: Fleet) -> None:
    """It sent the message after another run had marked it unknown."""
    fleet.add("a", phone=number_of(1))
    fleet.judge()

    def settle() -> None:
        for record in fleet.client.collection(OUTBOX_COLLECTION).stream():
            record.reference.update({"state": "unknown"})

    slow = Fault(None, processed=True, before_response=settle)
    fleet.twilio.faults["POST"].append(slow)
    fleet.run()
    assert (fleet.states(), fleet.received()) == ({"a": "sent"}, [number_of(1)])


def test_two_concurrent_processes_send_each_message_once(fleet: Fleet) -> None:
    """On the same devices, without an engine that excludes the other."""
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
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert sum(int(each.splitlines()[-1]) for each in outputs) == 12, outputs
    assert sorted(fleet.received()) == [number_of(number) for number in range(12)]
    assert set(fleet.states().values()) == {"sent"}


def test_no_telephone_number_or_token_is_shown(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """In the log, the run history, or an error."""
    for number in range(4):
        fleet.add(f"d{number}", phone=number_of(number), silent_hours=60 + number)
    fleet.add("bad", phone="+1 202 555", silent_hours=70)
    fleet.twilio.faults["POST"].extend([Fault(400, 21211), Fault(503, processed=True), Fault(401, 20003)])
    fleet.judge()
    capsys.readouterr()
    ran = fleet.run()
    assert ran.outcome.status == "failed"
    runs = fleet.client.collection(f"nx-tasks/{TaskName.send_reset_sms}/nx-runs").stream()
    shown = capsys.readouterr().out + repr([run.to_dict() for run in runs]) + repr(ran)
    assert "+1…03" in shown  # d3 is silent longest
    assert "202555" not in shown
    assert "nx-tasks-local" not in shown
