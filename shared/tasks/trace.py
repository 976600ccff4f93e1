"""The trace of a failed run: where its error was raised, and what caused it.

One line per call, the task's own code first. Lines of the engine and of libraries begin with
`[engine]` or `[library]`, so that the page and the command line can fold them:

    functions/scheduled/count_stations.py:31 in count_stations: rows = read(run)
    shared/collectors/stations.py:12 in read: raise RuntimeError("no rows") from error
    [engine] shared/tasks/runtime/task_thread.py:113 in _run_task: value = call_task(…)
    note: page 3
    caused by KeyError: 'rows'
    shared/collectors/stations.py:10 in read: return answer["rows"]
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from shared.tasks.redaction import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Prefixes of lines of the engine's and of libraries' code, after their indentation.
ENGINE = "[engine] "
LIBRARY = "[library] "
#: Largest number of calls of the task's own code for one exception; the last ones are shown.
MAX_OWN_CALLS = 12
#: The same for calls of the engine and of libraries.
MAX_OTHER_CALLS = 8
#: Largest number of exceptions in one trace: causes, contexts and members of groups.
MAX_EXCEPTIONS = 12
#: Largest number of notes of one exception.
MAX_NOTES = 5
#: Longest line, in characters.
MAX_LINE = 300

_SOURCE = f"{Path(__file__).absolute().parents[2]}{os.sep}"
_STANDARD_LIBRARY = f"{Path(os.__file__).parent}{os.sep}"
_PACKAGES = ("site-packages", "dist-packages")


def message_of(error: object) -> str:
    """Return the message of an exception, or the text of a note, even if its own `str()` fails."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  (an exception's own str() may fail in any way)
        return "(its message can't be read)"


def trace_of(error: BaseException, length: int) -> str:
    """Describe where an exception was raised, and its causes, contexts, notes and group members.

    If the engine ended the run while the task was working, the exception's `stack` is described instead
    of its traceback. The exception's own type and message are left out. Secrets are removed. Never raises.

    Args:
        error: The exception.
        length: Longest trace, in characters. Lines of the engine and of libraries are dropped first.
    """
    try:
        lines = list(_described(error, "", set()))
        if sum(map(len, lines)) + len(lines) > length:
            lines = [line for line in lines if not line.lstrip().startswith((ENGINE, LIBRARY))]
        while sum(map(len, lines)) + len(lines) > length:
            lines = [*lines[:-2], "…"]
        return "\n".join(lines)
    except BaseException:  # noqa: BLE001  (no error may keep the run from ending)
        return ""


def _described(error: BaseException, margin: str, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    yield from _calls(getattr(error, "stack", None) or traceback.extract_tb(error.__traceback__), margin)
    notes = getattr(error, "__notes__", None)
    for note in list(notes)[:MAX_NOTES] if isinstance(notes, list | tuple) else ():
        yield _line(f"{margin}note: ", note)
    if isinstance(error, BaseExceptionGroup):
        for number, member in enumerate(error.exceptions, 1):
            if len(seen) >= MAX_EXCEPTIONS:
                yield f"{margin}… and {len(error.exceptions) - number + 1} more exceptions of the group"
                break
            yield _line(f"{margin}{number} of {len(error.exceptions)}: ", member)
            yield from _described(member, margin + "  ", seen)
    origin, relation = error.__cause__, "caused by"
    if origin is None and not error.__suppress_context__:
        origin, relation = error.__context__, "raised while handling"
    if origin is not None and id(origin) not in seen and len(seen) < MAX_EXCEPTIONS:
        yield _line(f"{margin}{relation} ", origin)
        yield from _described(origin, margin, seen)


def _calls(stack: traceback.StackSummary, margin: str) -> Iterator[str]:
    """Describe calls: first those of the task's own code, then the others, each in calling order."""
    own: list[str] = []
    others: list[str] = []
    for frame in stack:
        mark, path = _origin(frame.filename)
        line = _line(f"{margin}{mark}", frame.line, f"{path}:{frame.lineno} in {frame.name}: ")
        (others if mark else own).append(line)
    if len(own) > MAX_OWN_CALLS:
        own[: 1 - MAX_OWN_CALLS] = [f"{margin}… {len(own) - MAX_OWN_CALLS + 1} calls before these"]
    yield from own
    yield from others[-MAX_OTHER_CALLS:]


def _origin(path: str) -> tuple[str, str]:
    """Return the mark of a source file, empty for the task's own code, and the path to show."""
    for folder in _PACKAGES:
        _, found, inner = path.rpartition(f"{os.sep}{folder}{os.sep}")
        if found:
            return LIBRARY, inner
    if path.startswith((_STANDARD_LIBRARY, "<frozen ")):
        return LIBRARY, path.removeprefix(_STANDARD_LIBRARY)
    shown = path.removeprefix(_SOURCE)
    return ENGINE if shown.startswith(f"shared{os.sep}tasks{os.sep}") else "", shown


def _line(start: str, content: object, place: str = "") -> str:
    """Return one line of a trace, without the line breaks and secrets of its content."""
    text = " ".join(message_of(content)[: 8 * MAX_LINE].split())
    if isinstance(content, BaseException):
        kind = " ".join(type(content).__name__[: MAX_LINE // 2].split())
        place += f"{kind}: " if text else kind
    # The place and the type are not redacted, because tokens.py:12 and InvalidTokenError contain no secret.
    return f"{start}{place}{clean(text, max(1, MAX_LINE - len(place)))}".encode("utf-8", "replace").decode()
