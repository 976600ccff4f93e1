"""Each rule of the protocol left out in turn: the model must see what it is for.

`LEFT_OUT` lists them: every rule that the protocol marks with a dagger, then those it rests on.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from functions import scheduled_endpoint as answering
from shared.tasks import ExecuteTaskOptions
from shared.tasks.contract import contract_object
from shared.tasks.documents import operator_writes, run_writes, watchdog_writes, write_messages
from shared.tasks.errors import StoreError
from shared.tasks.protocol import (
    acquisition,
    attempt,
    cancellation,
    contract_copy,
    decisions,
    job_sync,
    requested_runs,
    retention,
    run_end,
    suspension,
)
from shared.tasks.protocol import result_read as reading
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.contract_copy import repair_contract_copy
from shared.tasks.protocol.decisions import Busy, Duplicate, EndState, Skip, Start, is_dead, is_superseded
from shared.tasks.protocol.effects import (
    Commit,
    CopyObject,
    ReadDocuments,
    ReadMetadata,
    ReadRunning,
    ReadVersion,
    SetJob,
)
from shared.tasks.protocol.result_read import NO_RESULT
from shared.tasks.results.payload import Payload
from tests.model import processes
from tests.model.configurations import SMALL
from tests.model.explore import Model
from tests.model.invariants import Violation
from tests.model.processes import OLD_TICK

Patch = pytest.MonkeyPatch


def replace_builder(patch: Patch, name: str, builder: Callable[..., Any]) -> None:
    """Replace a builder of `write_messages` in each module that calls it."""
    for module in (write_messages, run_writes, operator_writes, watchdog_writes):
        if hasattr(module, name):
            patch.setattr(module, name, builder)


def by_token_alone(patch: Patch) -> None:
    """A task is one's own by the token, whatever its state says."""
    for module in (decisions, acquisition, attempt):
        patch.setattr(module, "is_own", lambda task, token: task.token == token)


def adopting_any_record(patch: Patch) -> None:
    """A run record that was read with a status document of one's own is one's own."""
    patch.setattr(attempt, "is_own_record", lambda run, _token: run is not None)


def adopting_an_ended_record(patch: Patch) -> None:
    """A run record is one's own by the token, whatever its state is."""
    patch.setattr(attempt, "is_own_record", lambda run, token: run is not None and run.token == token)


def skipping_from_memory(patch: Patch) -> None:
    """What an instance remembers of the status document is enough to skip a tick."""
    acquire = acquisition.acquire

    def acquires(attempt: Attempt, remembered: Any, *, deadline: float) -> Any:
        if remembered is not None:
            decision = acquisition._decide(attempt, remembered, None)
            if not isinstance(decision, Start):
                yield from acquisition._record_skip(attempt, decision, deadline)
                return decision
        return (yield from acquire(attempt, remembered, deadline=deadline))

    patch.setattr(processes, "acquire", acquires)
    patch.setattr(Attempt, "remembered", lambda self: self.document if self.document.exists else None)


def giving_up_on_memory(patch: Patch) -> None:
    """A commit that memory led to is refused: another delivery must have been faster."""
    acquire = acquisition.acquire

    def acquires(attempt: Attempt, remembered: Any, *, deadline: float) -> Any:
        if remembered is None:
            return (yield from acquire(attempt, None, deadline=deadline))
        decision = acquisition._decide(attempt, remembered, None)
        taken = isinstance(decision, Start) and (
            yield from acquisition._commit_start(attempt, decision, remembered)
        )
        return decision if taken else Duplicate()

    patch.setattr(processes, "acquire", acquires)


def success_for(outcome: str) -> Callable[[Patch], None]:
    """An outcome that is not for good is answered with a 2xx."""

    def answers(patch: Patch) -> None:
        patch.setitem(answering.HTTP_STATUSES, outcome, 200)

    answers.__name__ = f"success_for_{outcome}"
    return answers


def skipping_its_own_run(patch: Patch) -> None:
    """An attempt of the same run that holds the task is a reason to skip, as another run's is."""
    decide = decisions.decide_start

    def decides(task: Any, run: Any, **how: Any) -> Any:
        decided = decide(task, run, **how)
        return Skip("overlap", task.run_id) if isinstance(decided, Busy) else decided

    patch.setattr(acquisition, "decide_start", decides)


def skips_unrecorded(patch: Patch) -> None:
    """A skip leaves no trace."""

    def records(_attempt: Attempt, _decision: Any, _until: float) -> Any:
        yield from ()

    patch.setattr(acquisition, "_record_skip", records)


def without_history(patch: Patch) -> None:
    """Whether a write was applied is asked of the status document alone."""
    end_state, close = decisions.end_state, run_end._close_superseded

    def closes(attempt: Attempt, run: Any) -> Any:
        return (yield from close(attempt, replace(run, state="failed") if run is not None else None))

    patch.setattr(run_end, "end_state", lambda task, _run, **how: end_state(task, None, **how))
    patch.setattr(run_end, "_close_superseded", closes)


def removing_unclosed(patch: Patch) -> None:
    """An object goes although its history is gone and says nothing of whose it is."""

    def closes(attempt: Attempt, run: Any) -> Any:
        if run is not None and run.token == attempt.identity.token and run.state == "running":
            now = attempt.clock.now()
            yield Commit(run_writes.close_superseded(attempt.identity.record_name, run, now=now))
        attempt.is_object_unused = True

    patch.setattr(run_end, "_close_superseded", closes)


def removing_before_closing(patch: Patch) -> None:
    """A superseded attempt removes its object first, and closes its record later."""

    def closes(attempt: Attempt, _run: Any) -> Any:
        attempt.is_object_unused = True
        yield from ()

    patch.setattr(run_end, "_close_superseded", closes)


def removing_after_a_failed_read(patch: Patch) -> None:
    """An attempt whose end was refused or lost, and that can't read how it stands, gives up its object."""
    settle = run_end._resolve_end

    def settles(attempt: Attempt, goal: Any, error: StoreError, deadline: float) -> Any:
        found = yield from settle(attempt, goal, error, deadline)
        if found is None:
            attempt.is_object_unused = True
            return EndState.superseded
        return found

    patch.setattr(run_end, "_resolve_end", settles)


def copying_from_an_earlier_read(patch: Patch) -> None:
    """The status document is read before the contract copy's metadata."""

    def mends(task: Any) -> Any:
        document, _ = yield ReadDocuments()
        generation, version = yield ReadMetadata(contract_object(task))
        result = document.result
        if result is None or result.saved_in != "storage" or result.version == version:
            return False
        return (yield CopyObject(result.path, contract_object(task), generation))

    patch.setattr(processes, "repair_contract_copy", mends)


def copying_tried_once(patch: Patch) -> None:
    """A copy that another writer was in the way of is not repeated."""
    patch.setattr(contract_copy, "COPY_TRIES", 1)


def watchdog_reads_the_task_first(patch: Patch) -> None:
    """Histories are compared with a status document that was read before them."""

    def watches(names: Any, spec: Any, _found: Any, *, now: Any, deadline: Any) -> Any:
        del deadline
        name = spec.name
        task, _ = yield ReadDocuments()
        for run_id, run in (yield ReadRunning()):
            if is_superseded(run, task):
                history = names.record(run_id)
                yield Commit(run_writes.close_superseded(history, run, now=now))
        if is_dead(task, now=now):
            yield Commit(watchdog_writes.fail_dead(names, task, now=now))
        yield from repair_contract_copy(name)

    patch.setattr(processes, "watch", watches)


def watchdog_closes_whatever_it_is_now(patch: Patch) -> None:
    """A history is closed without its update time."""
    close = write_messages.close_record
    replace_builder(patch, "close_record", lambda *what, **_on: close(*what))


def removing_by_age_alone(patch: Patch) -> None:
    """An object that no result points to is removed, although an attempt may be about to publish it."""

    def superseded_at(path: str, _token: str, created: Any, task: Any, _run: Any) -> Any:
        yield from ()
        return None if task.result is not None and task.result.path == path else created

    patch.setattr(retention, "_superseded_at", superseded_at)


def removing_what_is_pointed_to(patch: Patch) -> None:
    """Histories alone say whether an object is still a result."""
    superseded_at = retention._superseded_at

    def ignoring(path: str, token: str, created: Any, task: Any, run: Any) -> Any:
        return (yield from superseded_at("" if run is None else path, token, created, task, run))

    patch.setattr(retention, "_superseded_at", ignoring)


def _without_a_second_look(patch: Patch, refuses: Callable[[Any], bool]) -> None:
    """The status document is not read again; an object may be refused by the version in its metadata."""
    by_contract = reading._by_contract

    def reads(task: Any, document: Any, data: Any, most: Any) -> Any:
        if not isinstance(data, str):
            return (yield from by_contract(task, document, data, most))
        payload = yield from reading._content(contract_object(task), most)
        _, mark = yield ReadMetadata(contract_object(task))
        return None if refuses(mark) else payload or Payload(NO_RESULT)

    patch.setattr(reading, "_by_contract", reads)


def taking_a_contract_copy_for_a_legacy_result(patch: Patch) -> None:
    """Whatever is at the contract's path is what the original's URL means."""
    _without_a_second_look(patch, lambda _: False)


def trusting_the_mark_alone(patch: Patch) -> None:
    """An object without a version is what the status document meant when that was read."""
    _without_a_second_look(patch, lambda mark: mark is not None)


def version_from_another_read(patch: Patch) -> None:
    """The version is asked for after the result."""
    reads = processes.read_result

    def reads_apart(task: Any) -> Any:
        found = yield from reads(task)
        document = yield ReadVersion()
        return replace(found, document=document, version=document.result_version)

    patch.setattr(processes, "read_result", reads_apart)


def missing_is_nothing(patch: Patch) -> None:
    """An object that is not there is "no data"."""
    value = reading._value

    def reads(task: Any, document: Any, data: Any, most: Any) -> Any:
        return (yield from value(task, document, data, most)) or Payload(NO_RESULT)

    patch.setattr(reading, "_value", reads)


def any_copy_will_do(patch: Patch) -> None:
    """The contract copy stands in for a result object that is gone, whatever version it holds."""

    def reads(task: Any, version: Any, read: Any) -> Any:
        return (yield read)

    patch.setattr(reading, "_from_copy", reads)


def copy_checked_only_before(patch: Patch) -> None:
    """The contract copy's version is checked before it is read, and not after."""

    def reads(task: Any, version: Any, read: Any) -> Any:
        _, mark = yield ReadMetadata(read.path)
        return (yield read) if mark == version else None

    patch.setattr(reading, "_from_copy", reads)


def without_conditions(patch: Patch) -> None:
    """Writes to the status document are made whatever version it has."""
    write_to = write_messages.write_document

    def unconditional(name: str, fields: Any, **how: Any) -> Any:
        if not isinstance(how.get("precondition"), bool):
            how["precondition"] = None
        return write_to(name, fields, **how)

    replace_builder(patch, "write_document", unconditional)


def as_the_contract_literally_says(patch: Patch) -> None:
    """A start overwrites the whole status document."""
    patch.setattr(processes, "OPTIONS", ExecuteTaskOptions(lease_seconds=60, keep_last_result=False))


def running_what_is_completed(patch: Patch) -> None:
    """A history that says completed is no reason not to run."""
    decide = decisions.decide_start

    def decides(task: Any, run: Any, **how: Any) -> Any:
        decided = decide(task, run, **how)
        if isinstance(decided, Duplicate):
            return Start(run.attempt + 1, record_precondition=run.update_time)
        return decided

    patch.setattr(acquisition, "decide_start", decides)


def ending_without_a_look_at_the_suspension(patch: Patch) -> None:
    """A run writes its status at its end, although its task was suspended meanwhile."""
    for name in ("complete", "fail"):
        write = getattr(run_writes, name)
        patch.setattr(
            run_writes, name, lambda *what, write=write, **how: write(*what, **{**how, "suspended": False})
        )


def a_start_keeps_the_cancel(patch: Patch) -> None:
    """The cancel of the last run is still there when the next one begins."""
    start = run_writes.start

    def starts(*what: Any, **how: Any) -> Any:
        status, *others = start(*what, **how)
        if "run.cancel" in status.update_mask.field_paths:
            status.update_mask.field_paths.remove("run.cancel")
        return [status, *others]

    patch.setattr(run_writes, "start", starts)


def publishing_what_is_cancelled(patch: Patch) -> None:
    """A run that has done its work publishes, although it was cancelled."""
    cancel, recorded_failure = Attempt.cancel, Attempt.recorded_failure

    def records(self: Attempt, failure: Any) -> Any:
        with patch.context() as as_it_was:
            as_it_was.setattr(Attempt, "cancel", cancel)
            return recorded_failure(self, failure)

    patch.setattr(Attempt, "recorded_failure", records)
    patch.setattr(Attempt, "cancel", None)


def telling_it_as_any_other_failure(patch: Patch) -> None:
    """A cancelled run says what its task failed with."""
    patch.setattr(Attempt, "recorded_failure", lambda _self, failure: failure)


def leaving_what_it_failed_with(patch: Patch) -> None:
    """A run that is cancelled once it has failed goes on saying that it just failed."""
    cancel = operator_writes.cancel_ended

    def cancels(*what: Any, **how: Any) -> Any:
        commit = cancel(*what, **how)
        for write in commit:
            kept = [path for path in write.update_mask.field_paths if not path.startswith("error")]
            write.update_mask.field_paths[:] = kept
        return commit

    patch.setattr(operator_writes, "cancel_ended", cancels)


def closing_it_as_any_other(patch: Patch) -> None:
    """A dead run is closed, although it was cancelled."""
    replace_builder(patch, "cause_of", lambda _cancel, kind, reason: (kind, reason))


def believing_what_was_read_apart(patch: Patch) -> None:
    """The status document and the run record are one moment's, always."""
    outcome_of = cancellation._outcome_of
    patch.setattr(
        cancellation, "_outcome_of", lambda *what, **how: outcome_of(*what, **{**how, "settled": True})
    )


def starting_a_cancelled_run_again(patch: Patch) -> None:
    """A cancelled run has failed, and is tried again as any other."""
    decide = decisions.decide_start

    def decides(task: Any, run: Any, **how: Any) -> Any:
        return decide(task, replace(run, cancel=None) if run else None, **how)

    patch.setattr(acquisition, "decide_start", decides)


def whatever_the_status_says(name: str) -> Callable[[Patch], None]:
    """A cancel, or a request, is written whatever the status document says by then."""

    def left_out(patch: Patch) -> None:
        write = getattr(operator_writes, name)

        def unconditional(*what: Any, **how: Any) -> Any:
            commit = write(*what, **how)
            commit[0].ClearField("current_document")
            return commit

        patch.setattr(operator_writes, name, unconditional)

    left_out.__name__ = f"{name}_whatever_the_status_says"
    return left_out


def cancelling_whatever_has_failed(patch: Patch) -> None:
    """A cancel of a failed run is written whatever its history says by then."""
    cancel = operator_writes.cancel_ended

    def unconditional(*what: Any, **how: Any) -> Any:
        commit = cancel(*what, **how)
        for write in commit:
            write.ClearField("current_document")
        return commit

    patch.setattr(operator_writes, "cancel_ended", unconditional)


def cancelling_in_the_status_alone(patch: Patch) -> None:
    """The run's own history does not say that it was cancelled."""
    cancel = operator_writes.cancel
    patch.setattr(operator_writes, "cancel", lambda *what, **how: cancel(*what, **how)[::2])


def following_without_a_second_look(patch: Patch) -> None:
    """The process that changed the document changes the job, although others changed it meanwhile."""

    def follows(names: Any, **_: Any) -> Any:
        task, _ = yield ReadDocuments()
        yield SetJob(job_sync._required(task))
        done = watchdog_writes.note_job(names, task, None)
        done[0].ClearField("current_document")
        yield Commit(done)

    patch.setattr(suspension, "follow_document", follows)


def forgetting_whoever_else_is_at_it(patch: Patch) -> None:
    """A process removes the requested state at its end, although others' calls may still arrive."""
    patch.setattr(job_sync, "CALLS_OVER", timedelta(0))


def following_without_a_wish(patch: Patch) -> None:
    """The document alone is changed; that its job is to follow is not noted there."""
    for name in ("suspend", "resume"):
        write = getattr(operator_writes, name)
        patch.setattr(
            operator_writes, name, lambda *what, write=write, **how: write(*what, **{**how, "job": None})
        )


def answering_a_request_with(**differently: Any) -> Callable[[Patch], None]:
    """A delivery is recognised as that of a request by less."""

    def answers(patch: Patch) -> None:
        rule = acquisition.answers_request

        def decides(request: Any, run: Any, **how: Any) -> Any:
            changed = {name: value(how) for name, value in differently.items() if name in how}
            since = differently.get("since", lambda _: request.since)(how)
            return rule(replace(request, since=since), run, **{**how, **changed})

        patch.setattr(acquisition, "answers_request", decides)
        if "since" in differently:
            patch.setattr(
                acquisition, "_may_be_requested", lambda attempt, _: attempt.identity.scheduled_for is None
            )

    answers.__name__ = f"answering_a_request_with_another_{'_'.join(differently)}"
    return answers


def taking_a_tick_for_a_request(patch: Patch) -> None:
    """A request goes before the tick that follows it shortly."""
    for module in (decisions, acquisition):
        patch.setattr(module, "is_forced", lambda *_, **__: True)


def remembering_that_nobody_requested(patch: Patch) -> None:
    """What an instance remembers is enough for a delivery that may answer a request."""
    may_be, acquire = acquisition._may_be_requested, acquisition.acquire
    patch.setattr(acquisition, "_may_be_requested", lambda own, task: task != own.last and may_be(own, task))

    def acquires(attempt: Attempt, remembered: Any, *, deadline: float) -> Any:
        attempt.last = remembered
        return (yield from acquire(attempt, remembered, deadline=deadline))

    patch.setattr(Attempt, "last", None, raising=False)
    patch.setattr(processes, "acquire", acquires)


def running_what_was_requested_twice(patch: Patch) -> None:
    """A delivery does not answer the request of a run that has completed."""
    rule = acquisition.answers_request
    patch.setattr(
        acquisition,
        "answers_request",
        lambda request, run, **how: not (run and run.state == "completed") and rule(request, run, **how),
    )


def requesting_again(patch: Patch) -> None:
    """A request takes the place of one that nothing has answered."""
    patch.setattr(requested_runs, "REQUEST_WINDOW", timedelta(0))


def forgetting_an_earlier_request(patch: Patch) -> None:
    """A delivery for an earlier request answers no request once there is a new one."""
    patch.setattr(requested_runs, "_since", lambda _last, _run, now: now)


OWN = "a run is its own by token and state"
RECORD = "a run record's version is adopted by its own token and state"
MEMORY = "memory may lead only to a commit"
ANSWERS = "2xx only for what is dealt with for good"
SETTLE = "both documents are read again, the run record is closed first, the object removed last"
CONTRACT_COPY = "metadata read, then the status document, written on that generation, repeated"
CLOSE = "a run record is read before the status document, and closed on its update time"
OBJECTS = "what a result points to stays, and what may become one"
READING = "an object at the contract's path with a version is not the original's"
TOGETHER = "a result and its version come from one read; a missing object is never no data"
COPY = "the contract copy stands in for a missing result object only with the same version"
OBJECTS_REPLACED = "read while old results and their copy are replaced"
CONDITIONS = "every write is conditional, completed is final, a suspension stays"
REPLACED = "a result is replaced, never taken away"

CANCEL = "a cancel hits the run that it names; that publishes nothing, and is not started again"
TOLD = "a cancelled run tells who wanted that"

REQUEST = "a request is answered by the deliveries that it caused, as one run"

FOLLOWS = "Cloud Scheduler's job follows the document"

#: Rule, how it is left out, the configuration that finds it, and what breaks.
LEFT_OUT: list[tuple[str, Callable[[Patch], None], str, str]] = [
    (OWN, by_token_alone, "one run, watched", "published without holding the task"),
    (
        RECORD,
        adopting_any_record,
        "one tick delivered twice, progress and a torn read",
        "wrote progress into the record of another attempt",
    ),
    (
        RECORD,
        adopting_an_ended_record,
        "one run, watched, progress and a torn read",
        "wrote progress into the record of another attempt",
    ),
    (MEMORY, skipping_from_memory, "a warm instance, suspended and resumed", "and nothing was in its way"),
    (MEMORY, giving_up_on_memory, "a warm instance", r"\(duplicate\), and its run is not completed"),
    (ANSWERS, success_for("superseded"), "two ticks, watched", "and its run is not completed"),
    (ANSWERS, success_for("lost"), "one run, watched", "and its run is not completed"),
    (ANSWERS, success_for("failed"), "one run, watched", "and its run is not completed"),
    (ANSWERS, success_for("busy"), "one tick delivered twice, a death", "and its run is not completed"),
    (ANSWERS, skipping_its_own_run, "one tick delivered twice, a death", "and nothing was in its way"),
    (ANSWERS, skips_unrecorded, "two ticks", "and no record says so"),
    (SETTLE, without_history, "two ticks, a fault", "object was removed"),
    (SETTLE, removing_unclosed, "TTL", "object was removed"),
    (SETTLE, removing_before_closing, "two ticks, a torn read", "object was removed"),
    (SETTLE, removing_after_a_failed_read, "one run, two faults", "object was removed"),
    (
        CONTRACT_COPY,
        copying_from_an_earlier_read,
        "two ticks",
        "the contract copy is not the last good result",
    ),
    (CONTRACT_COPY, copying_tried_once, "two ticks", "the contract copy is not the last good result"),
    (CLOSE, watchdog_reads_the_task_first, "two ticks, watched", "closed the history of a run at work"),
    (CLOSE, watchdog_closes_whatever_it_is_now, "handed there and back", "completed, and is not final"),
    (OBJECTS, removing_by_age_alone, "one run, watched", "the result points to no object"),
    (OBJECTS, removing_what_is_pointed_to, "TTL", "object was removed"),
    (
        READING,
        taking_a_contract_copy_for_a_legacy_result,
        "taken over from the original",
        "reader got a.t1 as original",
    ),
    (READING, trusting_the_mark_alone, "the original alone", "reader got o2 as original"),
    (TOGETHER, version_from_another_read, "read while tasks run", "reader got .* as a.t1, of"),
    (TOGETHER, missing_is_nothing, OBJECTS_REPLACED, r"reader got \[\] as a.t1"),
    (COPY, any_copy_will_do, OBJECTS_REPLACED, r"reader got .* as a.t1"),
    (COPY, copy_checked_only_before, OBJECTS_REPLACED, r"reader got .* as a.t1"),
    (CONDITIONS, without_conditions, "two ticks, watched", "was completed, and is not final"),
    (CONDITIONS, running_what_is_completed, "one tick delivered twice, a death", "and is not final"),
    (CONDITIONS, ending_without_a_look_at_the_suspension, "suspended and resumed", "undid a suspension"),
    (CANCEL, a_start_keeps_the_cancel, "one of two ticks is cancelled", "a cancel hits b"),
    (CANCEL, publishing_what_is_cancelled, "a run is cancelled", "a was published after"),
    (CANCEL, starting_a_cancelled_run_again, "a cancelled tick is delivered again", "a was started again"),
    (CANCEL, whatever_the_status_says("cancel"), "a warm instance, cancelled", "not the run that it names"),
    (
        CANCEL,
        starting_a_cancelled_run_again,
        "a failed tick is cancelled",
        "a was started again",
    ),
    (
        CANCEL,
        cancelling_whatever_has_failed,
        "a failed tick is cancelled",
        "had not failed",
    ),
    (CANCEL, cancelling_in_the_status_alone, "a run is cancelled", "and no document contains it"),
    (CANCEL, believing_what_was_read_apart, "a run is cancelled, a torn read", "may be started again"),
    (TOLD, telling_it_as_any_other_failure, "a run is cancelled", "a was cancelled, and says"),
    (TOLD, leaving_what_it_failed_with, "a failed tick is cancelled", "a was cancelled, and says"),
    (TOLD, closing_it_as_any_other, "a cancelled tick is delivered again", "a was cancelled, and says"),
    (
        REQUEST,
        answering_a_request_with(since=lambda _: OLD_TICK),
        "a run is requested beside an old tick",
        "delivered for a tick",
    ),
    (
        REQUEST,
        answering_a_request_with(is_done=lambda _: False),
        "a run is requested shortly before a tick",
        "no delivery answered",
    ),
    (
        REQUEST,
        taking_a_tick_for_a_request,
        "a run is requested shortly before a tick",
        "delivered for a tick",
    ),
    (REQUEST, remembering_that_nobody_requested, "a run is requested", "a run of its own"),
    (REQUEST, running_what_was_requested_twice, "a run is requested", "a run of its own"),
    (REQUEST, requesting_again, "two people request a run", "no delivery answered"),
    (REQUEST, whatever_the_status_says("request"), "two people request a run", "no delivery answered"),
    (
        REQUEST,
        forgetting_an_earlier_request,
        "a run is requested when another has failed",
        "a run of its own",
    ),
    (
        FOLLOWS,
        following_without_a_second_look,
        "suspended and resumed, job and all",
        "nothing failed, the job is",
    ),
    (FOLLOWS, forgetting_whoever_else_is_at_it, "suspended and resumed, a death", "the watchdog has passed"),
    (FOLLOWS, following_without_a_wish, "suspended and resumed, a death", "the watchdog has passed"),
    (REPLACED, as_the_contract_literally_says, "two ticks", "a result turned into nothing"),
]


@pytest.mark.parametrize(
    ("left_out", "where", "says"),
    [pytest.param(*how, id=f"{rule}: {how[0].__name__}") for rule, *how in LEFT_OUT],
)
def test_each_rule_left_out_is_found(
    left_out: Callable[[Patch], None], where: str, says: str, monkeypatch: Patch
) -> None:
    """The model sees what each rule is for: without it, something that must hold breaks."""
    left_out(monkeypatch)
    with pytest.raises(Violation, match=says):
        Model(*SMALL[where]).explore()
