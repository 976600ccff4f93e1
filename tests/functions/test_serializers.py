"""Which fields of a run each caller receives; needs no stack."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from functions.authorization import Caller
from functions.serializers import SOMEONE, run_fields
from shared.tasks import TaskName, TaskSpec, specs
from shared.tasks.admin.records import RunRecord

#: A task for operators only, and one for viewers too.
CDRS, HEALTH = TaskName.collect_charge_cdrs, TaskName.collect_devices_health
OPERATOR, VIEWER = {"role": "operator"}, {"role": "viewer"}
APP = {"tasks": [CDRS.value]}
RUN = {
    "state": "failed",
    "by": "ops",
    "error": {"type": "E", "message": "says", "traceback": "where"},
    "progress": {"done": 1, "message": "how far"},
    "result": {"version": "v", "saved_in": "db", "summary": {"sum": 3}},
}
ALL = {"message": "says", "traceback": "where", "progress": "how far", "summary": {"sum": 3}}
NOT_WHERE = {name: ALL[name] for name in ("message", "progress", "summary")}


@pytest.fixture(autouse=True)
def _operators_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restrict one task to operators."""
    monkeypatch.setitem(specs.REGISTERED, CDRS, TaskSpec(CDRS, roles=("operator",)))


@pytest.mark.parametrize(
    ("claims", "task", "shown"),
    [
        (OPERATOR, CDRS, ALL),
        (VIEWER, HEALTH, ALL),
        (VIEWER, CDRS, {}),
        (APP, CDRS, NOT_WHERE),
        ({**APP, **VIEWER}, CDRS, ALL),
    ],
)
def test_a_caller_without_access_to_a_result_gets_no_texts_of_the_task(
    claims: dict[str, Any], task: TaskName, shown: dict[str, Any]
) -> None:
    """An app gets no traceback; lists have neither tracebacks nor summaries."""
    record, caller = RunRecord.parse("r", RUN, Timestamp()), Caller.from_claims("u", claims)
    for whole in (True, False):
        fields = run_fields(record, task, caller, whole=whole)
        error, result = fields["error"], fields["result"]
        texts = {
            "message": error["message"] or None,
            "traceback": error.get("traceback"),
            "progress": fields["progress"] and fields["progress"]["message"],
            "summary": result.get("summary"),
        }
        listed = ("message", "progress") if not whole else tuple(ALL)
        assert {name: text for name, text in texts.items() if text is not None} == {
            name: text for name, text in shown.items() if name in listed
        }
        by = SOMEONE if claims == APP else "ops"
        assert (fields["state"], fields["by"], error["type"], result["version"]) == ("failed", by, "E", "v")


def test_the_failure_of_a_leg_is_shown_as_an_error_is() -> None:
    """A caller without access to the result gets its type only, and no positions."""
    error, positions = {"type": "E", "message": "says", "traceback": "where"}, {"north": '"page 7"'}
    checkpoint = {"commit": "t.1", "steps": 2, "parts": 3, "positions": positions}
    run = {"state": "waiting", "error": error, "checkpoint": checkpoint}
    record = RunRecord.parse("r", run, Timestamp())
    operator, viewer = (Caller.from_claims("u", claims) for claims in (OPERATOR, VIEWER))
    full, redacted = (run_fields(record, CDRS, caller, whole=True) for caller in (operator, viewer))
    assert (full["state"], full["error"], full["last_failure"]) == ("running", None, error)
    assert full["checkpoint"] == {"steps": 2, "parts": 3, "positions": positions}
    assert redacted["last_failure"] == {"type": "E", "message": ""}
    assert redacted["checkpoint"] == {"steps": 2, "parts": 3, "positions": {}}
    listed = run_fields(record, CDRS, operator)
    assert listed["last_failure"] == {"type": "E", "message": "says"}


def test_an_app_does_not_see_who_acted_or_why() -> None:
    """The reason of a skip and the error of a run that was not cancelled stay."""
    app = Caller.from_claims("u", {"tasks": [HEALTH.value]})

    def shown(**values: Any) -> dict[str, Any]:
        return run_fields(RunRecord.parse("r", values, Timestamp()), HEALTH, app, whole=True)

    cancel = {"by": "anna@example.com", "reason": "why", "at": None}
    message = "cancelled by anna@example.com: why (ValueError: no such place)"
    run = shown(state="failed", cancel=cancel, error={"type": "RunCancelled", "message": message})
    assert (run["by"], run["reason"]) == (SOMEONE, None)
    assert run["error"] == {"type": "RunCancelled", "message": f"cancelled by {SOMEONE}"}
    change = shown(state="suspended", by="anna@example.com", reason="why")
    assert (change["by"], change["reason"]) == (SOMEONE, None)
    skip = shown(state="skipped", reason="overlap")
    assert (skip["by"], skip["reason"]) == (None, "overlap")
    failed = shown(state="failed", error={"type": "ValueError", "message": "no such place"})
    assert (failed["by"], failed["error"]["message"]) == (None, "no such place")
