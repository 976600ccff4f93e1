"""Task views: what the status documents contain except results, for people to read.

Decisions never use these types. A field is None if the engine writes no value of its type. A run that waits
for its next leg has the state "running" here, and `waiting_since`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.tasks.admin.records import RunProgress, outcome_of, shown_state
from shared.tasks.admin.retries import NextAttempt, attempt_after_failure, attempt_of_leg, retries_end
from shared.tasks.contract import SUSPENDED_SPELLINGS, TaskName, TaskStatus
from shared.tasks.documents.actions import Action, Suspension
from shared.tasks.documents.codec import as_text
from shared.tasks.documents.legs import WAITING, grace
from shared.tasks.documents.result_pointer import SAVED_BY_CONTRACT, ResultPointer
from shared.tasks.documents.write_messages import LEASE_EXPIRED
from shared.tasks.protocol.job_sync import problem_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.tasks.documents.checkpoints import Checkpoint
    from shared.tasks.documents.models import TaskDocument

#: Fields of the status document that a view needs: never `data`, which may be a mebibyte.
STATUS_MASK = ("source", "status", "started", "completed", "timestamp", "error", "run")


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task's state without its result.

    Attributes:
        name: The task.
        document: The status document.
        source: Caller of the last run; None if there was none.
        error: Error of the last run; None if it did not fail.
        progress: Progress of the running run; None if it reported none.
        checkpoint: What the running run has persisted; None if nothing.
        last_failure: Type and message of the failure after which the running run waits for the same leg.
    """

    name: TaskName
    document: TaskDocument
    source: str | None = None
    error: str | None = None
    progress: RunProgress | None = None
    checkpoint: Checkpoint | None = None
    last_failure: dict[str, str] | None = None

    @classmethod
    def parse(cls, name: TaskName, values: Mapping[str, object], document: TaskDocument) -> TaskView:
        """Return the view of a status document, from its decoded fields."""
        return cls(name, document, as_text(values.get("source")), as_text(values.get("error")) or None)

    @property
    def state(self) -> str | None:
        """State of the last run, whether or not the task is suspended; None if there was none."""
        if self.document.state is not None:
            return shown_state(self.document.state)
        return None if self.document.status in SUSPENDED_SPELLINGS else self.document.status

    @property
    def outcome(self) -> str | None:
        """The state, or `CANCELLED`; None if there was no run."""
        return outcome_of(self.state, self.document.cancel)

    @property
    def status(self) -> str | None:
        """The contract's status, spelled correctly; None if there was no run."""
        return "suspended" if self.document.is_suspended else self.document.status

    @property
    def suspended(self) -> Suspension | None:
        """Who suspended the task, while it is suspended; without a name if a legacy writer did."""
        if not self.document.is_suspended:
            return None
        return self.document.suspended or Suspension("", "", self.document.timestamp)

    @property
    def cancel(self) -> Action | None:
        """Who cancelled the running run, or the retries of the last one."""
        return self.document.cancel

    @property
    def requested(self) -> Action | None:
        """Who requested the last run; None if it was not requested."""
        if self.document.requested is not None:
            return self.document.requested
        request = self.document.request  # the start of an earlier version of this engine wrote no more
        if request is None or request.id != self.document.run_id:
            return None
        return request.action

    @property
    def retries_end(self) -> datetime | None:
        """When Cloud Scheduler's retries of the last run are over, UTC; None if it does not retry it."""
        document = self.document
        if self.state != TaskStatus.failed or document.completed is None or document.run_id is None:
            return None
        return retries_end(document.run_id, document.attempt, document.completed, document.legs)

    def next_attempt(self, now: datetime) -> NextAttempt | None:
        """Return the next attempt of the last run, which failed; None if there will be none."""
        document = self.document
        if self.waiting_since is not None and self.last_failure is not None and document.legs is not None:
            return attempt_of_leg(document.legs, document.attempt, self.waiting_since)
        # The deliveries of a suspended task are skipped.
        if self.outcome != TaskStatus.failed or document.is_suspended:
            return None
        if document.run_id is None or document.completed is None:
            return None
        died = (self.error or "").startswith(f"{LEASE_EXPIRED}:")
        return attempt_after_failure(
            document.run_id, document.attempt, document.completed, document.legs, died=died, now=now
        )

    @property
    def problem(self) -> str | None:
        """How the Cloud Scheduler job disagrees with the task; None if no disagreement is known."""
        return problem_of(self.document.job)

    @property
    def is_running(self) -> bool:
        """Whether a run of this engine is recorded as running, or waits for its next leg."""
        return self.document.run_id is not None and self.state == TaskStatus.running

    @property
    def waiting_since(self) -> datetime | None:
        """Since when the run has waited for its next leg, UTC; None if it does not wait."""
        lease_until = self.document.lease_until
        if self.document.state != WAITING or lease_until is None:
            return None
        return lease_until - grace(failed=self.last_failure is not None)

    @property
    def result(self) -> ResultPointer | None:
        """The last good result; None if the status document, read without `data`, shows none."""
        document = self.document
        if document.result is None and document.has_legacy_result and self.state == TaskStatus.completed:
            return ResultPointer(document.result_version, SAVED_BY_CONTRACT, completed=document.completed)
        return document.result
