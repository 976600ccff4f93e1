"""What people did to a task: maps of the status document and of records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from shared.tasks.documents.codec import as_text, as_time

if TYPE_CHECKING:
    from datetime import datetime

#: Name of the watchdog in the record of a task that it resumed.
WATCHDOG = "watchdog"


class Action(Struct, frozen=True):
    """What an operator did, such as suspending a task or cancelling a run.

    Attributes:
        by: Who did it.
        reason: Why.
        at: When, UTC; None if the document does not contain that.
    """

    by: str
    reason: str
    at: datetime | None = None

    @classmethod
    def parse(cls, value: object) -> Action | None:
        """Return the action that a decoded map describes, None if the value is not a map."""
        if not isinstance(value, dict):
            return None
        by, reason = as_text(value.get("by")) or "", as_text(value.get("reason")) or ""
        return cls(by, reason, as_time(value.get("at")))

    def to_fields(self) -> dict[str, object]:
        """Return the fields to write."""
        return {"by": self.by, "reason": self.reason, "at": self.at}

    @property
    def cancel_message(self) -> str:
        """The error message of a run that this action cancelled."""
        return f"cancelled by {self.by}: {self.reason}"


class Suspension(Action, frozen=True):
    """Who suspended a task, why and when.

    Attributes:
        until: When the watchdog resumes the task, UTC; None if only an operator does.
    """

    until: datetime | None = None

    @classmethod
    def parse(cls, value: object) -> Suspension | None:
        """Return the suspension that a decoded map describes, None if the value is not a map."""
        action = Action.parse(value)
        if action is None or not isinstance(value, dict):
            return None
        return cls(action.by, action.reason, action.at, as_time(value.get("until")))

    def to_fields(self) -> dict[str, object]:
        """Return the fields to write."""
        return {**Action.to_fields(self), **({} if self.until is None else {"until": self.until})}


class RunRequest(Struct, frozen=True):
    """The last request that a task runs now (`run.request`), answered or not.

    Attributes:
        id: Id of the run that answers it; its run record starts with the first attempt.
        by, reason, at: Who requested the run, why, and when (UTC).
        since: `at` of the earliest request that Cloud Scheduler may still deliver, UTC. It is earlier
            than `at` when a request replaced one whose retries were not over.
    """

    id: str
    by: str
    reason: str
    at: datetime
    since: datetime

    @classmethod
    def parse(cls, value: object) -> RunRequest | None:
        """Return the request that `run.request` contains, None if there is none."""
        if not isinstance(value, dict):
            return None
        run_id, action = as_text(value.get("id")), Action.parse(value)
        if not run_id or action is None or action.at is None:
            return None
        since = as_time(value.get("since")) or action.at
        return cls(run_id, action.by, action.reason, action.at, since)

    def to_fields(self) -> dict[str, object]:
        """Return the fields to write."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    @property
    def action(self) -> Action:
        """Who requested the run, why and when."""
        return Action(self.by, self.reason, self.at)
