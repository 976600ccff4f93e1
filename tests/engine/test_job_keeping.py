"""All states of document, job and requested state, and a death at every call in between; needs no stack."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from shared.tasks.backends.scheduler import JobState, JobStatus
from shared.tasks.contract import DocumentNames
from shared.tasks.documents.actions import Action
from shared.tasks.documents.models import JobNote, TaskDocument
from shared.tasks.errors import JobMissing, WriteConflict, WriteUnknown
from shared.tasks.protocol.effects import (
    Commit,
    Pause,
    Procedure,
    ReadDocuments,
    ReadJob,
    SetJob,
    run_procedure,
)
from shared.tasks.protocol.incidents import Incident
from shared.tasks.protocol.job_sync import MAX_CALL_TIME, MISSING, JobDecision, decide, problem_of, watch_job
from shared.tasks.protocol.suspension import change_suspension
from tests.model.memory_store import Documents, documents_of, fields_of, task_document
from tests.support.world import TASK

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + MAX_CALL_TIME
WHO: dict[str, Any] = {"by": "ops", "reason": "why"}
suspend, resume = (partial(change_suspension, suspend=each) for each in (True, False))
ENABLED, PAUSED = JobState.enabled.value, JobState.paused.value
VERSION = Timestamp(seconds=1)

RUNS = TaskDocument(update_time=VERSION, status="completed")
OURS = TaskDocument(update_time=VERSION, status="suspeneded", suspended=Action(**WHO, at=NOW))
BY_HAND = TaskDocument(update_time=VERSION, status="suspeneded")


def note(wanted: str | None = None, **more: Any) -> JobNote:
    """The job note with this requested state."""
    return JobNote(wanted, None if wanted is None else NOW, **more)


#: Document, job, job note, time of the pass: the expected action.
TABLE: list[tuple[TaskDocument, str, JobNote | None, datetime, JobDecision]] = [
    (RUNS, ENABLED, None, NOW, JobDecision.nothing),
    (RUNS, ENABLED, note(found=PAUSED), NOW, JobDecision.forget),
    (RUNS, ENABLED, note(ENABLED), NOW, JobDecision.mark_done),
    (RUNS, ENABLED, note(ENABLED, shared=True, done=True), NOW, JobDecision.nothing),
    (RUNS, ENABLED, note(ENABLED, shared=True, done=True), LATER, JobDecision.forget),
    (RUNS, ENABLED, note(ENABLED), LATER, JobDecision.forget),
    (RUNS, PAUSED, None, NOW, JobDecision.report),
    (RUNS, PAUSED, note(found=PAUSED), NOW, JobDecision.report),
    (RUNS, PAUSED, note(ENABLED), NOW, JobDecision.follow),
    (RUNS, PAUSED, note(ENABLED), LATER, JobDecision.follow),
    (RUNS, PAUSED, note(ENABLED, found=MISSING), LATER, JobDecision.follow),
    (RUNS, PAUSED, note(ENABLED, shared=True, done=True), LATER, JobDecision.follow),
    (RUNS, MISSING, None, NOW, JobDecision.report),
    (RUNS, MISSING, note(ENABLED), NOW, JobDecision.report),
    (RUNS, "DISABLED", note(ENABLED), NOW, JobDecision.report),
    (OURS, PAUSED, None, NOW, JobDecision.nothing),
    (OURS, PAUSED, note(found=MISSING), NOW, JobDecision.forget),
    (OURS, PAUSED, note(PAUSED), NOW, JobDecision.mark_done),
    (OURS, PAUSED, note(PAUSED), LATER, JobDecision.forget),
    (OURS, ENABLED, None, NOW, JobDecision.follow),
    (OURS, ENABLED, note(PAUSED), NOW, JobDecision.follow),
    (OURS, ENABLED, note(PAUSED, shared=True, done=True), NOW, JobDecision.follow),
    (OURS, MISSING, note(PAUSED), NOW, JobDecision.report),
    (BY_HAND, ENABLED, None, NOW, JobDecision.nothing),
    (BY_HAND, PAUSED, None, NOW, JobDecision.nothing),
    (BY_HAND, PAUSED, note(ENABLED), NOW, JobDecision.nothing),
    (BY_HAND, ENABLED, note(PAUSED), NOW, JobDecision.follow),
]


@pytest.mark.parametrize(("document", "job", "noted", "now", "does"), TABLE)
def test_each_state_has_one_action(
    document: TaskDocument, job: str, noted: JobNote | None, now: datetime, does: JobDecision
) -> None:
    """An incomplete change is completed; a change by hand is reported and left alone."""
    task = TaskDocument(document.update_time, document.status, suspended=document.suspended, job=noted)
    assert decide(task, JobStatus(job), now=now) is does


@pytest.mark.parametrize("shared", [False, True])
def test_a_job_paused_after_the_change_was_paused_by_hand(shared: bool) -> None:
    """According to the time of the change at Cloud Scheduler, when the engine sent no call."""
    task = TaskDocument(VERSION, "completed", job=note(ENABLED, shared=shared))
    last = MAX_CALL_TIME if shared else timedelta(seconds=5)
    by_change, by_hand = NOW + last, NOW + last + timedelta(seconds=1)
    assert decide(task, JobStatus(PAUSED, by_change), now=LATER) is JobDecision.follow
    assert decide(task, JobStatus(PAUSED, by_hand), now=LATER) is JobDecision.report


class Died(BaseException):
    """The process has died."""


class Servers:
    """Firestore and Cloud Scheduler as far as a change needs them; the process may die at a call."""

    def __init__(self, documents: Documents, job: str) -> None:
        self.documents, self.job = documents, job
        self.calls = 0
        self.dies_at = 0
        self.arrives = False
        self.unknown = False

    def __call__(self, request: Any) -> Any:
        self.calls += 1
        if self.calls == self.dies_at:
            if self.arrives:
                self._answer(request)
            raise Died
        return self._answer(request)

    def _answer(self, request: Any) -> Any:
        match request:
            case ReadDocuments():
                return task_document(self.documents.get(STATUS)), None
            case ReadJob() if self.job == MISSING:
                raise JobMissing("test")
            case ReadJob():
                return JobStatus(self.job)
            case SetJob() if self.job == MISSING:
                raise JobMissing("test")
            case SetJob(wanted):
                self.job = wanted.value
            case Commit(writes):
                return self._commit(writes)
            case Pause():
                pass
            case _:
                raise AssertionError(request)
        return None

    def _commit(self, writes: list[Any]) -> Any:
        written = self.documents.commit(writes)
        if written is None:
            raise WriteConflict("test")
        self.documents = written
        if self.unknown:
            raise WriteUnknown("test")
        first = written.get(STATUS)
        assert first is not None
        return Timestamp(seconds=first.version)

    @property
    def task(self) -> TaskDocument:
        """The present status document."""
        return task_document(self.documents.get(STATUS))

    def changed(self, how: Callable[..., Procedure[bool]], now: datetime) -> bool:
        """Suspend or resume; return whether this call changed the state."""
        return run_procedure(how(NAMES, **WHO, now=now, has_job=True), self)

    def kept(self, now: datetime) -> list[Incident]:
        """The incidents of a pass of the watchdog."""
        found: list[Incident] = []
        run_procedure(watch_job(NAMES, found, now=now), self)
        return found

    def records(self) -> list[str]:
        """The kinds of the run records, in order."""
        stored = [fields_of(each) for name, each in self.documents.stored if name != STATUS]
        return [f"{record['state']} by {record['by']}" for record in stored]


NAMES = DocumentNames("d", TASK)
STATUS = NAMES.status


def servers_before(how: Any) -> Servers:
    """A task in the state before the change, suspended if it is to be resumed."""
    servers = Servers(documents_of(), ENABLED)
    servers.changed(suspend, NOW - timedelta(hours=2))
    if how is suspend:
        servers.changed(resume, NOW - timedelta(hours=1))
    servers.calls = 0
    return servers


def deaths(how: Any) -> Iterator[tuple[int, bool]]:
    """Every call of the change, and whether it arrives although its process died."""
    complete = servers_before(how)
    complete.changed(how, NOW)
    for call in range(1, complete.calls + 1):
        yield from ((call, False), (call, True))


EVERY_DEATH = [(how, *death) for how in (suspend, resume) for death in deaths(how)]


@pytest.mark.parametrize("repair", ["next call", "watchdog"])
@pytest.mark.parametrize(("how", "dies_at", "arrives"), EVERY_DEATH)
def test_a_change_that_died_at_any_call_is_repaired(
    how: Any, dies_at: int, arrives: bool, repair: str
) -> None:
    """By the next call and by the watchdog: then document and job agree, without an incident."""
    servers = servers_before(how)
    servers.dies_at, servers.arrives = dies_at, arrives
    with pytest.raises(Died):
        servers.changed(how, NOW)
    if repair == "next call":
        servers.changed(how, NOW + timedelta(minutes=1))
        assert servers.task.is_suspended is (how is suspend)
    else:
        assert servers.kept(NOW + timedelta(minutes=1)) == []
    assert (servers.job == PAUSED) is servers.task.is_suspended
    assert problem_of(servers.task.job) is None
    servers.kept(NOW + timedelta(minutes=1) + MAX_CALL_TIME)
    assert servers.task.job is None


@pytest.mark.parametrize("arrives", [False, True])
def test_a_late_suspension_does_not_leave_the_job_of_a_resumed_task_paused(arrives: bool) -> None:
    """Its call arrives after the resumption; the watchdog enables the job again."""
    servers = servers_before(suspend)
    late = suspend(NAMES, **WHO, now=NOW, has_job=True)
    request = next(late)
    while not isinstance(request, SetJob):
        request = late.send(servers(request))
    assert servers.changed(resume, NOW + timedelta(seconds=1))
    assert problem_of(servers.task.job) is None
    if arrives:
        servers(request)
    late.close()
    assert servers.kept(NOW + timedelta(minutes=2)) == []
    assert servers.job == ENABLED
    servers.kept(NOW + timedelta(minutes=2) + MAX_CALL_TIME)
    assert servers.task.job is None


@pytest.mark.parametrize("how", [suspend, resume])
def test_the_requested_state_survives_a_missing_job(how: Any) -> None:
    """The missing job is reported; once it exists again, it gets the requested state."""
    servers = servers_before(how)
    before, servers.job = servers.job, MISSING
    with pytest.raises(JobMissing):
        servers.changed(how, NOW)
    assert [found.kind for found in servers.kept(LATER)] == ["job_disagrees"]
    assert servers.kept(LATER) == []
    servers.job = before
    assert servers.kept(LATER + MAX_CALL_TIME) == []
    assert (servers.job == PAUSED) is servers.task.is_suspended


def test_a_change_of_only_the_job_is_recorded() -> None:
    """The person who enables a job that was paused by hand; a call without a change is not recorded."""
    servers = servers_before(suspend)
    servers.job = PAUSED
    before = servers.records()
    assert [servers.changed(resume, NOW), servers.changed(resume, LATER)] == [False, False]
    assert (servers.job, servers.task.job) == (ENABLED, None)
    assert sorted(servers.records()) == sorted([*before, "resumed by ops"])


def test_a_disagreeing_job_is_reported_even_if_its_record_is_uncertain() -> None:
    """A second report is better than none."""
    servers = servers_before(suspend)
    servers.job, servers.unknown = PAUSED, True
    (found,) = servers.kept(NOW)
    assert found.kind == "job_disagrees"
    assert "its Cloud Scheduler job is PAUSED, but no operator suspended the task" in found.detail
