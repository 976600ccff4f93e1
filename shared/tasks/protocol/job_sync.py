"""Cloud Scheduler's job of a task follows the task's document, whatever was left half done.

Document and job are on two servers, and whoever changes both may die between them, or have a call to
Cloud Scheduler arrive after everybody else's. So each notes in the document what the job is to become
before it makes it so (the wish), and takes the note back afterwards; where others were at it too,
the note stays until none of their calls can arrive any more. `decide` has every state there is.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from shared.tasks.backends.scheduler import JobSeen, JobState
from shared.tasks.documents import watchdog_writes
from shared.tasks.documents.models import JobNote
from shared.tasks.errors import JobMissing, StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.protocol.decisions import CLOCK_SKEW
from shared.tasks.protocol.effects import Commit, Pause, Procedure, ReadJob, ReadRun, SetJob, ask
from shared.tasks.protocol.incidents import Incident

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import TaskName
    from shared.tasks.documents.models import TaskDocument

#: Tries before it is left to the watchdog: others change the task each time.
FOLLOW_TRIES = 8
#: After so long no call to Cloud Scheduler of whoever wrote a wish arrives any more: their functions
#: are given less, and so is the watchdog.
CALLS_OVER = timedelta(minutes=5)
#: What is said to be found where there is no job.
MISSING = "MISSING"


class Does(Enum):
    """What the watchdog does about a job."""

    nothing = "nothing"
    """It is as it should be, or nobody's business here."""
    settle = "settle"
    """It is as wanted; that it was to become so is noted until no call arrives any more."""
    forget = "forget"
    """It is as wanted, and what is noted of it is of no use any more."""
    follow = "follow"
    """It is made what the document says."""
    tell = "tell"
    """A person is told what it is, once."""


def decide(task: TaskDocument, seen: JobSeen, *, now: datetime) -> Does:
    """Decide what the watchdog does about a task's job.

    | suspended | job | wish | how that came | does |
    | --- | --- | --- | --- | --- |
    | no | enabled | none | as it should be | nothing; forget what was found |
    | no | enabled | open, done | a resume that did not take it back | settle; forget once over |
    | no | paused | none | a person paused it by hand | tell |
    | no | paused | open, done | a resume that died; a suspension's call that came last | follow |
    | no | paused since the wish | open, done | a person paused it by hand after that | tell |
    | by us | paused | none | as it should be | nothing; forget what was found |
    | by us | paused | open, done | a suspension that did not take it back | settle; forget once over |
    | by us | enabled | any | a suspension that died, a call that came last; or by hand | follow |
    | by hand | any | none, or enabled | whoever wrote it takes it back: nobody would unpause | nothing |
    | by hand | any | paused | somebody here suspended it all the same | as by us |
    | any | missing, disabled | any | not deployed; it can't be paused or resumed | tell, wish kept |

    Args:
        task: The status document as it was read.
        seen: the job, read after it.
        now: UTC.
    """
    note = task.job or JobNote()
    if task.is_suspended and task.suspended is None and note.wanted != JobState.paused:
        return Does.nothing
    wanted = _wanted(task)
    if seen.state == wanted:
        if note.wanted is None or _is_over(note, now):
            return Does.nothing if task.job is None else Does.forget
        return Does.nothing if note.done else Does.settle
    if seen.state not in set(JobState):
        return Does.tell
    # A suspended task's ticks are skipped in any case: to pause its job takes nothing from anybody.
    if wanted is JobState.paused or (note.wanted is not None and not _is_by_hand(note, seen)):
        return Does.follow
    return Does.tell


def wish(task: TaskDocument, wanted: JobState, *, now: datetime) -> JobNote:
    """Return what is noted of a job before it is made so.

    Args:
        task: The status document as it was read: whether others may be at it is seen there.
        wanted: what it is to become.
        now: when the call began, UTC.
    """
    note = task.job
    if note is None or note.wanted is None or note.at is None or _is_over(note, now):
        return JobNote(wanted=wanted.value, at=now)
    return JobNote(wanted=wanted.value, at=max(now, note.at), shared=True)


def have_job_follow(
    documents: str, name: TaskName, *, now: datetime, mine: JobNote | None = None, record: Any = None
) -> Procedure[None]:
    """Make the job what the document says, and see that the document still says so then.

    Args:
        documents: the database's root.
        name: the task.
        now: when the call began, UTC.
        mine: the wish that the call wrote with its change of the document.
        record: who changes the job, and why, for the history; None where it has that already.

    Raises:
        StoreError: Firestore did not answer, or others wrote each time.
        SchedulerUnavailable: Cloud Scheduler did not do it, for all that is known.
        JobMissing: there is none.
    """
    records = [] if record is None else [record]
    taken_back = False  # whether a commit that takes the wish back may still arrive
    for tries in range(FOLLOW_TRIES):
        task, _ = yield from ask(ReadRun())
        wanted, note = _wanted(task), task.job
        try:
            # A shared wish of others for the same, begun no earlier, stays as long as this call may take.
            covers = note is not None and note.shared and note.at is not None and note.at >= now
            own = note == mine and not taken_back
            if note is None or note.wanted != wanted or not (own or (covers and not records)):
                note = mine = wish(task, wanted, now=now)
                version = yield from ask(
                    Commit(watchdog_writes.note_job(documents, name, task, note, *records))
                )
                task, taken_back, records = replace(task, update_time=version), False, []
            yield from ask(SetJob(wanted))
            left, taken_back = replace(note, done=True) if note.shared else None, True
            yield from ask(Commit(watchdog_writes.note_job(documents, name, task, left)))
        except (WriteRefused, WriteUnknown):
            yield from ask(Pause(tries))
        else:
            return
    raise StoreUnavailable(f"the job of {name.value} may not follow its document: others wrote each time")


def have_job_agree(documents: str, name: TaskName, record: Any, *, now: datetime) -> Procedure[None]:
    """Make the job what the document said before; whoever changes the job by that is recorded.

    Arguments and errors as `have_job_follow`.
    """
    task, _ = yield from ask(ReadRun())
    seen: JobSeen = yield from ask(ReadJob())
    agrees = seen.state == _wanted(task)
    if not agrees or (task.job is not None and task.job.is_open):
        yield from have_job_follow(documents, name, now=now, record=None if agrees else record)


def keep_job(documents: str, name: TaskName, found: list[Incident], *, now: datetime) -> Procedure[bool]:
    """Do what a change left half done, or say in the document what is not as it should be.

    Args:
        documents: the database's root.
        name: the task.
        found: is told of a job that nobody here made what it is, once.
        now: UTC.

    Returns:
        Whether the job was made to follow.

    Raises:
        StoreError: Firestore did not answer, or others wrote each time.
        SchedulerUnavailable: Cloud Scheduler did not.
    """
    task, _ = yield from ask(ReadRun())
    if not task.exists or _is_the_originals(task):
        return False
    try:
        seen = yield from ask(ReadJob())
    except JobMissing:
        seen = JobSeen(MISSING)
    note = task.job or JobNote()
    match decide(task, seen, now=now):
        case Does.follow:
            yield from have_job_follow(documents, name, now=now)
            return True
        case Does.settle:
            yield from _noted(
                watchdog_writes.note_job(documents, name, task, replace(note, done=True, found=None))
            )
        case Does.forget:
            yield from _noted(watchdog_writes.note_job(documents, name, task, None))
        case Does.tell if note.found != seen.state:
            told = replace(note, found=seen.state)
            if (yield from _noted(watchdog_writes.note_job(documents, name, task, told))):
                found.append(Incident("job_disagrees", task.run_id or "", problem_of(told) or ""))
    return False


def problem_of(note: JobNote | None) -> str | None:
    """Say in words what of the job is not as it should be, and what to do; None where nothing is known."""
    if note is None:
        return None
    if note.found == MISSING:
        return "it has no Cloud Scheduler job, and no tick starts it: deploy its function"
    if note.found is not None:
        return (
            f"its Cloud Scheduler job is {note.found}, and nobody suspended the task: "
            f"resume it, or suspend it to say why; leave it if another implementation has the task back"
        )
    if not note.is_open:
        return None
    done, again = ("suspended", "suspend") if note.wanted == JobState.paused else ("resumed", "resume")
    return f"{done}, but its Cloud Scheduler job is not yet: {again} it again, or wait for the watchdog"


def _noted(commit: list[Any]) -> Procedure[bool]:
    """Commit; return whether it was, for all that is known: what was not, the next pass looks at again."""
    try:
        yield from ask(Commit(commit))
    except WriteRefused:
        return False
    except WriteUnknown:  # told twice rather than never
        return True
    return True


def _is_over(note: JobNote, now: datetime) -> bool:
    return note.at is None or now >= note.at + CALLS_OVER


def _is_by_hand(note: JobNote, seen: JobSeen) -> bool:
    """Tell whether somebody changed the job when no call of ours did any more.

    Where Cloud Scheduler does not say when, it is taken for what a change left half done.
    """
    margin = CALLS_OVER if note.shared else CLOCK_SKEW
    return note.at is not None and seen.changed is not None and seen.changed > note.at + margin


def _is_the_originals(task: TaskDocument) -> bool:
    """Tell whether another implementation runs the task: the job here is paused on purpose, then."""
    ours = task.run_id is not None or task.suspended is not None or task.job is not None
    return task.started is not None and not ours


def _wanted(task: TaskDocument) -> JobState:
    return JobState.paused if task.is_suspended else JobState.enabled
