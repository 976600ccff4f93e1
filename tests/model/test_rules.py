"""The model finds a violation if any rule of the protocol is left out.

`LEFT_OUT` lists the rules that docs/protocol.md marks with a dagger, then the rules they rely on.
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
from shared.tasks.protocol import (
    acquisition,
    attempt,
    cancellation,
    contract_copy,
    decisions,
    job_sync,
    request_decision,
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
from tests.model.left_out import LeftOut, Patch, check_violation, parameters
from tests.model.processes import OLD_TICK


def replace_builder(patch: Patch, name: str, builder: Callable[..., Any]) -> None:
    """Replace a builder of `write_messages` in each module that calls it."""
    for module in (write_messages, run_writes, operator_writes, watchdog_writes):
        if hasattr(module, name):
            patch.setattr(module, name, builder)


def owning_a_task_by_token_alone(patch: Patch) -> None:
    """An attempt identifies its task by the token alone, regardless of the state."""
    for module in (decisions, acquisition, attempt):
        patch.setattr(module, "is_own", lambda task, token: task.token == token)


def adopting_any_record(patch: Patch) -> None:
    """An attempt adopts any run record that it reads with its own status document."""
    patch.setattr(attempt, "is_own_record", lambda run, _token: run is not None)


def adopting_an_ended_record(patch: Patch) -> None:
    """An attempt identifies its run record by the token alone, regardless of the state."""
    patch.setattr(attempt, "is_own_record", lambda run, token: run is not None and run.token == token)


def skipping_because_of_a_cached_document(patch: Patch) -> None:
    """An instance skips a tick because of its cached status document."""
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


def giving_up_after_a_refused_commit(patch: Patch) -> None:
    """A delivery gives up when a commit that is based on the cached document fails."""
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
    """An outcome that needs another delivery is answered with a 2xx status."""

    def answers(patch: Patch) -> None:
        patch.setitem(answering.HTTP_STATUSES, outcome, 200)

    answers.__name__ = f"success_for_{outcome}"
    return answers


def skipping_its_own_run(patch: Patch) -> None:
    """A delivery is skipped because an attempt of the same run holds the task."""
    decide = decisions.decide_start

    def decides(task: Any, run: Any, **how: Any) -> Any:
        decided = decide(task, run, **how)
        return Skip("overlap", task.run_id) if isinstance(decided, Busy) else decided

    patch.setattr(acquisition, "decide_start", decides)


def skipping_without_a_record(patch: Patch) -> None:
    """A skip is not recorded."""

    def records(_attempt: Attempt, _decision: Any, _until: float) -> Any:
        yield from ()

    patch.setattr(acquisition, "_record_skip", records)


def settling_without_the_run_record(patch: Patch) -> None:
    """Only the status document decides whether a write was applied."""
    end_state, close = decisions.end_state, run_end._close_superseded

    def closes(attempt: Attempt, run: Any) -> Any:
        return (yield from close(attempt, replace(run, state="failed") if run is not None else None))

    patch.setattr(run_end, "end_state", lambda task, _run, **how: end_state(task, None, **how))
    patch.setattr(run_end, "_close_superseded", closes)


def removing_an_object_without_a_record(patch: Patch) -> None:
    """An object is removed although its run record no longer exists."""

    def closes(attempt: Attempt, run: Any) -> Any:
        if run is not None and run.token == attempt.identity.token and run.state == "running":
            now = attempt.clock.now()
            yield Commit(run_writes.close_superseded(attempt.identity.record_name, run, now=now))
        attempt.is_object_unused = True

    patch.setattr(run_end, "_close_superseded", closes)


def removing_before_closing(patch: Patch) -> None:
    """A superseded attempt removes its object before it closes its record."""

    def closes(attempt: Attempt, _run: Any) -> Any:
        attempt.is_object_unused = True
        yield from ()

    patch.setattr(run_end, "_close_superseded", closes)


def removing_after_a_failed_read(patch: Patch) -> None:
    """An attempt removes its object when its final commit failed and it cannot read the outcome."""
    settle = run_end._resolve_end

    def settles(attempt: Attempt, *how: Any) -> Any:
        found = yield from settle(attempt, *how)
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


def copying_only_once(patch: Patch) -> None:
    """A copy that failed because of a concurrent writer is not repeated."""
    patch.setattr(contract_copy, "COPY_TRIES", 1)


def watchdog_reads_the_status_first(patch: Patch) -> None:
    """The watchdog reads the status document before the run records."""

    def watches(names: Any, spec: Any, _found: Any, *, now: Any, deadline: Any, token: str) -> Any:
        del deadline, token
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


def watchdog_closes_without_a_precondition(patch: Patch) -> None:
    """The watchdog closes a run record without a precondition on its update time."""
    close = write_messages.close_record
    replace_builder(patch, "close_record", lambda *what, **_on: close(*what))


def removing_by_age_alone(patch: Patch) -> None:
    """An object that no result points to is removed although an attempt may still publish it."""

    def superseded_at(path: str, _token: str, created: Any, task: Any, _run: Any) -> Any:
        yield from ()
        return None if task.result is not None and task.result.path == path else created

    patch.setattr(retention, "_superseded_at", superseded_at)


def removing_a_current_result(patch: Patch) -> None:
    """Only the run records decide whether an object is still a result."""
    superseded_at = retention._superseded_at

    def ignoring(path: str, token: str, created: Any, task: Any, run: Any) -> Any:
        return (yield from superseded_at("" if run is None else path, token, created, task, run))

    patch.setattr(retention, "_superseded_at", ignoring)


def _without_reading_the_status_again(patch: Patch, refuses: Callable[[Any], bool]) -> None:
    """Do not read the status document again; refuse an object only by the version in its metadata."""
    by_contract = reading._read_by_contract

    def reads(task: Any, document: Any, data: Any, most: Any) -> Any:
        if not isinstance(data, str):
            return (yield from by_contract(task, document, data, most))
        payload = yield from reading._read_content(contract_object(task), most)
        _, mark = yield ReadMetadata(contract_object(task))
        return None if refuses(mark) else payload or Payload(NO_RESULT)

    patch.setattr(reading, "_read_by_contract", reads)


def taking_a_contract_copy_for_a_legacy_result(patch: Patch) -> None:
    """Any object at the contract's path is taken for the legacy result."""
    _without_reading_the_status_again(patch, lambda _: False)


def trusting_the_version_in_metadata_alone(patch: Patch) -> None:
    """An object without a version is taken for the result in the status document."""
    _without_reading_the_status_again(patch, lambda mark: mark is not None)


def version_from_another_read(patch: Patch) -> None:
    """The version is read after the result, in a separate read."""
    reads = processes.read_result

    def reads_apart(task: Any) -> Any:
        found = yield from reads(task)
        document = yield ReadVersion()
        return replace(found, document=document, version=document.result_version)

    patch.setattr(processes, "read_result", reads_apart)


def reading_a_missing_object_as_empty(patch: Patch) -> None:
    """A missing object is read as an empty result."""
    value = reading._read_value

    def reads(task: Any, document: Any, data: Any, most: Any) -> Any:
        return (yield from value(task, document, data, most)) or Payload(NO_RESULT)

    patch.setattr(reading, "_read_value", reads)


def reading_a_copy_of_any_version(patch: Patch) -> None:
    """The contract copy replaces a missing result object, regardless of its version."""

    def reads(task: Any, version: Any, read: Any) -> Any:
        return (yield read)

    patch.setattr(reading, "_read_copy", reads)


def checking_a_copy_only_before_the_read(patch: Patch) -> None:
    """The contract copy's version is checked only before the read."""

    def reads(task: Any, version: Any, read: Any) -> Any:
        _, mark = yield ReadMetadata(read.path)
        return (yield read) if mark == version else None

    patch.setattr(reading, "_read_copy", reads)


def writing_without_preconditions(patch: Patch) -> None:
    """Writes to the status document have no precondition."""
    write_to = write_messages.write_document

    def unconditional(name: str, fields: Any, **how: Any) -> Any:
        if not isinstance(how.get("precondition"), bool):
            how["precondition"] = None
        return write_to(name, fields, **how)

    replace_builder(patch, "write_document", unconditional)


def overwriting_the_document_at_the_start(patch: Patch) -> None:
    """A start overwrites the whole status document."""
    patch.setattr(processes, "OPTIONS", ExecuteTaskOptions(lease_seconds=60, keep_last_result=False))


def running_a_completed_run_again(patch: Patch) -> None:
    """A run starts again although its record is completed."""
    decide = decisions.decide_start

    def decides(task: Any, run: Any, **how: Any) -> Any:
        decided = decide(task, run, **how)
        if isinstance(decided, Duplicate):
            return Start(run.attempt + 1, record_precondition=run.update_time)
        return decided

    patch.setattr(acquisition, "decide_start", decides)


def ending_a_run_without_regard_to_a_suspension(patch: Patch) -> None:
    """A run overwrites the status at its end although its task was suspended meanwhile."""
    for name in ("complete", "fail"):
        write = getattr(run_writes, name)
        patch.setattr(
            run_writes, name, lambda *what, write=write, **how: write(*what, **{**how, "suspended": False})
        )


def keeping_the_cancel_at_the_next_start(patch: Patch) -> None:
    """The start of a run keeps the cancel of the previous run."""
    start = run_writes.start

    def starts(*what: Any, **how: Any) -> Any:
        status, *others = start(*what, **how)
        if "run.cancel" in status.update_mask.field_paths:
            status.update_mask.field_paths.remove("run.cancel")
        return [status, *others]

    patch.setattr(run_writes, "start", starts)


def publishing_a_cancelled_run(patch: Patch) -> None:
    """A cancelled run publishes its result."""
    cancel, recorded_failure = Attempt.cancel, Attempt.recorded_failure

    def records(self: Attempt, failure: Any) -> Any:
        with patch.context() as as_it_was:
            as_it_was.setattr(Attempt, "cancel", cancel)
            return recorded_failure(self, failure)

    patch.setattr(Attempt, "recorded_failure", records)
    patch.setattr(Attempt, "cancel", None)


def recording_the_error_of_a_cancelled_task(patch: Patch) -> None:
    """A cancelled run records the error of its task."""
    patch.setattr(Attempt, "recorded_failure", lambda _self, failure: failure)


def keeping_the_error_of_a_failed_run(patch: Patch) -> None:
    """A failed run keeps its error when it is cancelled."""
    cancel = operator_writes.cancel_ended

    def cancels(*what: Any, **how: Any) -> Any:
        commit = cancel(*what, **how)
        for write in commit:
            kept = [path for path in write.update_mask.field_paths if not path.startswith("error")]
            write.update_mask.field_paths[:] = kept
        return commit

    patch.setattr(operator_writes, "cancel_ended", cancels)


def closing_a_cancelled_run_as_dead(patch: Patch) -> None:
    """A dead run is closed with the ordinary error although it was cancelled."""
    replace_builder(patch, "cause_of", lambda _cancel, kind, reason: (kind, reason))


def trusting_a_torn_read(patch: Patch) -> None:
    """The status document and the run record are assumed to come from one moment."""
    outcome_of = cancellation._outcome_of
    patch.setattr(
        cancellation, "_outcome_of", lambda *what, **how: outcome_of(*what, **{**how, "unchanged": True})
    )


def starting_a_cancelled_run_again(patch: Patch) -> None:
    """A cancelled run is retried like any other failed run."""
    decide = decisions.decide_start

    def decides(task: Any, run: Any, **how: Any) -> Any:
        return decide(task, replace(run, cancel=None) if run else None, **how)

    patch.setattr(acquisition, "decide_start", decides)


def without_status_precondition(name: str) -> Callable[[Patch], None]:
    """A cancel or a request is written without a precondition on the status document."""

    def left_out(patch: Patch) -> None:
        write = getattr(operator_writes, name)

        def unconditional(*what: Any, **how: Any) -> Any:
            commit = write(*what, **how)
            commit[0].ClearField("current_document")
            return commit

        patch.setattr(operator_writes, name, unconditional)

    left_out.__name__ = f"{name}_without_status_precondition"
    return left_out


def cancelling_a_failed_run_without_precondition(patch: Patch) -> None:
    """A cancel of a failed run is written without preconditions."""
    cancel = operator_writes.cancel_ended

    def unconditional(*what: Any, **how: Any) -> Any:
        commit = cancel(*what, **how)
        for write in commit:
            write.ClearField("current_document")
        return commit

    patch.setattr(operator_writes, "cancel_ended", unconditional)


def cancelling_in_the_status_document_alone(patch: Patch) -> None:
    """A cancel is not written to the run record."""
    cancel = operator_writes.cancel
    patch.setattr(operator_writes, "cancel", lambda *what, **how: cancel(*what, **how)[::2])


def changing_the_job_without_reading_the_document_again(patch: Patch) -> None:
    """A process changes the job although other processes changed the document meanwhile."""

    def follows(names: Any, **_: Any) -> Any:
        task, _ = yield ReadDocuments()
        yield SetJob(job_sync._required(task))
        done = watchdog_writes.note_job(names, task, None)
        done[0].ClearField("current_document")
        yield Commit(done)

    patch.setattr(suspension, "follow_document", follows)


def removing_the_job_note_too_early(patch: Patch) -> None:
    """A process removes the job note at its end although calls of other processes may still arrive."""
    patch.setattr(job_sync, "MAX_CALL_TIME", timedelta(0))


def changing_the_document_without_a_requested_job_state(patch: Patch) -> None:
    """The document is changed without the job's requested state."""
    for name in ("suspend", "resume"):
        write = getattr(operator_writes, name)
        patch.setattr(
            operator_writes, name, lambda *what, write=write, **how: write(*what, **{**how, "job": None})
        )


def ending_a_suspension_without_a_note(patch: Patch) -> None:
    """The watchdog resumes a task without the job's requested state, and dies before it enables the job."""
    end = suspension.end_suspension
    patch.setattr(processes, "end_suspension", lambda *what, **how: end(*what, **{**how, "has_job": False}))


def matching_a_request_with(**differently: Any) -> Callable[[Patch], None]:
    """A delivery is matched with a request by fewer criteria."""

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

    answers.__name__ = f"matching_a_request_with_another_{'_'.join(differently)}"
    return answers


def taking_a_tick_for_a_requested_run(patch: Patch) -> None:
    """A tick shortly after a request is taken for the requested run."""
    for module in (request_decision, acquisition):
        patch.setattr(module, "is_forced", lambda *_, **__: True)


def relying_on_a_cached_document_without_a_request(patch: Patch) -> None:
    """A delivery that may answer a request relies on the cached document."""
    may_be, acquire = acquisition._may_be_requested, acquisition.acquire
    patch.setattr(acquisition, "_may_be_requested", lambda own, task: task != own.last and may_be(own, task))

    def acquires(attempt: Attempt, remembered: Any, *, deadline: float) -> Any:
        attempt.last = remembered
        return (yield from acquire(attempt, remembered, deadline=deadline))

    patch.setattr(Attempt, "last", None, raising=False)
    patch.setattr(processes, "acquire", acquires)


def running_a_request_twice(patch: Patch) -> None:
    """A delivery does not answer the request of a run that has completed."""
    rule = acquisition.answers_request
    patch.setattr(
        acquisition,
        "answers_request",
        lambda request, run, **how: not (run and run.state == "completed") and rule(request, run, **how),
    )


def replacing_an_unanswered_request(patch: Patch) -> None:
    """A request replaces an unanswered one."""
    patch.setattr(requested_runs, "REQUEST_WINDOW", timedelta(0))


def ignoring_an_earlier_request(patch: Patch) -> None:
    """A delivery for an earlier request answers no request after a new request."""
    patch.setattr(requested_runs, "_since", lambda _last, _run, now: now)


OWN = "a run is its own by token and state"
RECORD = "a run record's version is adopted by its own token and state"
MEMORY = "memory may lead only to a commit"
ANSWERS = "2xx only for ticks that need no further delivery"
SETTLE = "both documents are read again, the run record is closed first, the object removed last"
CONTRACT_COPY = "metadata read, then the status document, written on that generation, repeated"
CLOSE = "a run record is read before the status document, and closed on its update time"
OBJECTS = "current and possible result objects are not removed"
READING = "an object at the contract's path with a version is not a legacy result"
TOGETHER = "a result and its version come from one read; a missing object is not an empty result"
COPY = "the contract copy replaces a missing result object only with the same version"
OBJECTS_REPLACED = "read while old results and their copy are replaced"
CONDITIONS = "every write is conditional, completed is final, a suspension stays"
REPLACED = "a result is replaced, never removed"

CANCEL = "a cancel affects only its run, which neither publishes nor starts again"
REPORTED = "all documents of a cancelled run contain the cancellation"

REQUEST = "the deliveries that a request caused answer it as one run"

FOLLOWS = "Cloud Scheduler's job follows the document"

LEFT_OUT: list[LeftOut] = [
    (OWN, owning_a_task_by_token_alone, "one run, watched", "published without holding the task"),
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
    (
        MEMORY,
        skipping_because_of_a_cached_document,
        "a warm instance, suspended and resumed",
        "but nothing blocked it",
    ),
    (
        MEMORY,
        giving_up_after_a_refused_commit,
        "a warm instance",
        r"\(duplicate\), but its run is not completed",
    ),
    (ANSWERS, success_for("superseded"), "two ticks, watched", "but its run is not completed"),
    (ANSWERS, success_for("lost"), "one run, watched", "but its run is not completed"),
    (ANSWERS, success_for("failed"), "one run, watched", "but its run is not completed"),
    (ANSWERS, success_for("busy"), "one tick delivered twice, a death", "but its run is not completed"),
    (ANSWERS, skipping_its_own_run, "one tick delivered twice, a death", "but nothing blocked it"),
    (ANSWERS, skipping_without_a_record, "two ticks", "but no record contains it"),
    (SETTLE, settling_without_the_run_record, "two ticks, a fault", "object was removed"),
    (SETTLE, removing_an_object_without_a_record, "TTL", "object was removed"),
    (SETTLE, removing_before_closing, "two ticks, a torn read", "object was removed"),
    (SETTLE, removing_after_a_failed_read, "one run, two faults", "object was removed"),
    (
        CONTRACT_COPY,
        copying_from_an_earlier_read,
        "two ticks",
        "the contract copy is not the last good result",
    ),
    (CONTRACT_COPY, copying_only_once, "two ticks", "the contract copy is not the last good result"),
    (CLOSE, watchdog_reads_the_status_first, "two ticks, watched", "closed the record of a running run"),
    (
        CLOSE,
        watchdog_closes_without_a_precondition,
        "handed over to the legacy writer and back",
        "completed but changed afterwards",
    ),
    (OBJECTS, removing_by_age_alone, "one run, watched", "the result points to no object"),
    (OBJECTS, removing_a_current_result, "TTL", "object was removed"),
    (
        READING,
        taking_a_contract_copy_for_a_legacy_result,
        "handed over from the legacy writer",
        "reader got a.t1 as original",
    ),
    (READING, trusting_the_version_in_metadata_alone, "the legacy writer alone", "reader got o2 as original"),
    (TOGETHER, version_from_another_read, "read while tasks run", "reader got .* as a.t1, of"),
    (TOGETHER, reading_a_missing_object_as_empty, OBJECTS_REPLACED, r"reader got \[\] as a.t1"),
    (COPY, reading_a_copy_of_any_version, OBJECTS_REPLACED, r"reader got .* as a.t1"),
    (COPY, checking_a_copy_only_before_the_read, OBJECTS_REPLACED, r"reader got .* as a.t1"),
    (CONDITIONS, writing_without_preconditions, "two ticks, watched", "was completed but changed afterwards"),
    (
        CONDITIONS,
        running_a_completed_run_again,
        "one tick delivered twice, a death",
        "but changed afterwards",
    ),
    (
        CONDITIONS,
        without_status_precondition("resume"),
        "suspended until a time, and again",
        "watchdog undid a suspension",
    ),
    (CONDITIONS, ending_a_run_without_regard_to_a_suspension, "suspended and resumed", "undid a suspension"),
    (CANCEL, keeping_the_cancel_at_the_next_start, "one of two ticks is cancelled", "a cancel hits b"),
    (CANCEL, publishing_a_cancelled_run, "a run is cancelled", "a was published after"),
    (CANCEL, starting_a_cancelled_run_again, "a cancelled tick is delivered again", "a was started again"),
    (
        CANCEL,
        without_status_precondition("cancel"),
        "a warm instance, cancelled",
        "not the run that it names",
    ),
    (
        CANCEL,
        starting_a_cancelled_run_again,
        "a failed tick is cancelled",
        "a was started again",
    ),
    (
        CANCEL,
        cancelling_a_failed_run_without_precondition,
        "a failed tick is cancelled",
        "had not failed",
    ),
    (CANCEL, cancelling_in_the_status_document_alone, "a run is cancelled", "but no document contains it"),
    (CANCEL, trusting_a_torn_read, "a run is cancelled, a torn read", "may be started again"),
    (
        REPORTED,
        recording_the_error_of_a_cancelled_task,
        "a run is cancelled",
        "a was cancelled, but its errors are",
    ),
    (
        REPORTED,
        keeping_the_error_of_a_failed_run,
        "a failed tick is cancelled",
        "a was cancelled, but its errors are",
    ),
    (
        REPORTED,
        closing_a_cancelled_run_as_dead,
        "a cancelled tick is delivered again",
        "a was cancelled, but its errors are",
    ),
    (
        REQUEST,
        matching_a_request_with(since=lambda _: OLD_TICK),
        "a run is requested beside an old tick",
        "delivered for a tick",
    ),
    (
        REQUEST,
        matching_a_request_with(is_done=lambda _: False),
        "a run is requested shortly before a tick",
        "no delivery answered",
    ),
    (
        REQUEST,
        taking_a_tick_for_a_requested_run,
        "a run is requested shortly before a tick",
        "delivered for a tick",
    ),
    (REQUEST, relying_on_a_cached_document_without_a_request, "a run is requested", "a separate run"),
    (REQUEST, running_a_request_twice, "a run is requested", "a separate run"),
    (REQUEST, replacing_an_unanswered_request, "two people request a run", "no delivery answered"),
    (REQUEST, without_status_precondition("request"), "two people request a run", "no delivery answered"),
    (
        REQUEST,
        ignoring_an_earlier_request,
        "a run is requested when another has failed",
        "a separate run",
    ),
    (
        FOLLOWS,
        changing_the_job_without_reading_the_document_again,
        "suspended and resumed, with the job",
        "nothing failed, but the job is",
    ),
    (FOLLOWS, ending_a_suspension_without_a_note, "suspended until a time, with the job", "but the job is"),
    (FOLLOWS, removing_the_job_note_too_early, "suspended and resumed, a death", "the watchdog has passed"),
    (
        FOLLOWS,
        changing_the_document_without_a_requested_job_state,
        "suspended and resumed, a death",
        "the watchdog has passed",
    ),
    (REPLACED, overwriting_the_document_at_the_start, "two ticks", "a result turned into nothing"),
]


@pytest.mark.parametrize(("left_out", "configuration", "violation"), parameters(LEFT_OUT))
def test_each_rule_left_out_causes_a_violation(
    left_out: Callable[[Patch], None], configuration: str, violation: str, monkeypatch: Patch
) -> None:
    left_out(monkeypatch)
    check_violation(SMALL[configuration], violation)
