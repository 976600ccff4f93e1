"""Keeps a task's Cloud Scheduler job in the state that the status document requires.

Document and job are on two servers. A process that changes both can die in between, and its call to Cloud
Scheduler can arrive after the calls of others. Each process therefore records the requested state of the job
in the document (`run.job`) before it changes the job, and removes the note afterwards. If others changed the
job at the same time, the note stays until none of their calls can arrive any more. `decide` lists all states.

The *required* state follows from the document; the *requested* state is what the note contains.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from msgspec.structs import replace

from shared.tasks.backends.scheduler import JobState, JobStatus
from shared.tasks.clock import CLOCK_SKEW
from shared.tasks.documents import watchdog_writes
from shared.tasks.documents.models import JobNote
from shared.tasks.errors import JobMissing, StoreUnavailable, WriteConflict, WriteUnknown
from shared.tasks.protocol.effects import (
    Commit,
    Pause,
    Procedure,
    ReadDocuments,
    ReadJob,
    SetJob,
    ask,
    try_commit,
)
from shared.tasks.protocol.incidents import Incident

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import DocumentNames
    from shared.tasks.documents.models import TaskDocument
    from shared.tasks.documents.write_messages import WriteMessage

#: Tries of one change of the job; then the watchdog completes it.
FOLLOW_TRIES = 8
#: Longest time after a note in which a call of the process that wrote it can reach Cloud Scheduler:
#: operators' functions and the watchdog end earlier.
MAX_CALL_TIME = timedelta(minutes=5)
#: State of a job that does not exist.
MISSING = "MISSING"


class JobDecision(Enum):
    """What the watchdog does about a job."""

    nothing = "nothing"
    """Leave job and note as they are."""
    mark_done = "mark_done"
    """Note that the job has the requested state; the note stays until no other call can arrive."""
    forget = "forget"
    """Remove the note."""
    follow = "follow"
    """Give the job the state that the document requires."""
    report = "report"
    """Report the state of the job, once."""


def decide(document: TaskDocument, job: JobStatus, *, now: datetime) -> JobDecision:
    """Decide what the watchdog does about a task's job.

    The note column shows the requested state in `run.job`.

    | suspended | job | note | possible cause | decision |
    | --- | --- | --- | --- | --- |
    | no | enabled | none | as required | nothing; forget a reported state |
    | no | enabled | open, done | a resume that left its note | mark as done; forget after `MAX_CALL_TIME` |
    | no | paused | none | a person paused the job by hand | report |
    | no | paused | open, done | a resume that died; a late call of a suspension | follow |
    | no | paused after the note | open, done | a person paused the job by hand later | report |
    | by this engine | paused | none | as required | nothing; forget a reported state |
    | by this engine | paused | open, done | a suspension that left its note | mark as done; then forget |
    | by this engine | enabled | any | a suspension that died, a late call, or by hand | follow |
    | by a legacy writer | any | none, or enabled | no resume here would enable the job again | nothing |
    | by a legacy writer | any | paused | an operator suspended the task here as well | as by this engine |
    | any | missing, disabled | any | not deployed; it cannot be paused or resumed | report, keep the note |

    Args:
        document: The status document as it was read.
        job: The job, read after it.
        now: UTC.
    """
    note = document.job or JobNote()
    if document.is_suspended and document.suspended is None and note.wanted != JobState.paused:
        return JobDecision.nothing
    required = _required(document)
    if job.state == required:
        if note.wanted is None or _is_expired(note, now):
            return JobDecision.nothing if document.job is None else JobDecision.forget
        return JobDecision.nothing if note.done else JobDecision.mark_done
    if job.state not in set(JobState):
        return JobDecision.report
    # The ticks of a suspended task are skipped in any case, so pausing its job takes nothing away.
    if required is JobState.paused or (note.wanted is not None and not _is_by_hand(note, job)):
        return JobDecision.follow
    return JobDecision.report


def requested_note(document: TaskDocument, requested: JobState, *, now: datetime) -> JobNote:
    """Return the note of a requested state, to be written before the job is changed.

    Args:
        document: The status document as it was read. Its note shows whether others are changing the job.
        requested: The requested state.
        now: Start of the call, UTC.
    """
    note = document.job
    if note is None or note.wanted is None or note.at is None or _is_expired(note, now):
        return JobNote(wanted=requested.value, at=now)
    return JobNote(wanted=requested.value, at=max(now, note.at), shared=True)


def follow_document(
    names: DocumentNames,
    *,
    now: datetime,
    own_note: JobNote | None = None,
    record: WriteMessage | None = None,
) -> Procedure[None]:
    """Give the job the state that the document requires, and check that the document still requires it then.

    Args:
        names: Names of the task's documents.
        now: Start of the call, UTC.
        own_note: The note that this call wrote with its change of the document.
        record: The record of who changes the job and why; None if the run history has it already.

    Raises:
        StoreError: Firestore did not answer, or other writers changed the document each time.
        SchedulerUnavailable: Cloud Scheduler may not have changed the job.
        JobMissing: The job does not exist.
    """
    records = [] if record is None else [record]
    may_be_removed = False  # whether a commit that removes the note may still be applied
    for tries in range(FOLLOW_TRIES):
        document, _ = yield from ask(ReadDocuments())
        required, note = _required(document), document.job
        try:
            # A shared note of this state that is not older than this call stays as long as the call may take.
            covers = note is not None and note.shared and note.at is not None and note.at >= now
            own = note == own_note and not may_be_removed
            if note is None or note.wanted != required or not (own or (covers and not records)):
                note = own_note = requested_note(document, required, now=now)
                update_time = yield from ask(
                    Commit(watchdog_writes.note_job(names, document, note, *records))
                )
                document, may_be_removed, records = replace(document, update_time=update_time), False, []
            yield from ask(SetJob(required))
            final_note, may_be_removed = replace(note, done=True) if note.shared else None, True
            yield from ask(Commit(watchdog_writes.note_job(names, document, final_note)))
        except (WriteConflict, WriteUnknown):
            yield from ask(Pause(tries))
        else:
            return
    raise StoreUnavailable(
        f"the job of {names.task.value} may not follow its document: other writers changed it each time"
    )


def repair_job(names: DocumentNames, record: WriteMessage, *, now: datetime) -> Procedure[None]:
    """Give the job the state that the document already required; a change of the job is recorded.

    Other arguments and the errors are those of `follow_document`.
    """
    document, _ = yield from ask(ReadDocuments())
    job = yield from ask(ReadJob())
    is_as_required = job.state == _required(document)
    if not is_as_required or (document.job is not None and document.job.is_open):
        yield from follow_document(names, now=now, record=None if is_as_required else record)


def watch_job(names: DocumentNames, found: list[Incident], *, now: datetime) -> Procedure[bool]:
    """Complete an interrupted change of the job, or note and report a state that was not requested.

    Args:
        names: Names of the task's documents.
        found: Receives the incident of a job that disagrees with its task, once.
        now: UTC.

    Returns:
        Whether the job was changed.

    Raises:
        StoreError: Firestore did not answer, or other writers changed the document each time.
        SchedulerUnavailable: Cloud Scheduler did not answer.
    """
    document, _ = yield from ask(ReadDocuments())
    if not document.exists or _is_legacy(document):
        return False
    try:
        job = yield from ask(ReadJob())
    except JobMissing:
        job = JobStatus(MISSING)
    note = document.job or JobNote()
    match decide(document, job, now=now):
        case JobDecision.follow:
            yield from follow_document(names, now=now)
            return True
        case JobDecision.mark_done:
            marked = replace(note, done=True, found=None)
            yield from try_commit(watchdog_writes.note_job(names, document, marked))
        case JobDecision.forget:
            yield from try_commit(watchdog_writes.note_job(names, document, None))
        case JobDecision.report if note.found != job.state:
            noted = replace(note, found=job.state)
            if (yield from try_commit(watchdog_writes.note_job(names, document, noted))):
                found.append(Incident("job_disagrees", document.run_id or "", problem_of(noted) or ""))
    return False


def problem_of(note: JobNote | None) -> str | None:
    """Describe what is wrong with the job, and what to do; None if no problem is known."""
    if note is None:
        return None
    if note.found == MISSING:
        return "its Cloud Scheduler job does not exist, so no tick starts: deploy its function"
    if note.found is not None:
        return (
            f"its Cloud Scheduler job is {note.found}, but no operator suspended the task: resume the task, "
            "or suspend it with a reason; do nothing if another implementation runs the task now"
        )
    if not note.is_open:
        return None
    done, again = ("suspended", "suspend") if note.wanted == JobState.paused else ("resumed", "resume")
    return f"{done}, but its Cloud Scheduler job may not be: {again} it again, or wait for the watchdog"


def _is_expired(note: JobNote, now: datetime) -> bool:
    return note.at is None or now >= note.at + MAX_CALL_TIME


def _is_by_hand(note: JobNote, job: JobStatus) -> bool:
    """Return whether the job was changed when no call of this engine could change it any more.

    If Cloud Scheduler does not report the time, the change counts as interrupted, not as made by hand.
    """
    margin = MAX_CALL_TIME if note.shared else CLOCK_SKEW
    return note.at is not None and job.changed is not None and job.changed > note.at + margin


def _is_legacy(document: TaskDocument) -> bool:
    """Return whether a legacy writer runs the task; then the job here is paused on purpose."""
    ours = document.run_id is not None or document.suspended is not None or document.job is not None
    return document.started is not None and not ours


def _required(document: TaskDocument) -> JobState:
    return JobState.paused if document.is_suspended else JobState.enabled
