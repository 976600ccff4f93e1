"""What all actions of operators have in common: who acts and why, and how often a change is tried."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.tasks.documents.actions import Action
from shared.tasks.errors import InvalidOptions

if TYPE_CHECKING:
    from datetime import datetime

#: Tries of a change that meets another writer each time.
CHANGE_TRIES = 8
#: Longest `by` or `reason`, in characters.
MAX_TEXT = 500
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
