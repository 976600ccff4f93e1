"""The model finds a violation if any rule of long runs is left out."""

import dataclasses
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from shared.tasks.documents import checkpoint_writes, leg_writes, watchdog_writes
from shared.tasks.documents.checkpoints import Changes, next_checkpoint
from shared.tasks.documents.legs import WAITING
from shared.tasks.errors import LegQueueUnavailable, WriteUnknown
from shared.tasks.protocol import acquisition, checkpoint, decisions, retention, watchdog
from shared.tasks.protocol import legs as protocol_legs
from shared.tasks.protocol.attempt import Attempt
from shared.tasks.protocol.decisions import Duplicate, ResendLeg, Skip, Start
from shared.tasks.protocol.effects import Commit, DeliverLeg, ReadDocuments, ReadSteps
from tests.model import long_runs
from tests.model.left_out import LeftOut, Patch, check_violation, parameters
from tests.model.leg_configurations import SMALL_LEGS
from tests.model.positions import Script


def holding_a_task_by_the_lease_alone(patch: Patch) -> None:
    """A long run holds its task only while an attempt has a lease."""
    holder = decisions.living_holder
    patch.setattr(
        decisions, "living_holder", lambda document, **how: holder(replace(document, legs=None), **how)
    )


def moving_the_deadline(patch: Patch) -> None:
    """The deadline is computed again when a leg takes the task."""
    take = acquisition._commit_take

    def takes(attempt: Attempt, decision: Any, document: Any) -> Any:
        deadline = attempt.clock.now() + timedelta(seconds=attempt.options.deadline_seconds)
        moved = dataclasses.replace(decision, legs=replace(decision.legs, deadline=deadline))
        return (yield from take(attempt, moved, document))

    patch.setattr(acquisition, "_commit_take", takes)


def skipping_a_leg_of_a_suspended_task(patch: Patch) -> None:
    """A leg is skipped while its task is suspended."""
    decide = acquisition.decide_leg

    def decides(document: Any, record: Any, **how: Any) -> Any:
        return Skip("suspended") if document.is_suspended else decide(document, record, **how)

    patch.setattr(acquisition, "decide_leg", decides)


def waiting_as_if_running(patch: Patch) -> None:
    """A run that waits has the state of one that is at work."""
    patch.setattr(leg_writes, "WAITING", "running")


def waiting_without_a_precondition(patch: Patch) -> None:
    """A hand-over does not depend on the version of the status document."""
    _changing_the_wait(patch, lambda writes: writes[0].ClearField("current_document"))


def waiting_in_the_status_document_alone(patch: Patch) -> None:
    """A hand-over does not write the run record."""
    _changing_the_wait(patch, lambda writes: writes.pop())


def _changing_the_wait(patch: Patch, change: Callable[[list[Any]], object]) -> None:
    wait = leg_writes.wait

    def waits(*what: Any, **how: Any) -> Any:
        writes = wait(*what, **how)
        change(writes)
        return writes

    patch.setattr(leg_writes, "wait", waits)


def delivering_a_leg_before_the_run_waits(patch: Patch) -> None:
    """The Cloud Task is created before the commit that makes the run wait."""
    hand_over = protocol_legs.hand_over

    def hands_over(attempt: Attempt, *, number: int, **how: Any) -> Any:
        yield DeliverLeg(attempt.identity.run_id, number, attempt.document.legs.creation + 1)
        return (yield from hand_over(attempt, number=number, **how))

    patch.setattr(long_runs, "hand_over", hands_over)


def answering_before_the_next_leg_is_known_to_be_delivered(patch: Patch) -> None:
    """A hand-over succeeds although Cloud Tasks did not answer."""
    deliver = protocol_legs.deliver

    def delivers(*what: Any, **how: Any) -> Any:
        try:
            yield from deliver(*what, **how)
        except LegQueueUnavailable:
            return

    patch.setattr(long_runs, "deliver", delivers)


def not_delivering_the_awaited_leg_again(patch: Patch) -> None:
    """A delivery of an earlier leg does not create the Cloud Task of the leg that the run waits for."""

    def declines(attempt: Attempt, decision: Any, deadline: float) -> Any:
        if not isinstance(decision, ResendLeg):
            yield from decline(attempt, decision, deadline)

    decline = acquisition._decline
    patch.setattr(acquisition, "_decline", declines)


def trusting_a_status_document_before_the_start(patch: Patch) -> None:
    """A run record in a later leg makes a tick a duplicate, although the status document lacks the run."""
    decide = decisions.decide_start

    def decides(document: Any, record: Any, **how: Any) -> Any:
        is_later = record is not None and record.legs is not None and record.legs.number > 1
        if is_later and document.run_id is None:
            return Duplicate()
        return decide(document, record, **how)

    patch.setattr(acquisition, "decide_start", decides)


def taking_the_wait_of_the_watchdog_for_its_own(patch: Patch) -> None:
    """An attempt takes any later wait of its run for its own hand-over."""

    def awaited(document: Any, held: Any, run_id: str, _token: str) -> Any:
        waits = document.run_id == run_id and document.state == WAITING
        return document.legs if waits and document.legs.creation > held.creation else None

    patch.setattr(protocol_legs, "_awaited_leg", awaited)


def sharing_a_token(patch: Patch) -> None:
    """Two deliveries of one leg have the same token."""
    identity_of = long_runs.AttemptIdentity

    def identity(names: Any, run_id: str, token: str, *what: Any, leg: int | None = None) -> Any:
        shared = token if leg is None else "shared"
        return identity_of(names, run_id, shared, *what, leg=leg)

    patch.setattr(long_runs, "AttemptIdentity", identity)
    patch.setattr(Script, "tokens", property(lambda self: {self.name.partition("/")[2], "shared"}))


def reopening_a_failed_run(patch: Patch) -> None:
    """A delivered leg continues a run that has failed."""
    decide = decisions.decide_leg

    def decides(document: Any, record: Any, **how: Any) -> Any:
        state = WAITING if document.state == "failed" else document.state
        return decide(replace(document, state=state), record, **how)

    patch.setattr(acquisition, "decide_leg", decides)


def starting_a_long_run_again(patch: Patch) -> None:
    """A tick is delivered again after its run has failed in a later leg, and starts it again."""
    decide = decisions.decide_start

    def decides(document: Any, record: Any, **how: Any) -> Any:
        failed = record is not None and record.state == "failed"
        return decide(document, replace(record, legs=None) if failed else record, **how)

    patch.setattr(acquisition, "decide_start", decides)


def taking_a_leg_like_a_start(patch: Patch) -> None:
    """A leg is taken with the writes of a start, which keep neither the start nor a suspension."""

    def takes(attempt: Attempt, take: Any, document: Any) -> Any:
        record = take.record
        start = Start(take.attempt, record.update_time, None, take.legs, record.checkpoint)
        yield from acquisition._commit_start(attempt, start, document)

    patch.setattr(acquisition, "_commit_take", takes)


def continuing_a_cancelled_run(patch: Patch) -> None:
    """A delivered leg of a cancelled run takes the task."""
    close = decisions.must_close

    def closes(document: Any, *what: Any, **how: Any) -> Any:
        return close(replace(document, cancel=None), *what, **how)

    for module in (decisions, protocol_legs):
        patch.setattr(module, "must_close", closes)


def failing_for_good_at_the_first_error(patch: Patch) -> None:
    """A leg that fails is not tried again."""
    patch.setattr(long_runs, "MAX_TRIES", 0)


def reading_positions_before_the_take(patch: Patch) -> None:
    """A leg reads what the run has persisted before it takes the task."""
    acquire = long_runs.acquire

    def acquires(attempt: Attempt, *what: Any, **how: Any) -> Any:
        attempt.early = yield ReadSteps(attempt.identity.run_id)  # type: ignore[attr-defined]
        return (yield from acquire(attempt, *what, **how))

    def reads(attempt: Attempt) -> Any:
        yield from ()
        return attempt.early  # type: ignore[attr-defined]

    patch.setattr(long_runs, "acquire", acquires)
    patch.setattr(long_runs, "read_saved", reads)


def persisting_without_a_precondition(patch: Patch) -> None:
    """A checkpoint does not depend on the version of the run record."""
    save = checkpoint_writes.save

    def saves(*what: Any, **how: Any) -> Any:
        writes = save(*what, **how)
        writes[0].ClearField("current_document")
        return writes

    patch.setattr(checkpoint_writes, "save", saves)


def persisting_on_any_record(patch: Patch) -> None:
    """An attempt makes its checkpoint on any run record that it reads with its own status document."""
    patch.setattr(Attempt, "update_time_of", lambda _self, record: record and record.update_time)


def persisting_the_position_before_the_part(patch: Patch) -> None:
    """The position of a cursor and its parts are persisted in two commits."""
    make = checkpoint.make_checkpoint

    def makes(attempt: Attempt, saved: Any, changes: Any, *, deadline: float) -> Any:
        yield from make(attempt, saved, replace(changes, parts=()), deadline=deadline)
        yield from make(attempt, saved, replace(changes, cursors=()), deadline=deadline)

    patch.setattr(long_runs, "make_checkpoint", makes)


def repeating_a_checkpoint_without_an_answer(patch: Patch) -> None:
    """A checkpoint is made again when its response was lost, after those that were applied."""
    make = checkpoint.make_checkpoint

    def makes(attempt: Attempt, saved: Any, changes: Any, *, deadline: float) -> Any:
        now, version = attempt.clock.now(), attempt.record_update_time
        first = next_checkpoint(attempt.checkpoint, saved, changes, f"{attempt.identity.token}.first")
        try:
            writes = checkpoint_writes.save(attempt.identity, version, first, changes, now=now)
            attempt.record_update_time = yield Commit(writes)
        except WriteUnknown:
            _, record = yield ReadDocuments(attempt.identity.run_id)
            attempt.record_update_time, attempt.checkpoint = record.update_time, record.checkpoint
            yield from make(attempt, saved, changes, deadline=deadline)
        else:
            attempt.checkpoint = first

    patch.setattr(long_runs, "make_checkpoint", makes)


def dropping_changes_that_are_in_doubt(patch: Patch) -> None:
    """A checkpoint does not repeat the changes of one that was given up."""
    patch.setattr(Changes, "followed_by", lambda _self, later: later)


def removing_parts_of_earlier_attempts(patch: Patch) -> None:
    """A part is removed like the object of an attempt that lost its task."""
    pattern = re.compile(r".*/(.+)\.([^.]+)\.[0-9]{6}\.part")

    def attempt_of(path: str) -> Any:
        found = pattern.fullmatch(path)
        return found and found.groups()

    patch.setattr(retention, "_run_of_part", lambda _path: None)
    patch.setattr(retention, "_attempt_of", attempt_of)


def failing_a_long_run_that_lost_its_process(patch: Patch) -> None:
    """The watchdog fails a long run like any other run."""

    def repairs(names: Any, document: Any, _found: Any, *, token: str, now: Any) -> Any:
        del token
        yield Commit(watchdog_writes.fail_dead(names, document, now=now))

    patch.setattr(watchdog, "_repair_dead", repairs)


def forgetting_a_run_that_waits(patch: Patch) -> None:
    """The watchdog looks only at runs that are at work."""
    is_dead = decisions.is_dead
    patch.setattr(
        watchdog, "is_dead", lambda document, **how: document.state != WAITING and is_dead(document, **how)
    )


def using_the_name_of_a_cloud_task_again(patch: Patch) -> None:
    """The Cloud Tasks of one leg have one name."""
    patch.setattr(
        protocol_legs, "DeliverLeg", lambda run_id, leg, _creation: DeliverLeg(run_id, leg, creation=0)
    )


def making_a_lost_leg_wait_without_a_cloud_task(patch: Patch) -> None:
    """The watchdog makes a lost leg wait, but creates no Cloud Task."""
    revive = protocol_legs.revive

    def revives(*what: Any, **how: Any) -> Any:
        procedure = revive(*what, **how)
        effect = next(procedure)
        while not isinstance(effect, DeliverLeg):
            result = yield effect
            try:
                effect = procedure.send(result)
            except StopIteration:
                return

    patch.setattr(watchdog, "revive", revives)


HELD = "a long run holds its task until it ends or its deadline passes"
HAND_OVER = "a run waits before its next leg is delivered, and success is answered after that"
LEG = "a leg is taken once, under a token of its own, and a failed leg is final"
CHECKPOINT = "a checkpoint is one commit on the run record, and is made once"
PARTS = "parts belong to the run"
LOST_LEG = "a lost leg is delivered again, under a new name"

DEATH = "a tick with legs, delivered twice, a death"
TORN = "a first leg, delivered twice, a torn read"
TWICE = "three legs, delivered twice"
WATCHED = "three legs, watched"

LEFT_OUT: list[LeftOut] = [
    (HELD, holding_a_task_by_the_lease_alone, "a long run and another tick", "took the task of the long run"),
    (HELD, moving_the_deadline, "three legs, a fault and a death", "moved the deadline"),
    (HELD, skipping_a_leg_of_a_suspended_task, "a long run is suspended", "skipped a leg"),
    (HAND_OVER, waiting_as_if_running, DEATH, "the task never ends"),
    (HAND_OVER, waiting_without_a_precondition, WATCHED, "completed but changed afterwards"),
    (HAND_OVER, waiting_in_the_status_document_alone, DEATH, "closed the record of a running run"),
    (HAND_OVER, delivering_a_leg_before_the_run_waits, DEATH, "its leg has not ended"),
    (
        HAND_OVER,
        answering_before_the_next_leg_is_known_to_be_delivered,
        "three legs, two faults",
        "no Cloud Task delivers leg",
    ),
    (HAND_OVER, not_delivering_the_awaited_leg_again, DEATH, "no Cloud Task delivers leg 2"),
    (
        HAND_OVER,
        trusting_a_status_document_before_the_start,
        "a tick with legs, delivered twice, a torn read",
        "no Cloud Task delivers leg 2",
    ),
    (HAND_OVER, taking_the_wait_of_the_watchdog_for_its_own, WATCHED, "its leg has not ended"),
    (LEG, sharing_a_token, TWICE, "two attempts of a succeeded"),
    (LEG, reopening_a_failed_run, "a first leg, watched", "reopened a run"),
    (LEG, starting_a_long_run_again, "a long run at its deadline", "reopened a run"),
    (LEG, taking_a_leg_like_a_start, "a long run is suspended", "undid a suspension"),
    (LEG, continuing_a_cancelled_run, "a long run is cancelled", "after an operator had cancelled it"),
    (LEG, failing_for_good_at_the_first_error, "a leg fails", "failed for no reason"),
    (CHECKPOINT, reading_positions_before_the_take, TWICE, "with the position"),
    (CHECKPOINT, persisting_without_a_precondition, WATCHED, "without holding the task"),
    (
        CHECKPOINT,
        persisting_on_any_record,
        "a first leg, delivered twice, a torn read",
        "without holding the task",
    ),
    (CHECKPOINT, persisting_the_position_before_the_part, "legs with checkpoints", "with the position"),
    (CHECKPOINT, repeating_a_checkpoint_without_an_answer, "legs with checkpoints", "with the position"),
    (CHECKPOINT, dropping_changes_that_are_in_doubt, "legs with late checkpoints", "failed for no reason"),
    (PARTS, removing_parts_of_earlier_attempts, WATCHED, "with the records"),
    (LOST_LEG, failing_a_long_run_that_lost_its_process, "a first leg, watched", "failed for no reason"),
    (LOST_LEG, forgetting_a_run_that_waits, "two legs, a delivery given up", "never ends"),
    (LOST_LEG, using_the_name_of_a_cloud_task_again, "two legs, a delivery given up", "never ends"),
    (LOST_LEG, making_a_lost_leg_wait_without_a_cloud_task, "two legs, a delivery given up", "never ends"),
]


@pytest.mark.parametrize(("left_out", "configuration", "violation"), parameters(LEFT_OUT))
def test_each_rule_of_legs_left_out_causes_a_violation(
    left_out: Callable[[Patch], None], configuration: str, violation: str, monkeypatch: Patch
) -> None:
    left_out(monkeypatch)
    check_violation(SMALL_LEGS[configuration], violation)
