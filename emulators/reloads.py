"""Tells whether code that is changed while the stack runs can be loaded, and what of it needs a new start."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emulators import functions
from emulators.discovery import sources

_CHECKED = Path(".stack/functions.checked.json")
_LOAD_SECONDS = 60.0


class Reloads:
    """The functions' source files, compared with what was there before.

    The Functions emulator reloads by itself. If it cannot, what it loaded before goes on, and only its log
    has the error. So each change is loaded here as well, in a process of its own.

    Args:
        root: The project's folder, whose functions are loaded as they are now.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = self._polled = self._states()
        self._started = self._last = _manifest(root / functions.MANIFEST)
        self._broken = False

    def news(self) -> Iterator[str]:
        """Yield what a person should know about the changes since the last call."""
        states, self._polled = self._polled, self._states()
        if self._polled != states or states == self._seen:  # an editor may be about to write more
            return
        self._seen = states
        error = self._load()
        if error is not None:
            self._broken = True
            yield f"The changed code cannot be loaded:\n{textwrap.indent(error, '  | ')}"
            yield "Loaded functions go on with the old code, others cannot start, until this is fixed."
            return
        if self._broken:
            self._broken = False
            yield "The code can be loaded again. Functions use it from their next run on."
        before, self._last = self._last, _manifest(self._root / _CHECKED)
        yield from (f"Warning: {each}" for each in self._last["omissions"] if each not in before["omissions"])
        for name in _rescheduled(before, self._last):
            if name in _rescheduled(self._started, self._last):
                yield f"The schedule of {name} is new or changed: start `make run` again for it to count."

    def _load(self) -> str | None:
        """Load the functions; return the error in words, None if there is none."""
        try:
            loaded = subprocess.run(
                [sys.executable, "-m", "emulators.discovery", _CHECKED],
                cwd=self._root,
                capture_output=True,
                timeout=_LOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"It still loads after {_LOAD_SECONDS:.0f} s."
        return loaded.stderr.decode(errors="replace").rstrip() if loaded.returncode else None

    def _states(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for file in sources(self._root):
            try:
                state = file.stat()
            except FileNotFoundError:  # an editor replaces it at this moment
                continue
            found[file] = (state.st_mtime_ns, state.st_size)
        return found


def _manifest(file: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return manifest


def _rescheduled(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of the functions whose schedule is another one, or that had none."""
    return [
        name
        for name, endpoint in after["endpoints"].items()
        if endpoint.get("scheduleTrigger") != before["endpoints"].get(name, {}).get("scheduleTrigger")
    ]
