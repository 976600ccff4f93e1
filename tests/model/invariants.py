"""The invariants of the protocol at each step and after all processes have ended."""

from functools import cache
from typing import Any, NamedTuple

import orjson

from shared.tasks.backends.scheduler import JobState
from shared.tasks.contract import contract_object
from shared.tasks.documents.actions import Suspension
from shared.tasks.documents.legs import WAITING
from shared.tasks.documents.result_pointer import SAVED_BY_CONTRACT
from shared.tasks.documents.run_ids import skip_id
from shared.tasks.protocol.cancellation import CancelOutcome
from shared.tasks.protocol.decisions import living_holder
from shared.tasks.protocol.job_sync import problem_of
from tests.model.memory_store import Documents, fields_of, run_document, task_document
from tests.model.positions import Script, at
from tests.model.processes import DEADLINE, NAMES, NOTHING, OWN, REQUESTED, TASK
from tests.model.requests import Answer, CancelReport, ContractReadReport, ReadReport

STATUS = NAMES.status
HISTORY = NAMES.record("")
SCHEDULE = NAMES.schedule
CONTRACT_COPY = contract_object(TASK)


class Violation(AssertionError):
    """An invariant is violated; the message has the steps that led to it."""


class StoredObject(NamedTuple):
    """A Storage object: its generation, its result, and the version in its metadata."""

    generation: int
    content: str
    mark: str | None


#: The bucket's objects by path.
Objects = tuple[tuple[str, StoredObject], ...]
#: Facts that were true at some moment since a process began.
Facts = frozenset[tuple[str, ...]]


@cache
def last_good(documents: Documents) -> tuple[str, str]:
    """Return the version and content of the last good result according to the status document alone."""
    status = documents.get(STATUS)
    task, data = task_document(status), fields_of(status).get("data")
    if task.result is not None and task.result.saved_in != SAVED_BY_CONTRACT:
        return task.result.version, NOTHING if task.result.saved_in == "none" else task.result.version
    if isinstance(data, list):
        return task.result_version, data[0]
    if isinstance(data, str) and data.startswith("https://"):
        return task.result_version, data.removeprefix("https://")
    return task.result_version, NOTHING


def read_by_contract(documents: Documents, objects: Objects) -> str:
    """Return the result for a reader that knows only the contract, if nothing changes during the read."""
    data = fields_of(documents.get(STATUS)).get("data")
    if isinstance(data, list):
        return str(data[0])
    if isinstance(data, str) and data.startswith("https://"):
        copy = dict(objects).get(CONTRACT_COPY)
        return copy.content if copy else NOTHING
    return NOTHING


def facts(script: Script, documents: Documents, objects: Objects, step: int) -> Facts:
    """Return the current facts that a process's report may depend on."""
    if script.kind == "reader":
        return _facts_of_reader(documents, objects)
    if script.kind == "delivery":
        return _facts_of_delivery(documents, step)
    return frozenset()


@cache
def _facts_of_reader(documents: Documents, objects: Objects) -> Facts:
    version, content = last_good(documents)
    is_stale = read_by_contract(documents, objects) != content or _is_overwriting(documents)
    return frozenset({("good", version, content), *([("copy is stale",)] if is_stale else [])})


@cache
def _facts_of_delivery(documents: Documents, step: int) -> Facts:
    task = task_document(documents.get(STATUS))
    holder = living_holder(task, now=at(step), deadline=DEADLINE)
    blocker = "a person" if task.is_suspended else holder
    return frozenset([("blocked by", blocker)] if blocker else [])


def forget() -> None:
    """Clear the caches."""
    for each in (last_good, _facts_of_reader, _facts_of_delivery):
        each.cache_clear()


def _is_overwriting(documents: Documents) -> bool:
    """Return whether a legacy run is in progress, which overwrites its object before the document."""
    task = task_document(documents.get(STATUS))
    return task.run_id is None and task.status == "running"


def check_read(
    got: ReadReport | ContractReadReport, script: Script, known: Facts, *, without_faults: bool
) -> None:
    """Check that a reader got a result that was the last good one at some moment of the read."""
    good = {fact[1:] for fact in known if fact[0] == "good"}
    if isinstance(got, ContractReadReport):
        if ("copy is stale",) not in known and got.content not in {content for _, content in good}:
            raise Violation(f"{script.name} got {got.content} although the contract copy was always correct")
    elif got.found is None:
        if without_faults:
            raise Violation(f"{script.name} got an error although no call failed")
    else:
        assert got.found.payload is not None  # The model's readers have no size limit.
        content = (orjson.loads(got.found.payload.json) or [NOTHING])[0]
        if (got.found.version, content) not in good:
            raise Violation(f"{script.name} got {content} as {got.found.version}, of {sorted(good)}")


def check_answer(answer: Answer, script: Script, documents: Documents, known: Facts) -> None:
    """Check that a 2xx response is for a tick that needs no further delivery."""
    if not 200 <= answer.status < 300:
        return
    response = f"{script.name} answered {answer.status} ({answer.outcome})"
    run = run_document(documents.get(f"{HISTORY}{answer.run_id}"))
    if run is not None and run.state == "completed":
        return
    if run is not None and run.cancel is not None and answer.outcome in {"cancelled", "duplicate"}:
        return
    if answer.outcome != "skipped":
        raise Violation(f"{response}, but its run is not completed")
    if documents.get(f"{HISTORY}{skip_id(answer.run_id)}") is None:
        raise Violation(f"{response}, but no record contains it")
    # Its own, possibly dead attempt does not justify a skip.
    if not known - {("blocked by", answer.run_id)}:
        raise Violation(f"{response}, but nothing blocked it")


def check_answers_request(answer: Answer, script: Script, documents: Documents) -> None:
    """Check that only the deliveries that a request caused answer it."""
    tick, _, _ = script.name.partition("/")
    if answer.run_id.startswith("request-") and not tick.startswith(OWN):
        run = run_document(documents.get(f"{HISTORY}{tick}"))
        if tick == "old" or run is None or run.state != "completed":
            raise Violation(f"{script.name} was delivered for a tick but answered a request")
    caused = answer.run_id.startswith(OWN) and script.after
    if caused and task_document(documents.get(STATUS)).request is not None:
        raise Violation(f"{script.name} was forced by a request but became a separate run")


def check_requests_answered(documents: Documents) -> None:
    """Check that the run of each delivered request was started or skipped."""
    for _, stored in documents.records(HISTORY):
        fields = fields_of(stored)
        if fields.get("state") == "requested":
            run = f"{HISTORY}{fields['holder']}"
            if documents.get(run) is None and documents.get(skip_id(run)) is None:
                raise Violation(f"no delivery answered {fields['holder']}")


def check_cancel_report(report: CancelReport, documents: Documents) -> None:
    """Check that a run does not start again after the operator's response that it will end or has ended."""
    run = run_document(documents.get(f"{HISTORY}{report.run_id}"))
    if report.outcome is CancelOutcome.unknown or run is None or run.cancel is not None:
        return
    if report.outcome is not CancelOutcome.ended:
        raise Violation(
            f"the operator's response is that {report.run_id} will end, but no document contains it"
        )
    if run.state != "completed":
        raise Violation(
            f"the operator's response is that {report.run_id} has ended, but it may be started again"
        )


def _check_cancel(before: Documents, after: Documents, script: Script) -> None:
    old, new = task_document(before.get(STATUS)), task_document(after.get(STATUS))
    in_status = new.cancel is not None and old.cancel is None
    at_work = in_status and old.state in {"running", WAITING}
    hit = {new.run_id} if in_status else set()
    for key, stored in after.records(HISTORY):
        was, run = run_document(before.get(key)), run_document(stored)
        run_id = key.removeprefix(HISTORY)
        if was is not None and was.cancel is not None:
            if run is None or run.cancel is None or run.token != was.token:
                raise Violation(f"{run_id} was started again after an operator had cancelled it")
            if run.state == "completed":
                raise Violation(f"{run_id} was published after an operator had cancelled it")
        elif run is not None and run.cancel is not None:
            hit.add(run_id)
            held = old.token is not None and (was is None or was.token == old.token)
            was_open = was is None and run.token is None  # a request that no delivery had answered
            if not (at_work or was_open) and (
                was is None or was.state == "completed" or (was.state in {"running", WAITING} and held)
            ):
                raise Violation(f"{script.name} hit {run_id}, which had not failed, and not its status")
    named = {script.name.removeprefix("cancel ")}
    if named == {REQUESTED}:
        named = {run_id for run_id in hit if run_id.startswith("request-")}
    if (hit and hit != named) or (in_status and old.state == "completed"):
        raise Violation(f"{script.name} cancelled {hit}, which is not the run that it names")
    if new.cancel is not None and old.token != new.token:
        raise Violation(f"a cancel hits {new.run_id}, which no operator cancelled")


def _check_error(run_id: str, run: dict[str, Any], status: dict[str, Any]) -> None:
    """Check that all documents of a failed run that an operator cancelled have the error RunCancelled."""
    if run.get("state") != "failed" or "cancel" not in run:
        return
    errors = [run["error"]["type"]]
    if status.get("run", {}).get("id") == run_id:
        errors.append(status["error"].partition(":")[0])
    if set(errors) != {"RunCancelled"}:
        raise Violation(f"{run_id} was cancelled, but its errors are {errors}")


def check_commit(before: Documents, after: Documents, objects: Objects, script: Script) -> None:
    """Check a commit; the legacy writer may write anything to the status document."""
    old, new = task_document(before.get(STATUS)), task_document(after.get(STATUS))
    if script.kind != "legacy writer":
        suspended = new.suspended is not None and new.status == "suspeneded"
        if old.suspended is not None and not suspended and not _may_resume(script, old.suspended):
            raise Violation(f"{script.name} undid a suspension")
        _check_result(before, after, objects, script)
        _check_cancel(before, after, script)
        _check_progress(before, after, script)
    for key, stored in before.records(HISTORY):
        ended, run = run_document(stored), run_document(after.get(key))
        is_final = ended is not None and ended.state == "completed"
        if is_final and (run is None or (run.state, run.token) != ("completed", ended.token)):
            raise Violation(f"{key} was completed but changed afterwards")
    if new.state in {"running", WAITING} and new.run_id is not None:
        run = run_document(after.get(f"{HISTORY}{new.run_id}"))
        if run is None or (run.state, run.token) != (new.state, new.token):
            raise Violation(f"{script.name} closed the record of a running run")


def _may_resume(script: Script, suspended: Suspension) -> bool:
    """Return whether a process may end a suspension: an operator, or the watchdog one with an end."""
    is_watchdog = "watchdog" in script.name and script.kind in {"watchdog", "job operator"}
    return script.name.startswith("resume") or (is_watchdog and suspended.until is not None)


def _check_progress(before: Documents, after: Documents, script: Script) -> None:
    """Check that an attempt writes progress only to the record of its own run."""
    for key, stored in after.records(HISTORY):
        progress = fields_of(stored).get("progress")
        run = run_document(before.get(key))
        if progress is None or progress == fields_of(before.get(key)).get("progress"):
            continue
        if run is None or run.state != "running" or run.token not in script.tokens:
            raise Violation(f"{script.name} wrote progress into the record of another attempt")


def _check_result(before: Documents, after: Documents, objects: Objects, script: Script) -> None:
    old, new = task_document(before.get(STATUS)), task_document(after.get(STATUS))
    (_, old_good), (_, new_good) = last_good(before), last_good(after)
    if new_good == NOTHING != old_good and script.save_in != "none":
        raise Violation("a result turned into nothing")
    if new.result is None or (old.result is None and new.result.saved_in == SAVED_BY_CONTRACT):
        if new_good != old_good:
            raise Violation("a legacy result turned into another")
        return
    if new.result == old.result:
        if fields_of(before.get(STATUS)).get("data") != fields_of(after.get(STATUS)).get("data"):
            raise Violation("version and data do not match")
        return
    published = new.result.version
    if published != f"{old.run_id}.{old.token}" or old.state != "running":
        raise Violation(f"{script.name} published without holding the task")
    run = run_document(before.get(f"{HISTORY}{old.run_id}"))
    if run is not None and run.state == "completed":
        raise Violation(f"two attempts of {old.run_id} succeeded")
    if new.result.saved_in == "db" and fields_of(after.get(STATUS))["data"] != [published]:
        raise Violation("version and data do not match")
    if new.result.path is not None and dict(objects).get(new.result.path) != StoredObject(
        1, published, published
    ):
        raise Violation("the result points to no object")


def check_removal(documents: Documents, path: str) -> None:
    """Check that neither the last good result's object nor the contract copy is removed."""
    result = task_document(documents.get(STATUS)).result
    if path == CONTRACT_COPY or (result is not None and result.path == path):
        raise Violation("the last good result's object was removed")


def check_copy(documents: Documents, source: StoredObject) -> None:
    """Check that only the object of a completed run is copied."""
    run_id, _, token = source.content.partition(".")
    run = run_document(documents.get(f"{HISTORY}{run_id}"))
    if run is not None and (run.state, run.token) != ("completed", token):
        raise Violation(f"{source.content} was copied to the contract's path but is not a result")


def check_contract_copy(documents: Documents, objects: Objects, *, when: str) -> None:
    """Check that readers of the contract get the last good result."""
    if read_by_contract(documents, objects) != last_good(documents)[1]:
        raise Violation(f"{when}, but the contract copy is not the last good result")


def check_job(documents: Documents, job: str | None, *, when: str) -> None:
    """Check that the job's state is that of the document, and that no problem is recorded."""
    task = task_document(documents.get(STATUS))
    if job is None or not task.exists:
        return
    if task.is_suspended != (job == JobState.paused) or problem_of(task.job) is not None:
        raise Violation(f"{when}, but the job is {job}, suspended: {task.is_suspended}, job note: {task.job}")


def check_order(documents: Documents, objects: Objects) -> None:
    """Check that a watchdog pass has ended all runs and repaired the contract copy."""
    task = task_document(documents.get(STATUS))
    if task.suspended is not None and task.suspended.until is not None:
        raise Violation("the suspension never ends")
    if task.state in {"running", WAITING} and task.run_id is not None:
        raise Violation("the task never ends")
    for key, stored in documents.records(HISTORY):
        if fields_of(stored).get("state") in {"running", WAITING}:
            raise Violation(f"{key} never ends")
        _check_error(key.removeprefix(HISTORY), fields_of(stored), fields_of(documents.get(STATUS)))
    if task.result is not None and task.result.path not in {None, *dict(objects)}:
        raise Violation("the last good result's object is gone")
    check_contract_copy(documents, objects, when="the watchdog has passed")
