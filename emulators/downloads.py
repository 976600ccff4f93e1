"""Downloads of emulators by firebase-tools. A failure is remembered, so that not every start tries again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

#: Seconds for which a failed download is remembered.
DAY_SECONDS = 24 * 60 * 60


class Download(Protocol):
    """Downloads an emulator."""

    def __call__(self, emulator: str, *, needed: bool) -> bool:
        """Download an emulator.

        Args:
            emulator: Name of the emulator in firebase-tools.
            needed: Whether the stack cannot start without it.

        Returns:
            Whether the emulator is available.
        """


class Downloads:
    """Downloads emulators, and tries at most once a day if there is an alternative.

    Args:
        folder: Folder in which failures are remembered.
        download: Downloads the emulator of a name with firebase-tools; returns False on failure.
    """

    def __init__(self, folder: Path, download: Callable[[str], bool]) -> None:
        self._folder = folder
        self._download = download
        #: Emulators whose download failed.
        self.failed: set[str] = set()

    def __call__(self, emulator: str, *, needed: bool) -> bool:
        """Download an emulator, unless that failed within a day and the emulator is not needed."""
        failed = self._folder / f"no-{emulator}-download"
        if not needed and failed.exists() and abs(time.time() - failed.stat().st_mtime) < DAY_SECONDS:
            return False
        if self._download(emulator):
            failed.unlink(missing_ok=True)
            return True
        failed.touch()
        self.failed.add(emulator)
        return False
