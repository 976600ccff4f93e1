"""One delivery of Cloud Scheduler: which runs it starts, and the response."""

import json
import logging
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from firebase_functions.options import RESET_VALUE, MemoryOption
from firebase_functions.params import IntParam
from firebase_functions.private import serving
from flask.testing import FlaskClient

import main
from functions import scheduled_endpoint
from functions.scheduled_endpoint import scheduled_function, scheduled_task
from shared import firebase, logger
from shared.tasks import TaskEngine, TaskName, TaskSpec, registered, specs
from tests.functions.front import front

ROOT = Path(__file__).resolve().parents[2]
TASK = TaskName.send_reset_sms
TICK = "2024-05-05T12:00:00Z"
RUN_ID = "2024-05-05T12:00:00.000000Z"
JOB = "firebase-schedule-send_reset_sms-us-central1"
HEADERS = {
    "X-CloudScheduler": "true",
    "X-CloudScheduler-JobName": JOB,
    "X-CloudScheduler-ScheduleTime": TICK,
}
NO_RUN = "x" * 501
"""A name of a job that the engine refuses before it sends a request."""

Body = Callable[[], Any]
Deliverable = Callable[[Body], FlaskClient]


@pytest.fixture
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate the specs of these tests from others."""
    monkeypatch.setattr(specs, "REGISTERED", {})


@pytest.fixture
def deployed(_nothing_registered: None) -> Deliverable:
    """Deploys a body as the function of `TASK`."""

    def deploy(body: Body) -> FlaskClient:
        def send_reset_sms() -> Any:
            return body()

        return front(scheduled_task(TaskSpec(TASK, schedule="*/5 * * * *"))(send_reset_sms))

    return deploy


@pytest.fixture
def ran() -> list[str]:
    """Records which bodies ran."""
    return []


def never() -> None:
    pytest.fail("the task ran")


def history() -> dict[str, dict[str, Any]]:
    """The task's run records by document id."""
    runs = firebase.firestore_client().collection("nx-tasks", TASK, "nx-runs").stream()
    return {run.id: run.to_dict() or {} for run in runs}


def status() -> dict[str, Any]:
    return firebase.firestore_client().document("nx-tasks", TASK).get().to_dict() or {}


def store_status(**fields: Any) -> None:
    firebase.firestore_client().document("nx-tasks", TASK).set(fields)


def held_by(run_id: str) -> dict[str, Any]:
    """The status of a task that this run holds."""
    lease = datetime.now(UTC) + timedelta(minutes=1)
    run = {"id": run_id, "attempt": 1, "token": "another", "state": "running", "lease_until": lease}
    return {"source": "test", "status": "running", "started": datetime.now(UTC), "error": "", "run": run}


# Requests that are not deliveries


@pytest.mark.parametrize("path", ["/", "/__/health", "/any/path"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_request_with_another_method_does_not_run_the_task(
    deployed: Deliverable, method: str, path: str
) -> None:
    """A probe gets an empty 204, whatever its path and headers."""
    answer = deployed(never).open(path, method=method, headers=HEADERS)
    assert (answer.status_code, answer.data) == (204, b"")


@pytest.mark.parametrize("function", [main.collect_devices_health])
def test_a_probe_does_not_run_the_task(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator sends one to each new process."""
    monkeypatch.setattr(scheduled_endpoint, "execute_task", None)  # a run would call it
    answer = front(function).get("/__/health")
    assert (answer.status_code, answer.data) == (204, b"")


# Deliveries


@pytest.mark.usefixtures("clean_firestore")
def test_a_delivery_runs_the_task(deployed: Deliverable, ran: list[str]) -> None:
    """The run has the tick's id and the job as its source, and its result is stored."""

    def body() -> list[int]:
        ran.append("once")
        return [1, 2]

    answer = deployed(body).post("/", headers=HEADERS)

    assert (answer.status_code, answer.text, ran) == (200, "ok", ["once"])
    assert list(history()) == [RUN_ID]
    assert history()[RUN_ID]["scheduled_for"] == datetime(2024, 5, 5, 12, tzinfo=UTC)
    stored = status()
    assert (stored["status"], stored["data"], stored["source"]) == ("completed", [1, 2], JOB)


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize(
    "again",
    [TICK, "2024-05-05T12:00:00.000000Z", "2024-05-05T12:00:00+00:00", "2024-05-05T14:00:00+02:00"],
)
def test_duplicate_delivery_is_acknowledged_without_running_the_task(
    deployed: Deliverable, ran: list[str], again: str
) -> None:
    """However its time is written."""
    function = deployed(lambda: ran.append("once"))
    first = function.post("/", headers=HEADERS)
    finished = status()
    second = function.post("/", headers=HEADERS | {"X-CloudScheduler-ScheduleTime": again})

    assert [answer.status_code for answer in (first, second)] == [200, 200]
    assert ran == ["once"]
    assert list(history()) == [RUN_ID]
    assert status() == finished


@pytest.mark.usefixtures("clean_firestore")
def test_two_ticks_are_two_runs(deployed: Deliverable, ran: list[str]) -> None:
    """Each has the run id of its own minute."""
    function = deployed(lambda: ran.append("again"))
    for tick in (TICK, "2024-05-05T12:05:00Z"):
        assert function.post("/", headers={"X-CloudScheduler-ScheduleTime": tick}).status_code == 200
    assert ran == ["again", "again"]
    assert list(history()) == [RUN_ID, "2024-05-05T12:05:00.000000Z"]


@pytest.mark.usefixtures("clean_firestore")
def test_a_retry_with_another_fraction_is_an_attempt_of_the_same_run(
    deployed: Deliverable, ran: list[str]
) -> None:
    """Schedule times have fractions of a second, run ids have none."""

    def body() -> None:
        ran.append("again")
        if len(ran) == 1:
            raise RuntimeError("not yet")

    function = deployed(body)
    for value in ("2024-05-05T05:00:00.510855-07:00", "2024-05-05T05:00:00.9-07:00", TICK):
        function.post("/", headers=HEADERS | {"X-CloudScheduler-ScheduleTime": value})
    assert ran == ["again", "again"]  # the third delivery is a duplicate
    assert {run_id: (run["state"], run["attempt"]) for run_id, run in history().items()} == {
        RUN_ID: ("completed", 2)
    }
    assert history()[RUN_ID]["scheduled_for"] == datetime(2024, 5, 5, 12, tzinfo=UTC)


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("value", ["2024-05-05T12:02:00Z", "2024-05-05T11:59:59.999Z"])
def test_a_time_outside_the_schedule_runs_with_a_random_id(
    deployed: Deliverable, ran: list[str], capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """After a change of the schedule, or of the job by hand, each delivery runs with a warning."""
    function = deployed(lambda: ran.append("again"))
    for _ in range(2):
        function.post("/", headers=HEADERS | {"X-CloudScheduler-ScheduleTime": value})
    assert ran == ["again", "again"]
    assert [bool(re.fullmatch(r"[0-9a-f]{32}", run_id)) for run_id in history()] == [True, True]
    assert [run["scheduled_for"] for run in history().values()] == [None, None]
    assert "delivery outside its schedule" in capsys.readouterr().out


@pytest.mark.usefixtures("clean_firestore")
def test_a_delivery_without_a_tick_runs_with_a_random_id(
    deployed: Deliverable, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A delivery by hand is not a duplicate and logs no warning."""
    function = deployed(lambda: ran.append("again"))
    assert [function.post("/").status_code for _ in range(2)] == [200, 200]
    assert ran == ["again", "again"]
    assert [bool(re.fullmatch(r"[0-9a-f]{32}", run_id)) for run_id in history()] == [True, True]
    assert [run["scheduled_for"] for run in history().values()] == [None, None]
    assert status()["source"] == "manual"
    assert "WARNING" not in capsys.readouterr().out


@pytest.mark.usefixtures("clean_firestore")
def test_a_job_run_by_hand_does_not_use_up_the_next_tick(deployed: Deliverable, ran: list[str]) -> None:
    """Its delivery has the next tick's time but runs with a random id."""
    now = datetime.now(UTC).replace(second=0)
    to_come = (now + timedelta(minutes=10 - now.minute % 5)).isoformat()
    answer = deployed(lambda: ran.append("once")).post(
        "/", headers={"X-CloudScheduler-ScheduleTime": to_come}
    )
    assert (answer.status_code, ran) == (200, ["once"])
    assert [bool(re.fullmatch(r"[0-9a-f]{32}", run_id)) for run_id in history()] == [True]


class SlowClock(datetime):
    """A clock five seconds before the tick."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime(2024, 5, 5, 11, 59, 55, tzinfo=tz)


@pytest.mark.usefixtures("clean_firestore")
def test_a_tick_slightly_in_the_future_is_accepted(
    deployed: Deliverable, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clocks differ by seconds; fractions are ignored."""
    monkeypatch.setattr("functions.scheduled_endpoint.datetime", SlowClock)
    function = deployed(lambda: ran.append("once"))
    for fraction in ("000", "990"):
        value = f"2024-05-05T12:00:00.{fraction}Z"
        answer = function.post("/", headers={"X-CloudScheduler-ScheduleTime": value})
        assert answer.status_code == 200
    assert ran == ["once"]
    assert list(history()) == [RUN_ID]


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2024-05-05T12:00:00",
        "2024-05-05",
        "2024-13-05T12:00:00Z",
        "0001-01-01T00:00:00+12:00",
        "../../x",
        "9" * 5000,
    ],
)
def test_an_invalid_time_runs_with_a_random_id_and_a_warning(
    deployed: Deliverable, ran: list[str], capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """A late run is better than none."""
    answer = deployed(lambda: ran.append("once")).post("/", headers={"X-CloudScheduler-ScheduleTime": value})
    assert (answer.status_code, ran) == (200, ["once"])
    assert [bool(re.fullmatch(r"[0-9a-f]{32}", run_id)) for run_id in history()] == [True]
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert "schedule time not understood" in warning
    assert f"schedule_time={value[:60]}" in warning
    assert len(warning) < 300


@pytest.mark.usefixtures("clean_firestore")
def test_a_failed_task_returns_500_without_its_error(deployed: Deliverable) -> None:
    """The error is in the status document and the run record (lesson 19)."""

    def body() -> None:
        raise RuntimeError("secret-token at /srv/private")

    answer = deployed(body).post("/", headers=HEADERS)

    assert (answer.status_code, answer.text) == (500, "not completed; see the log")
    assert "secret" not in str(answer.headers)
    assert status()["status"] == "failed"
    assert "secret-token" in status()["error"]
    assert history()[RUN_ID]["state"] == "failed"


@pytest.mark.usefixtures("clean_firestore")
def test_the_retry_of_a_failed_tick_is_its_second_attempt(deployed: Deliverable, ran: list[str]) -> None:
    def body() -> str:
        ran.append("again")
        if len(ran) == 1:
            raise RuntimeError("not yet")
        return "done"

    function = deployed(body)
    codes = [function.post("/", headers=HEADERS).status_code for _ in range(3)]

    assert codes == [500, 200, 200]
    assert ran == ["again", "again"]
    assert {run_id: (run["state"], run["attempt"]) for run_id, run in history().items()} == {
        RUN_ID: ("completed", 2)
    }


@pytest.mark.usefixtures("clean_firestore")
def test_a_tick_whose_attempt_may_be_alive_is_busy(deployed: Deliverable) -> None:
    """After 503 Cloud Scheduler retries until the attempt or its lease has ended."""
    store_status(**held_by(RUN_ID))
    answer = deployed(never).post("/", headers=HEADERS)
    assert (answer.status_code, answer.text) == (503, "not completed; see the log")
    assert [(run_id, run["state"]) for run_id, run in history().items()] == [(f"{RUN_ID}.refused", "refused")]


@pytest.mark.usefixtures("clean_firestore")
def test_a_tick_during_another_run_is_skipped(deployed: Deliverable) -> None:
    """The response is 200; the record names the run that holds the task."""
    store_status(**held_by("the one before"))
    answer = deployed(never).post("/", headers=HEADERS)
    assert (answer.status_code, answer.text) == (200, "ok")
    ((run_id, run),) = history().items()
    assert run_id == f"{RUN_ID}.skipped"
    assert (run["state"], run["reason"], run["holder"]) == ("skipped", "overlap", "the one before")


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize(
    "fields",
    [
        {"status": "suspeneded"},
        {"status": "suspended"},
        {"status": "suspeneded", "run": {"suspended": {"by": "an operator", "reason": "a test"}}},
    ],
)
def test_a_suspended_task_skips_its_ticks(deployed: Deliverable, fields: dict[str, Any]) -> None:
    """The response is 200; the status document does not change."""
    store_status(**fields)
    answer = deployed(never).post("/", headers=HEADERS)
    assert (answer.status_code, answer.text) == (200, "ok")
    assert {run_id: run["reason"] for run_id, run in history().items()} == {f"{RUN_ID}.skipped": "suspended"}
    assert status() == fields


def test_an_engine_error_returns_500_without_its_text(deployed: Deliverable) -> None:
    """The text is in the log only."""
    answer = deployed(never).post("/", headers={"X-CloudScheduler-JobName": NO_RUN})
    assert (answer.status_code, answer.text) == (500, "not completed; see the log")


def test_a_missing_project_returns_500_without_its_text(
    deployed: Deliverable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The delivery is retried, and the error is logged for the alert policy."""
    for variable in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "FIREBASE_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(firebase, "_made", {})
    monkeypatch.setattr(scheduled_endpoint, "execute_task", TaskEngine().execute_task)
    answer = deployed(never).post("/", headers=HEADERS)
    assert (answer.status_code, answer.text) == (500, "not completed; see the log")
    (entry,) = [line for line in capsys.readouterr().out.splitlines() if "delivery failed" in line]
    assert "ERROR" in entry
    assert "GOOGLE_CLOUD_PROJECT" in entry


# Logs


@pytest.fixture
def cloud_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[dict[str, Any]]]:
    """Reads the new log entries as Cloud Logging would."""
    monkeypatch.setenv("K_REVISION", "send-reset-sms-00001")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-nx-tasks")
    monkeypatch.setattr(logging.getLogger("nx-tasks"), "handlers", [])
    logger.info("the first line decides the format")
    monkeypatch.delenv("K_REVISION")  # emulator clients are refused in the cloud
    capsys.readouterr()
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACES = [
    {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
    {"X-Cloud-Trace-Context": f"{TRACE}/123456;o=1"},
]


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("value", TRACES)
def test_log_entries_of_a_run_have_the_trace_of_its_request(
    deployed: Deliverable, cloud_log: Callable[[], list[dict[str, Any]]], value: dict[str, str]
) -> None:
    """Those of the delivery, the engine and the task, for either header; the next run has none."""
    function = deployed(lambda: logger.info("from the task"))
    function.post("/", headers=value | {"X-CloudScheduler-ScheduleTime": "yesterday"})
    entries = cloud_log()
    messages = [entry["message"] for entry in entries]
    assert messages[0].startswith("schedule time not understood")
    assert "from the task" in messages
    assert len(messages) == 4  # the two above, the start and the end of the run
    traces = {entry["logging.googleapis.com/trace"] for entry in entries}
    assert traces == {f"projects/demo-nx-tasks/traces/{TRACE}"}

    function.post("/", headers=HEADERS)
    assert [entry for entry in cloud_log() if "logging.googleapis.com/trace" in entry] == []


@pytest.mark.parametrize("value", ["", "nonsense", "00-xyz-1-01", f"{TRACE[:-1]}/1", f"{TRACE}0/1"])
def test_log_entries_of_a_request_with_an_invalid_trace_have_none(
    deployed: Deliverable, cloud_log: Callable[[], list[dict[str, Any]]], value: str
) -> None:
    headers = {"X-Cloud-Trace-Context": value, "X-CloudScheduler-ScheduleTime": "?"}
    deployed(never).post("/", headers=headers | {"X-CloudScheduler-JobName": NO_RUN})
    entries = cloud_log()
    assert [entry["message"] for entry in entries] == ["schedule time not understood", "delivery failed"]
    assert not any("logging.googleapis.com/trace" in entry for entry in entries)


# Discovery


def test_the_wrapper_keeps_what_discovery_reads() -> None:
    """Entry point, schedule, time zone, time-out and retries are on the exports of main.py."""
    endpoint = main.collect_devices_health.__firebase_endpoint__
    assert endpoint.entryPoint == "collect_devices_health"
    assert endpoint.timeoutSeconds == 300
    assert endpoint.availableMemoryMb == 512
    assert endpoint.region == ["us-central1"]
    assert endpoint.scheduleTrigger["schedule"] == "*/5 * * * *"
    assert str(endpoint.scheduleTrigger["timeZone"]) == "Etc/UTC"
    retry = endpoint.scheduleTrigger["retryConfig"]
    assert (retry["retryCount"], retry["minBackoffSeconds"]) == (5, 10)


def test_the_manifest_has_the_functions_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly these, each with its name, and the scheduled ones with their specs."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])  # discovery adds to it
    manifest = yaml.safe_load(serving.functions_as_yaml(serving.get_functions()))
    endpoints = manifest["endpoints"]
    assert sorted(endpoints) == sorted(main.__all__)
    assert [endpoint["entryPoint"] for endpoint in endpoints.values()] == list(endpoints)
    scheduled = {
        name: (trigger["schedule"], trigger["timeZone"], endpoint["timeoutSeconds"])
        for name, endpoint in endpoints.items()
        if (trigger := endpoint.get("scheduleTrigger"))
    }
    assert scheduled.pop("watchdog") == ("*/5 * * * *", "Etc/UTC", 240)  # has neither a task nor a spec
    assert scheduled == {
        spec.name.value: (spec.schedule, spec.time_zone, min(spec.deadline_seconds + 60, 1_800))
        for spec in registered()
    }
    assert endpoints["get_task_data"]["callableTrigger"] == {}
    assert {api["api"] for api in manifest["requiredAPIs"]} == {"cloudscheduler.googleapis.com"}


# Declarations that are refused


@pytest.mark.usefixtures("_nothing_registered")
def test_a_function_must_have_the_name_of_its_task() -> None:
    """The error names the task."""

    def send_sms() -> None:
        pass

    with pytest.raises(ValueError, match="task send_reset_sms is named send_sms; give it the task's name"):
        scheduled_task(TaskSpec(TASK, schedule="*/5 * * * *"))(send_sms)


def test_a_function_without_a_task_must_have_a_unix_cron_schedule() -> None:
    """Such as the watchdog; the error shows the form."""
    with pytest.raises(ValueError, match=re.escape("got 'every 5 minutes'; use '*/5 * * * *'")):
        scheduled_function(schedule="every 5 minutes", time_zone="Etc/UTC", timeout_seconds=60)


@pytest.mark.usefixtures("_nothing_registered")
def test_a_deployed_task_must_have_a_schedule() -> None:
    """The error names the place to declare it."""
    with pytest.raises(ValueError, match="send_reset_sms has no schedule; set `schedule` in its TaskSpec"):
        scheduled_task(TaskSpec(TASK))


@pytest.mark.usefixtures("_nothing_registered")
def test_a_deadline_must_be_within_a_day() -> None:
    """The error has the limit and the value."""
    with pytest.raises(ValueError, match=r"send_reset_sms: .* must be at most 86400 .*, got 86401"):
        scheduled_task(TaskSpec(TASK, schedule="*/5 * * * *", deadline_seconds=86_401))


@pytest.mark.usefixtures("_nothing_registered")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory": 500}, "memory of send_reset_sms must be one of 128, 256, 512, 1024, "),
        ({"memory": "512MB"}, " 32768 (MB), got '512MB'"),
        ({"memory": True}, " 32768 (MB), got True"),
        ({"cpu": "lots"}, "cpu of send_reset_sms must be a positive number or \"gcf_gen1\", got 'lots'"),
        ({"cpu": 0}, 'must be a positive number or "gcf_gen1", got 0'),
        (
            {"schedule": "0 4 * * *"},
            "must not have the option schedule, got '0 4 * * *'; set `schedule` in the TaskSpec",
        ),
        ({"timezone": "UTC"}, "option timezone, got 'UTC'; set `time_zone` in the TaskSpec"),
        ({"timeout_sec": 60}, "option timeout_sec, got 60; set `deadline_seconds` in the TaskSpec"),
        ({"retry_count": 1}, "option retry_count, got 1; it is set by scheduled_task"),
        ({"min_backoff_seconds": 1}, "option min_backoff_seconds, got 1; it is set by scheduled_task"),
    ],
)
def test_invalid_options_of_a_task_are_refused(options: dict[str, Any], text: str) -> None:
    """Before firebase-tools reads the manifest."""

    def send_reset_sms() -> None:
        pass

    with pytest.raises(ValueError, match=re.escape(text)):
        scheduled_task(TaskSpec(TASK, schedule="0 4 * * *"), **options)(send_reset_sms)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory": 500}, "memory of sweep must be one of"),
        ({"timezone": "UTC"}, "sweep must not have the option timezone, got 'UTC'; pass `time_zone`"),
        ({"retry_count": 1}, "option retry_count, got 1; it is set by scheduled_function"),
    ],
)
def test_invalid_options_of_a_scheduled_function_are_refused(options: dict[str, Any], text: str) -> None:
    """They are those of `on_schedule` except for what the decorator sets."""

    def sweep(_: scheduled_endpoint.Delivery) -> int:
        return 200

    decorate = scheduled_function(schedule="0 4 * * *", time_zone="Etc/UTC", timeout_seconds=60, **options)
    with pytest.raises(ValueError, match=re.escape(text)):
        decorate(sweep)


@pytest.mark.usefixtures("_nothing_registered")
def test_the_sdks_memory_options_are_accepted() -> None:
    """Besides numbers: its enumeration, its value for a reset, and a parameter of the deployment."""

    def send_reset_sms() -> None:
        pass

    for memory in (MemoryOption.MB_512, RESET_VALUE, IntParam("TASK_MEMORY")):
        scheduled_task(TaskSpec(TASK, schedule="0 4 * * *"), memory=memory, cpu="gcf_gen1")(send_reset_sms)


@pytest.mark.usefixtures("_nothing_registered")
def test_a_task_with_two_required_parameters_is_refused() -> None:
    """The engine passes a `TaskRun` or nothing."""

    def send_reset_sms(run: Any, path: str) -> None:
        pass

    text = "send_reset_sms must have one parameter, a TaskRun, or none, got send_reset_sms(run: "
    with pytest.raises(ValueError, match=re.escape(text)):
        scheduled_task(TaskSpec(TASK, schedule="0 4 * * *"))(send_reset_sms)


@pytest.mark.usefixtures("_nothing_registered")
@pytest.mark.parametrize(("deadline", "leg"), [(1740, None), (1741, 1500), (86_400, 1500)])
def test_the_longest_deadline_can_be_deployed(deadline: int, leg: float | None) -> None:
    """The function's time-out is the longest that Cloud Scheduler waits; a longer run has legs."""

    def send_reset_sms() -> None:
        pass

    spec = TaskSpec(TASK, schedule="0 4 * * 7", time_zone="Europe/Berlin", deadline_seconds=deadline)
    assert spec.leg_seconds == leg
    endpoint = scheduled_task(spec, memory=256)(send_reset_sms).__firebase_endpoint__
    assert (endpoint.timeoutSeconds, endpoint.availableMemoryMb) == (1800, 256)
    assert str(endpoint.scheduleTrigger["timeZone"]) == "Europe/Berlin"
