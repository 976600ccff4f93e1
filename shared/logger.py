"""Logs structured JSON in the cloud, and one readable line per entry locally.

An entry is an event, which is a short constant phrase, and fields with the particulars: ids and numbers,
never a task's data. `trace` connects the entries of one request. Functions set it, and runs inherit it.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from shared import settings

trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="")
"""The request's trace id (32 hexadecimal digits), empty outside a request."""

_FIELDS = "nx_fields"


def info(event: str, **fields: Any) -> None:
    """Log an expected event.

    Args:
        event: A short constant phrase, such as `run completed`.
        fields: The particulars, such as `task` and `run_id`; values that JSON cannot hold become text.
    """
    _log(logging.INFO, event, fields)


def warning(event: str, **fields: Any) -> None:
    """Log an unexpected event that did no harm; arguments as `info`."""
    _log(logging.WARNING, event, fields)


def error(event: str, **fields: Any) -> None:
    """Log an event that a person must look at; arguments as `info`."""
    _log(logging.ERROR, event, fields)


def _log(level: int, event: str, fields: dict[str, Any]) -> None:
    # The event is passed as an argument, because a percent sign in it must not be taken for a format.
    _logger().log(level, "%s", event, extra={_FIELDS: fields})


def _logger() -> logging.Logger:
    logger = logging.getLogger("nx-tasks")
    if not any(isinstance(handler, _Handler) for handler in logger.handlers):
        handler = _Handler()
        handler.setFormatter(_CloudFormatter() if settings.in_cloud() else _LineFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # functions-framework's root handler would print it twice
    return logger


class _Handler(logging.Handler):
    """Writes to the present `sys.stdout`, which tests replace. A failing write raises nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            sys.stdout.flush()
        except Exception:  # noqa: BLE001  (a closed or full stream must not fail a run)
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's own name)
        """Ignore an entry that could not be written: the log is the only place to report it."""


class _CloudFormatter(logging.Formatter):
    """Formats one JSON object per line, with the field names that Cloud Logging expects."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            **_fields(record),
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if trace.get():
            entry["logging.googleapis.com/trace"] = f"projects/{settings.project_id()}/traces/{trace.get()}"
        try:
            return orjson.dumps(entry, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
        except (TypeError, ValueError):  # lone surrogates, or an integer beyond 64 bits
            plain = {str(name): ascii(_text(value)) for name, value in entry.items()}
            return orjson.dumps({**plain, "severity": record.levelname}).decode()


class _LineFormatter(logging.Formatter):
    """Formats time, severity unless it is INFO, event and fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(
            f"{name}={_text(value)}" for name, value in _fields(record).items() if value is not None
        )
        severity = "" if record.levelno == logging.INFO else f"{record.levelname} "
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        return f"{moment} {severity}{record.getMessage()} {fields}".rstrip().replace("\n", "\\n")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, _FIELDS, {})
    return fields


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (a value whose str() fails must not fail the log)
        return f"<{type(value).__name__}>"
