"""Converts tasks and runs to the JSON that callables return (docs/api.md).

Times are RFC 3339 in UTC. Callers who may not read a task do not get its own texts: progress messages,
positions, errors and summaries. Callers without the role of an operator or viewer see that an operator acted,
but not who or why.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from shared.tasks import RunCancelled, spec_of, store
from shared.tasks.admin.queries import Position, view_tasks
from shared.tasks.cron import coming_ticks, next_tick, recent_ticks, ticks_after
from shared.tasks.documents.actions import WATCHDOG
from shared.tasks.documents.legs import grace
from shared.tasks.documents.run_ids import is_of_tick

if TYPE_CHECKING:
    from functions.authorization import Caller
    from shared.tasks import TaskName
    from shared.tasks.admin.records import Refusal, RunProgress, RunRecord
    from shared.tasks.admin.retries import NextAttempt
    from shared.tasks.admin.run_logs import RunLogView
    from shared.tasks.admin.views import TaskView
    from shared.tasks.documents.actions import Action, Suspension
    from shared.tasks.documents.checkpoints import Checkpoint
    from shared.tasks.documents.legs import Legs

#: Replaces an operator's name for callers who may not see it.
SOMEONE = "an operator"
_CANCELLED = RunCancelled.__name__
_CANCELLED_BY_SOMEONE = f"cancelled by {SOMEONE}"
#: Number of past ticks per task, enough to show how many runs a result is late.
RECENT_TICKS = 10
#: Characters of an error in a timeline.
TIMELINE_ERROR = 200
_TIMELINE_FIELDS = (
    *("id", "state", "outcome", "scheduled_for", "started", "completed", "duration_seconds", "attempt"),
    *("error", "reason", "by", "until", "holder", "requested", "refused"),
)


def task_fields(task: TaskView, caller: Caller, *, now: datetime) -> dict[str, Any]:
    """Return the fields of a task.

    Args:
        task: The task.
        caller: The caller; its rights decide which fields are empty.
        now: Current time, UTC.
    """
    spec, document = spec_of(task.name), task.document
    readable = caller.may_read(task.name)
    return {
        "name": task.name.value,
        "schedule": spec.schedule,
        "time_zone": spec.time_zone,
        "next_run": time_text(_next_run(task, now)),
        "recent_ticks": [time_text(tick) for tick in recent_ticks(spec, now, RECENT_TICKS)],
        "deadline_seconds": spec.deadline_seconds,
        "save_in": spec.save_in or "db",
        "max_age_seconds": spec.max_age_seconds,
        "readable": readable,
        "status": task.status,
        "state": task.state,
        "outcome": task.outcome,
        "source": task.source,
        "started": time_text(document.started),
        "completed": time_text(document.completed),
        "error": _error_text(task.error, caller) if readable else None,
        "run": _current_run(task, caller, readable=readable),
        "requested": _action(task.requested, caller),
        "retries": _retries(task, caller),
        "next_attempt": next_attempt_fields(task.next_attempt(now)),
        "suspended": _suspension(task.suspended, caller),
        "result": _last_good(task, readable=readable),
        "problem": task.problem,
    }


def task_now(name: TaskName, caller: Caller) -> dict[str, Any]:
    """Read a task and return its current fields."""
    (task,) = view_tasks(store, (name,))
    return task_fields(task, caller, now=datetime.now(UTC))


def run_fields(record: RunRecord, name: TaskName, caller: Caller, *, whole: bool = False) -> dict[str, Any]:
    """Return the fields of a document of the run history.

    Args:
        record: The document.
        name: The task.
        caller: The caller; its rights decide which fields are empty. Only operators and viewers get a
            traceback.
        whole: Whether to include the traceback and the summary.
    """
    readable, result = caller.may_read(name), record.result
    shows_trace = whole and may_see_log(caller, name)
    # Without a person, the reason is the engine's.
    shows_person = record.by in {None, WATCHDOG} or caller.has_role
    published = None
    if result is not None:
        published = {name: getattr(result, name) for name in ("version", "saved_in", "size_bytes", "count")}
        if whole and readable:
            published["summary"] = result.summary
    return {
        "id": record.id,
        "state": record.state,
        "outcome": record.outcome,
        "source": record.source,
        "scheduled_for": time_text(record.scheduled_for),
        "started": time_text(record.started),
        "completed": time_text(record.completed),
        "duration_seconds": record.duration_seconds,
        "attempt": record.attempt,
        "error": _failure(record.error, caller, readable=readable, shows_trace=shows_trace),
        "last_failure": _failure(record.last_failure, caller, readable=readable, shows_trace=shows_trace),
        "reason": record.reason if shows_person else None,
        "by": record.by if shows_person else SOMEONE,
        "until": time_text(record.until),
        "holder": record.holder,
        "progress": _progress(record.progress) if readable else None,
        "legs": _legs(record.legs, record.waiting_since, failed=record.last_failure is not None),
        "checkpoint": _checkpoint(record.checkpoint, readable=readable),
        "result": published,
        "requested": _action(record.requested, caller),
        "refused": _refused(record.refused),
        "expires": time_text(record.expires),
    }


def may_see_log(caller: Caller, name: TaskName) -> bool:
    """Return whether a caller may see a run's log and traceback, which may name operators."""
    return caller.has_role and caller.may_read(name)


def log_fields(log: RunLogView) -> dict[str, Any]:
    """Return the fields of a run's log."""
    lines = [
        {
            "attempt": line.attempt,
            "leg": line.leg,
            "number": line.number,
            "at": time_text(line.at),
            "level": line.level,
            "text": line.text,
        }
        for line in log.lines
    ]
    return {"lines": lines, "lost": log.lost, "lost_is_exact": log.lost_is_exact}


def ticks_to_come(name: TaskName, now: datetime) -> list[str | None]:
    """Return the ticks of a task's schedule in the next 25 hours, whether or not they are delivered."""
    return [time_text(tick) for tick in coming_ticks(spec_of(name), now)]


def timeline_run_fields(record: RunRecord, name: TaskName, caller: Caller) -> dict[str, Any]:
    """Return the fields of a document of the run history that a timeline shows, without those that are null.

    The arguments are those of `run_fields`. A missed tick has its time, and an error only its beginning.
    """
    every = run_fields(record, name, caller)
    fields = {key: every[key] for key in _TIMELINE_FIELDS if every[key] is not None}
    if record.state == "missed_tick" and record.holder is not None and is_of_tick(record.holder):
        fields["scheduled_for"] = record.holder
    if "error" in fields:
        fields["error"] = {key: text[:TIMELINE_ERROR] for key, text in fields["error"].items()}
    return fields


def time_text(moment: datetime | None) -> str | None:
    """Return a time in RFC 3339, UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def next_attempt_fields(attempt: NextAttempt | None) -> dict[str, Any] | None:
    """Return the fields of the next attempt of a run that failed; None if there is none."""
    if attempt is None:
        return None
    return {"number": attempt.number, "of": attempt.of, "at": time_text(attempt.at)}


def version_of(fields: object) -> str:
    """Return a version that is equal for equal fields."""
    encoded = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=9).hexdigest()


def cursor_of(position: Position | None) -> str | None:
    """Return a position in the run history as an opaque text for clients."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(f"{position.started.isoformat()} {position.id}".encode()).decode()


def position_of(cursor: str) -> Position | None:
    """Return the position of a cursor; None if `cursor_of` did not make it."""
    with suppress(ValueError, OverflowError):
        started, _, record_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        moment = datetime.fromisoformat(started)
        if moment.utcoffset() is not None and is_record_id(record_id):
            return Position(moment.astimezone(UTC), record_id)
    return None


def is_record_id(text: str) -> bool:
    """Return whether a document of the run history can have this id."""
    reserved = text.startswith("__") and text.endswith("__")  # ids that Firestore reserves
    fits = 0 < len(text) <= 200 and text.isprintable() and "/" not in text
    return fits and not reserved and text.strip(".") != ""


def _next_run(task: TaskView, now: datetime) -> datetime | None:
    """Return the task's next tick that Cloud Scheduler delivers: after a suspension, if its end is known."""
    spec = spec_of(task.name)
    if task.problem is not None:
        return None
    if task.suspended is None:
        return next_tick(spec, now)
    if task.suspended.until is None:
        return None
    return next(ticks_after(spec, max(now, task.suspended.until)), None)


def _current_run(task: TaskView, caller: Caller, *, readable: bool) -> dict[str, Any] | None:
    document = task.document
    if not task.is_running:
        return None
    return {
        "id": document.run_id,
        "attempt": document.attempt,
        "started": time_text(document.started),
        "lease_until": time_text(document.lease_until),
        "progress": _progress(task.progress) if readable else None,
        "legs": _legs(document.legs, task.waiting_since, failed=task.last_failure is not None),
        "checkpoint": _checkpoint(task.checkpoint, readable=readable),
        "last_failure": _failure(task.last_failure, caller, readable=readable),
        "cancel": _action(task.cancel, caller),
    }


def _retries(task: TaskView, caller: Caller) -> dict[str, Any] | None:
    """Return the failed run that Cloud Scheduler may deliver again, and who cancelled these deliveries."""
    if task.retries_end is None:
        return None
    return {
        "id": task.document.run_id,
        "until": time_text(task.retries_end),
        "cancel": _action(task.cancel, caller),
    }


def _last_good(task: TaskView, *, readable: bool) -> dict[str, Any] | None:
    result = task.result
    if result is None:
        return None
    return {
        "version": result.version,
        "run_id": result.run_id,
        "completed": time_text(result.completed),
        "saved_in": result.saved_in,
        "size_bytes": result.size_bytes,
        "count": result.count,
        "summary": result.summary if readable else None,
    }


def _progress(progress: RunProgress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    return {
        "done": progress.done,
        "total": progress.total,
        "message": progress.message,
        "at": time_text(progress.at),
    }


def _legs(legs: Legs | None, waiting_since: datetime | None, *, failed: bool) -> dict[str, Any] | None:
    """Return where a long run is, and when the leg is expected that it waits for, which may have `failed`."""
    if legs is None:
        return None
    return {
        "number": legs.number,
        "deadline": time_text(legs.deadline),
        "tries": legs.tries,
        "worked_seconds": legs.worked_ms / 1000,
        "waiting_since": time_text(waiting_since),
        "expected_by": time_text(waiting_since and waiting_since + grace(failed=failed)),
    }


def _checkpoint(checkpoint: Checkpoint | None, *, readable: bool) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    positions = checkpoint.positions if readable else {}
    return {"steps": checkpoint.steps, "parts": checkpoint.parts, "positions": positions}


def _failure(
    failure: dict[str, str] | None, caller: Caller, *, readable: bool, shows_trace: bool = False
) -> dict[str, str] | None:
    if failure is None or shows_trace:
        return failure
    shown = {"type": failure.get("type", ""), "message": failure.get("message", "") if readable else ""}
    if shown["type"] == _CANCELLED and shown["message"] and not caller.has_role:
        shown["message"] = _CANCELLED_BY_SOMEONE
    return shown


def _refused(refusal: Refusal | None) -> dict[str, Any] | None:
    if refusal is None:
        return None
    return {
        "count": refusal.count,
        "reason": refusal.reason,
        "at": time_text(refusal.at),
        "again": time_text(refusal.next_delivery),
    }


def _action(action: Action | None, caller: Caller) -> dict[str, Any] | None:
    if action is None:
        return None
    by, reason = (action.by, action.reason) if caller.has_role else (SOMEONE, "")
    return {"by": by, "reason": reason, "at": time_text(action.at)}


def _suspension(suspension: Suspension | None, caller: Caller) -> dict[str, Any] | None:
    action = _action(suspension, caller)
    if action is None or suspension is None:
        return None
    return {**action, "until": time_text(suspension.until)}


def _error_text(error: str | None, caller: Caller) -> str | None:
    """Return the contract's field `error`, which may contain the name and reason of an operator."""
    if error is None or caller.has_role or not error.startswith(f"{_CANCELLED}:"):
        return error
    return f"{_CANCELLED}: {_CANCELLED_BY_SOMEONE}"
