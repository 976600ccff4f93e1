"""The invariants of long runs: their legs, steps, cursors and parts, and the responses to deliveries."""

from functools import cache

from shared.tasks.documents.legs import WAITING
from shared.tasks.documents.models import TaskDocument
from shared.tasks.documents.write_messages import SUPERSEDED
from tests.model.cloud_tasks import Queue
from tests.model.invariants import HISTORY, STATUS, Violation
from tests.model.long_runs import RECORDS
from tests.model.memory_store import Documents, fields_of, run_document, saved, task_document
from tests.model.positions import Script, at
from tests.model.requests import Answer

AT_WORK = frozenset({"running", WAITING})


def _is_between(task: TaskDocument) -> bool:
    return task.legs is not None and task.run_id is not None and task.state in AT_WORK


def check_legs(before: Documents, after: Documents, script: Script, step: int) -> None:
    """Check a commit."""
    old, new = task_document(before.get(STATUS)), task_document(after.get(STATUS))
    if script.kind == "legacy writer":
        return
    _check_holder(old, new, script, step)
    _check_records(before, after, script)
    _check_result(old, new)
    for key, _ in after.records(HISTORY):
        if before.below(key) != after.below(key):
            _check_checkpoint(before, after, key, script)


def _check_holder(old: TaskDocument, new: TaskDocument, script: Script, step: int) -> None:
    """Check that a long run keeps its task until its deadline, and that its legs only advance."""
    if not _is_between(old):
        return
    assert old.legs is not None
    if new.run_id != old.run_id:
        if at(step) < old.legs.deadline:
            raise Violation(f"{script.name} took the task of the long run {old.run_id}")
        return
    if not _is_between(new):
        return
    assert new.legs is not None
    if new.legs.deadline != old.legs.deadline:
        raise Violation(f"{script.name} moved the deadline of {old.run_id}")
    if new.legs.number < old.legs.number or new.legs.creation < old.legs.creation:
        raise Violation(f"{script.name} set {old.run_id} back to leg {new.legs.number}")
    if new.started != old.started:
        raise Violation(f"{script.name} moved the start of {old.run_id}")
    if old.cancel is not None and new.token != old.token:
        raise Violation(f"{script.name} continued {old.run_id} after an operator had cancelled it")


def _check_records(before: Documents, after: Documents, script: Script) -> None:
    """Check that a failed leg is final, and that a continuation creates no run record."""
    task = task_document(after.get(STATUS))
    for key, stored in after.records(HISTORY):
        was, record = run_document(before.get(key)), run_document(stored)
        assert record is not None
        if not record.is_run:
            continue
        if was is None and script.kind == "continuation":
            raise Violation(f"{script.name} created the record of a run")
        reopened = was is not None and was.state == "failed" and record.state in AT_WORK
        if reopened and (script.kind != "delivery" or (was.legs is not None and was.legs.number > 1)):
            raise Violation(f"{script.name} reopened a run that had failed for good")
        if task.run_id == key.removeprefix(HISTORY) and _is_between(task) and record.legs != task.legs:
            raise Violation(f"{script.name} left different legs in the two documents")
        if was is not None and was.legs is not None and record.legs is not None:
            if record.legs.deadline != was.legs.deadline:
                raise Violation(f"{script.name} moved the deadline of a run")
            if record.state in AT_WORK and record.source != was.source:
                raise Violation(f"{script.name} changed the source of a run")


def _check_checkpoint(before: Documents, after: Documents, key: str, script: Script) -> None:
    """Check that only the holder persists anything, and that nothing persisted is changed or lost."""
    task, record = task_document(before.get(STATUS)), run_document(before.get(key))
    run_id = key.removeprefix(HISTORY)
    # A legacy writer leaves the run record, which the attempt that lost its task may still write.
    holds = (task.run_id, task.state, task.token) == (run_id, "running", record.token if record else None)
    is_own = record is not None and record.state == "running" and record.token in script.tokens
    if not is_own or not (holds or task.run_id is None):
        raise Violation(f"{script.name} changed what {run_id} has persisted without holding the task")
    old, new = saved(before.below(key)), saved(after.below(key))
    if any(new.steps.get(name) != step for name, step in old.steps.items()):
        raise Violation(f"{script.name} changed a remembered value of {run_id}")
    if new.parts[: len(old.parts)] != old.parts:
        raise Violation(f"{script.name} changed a part of {run_id}")
    if any(int(new.cursors[name].value) < int(cursor.value) for name, cursor in old.cursors.items()):
        raise Violation(f"{script.name} moved a cursor of {run_id} back")
    records, positions = len(new.parts), [int(cursor.value) for cursor in new.cursors.values()]
    if positions and positions != [records]:
        raise Violation(f"{script.name} persisted {records} parts of {run_id} with the position {positions}")


def _check_result(old: TaskDocument, new: TaskDocument) -> None:
    """Check that a published result has each record once."""
    if new.result is None or new.result == old.result or new.result.summary is None:
        return
    records = new.result.summary["records"]
    if records != RECORDS:
        raise Violation(f"{new.result.version} was published with the records {records}")


def check_leg_answer(answer: Answer, script: Script, documents: Documents, queue: Queue, step: int) -> bool:
    """Check that a 2xx response is for a leg that needs no further delivery; False for a run without legs."""
    if answer.cloud_task is not None and answer.outcome == "skipped":
        raise Violation(f"{script.name} skipped a leg of a run that holds its task")
    record = run_document(documents.get(f"{HISTORY}{answer.run_id}"))
    if record is None or record.legs is None or answer.outcome == "skipped":
        return False
    if not 200 <= answer.status < 300 or record.state == "completed" or record.cancel is not None:
        return True
    response = f"{script.name} answered {answer.status} ({answer.outcome})"
    task = task_document(documents.get(STATUS))
    if task.run_id == answer.run_id and _is_between(task):
        assert task.legs is not None
        delivered = answer.cloud_task.leg if answer.cloud_task else 1
        names = {name[1:] for name, _ in queue if name.run_id == answer.run_id}
        is_awaited = task.state == WAITING and (delivered, task.legs.creation) in names
        if delivered >= task.legs.number and not (delivered == task.legs.number and is_awaited):
            raise Violation(f"{response}, but its leg has not ended")
        if delivered < task.legs.number and delivered + 1 not in {leg for leg, _ in names}:
            raise Violation(f"{response}, but no Cloud Task delivers leg {delivered + 1}")
        return True
    is_final = record.legs.number > 1 or at(step) >= record.legs.deadline
    if answer.cloud_task is None and not is_final:
        raise Violation(f"{response}, but its run is not completed")
    return True


@cache
def is_over(documents: Documents) -> bool:
    """Return whether no run works or waits."""
    task = task_document(documents.get(STATUS))
    at_work = any(fields_of(stored).get("state") in AT_WORK for _, stored in documents.records(HISTORY))
    return task.state not in AT_WORK and not at_work


def check_run_to_its_end(documents: Documents, step: int) -> None:
    """Check that no long run failed without a reason, after nothing else failed."""
    for key, stored in documents.records(HISTORY):
        record = run_document(stored)
        assert record is not None
        if record.legs is None or record.state != "failed" or record.cancel is not None:
            continue
        run_id = key.removeprefix(HISTORY)
        if record.error[0] == SUPERSEDED[0] and task_document(documents.get(STATUS)).run_id != run_id:
            continue  # a legacy writer took the task
        is_due = record.completed is not None and record.completed >= record.legs.deadline
        if not is_due and (record.legs.number > 1 or record.error[0] != "E"):
            raise Violation(f"{run_id} failed for no reason: {record.error}")


def forget() -> None:
    """Clear the caches."""
    is_over.cache_clear()
