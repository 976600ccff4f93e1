"""What all actions of operators have in common: who acts and why, and how often a change is tried."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from shared.tasks.documents.actions import Action, Suspension
from shared.tasks.errors import InvalidOptions

#: Tries of a change that meets another writer each time.
CHANGE_TRIES = 8
#: Longest `by` or `reason`, in characters.
MAX_TEXT = 500
#: Longest suspension with an end.
MAX_SUSPENSION = timedelta(days=366)
_SURROGATE = re.compile("[\ud800-\udfff]")


def checked_action(by: str, reason: str, now: datetime) -> Action:
    """Return the action.

    Raises:
        InvalidOptions: `by` or `reason` is empty, too long, or contains what no document can hold.
    """
    given: tuple[tuple[str, object], ...] = (("by", by), ("reason", reason))
    for name, text in given:
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT or _SURROGATE.search(text):
            raise InvalidOptions(f"{name} must be a text of 1 to {MAX_TEXT} characters, got {text!r:.100}")
    return Action(by, reason, now)


def checked_suspension(by: str, reason: str, until: datetime | None, now: datetime) -> Suspension:
    """Return the suspension.

    Raises:
        InvalidOptions: As `checked_action`; or `until` has no time zone, is not later than now, or too late.
    """
    action = checked_action(by, reason, now)
    given: object = until
    if given is not None:
        if not isinstance(given, datetime) or given.utcoffset() is None:
            raise InvalidOptions(f"until must be a time with a time zone, or None, got {given!r:.100}")
        if not now < given <= now + MAX_SUSPENSION:
            raise InvalidOptions(
                f"until must be later than now ({now:%Y-%m-%dT%H:%M:%SZ}) and at most {MAX_SUSPENSION.days} "
                f"days away, got {given.isoformat()}"
            )
    return Suspension(action.by, action.reason, action.at, until)
