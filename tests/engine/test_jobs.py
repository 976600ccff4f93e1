"""The jobs of the local Cloud Scheduler follow the documents, after deaths, outages and changes by hand."""

from datetime import UTC, datetime
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
import requests

from shared import firebase
from shared.firebase import SchedulerWire
from shared.tasks import JobMissing, SchedulerUnavailable, TaskEngine, TaskSpec, specs
from shared.tasks.backends.scheduler import Jobs, JobState
from shared.tasks.documents.models import JobNote
from shared.tasks.protocol.job_sync import problem_of
from tests.engine.test_watchdog import watched
from tests.support.world import TASK, World

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "the API is down"}
#: A schedule whose next tick is too far away to be missed.
SPEC = TaskSpec(TASK, schedule="0 0 1 1 *")
#: Suspend or resume an engine's task: document and job.
suspend = methodcaller("suspend_task", TASK, **WHO)
resume = methodcaller("resume_task", TASK, **WHO)
MISSES = "no operator suspended the task: resume the task, or suspend it with a reason"


def nowhere(_: object = None) -> SchedulerWire:
    """A Cloud Scheduler that cannot be reached."""
    return SchedulerWire(requests.Session(), "http://127.0.0.1:1/v1/projects/p/locations/l/jobs/")


def without_jobs() -> SchedulerWire:
    """The local Cloud Scheduler, in a location without jobs."""
    wire = firebase.scheduler_wire()
    return SchedulerWire(wire.session, f"{wire.jobs}no-such-")


@pytest.fixture(autouse=True)
def _scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(specs.REGISTERED, TASK, SPEC)


def job_note(world: World) -> Any:
    """The document's job note."""
    return world.status()["run"].get("job")


def test_a_change_pauses_or_enables_the_job(engine: TaskEngine, world: World, jobs: Jobs) -> None:
    """Afterwards the document has no job note."""
    engine.execute_task("s", TASK, lambda: [1])
    assert suspend(engine)
    assert (jobs.read(TASK).state, job_note(world)) == (JobState.paused, None)
    assert resume(engine)
    assert (jobs.read(TASK).state, job_note(world), world.status()["status"]) == (
        JobState.enabled,
        None,
        "completed",
    )


@pytest.mark.parametrize(("how", "wanted"), [(suspend, JobState.paused), (resume, JobState.enabled)])
def test_a_change_that_did_not_reach_cloud_scheduler_is_completed_later(
    engine: TaskEngine,
    world: World,
    jobs: Jobs,
    capsys: pytest.CaptureFixture[str],
    how: Any,
    wanted: JobState,
) -> None:
    """The document has the requested state; the next change or the watchdog applies it once."""
    engine.execute_task("s", TASK, lambda: [1])
    if how is resume:
        suspend(engine)
    for repair in (lambda: how(engine), lambda: watched(engine, capsys, SPEC)):
        other = suspend if how is resume else resume
        other(engine)
        with pytest.raises(SchedulerUnavailable):
            how(TaskEngine(jobs=Jobs(nowhere)))
        assert ("suspended" in world.status()["run"]) == (how is suspend)
        assert (job_note(world)["wanted"], jobs.read(TASK).state == wanted) == (wanted, False)
        repair()
        assert (jobs.read(TASK).state, problem_of(JobNote.parse(job_note(world)))) == (wanted, None)
    assert watched(engine, capsys, SPEC) == ""


def test_a_job_paused_by_hand_is_reported_and_left_alone(
    engine: TaskEngine, world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, because the reason is not known. A resume enables it, and so may a person by hand."""
    engine.execute_task("s", TASK, lambda: [1])
    jobs.set_state(TASK, JobState.paused)
    assert MISSES in watched(engine, capsys, SPEC)
    assert watched(engine, capsys, SPEC) == ""
    assert (jobs.read(TASK).state, job_note(world)["found"]) == (JobState.paused, "PAUSED")
    jobs.set_state(TASK, JobState.enabled)
    watched(engine, capsys, SPEC)
    assert job_note(world) is None
    jobs.set_state(TASK, JobState.paused)
    watched(engine, capsys, SPEC)
    assert resume(engine) is False
    assert (jobs.read(TASK).state, job_note(world)) == (JobState.enabled, None)


def test_the_paused_job_of_a_task_of_the_legacy_writer_is_reported_at_most_once(
    engine: TaskEngine, world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is paused on purpose, which is not known before the first legacy run."""
    engine.execute_task("s", TASK, lambda: [1])
    jobs.set_state(TASK, JobState.paused)
    assert "do nothing if another implementation runs the task now" in watched(engine, capsys, SPEC)
    now = datetime.now(UTC)
    world.write(
        {"source": "original", "status": "completed", "started": now, "completed": now, "timestamp": now}
    )
    assert watched(engine, capsys, SPEC) == ""
    assert jobs.read(TASK).state == JobState.paused
    assert "run" not in world.status()


def test_a_task_suspended_only_in_the_document_keeps_its_job(
    engine: TaskEngine, world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: its ticks are skipped, and resuming by hand would not enable a paused job."""
    for fields in ({"timestamp": datetime.now(UTC)}, {"run": {"id": "r", "state": "completed"}}):
        world.write({"status": "suspeneded", **fields})
        assert "job" not in watched(engine, capsys, SPEC)
        assert jobs.read(TASK).state == JobState.enabled
        assert "job" not in world.status().get("run", {})


def test_the_requested_state_survives_a_start_that_overwrites_the_document(
    engine: TaskEngine, world: World, jobs: Jobs
) -> None:
    """The job still gets the state that the operator requested."""
    engine.execute_task("s", TASK, lambda: [1])
    suspend(engine)
    with pytest.raises(SchedulerUnavailable):
        resume(TaskEngine(jobs=Jobs(nowhere)))
    requested = job_note(world)
    assert requested["wanted"] == "ENABLED"
    engine.execute_task("s", TASK, lambda: [2], {"keep_last_result": False})
    assert job_note(world) == requested


def test_a_missing_job_is_reported(world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    """By the watchdog once, and by each change."""
    engine = TaskEngine(jobs=Jobs(without_jobs))
    engine.execute_task("s", TASK, lambda: [1])
    assert "its Cloud Scheduler job does not exist, so no tick starts: deploy" in watched(
        engine, capsys, SPEC
    )
    assert watched(engine, capsys, SPEC) == ""
    with pytest.raises(JobMissing, match="deploy the function collect_charge_cdrs, or restart `make run`"):
        suspend(engine)


def test_the_watchdog_does_its_other_work_without_cloud_scheduler(world: World) -> None:
    """The pass is not successful."""
    engine = TaskEngine(jobs=Jobs(nowhere))
    engine.execute_task("s", TASK, lambda: [1])
    dead = {"run.state": "running", "run.lease_until": datetime(2026, 1, 1, tzinfo=UTC)}
    world.database.document(f"nx-tasks/{TASK.value}").update(dead)
    with pytest.raises(SchedulerUnavailable):
        engine.watch_task(SPEC)
    assert world.status()["run"]["state"] == "failed"


def test_a_job_in_the_requested_state_is_unchanged(jobs: Jobs, world: World) -> None:
    """Cloud Scheduler refuses to pause a paused job."""
    for wanted in (JobState.enabled, JobState.paused, JobState.paused, JobState.enabled):
        jobs.set_state(TASK, wanted)
        assert jobs.read(TASK).state == wanted


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("wire", [firebase.scheduler_wire, firebase.storage_wire])
def test_netrc_does_not_replace_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wire: Any
) -> None:
    """A developer's ~/.netrc neither changes nor adds the Authorization header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for headers in ({"Authorization": "Bearer mine"}, {}):
        asked = requests.Request("GET", "http://127.0.0.1:1/", headers=headers)
        sent = wire().session.prepare_request(asked).headers
        assert sent.get("Authorization") == headers.get("Authorization")
