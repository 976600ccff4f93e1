"""Cloud Scheduler's job of a task follows the task's document, whatever was left half done.

Whoever suspends or resumes a task says in the document, in the same write, what its job is to become,
and takes that back once it is so. What is still there was left half done: the next change and the
watchdog do it. A job that somebody paused by hand is told and left alone: nobody here knows why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks import writes
from shared.tasks.errors import JobMissing, StoreUnavailable, WriteRefused, WriteUnknown
from shared.tasks.incidents import Incident
from shared.tasks.jobs import JobState
from shared.tasks.steps import Commit, Pause, Read, ReadJob, SetJob, Steps

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.document import TaskDocument
    from shared.tasks.names import TaskName

#: Tries before it is left to the watchdog: others change the task each time.
FOLLOW_TRIES = 8
#: What is said to be found where there is no job.
MISSING = "MISSING"


def have_job_follow(documents: str, name: TaskName) -> Steps[None]:
    """Make the job what the document says, and see that the document still says so then.

    Args:
        documents: the database's root.
        name: the task.

    Raises:
        StoreError: Firestore did not answer, or others wrote each time.
        SchedulerUnavailable: Cloud Scheduler did not do it, for all that is known.
    """
    for tries in range(FOLLOW_TRIES):
        task, _ = yield Read()
        yield SetJob(_wanted(task))
        if task.job is None:
            again, _ = yield Read()
            if again.is_suspended == task.is_suspended:
                return
            continue
        try:
            yield Commit(writes.job_is_as_wanted(documents, name, task))
        except (WriteRefused, WriteUnknown):
            yield Pause(tries)
        else:
            return
    raise StoreUnavailable(f"the job of {name.value} may not follow its document: others wrote each time")


def keep_job(documents: str, name: TaskName, found: list[Incident], *, now: datetime) -> Steps[bool]:
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
    task, _ = yield Read()
    if not task.exists or _is_the_originals(task):
        return False
    try:
        state = yield ReadJob()
    except JobMissing:
        state = MISSING
    if state == _wanted(task) and task.job is None:
        return False
    half_done = task.job is not None and "wanted" in task.job
    if state == _wanted(task) or (state != MISSING and (half_done or task.suspended is not None)):
        yield from have_job_follow(documents, name)  # a suspended task's ticks are skipped in any case
        return True
    if task.is_suspended and not half_done:
        return (
            False  # by a hand that wrote `status` alone, and takes it back so: nobody would unpause the job
        )
    if task.job is None or task.job.get("found") != state:
        try:
            yield Commit(writes.job_found(documents, name, task, found=state, now=now))
        except WriteRefused:  # the next pass looks again
            return False
        except WriteUnknown:
            pass  # told twice rather than never
        found.append(Incident("job_disagrees", task.run_id or "", problem_of(found_job=state)))
    return False


def problem_of(*, found_job: object = None, wanted: object = None) -> str:
    """Say in words what is not as it should be, and what to do."""
    if wanted is not None:
        done, again = ("suspended", "suspend") if wanted == JobState.paused else ("resumed", "resume")
        return f"{done}, but its Cloud Scheduler job is not yet: {again} it again, or wait for the watchdog"
    if found_job == MISSING:
        return "it has no Cloud Scheduler job, and no tick starts it: deploy its function"
    return (
        f"its Cloud Scheduler job is {found_job}, and nobody suspended the task: "
        f"resume it, or suspend it to say why; leave it if another implementation has the task back"
    )


def _is_the_originals(task: TaskDocument) -> bool:
    """Tell whether another implementation runs the task: the job here is paused on purpose, then."""
    ours = task.run_id is not None or task.suspended is not None or task.job is not None
    return task.started is not None and not ours


def _wanted(task: TaskDocument) -> JobState:
    return JobState.paused if task.is_suspended else JobState.enabled
