"""The write of a run's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.tasks.documents.checkpoint_writes import LONGEST_RUN
from shared.tasks.documents.write_messages import HISTORY_RETENTION, WriteMessage, write_document

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.documents.run_log import KeptLines


def write_log(
    identity: AttemptIdentity, kept: KeptLines, *, attempt: int, leg: int, now: datetime
) -> WriteMessage:
    """Build the write that replaces an attempt's log.

    Only this attempt writes the document, and always as a whole, so it needs no read before it. The write has
    no condition of its own. It is refused with the other writes of its commit, which all have one.

    Args:
        identity: The attempt.
        kept: Its lines.
        attempt: Its number.
        leg: Number of its leg.
        now: UTC.
    """
    fields = {
        "lines": [{"at": line.at, "level": line.level, "text": line.text} for line in kept.lines],
        "lost": kept.lost,
        "attempt": attempt,
        "leg": leg,
        "token": identity.token,
        "at": now,
        # The end of the run is not known yet. The log must not expire before the run record.
        "expire_at": now + LONGEST_RUN + HISTORY_RETENTION,
    }
    return write_document(identity.names.log(identity.run_id, attempt=attempt, leg=leg), fields)
