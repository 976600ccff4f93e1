"""Times: what users type, and how they are shown, in the local time zone with its name."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = {"s": "seconds", "min": "minutes", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(\d{1,9}) ?(s|min|m|h|d|w)")
_EXAMPLES = "a duration such as 2h or 3d, or a time such as '2026-11-30 08:00' or 2026-11-30T08:00:00Z"


def time_option(*, ahead: bool) -> Callable[[str | None], str | None]:
    """Return the check of an option that takes a time; its value becomes RFC 3339 in UTC.

    Args:
        ahead: Whether a duration counts from now into the future, instead of the past.
    """

    def check(value: str | None) -> str | None:
        return None if value is None else rfc3339(parse(value, datetime.now(UTC), ahead=ahead))

    return check


def parse(text: str, now: datetime, *, ahead: bool) -> datetime:
    """Return the time that a user typed; one without a zone is in the local time zone.

    Args:
        text: A duration such as 2h, 90min or 3d, a date, or a date with a time.
        now: The time that a duration counts from.
        ahead: Whether it counts into the future.

    Raises:
        BadParameter: The text is neither.
    """
    duration = _DURATION.fullmatch(text.strip())
    try:
        if duration is not None:
            length = timedelta(**{_UNITS[duration[2]]: int(duration[1])})
            return now + length if ahead else now - length
        return datetime.fromisoformat(text.strip()).astimezone()
    except OverflowError:
        raise typer.BadParameter(f"must be in the years 1 to 9999, got {text!r}") from None
    except ValueError:
        raise typer.BadParameter(f"must be {_EXAMPLES}, got {text!r}") from None


def rfc3339(moment: datetime) -> str:
    """Return a time in RFC 3339, UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def zone() -> str:
    """Return the name of the local time zone at present, for the heading of a column."""
    return f"{datetime.now().astimezone():%Z}"


def full(moment: str | None, *, seconds: bool = True) -> str:
    """Return a time with its date and zone."""
    if moment is None:
        return "-"
    return f"{datetime.fromisoformat(moment).astimezone():{_form(seconds=seconds)} %Z}"


def in_column(moment: str | None, heading_zone: str, *, seconds: bool = True) -> str:
    """Return a time below a heading with a zone; the time has its own zone only if that differs."""
    if moment is None:
        return "-"
    local = datetime.fromisoformat(moment).astimezone()
    shown = f"{local:{_form(seconds=seconds)}}"
    return shown if f"{local:%Z}" == heading_zone else f"{shown} {local:%Z}"


def _form(*, seconds: bool) -> str:
    return "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
