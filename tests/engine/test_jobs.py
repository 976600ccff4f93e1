"""The jobs of the local Cloud Scheduler follow the documents: whatever dies, hangs or is done by hand."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from shared import firebase
from shared.firebase import SchedulerWire
from shared.tasks import JobMissing, SchedulerUnavailable, TaskEngine, TaskSpec
from shared.tasks.backends.scheduler import Jobs, JobState
from shared.tasks.documents.models import JobNote
from shared.tasks.protocol.effects import run_procedure
from shared.tasks.protocol.job_sync import problem_of
from shared.tasks.protocol.suspension import resume, suspend
from tests.engine.test_watchdog import watched
from tests.engine.world import TASK, World

WHO: dict[str, Any] = {"by": "ops@example.com", "reason": "the API is down"}
#: The next tick of this schedule is too far away to be missed.
SPEC = TaskSpec(TASK, schedule="0 0 1 1 *")
MISSES = "no operator suspended the task: resume the task, or suspend it with a reason"


def nowhere(_: object = None) -> SchedulerWire:
    """A Cloud Scheduler that can't be reached."""
    return SchedulerWire(requests.Session(), "http://127.0.0.1:1/v1/projects/p/locations/l/jobs/")


def without_jobs() -> SchedulerWire:
    """The local one, asked for jobs that it has not."""
    wire = firebase.scheduler_wire()
    return SchedulerWire(wire.session, f"{wire.jobs}no-such-")


def change(engine: TaskEngine, how: Any) -> bool:
    """Suspend or resume, document and job."""
    documents, now = engine.store.documents, datetime.now(UTC)
    return run_procedure(
        how(documents, TASK, **WHO, now=now, has_job=True), engine._operations._handler(TASK)
    )


def said(world: World) -> Any:
    """What the document says of the job."""
    return world.status()["run"].get("job")


def test_a_change_makes_the_job_follow(engine: TaskEngine, world: World, jobs: Jobs) -> None:
    """And leaves nothing behind that says so."""
    engine.execute_task("s", TASK, lambda: [1])
    assert change(engine, suspend)
    assert (jobs.state(TASK), said(world)) == (JobState.paused, None)
    assert change(engine, resume)
    assert (jobs.state(TASK), said(world), world.status()["status"]) == (JobState.enabled, None, "completed")


@pytest.mark.parametrize(("how", "wanted"), [(suspend, JobState.paused), (resume, JobState.enabled)])
def test_what_cloud_scheduler_did_not_hear_is_told_and_done_later(
    engine: TaskEngine,
    world: World,
    jobs: Jobs,
    capsys: pytest.CaptureFixture[str],
    how: Any,
    wanted: JobState,
) -> None:
    """The document says what is wanted; the next change does it, and so does the watchdog, once."""
    engine.execute_task("s", TASK, lambda: [1])
    if how is resume:
        change(engine, suspend)
    for repair in (lambda: change(engine, how), lambda: watched(engine, capsys, SPEC)):
        other = suspend if how is resume else resume
        change(engine, other)
        with pytest.raises(SchedulerUnavailable):
            change(TaskEngine(jobs=Jobs(nowhere)), how)
        assert ("suspended" in world.status()["run"]) == (how is suspend)
        assert (said(world)["wanted"], jobs.state(TASK) == wanted) == (wanted, False)
        repair()
        assert (jobs.state(TASK), problem_of(JobNote.parse(said(world)))) == (wanted, None)
    assert watched(engine, capsys, SPEC) == ""


def test_a_job_that_was_paused_by_hand_is_told_and_left_alone(
    engine: TaskEngine, world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody here knows why, and it is told once. A resume makes it fire, and so may whoever paused it."""
    engine.execute_task("s", TASK, lambda: [1])
    jobs.set_state(TASK, JobState.paused)
    assert MISSES in watched(engine, capsys, SPEC)
    assert watched(engine, capsys, SPEC) == ""
    assert (jobs.state(TASK), said(world)["found"]) == (JobState.paused, "PAUSED")
    jobs.set_state(TASK, JobState.enabled)
    watched(engine, capsys, SPEC)
    assert said(world) is None
    jobs.set_state(TASK, JobState.paused)
    watched(engine, capsys, SPEC)
    assert change(engine, resume) is False
    assert (jobs.state(TASK), said(world)) == (JobState.enabled, None)


def test_a_task_that_went_back_to_the_original_is_told_once_at_most(
    engine: TaskEngine, world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its job is paused on purpose, which nobody here knows before a run of the original's."""
    engine.execute_task("s", TASK, lambda: [1])
    jobs.set_state(TASK, JobState.paused)
    assert "do nothing if another implementation runs the task now" in watched(engine, capsys, SPEC)
    now = datetime.now(UTC)
    world.write(
        {"source": "original", "status": "completed", "started": now, "completed": now, "timestamp": now}
    )
    assert watched(engine, capsys, SPEC) == ""
    assert jobs.state(TASK) == JobState.paused
    assert "run" not in world.status()


def test_a_task_that_was_suspended_in_the_document_alone_keeps_its_job(
    engine: TaskEngine, world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: its ticks are skipped in any case, and whoever takes it back would leave the job paused."""
    for fields in ({"timestamp": datetime.now(UTC)}, {"run": {"id": "r", "state": "completed"}}):
        world.write({"status": "suspeneded", **fields})
        assert "job" not in watched(engine, capsys, SPEC)
        assert jobs.state(TASK) == JobState.enabled
        assert "job" not in world.status().get("run", {})


def test_a_wish_outlives_a_start_that_keeps_nothing(engine: TaskEngine, world: World, jobs: Jobs) -> None:
    """The start overwrites the document whole, and the job is still to become what somebody wished."""
    engine.execute_task("s", TASK, lambda: [1])
    change(engine, suspend)
    with pytest.raises(SchedulerUnavailable):
        change(TaskEngine(jobs=Jobs(nowhere)), resume)
    wished = said(world)
    assert wished["wanted"] == "ENABLED"
    engine.execute_task("s", TASK, lambda: [2], {"keep_last_result": False})
    assert said(world) == wished


def test_a_job_that_is_missing_is_told(world: World, jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    """By the watchdog once, and to whoever changes something."""
    engine = TaskEngine(jobs=Jobs(without_jobs))
    engine.execute_task("s", TASK, lambda: [1])
    assert "its Cloud Scheduler job does not exist, so no tick starts: deploy" in watched(
        engine, capsys, SPEC
    )
    assert watched(engine, capsys, SPEC) == ""
    with pytest.raises(JobMissing, match="deploy the function collect_charge_cdrs"):
        change(engine, suspend)


def test_the_watchdog_does_the_rest_without_cloud_scheduler(world: World) -> None:
    """And says that it could not look after all."""
    engine = TaskEngine(jobs=Jobs(nowhere))
    engine.execute_task("s", TASK, lambda: [1])
    dead = {"run.state": "running", "run.lease_until": datetime(2026, 1, 1, tzinfo=UTC)}
    world.database.document(f"nx-tasks/{TASK.value}").update(dead)
    with pytest.raises(SchedulerUnavailable):
        engine._operations.watch_task(SPEC)
    assert world.status()["run"]["state"] == "failed"


def test_a_job_that_is_as_wanted_stays_so(jobs: Jobs, world: World) -> None:
    """The service itself refuses to pause one that is paused."""
    for wanted in (JobState.enabled, JobState.paused, JobState.paused, JobState.enabled):
        jobs.set_state(TASK, wanted)
        assert jobs.state(TASK) == wanted


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("wire", [firebase.scheduler_wire, firebase.storage_wire])
def test_an_entry_of_netrc_replaces_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wire: Any
) -> None:
    """A developer's ~/.netrc neither changes the Authorization header of a request nor adds one."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for headers in ({"Authorization": "Bearer mine"}, {}):
        asked = requests.Request("GET", "http://127.0.0.1:1/", headers=headers)
        sent = wire().session.prepare_request(asked).headers
        assert sent.get("Authorization") == headers.get("Authorization")
