"""What must hold, at each step and once everybody is quiet."""

from functools import cache
from typing import Any, NamedTuple

import orjson

from shared.tasks.backends.scheduler import JobState
from shared.tasks.contract import contract_object
from shared.tasks.documents.result_pointer import SAVED_BY_CONTRACT
from shared.tasks.documents.run_ids import skip_id
from shared.tasks.protocol.cancellation import Cancelled
from shared.tasks.protocol.decisions import living_holder
from shared.tasks.protocol.job_sync import problem_of
from tests.model.memory_store import Documents, fields_of, run_document, task_document
from tests.model.processes import DEADLINE, NAMES, NOTHING, OWN, REQUESTED, TASK
from tests.model.requests import Answer, CancelTold, Got, GotByContract
from tests.model.standing import Script, at

STATUS = NAMES.status
HISTORY = NAMES.record("")
SCHEDULE = NAMES.schedule
CONTRACT_COPY = contract_object(TASK)


class Violation(AssertionError):
    """Something that must hold did not; the text tells what, and how it came."""


class Stock(NamedTuple):
    """An object: how often it was written, whose result it holds, and the version in its metadata."""

    generation: int
    content: str
    mark: str | None


#: The bucket: path and object.
Objects = tuple[tuple[str, Stock], ...]
#: What a process may rely on, as it was true at some moment since it began.
Facts = frozenset[tuple[str, ...]]


@cache
def last_good(documents: Documents) -> tuple[str, str]:
    """The task's last good result, its version and whose it is, as the status document alone tells."""
    status = documents.get(STATUS)
    task, data = task_document(status), fields_of(status).get("data")
    if task.result is not None and task.result.saved_in != SAVED_BY_CONTRACT:
        return task.result.version, NOTHING if task.result.saved_in == "none" else task.result.version
    if isinstance(data, list):
        return task.result_version, data[0]
    if isinstance(data, str) and data.startswith("https://"):
        return task.result_version, data.removeprefix("https://")
    return task.result_version, NOTHING


def seen_by_contract(documents: Documents, objects: Objects) -> str:
    """The result that a reader gets which knows only the contract, if nothing happens meanwhile."""
    data = fields_of(documents.get(STATUS)).get("data")
    if isinstance(data, list):
        return str(data[0])
    if isinstance(data, str) and data.startswith("https://"):
        stock = dict(objects).get(CONTRACT_COPY)
        return stock.content if stock else NOTHING
    return NOTHING


def facts(script: Script, documents: Documents, objects: Objects, step: int) -> Facts:
    """What is true now, as far as the process may answer by it."""
    if script.kind == "reader":
        return _facts_of_reader(documents, objects)
    if script.kind == "delivery":
        return _facts_of_delivery(documents, step)
    return frozenset()


@cache
def _facts_of_reader(documents: Documents, objects: Objects) -> Facts:
    version, content = last_good(documents)
    behind = seen_by_contract(documents, objects) != content or _is_overwriting(documents)
    return frozenset({("good", version, content), *([("behind",)] if behind else [])})


@cache
def _facts_of_delivery(documents: Documents, step: int) -> Facts:
    task = task_document(documents.get(STATUS))
    holder = living_holder(task, now=at(step), deadline=DEADLINE)
    in_its_way = "a person" if task.is_suspended else holder
    return frozenset([("in its way", in_its_way)] if in_its_way else [])


def forget() -> None:
    """Drop what is remembered of documents."""
    for each in (last_good, _facts_of_reader, _facts_of_delivery):
        each.cache_clear()


def _is_overwriting(documents: Documents) -> bool:
    """Whether the original is at work: it overwrites its object before it says that it has."""
    task = task_document(documents.get(STATUS))
    return task.run_id is None and task.status == "running"


def check_got(got: Got | GotByContract, script: Script, known: Facts, *, untroubled: bool) -> None:
    """A reader gets what was the last good result at some moment since it began to read."""
    good = {fact[1:] for fact in known if fact[0] == "good"}
    if isinstance(got, GotByContract):
        if ("behind",) not in known and got.content not in {content for _, content in good}:
            raise Violation(f"{script.name} got {got.content}, and the contract copy was right all the time")
    elif got.found is None:
        if untroubled:
            raise Violation(f"{script.name} got an error although no read failed")
    else:
        assert got.found.payload is not None  # the model's readers take any size
        content = (orjson.loads(got.found.payload.json) or [NOTHING])[0]
        if (got.found.version, content) not in good:
            raise Violation(f"{script.name} got {content} as {got.found.version}, of {sorted(good)}")


def check_answer(answer: Answer, script: Script, documents: Documents, known: Facts) -> None:
    """A 2xx is for ticks that are dealt with for good."""
    if not 200 <= answer.status < 300:
        return
    said = f"{script.name} answered {answer.status} ({answer.outcome})"
    run = run_document(documents.get(f"{HISTORY}{answer.run_id}"))
    if run is not None and run.state == "completed":
        return
    if run is not None and run.cancel is not None and answer.outcome in {"cancelled", "duplicate"}:
        return
    if answer.outcome != "skipped":
        raise Violation(f"{said}, and its run is not completed")
    if documents.get(f"{HISTORY}{skip_id(answer.run_id)}") is None:
        raise Violation(f"{said}, and no record says so")
    if not known - {("in its way", answer.run_id)}:  # its own attempt may be dead: that is no reason to skip
        raise Violation(f"{said}, and nothing was in its way")


def check_answers_request(answer: Answer, script: Script, documents: Documents) -> None:
    """A request is answered by the deliveries that it caused, and by no others."""
    tick, _, _ = script.name.partition("/")
    if answer.run_id.startswith("request-") and not tick.startswith(OWN):
        run = run_document(documents.get(f"{HISTORY}{tick}"))
        if tick == "old" or run is None or run.state != "completed":
            raise Violation(f"{script.name} was delivered for a tick, and answered a request")
    caused = answer.run_id.startswith(OWN) and script.after
    if caused and task_document(documents.get(STATUS)).request is not None:
        raise Violation(f"{script.name} was forced by a request, and became a run of its own")


def check_requests_answered(documents: Documents) -> None:
    """All processes have ended, and each request was delivered: its run has started, or was skipped."""
    for key, stored in documents.stored:
        fields = fields_of(stored)
        if key.startswith(HISTORY) and fields.get("state") == "requested":
            run = f"{HISTORY}{fields['holder']}"
            if documents.get(run) is None and documents.get(skip_id(run)) is None:
                raise Violation(f"no delivery answered {fields['holder']}")


def check_cancel_told(told: CancelTold, documents: Documents) -> None:
    """An operator can rely on the response that a run will end, or has ended: it is not started again."""
    run = run_document(documents.get(f"{HISTORY}{told.run_id}"))
    if told.became is Cancelled.unknown or run is None or run.cancel is not None:
        return
    if told.became is not Cancelled.ended:
        raise Violation(
            f"the operator's response is that {told.run_id} will end, and no document contains it"
        )
    if run.state != "completed":
        raise Violation(
            f"the operator's response is that {told.run_id} has ended, and it may be started again"
        )


def _check_cancel(before: Documents, after: Documents, script: Script) -> None:
    old, new = task_document(before.get(STATUS)), task_document(after.get(STATUS))
    in_status = new.cancel is not None and old.cancel is None
    at_work = in_status and old.state == "running"
    hit = {new.run_id} if in_status else set()
    for key, stored in after.stored:
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
                was is None or was.state == "completed" or (was.state == "running" and held)
            ):
                raise Violation(f"{script.name} hit {run_id}, which had not failed, and not its status")
    meant = {script.name.removeprefix("cancel ")}
    if meant == {REQUESTED}:
        meant = {run_id for run_id in hit if run_id.startswith("request-")}
    if (hit and hit != meant) or (in_status and old.state == "completed"):
        raise Violation(f"{script.name} cancelled {hit}, which is not the run that it names")
    if new.cancel is not None and old.token != new.token:
        raise Violation(f"a cancel hits {new.run_id}, which no operator cancelled")


def _check_told(run_id: str, run: dict[str, Any], status: dict[str, Any]) -> None:
    """A run that a person cancelled says so wherever it says that it failed."""
    if run.get("state") != "failed" or "cancel" not in run:
        return
    told = [run["error"]["type"]]
    if status.get("run", {}).get("id") == run_id:
        told.append(status["error"].partition(":")[0])
    if set(told) != {"RunCancelled"}:
        raise Violation(f"{run_id} was cancelled, and says {told}")


def check_commit(before: Documents, after: Documents, objects: Objects, script: Script) -> None:
    """What no process may commit; a legacy writer may write anything to the status document."""
    old, new = task_document(before.get(STATUS)), task_document(after.get(STATUS))
    if script.kind != "original":
        suspended = new.suspended is not None and new.status == "suspeneded"
        if old.suspended is not None and not suspended and not script.name.startswith("resume"):
            raise Violation(f"{script.name} undid a suspension")
        _check_result(before, after, objects, script)
        _check_cancel(before, after, script)
        _check_progress(before, after, script)
    for key, stored in before.stored:
        ended, run = run_document(stored), run_document(after.get(key))
        is_final = key.startswith(HISTORY) and ended is not None and ended.state == "completed"
        if is_final and (run is None or (run.state, run.token) != ("completed", ended.token)):
            raise Violation(f"{key} was completed, and is not final")
    if new.state == "running" and new.run_id is not None:
        run = run_document(after.get(f"{HISTORY}{new.run_id}"))
        if run is None or (run.state, run.token) != ("running", new.token):
            raise Violation(f"{script.name} closed the history of a run at work")


def _check_progress(before: Documents, after: Documents, script: Script) -> None:
    """An attempt writes progress only to the record of a run that it holds."""
    tokens = {name.partition("/")[2] for name in script.name.split(", then ")}
    for key, stored in after.stored:
        progress = fields_of(stored).get("progress")
        run = run_document(before.get(key))
        if progress is None or progress == fields_of(before.get(key)).get("progress"):
            continue
        if run is None or run.state != "running" or run.token not in tokens:
            raise Violation(f"{script.name} wrote progress into the record of another attempt")


def _check_result(before: Documents, after: Documents, objects: Objects, script: Script) -> None:
    old, new = task_document(before.get(STATUS)), task_document(after.get(STATUS))
    (_, old_good), (_, new_good) = last_good(before), last_good(after)
    if new_good == NOTHING != old_good and script.gives != "none":
        raise Violation("a result turned into nothing")
    if new.result is None or (old.result is None and new.result.saved_in == SAVED_BY_CONTRACT):
        if new_good != old_good:
            raise Violation("a legacy result turned into another")
        return
    if new.result == old.result:
        if fields_of(before.get(STATUS)).get("data") != fields_of(after.get(STATUS)).get("data"):
            raise Violation("version and data don't match")
        return
    published = new.result.version
    if published != f"{old.run_id}.{old.token}" or old.state != "running":
        raise Violation(f"{script.name} published without holding the task")
    run = run_document(before.get(f"{HISTORY}{old.run_id}"))
    if run is not None and run.state == "completed":
        raise Violation(f"two attempts of {old.run_id} succeeded")
    if new.result.saved_in == "db" and fields_of(after.get(STATUS))["data"] != [published]:
        raise Violation("version and data don't match")
    if new.result.path is not None and dict(objects).get(new.result.path) != Stock(1, published, published):
        raise Violation("the result points to no object")


def check_removal(documents: Documents, path: str) -> None:
    """What the last good result points to stays, and so does the contract's object."""
    result = task_document(documents.get(STATUS)).result
    if path == CONTRACT_COPY or (result is not None and result.path == path):
        raise Violation("the last good result's object was removed")


def check_copy(documents: Documents, source: Stock) -> None:
    """Only what was a result is copied."""
    run_id, _, token = source.content.partition(".")
    run = run_document(documents.get(f"{HISTORY}{run_id}"))
    if run is not None and (run.state, run.token) != ("completed", token):
        raise Violation(f"{source.content} was copied to the contract's path, and is not a result")


def check_contract_copy(documents: Documents, objects: Objects, *, when: str) -> None:
    """Readers of the contract have what ours have."""
    if seen_by_contract(documents, objects) != last_good(documents)[1]:
        raise Violation(f"{when}, and the contract copy is not the last good result")


def check_job(documents: Documents, job: str | None, *, when: str) -> None:
    """The job's state is that of the document, and no problem is recorded.

    Args:
        documents: Firestore.
        job: its state; None where no process knows of it.
        when: in words.
    """
    task = task_document(documents.get(STATUS))
    if job is None or not task.exists:
        return
    if task.is_suspended != (job == JobState.paused) or problem_of(task.job) is not None:
        raise Violation(f"{when}, the job is {job}, suspended: {task.is_suspended}, noted: {task.job}")


def check_order(documents: Documents, objects: Objects) -> None:
    """All processes have ended, and the watchdog has passed: nothing is left over."""
    task = task_document(documents.get(STATUS))
    if task.state == "running" and task.run_id is not None:
        raise Violation("the task is running for ever")
    for key, stored in documents.stored:
        if not key.startswith(HISTORY):
            continue
        if fields_of(stored).get("state") == "running":
            raise Violation(f"{key} is running for ever")
        _check_told(key.removeprefix(HISTORY), fields_of(stored), fields_of(documents.get(STATUS)))
    if task.result is not None and task.result.path not in {None, *dict(objects)}:
        raise Violation("the last good result's object is gone")
    check_contract_copy(documents, objects, when="the watchdog has passed")
