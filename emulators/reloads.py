"""Reports whether code that changed while the stack runs can be loaded, and which changes need a restart."""

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
    """Watches the functions' source files.

    The Functions emulator reloads changed code itself. If that fails, it keeps the old code, and only its log
    contains the error. So each change is also loaded here, in a separate process.

    Args:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._loaded_states = self._polled = self._states()
        self._started = self._last = _manifest(root / functions.MANIFEST)
        self._broken = False

    def messages(self) -> Iterator[str]:
        """Yield messages about the changes since the last call."""
        states, self._polled = self._polled, self._states()
        if self._polled != states or states == self._loaded_states:  # an editor may still be writing
            return
        self._loaded_states = states
        error = self._load()
        if error is not None:
            self._broken = True
            yield f"The changed code cannot be loaded:\n{textwrap.indent(error, '  | ')}"
            yield "Until it is fixed, loaded functions keep running the old code, and others cannot start."
            return
        if self._broken:
            self._broken = False
            yield "The code can be loaded again. Functions use it from their next run."
        before, self._last = self._last, _manifest(self._root / _CHECKED)
        yield from (f"Warning: {each}" for each in self._last["omissions"] if each not in before["omissions"])
        for name in _rescheduled(before, self._last):
            if name in _rescheduled(self._started, self._last):
                yield f"The schedule of {name} is new or has changed; restart `make run` to apply it."

    def _load(self) -> str | None:
        """Load the functions; return the error as text, or None."""
        try:
            loaded = subprocess.run(
                [sys.executable, "-m", "emulators.discovery", _CHECKED],
                cwd=self._root,
                capture_output=True,
                timeout=_LOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"Loading did not finish within {_LOAD_SECONDS:.0f} s."
        return loaded.stderr.decode(errors="replace").rstrip() if loaded.returncode else None

    def _states(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for file in sources(self._root):
            try:
                state = file.stat()
            except FileNotFoundError:  # an editor is replacing it
                continue
            found[file] = (state.st_mtime_ns, state.st_size)
        return found


def _manifest(file: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return manifest


def _rescheduled(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of functions whose schedule is new or has changed."""
    return [
        name
        for name, endpoint in after["endpoints"].items()
        if endpoint.get("scheduleTrigger") != before["endpoints"].get(name, {}).get("scheduleTrigger")
    ]
