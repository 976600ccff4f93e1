"""The logger of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import logger

if TYPE_CHECKING:
    from shared.tasks.documents.run_ids import AttemptIdentity
    from shared.tasks.documents.run_log import RunLog


class RunLogger:
    """The logger with the run's identity in each entry. The last entries are also kept with the run.

    Args:
        identity: The attempt.
        log: Keeps the entries.
    """

    def __init__(self, identity: AttemptIdentity, log: RunLog) -> None:
        self._fields = {"task": identity.task.value, "run_id": identity.run_id}
        self._log = log

    def info(self, event: str, **fields: object) -> None:
        """Log an expected event."""
        self._log.add("info", event, fields)
        logger.info(event, **{**fields, **self._fields})

    def warning(self, event: str, **fields: object) -> None:
        """Log an unexpected event that did no harm."""
        self._log.add("warning", event, fields)
        logger.warning(event, **{**fields, **self._fields})

    def error(self, event: str, **fields: object) -> None:
        """Log an event that needs a person's attention."""
        self._log.add("error", event, fields)
        logger.error(event, **{**fields, **self._fields})
