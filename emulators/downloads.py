"""Letting firebase-tools download emulators: a failed try is remembered, so that not every start makes it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

#: How long a failed try is remembered.
DAY_SECONDS = 24 * 60 * 60


class Download(Protocol):
    """Has an emulator downloaded."""

    def __call__(self, emulator: str, *, needed: bool) -> bool:
        """Try to.

        Args:
            emulator: Name of the emulator, as firebase-tools has it.
            needed: Nothing else can take its place.

        Returns:
            Whether it is there now.
        """


class Downloads:
    """Downloads that are tried once a day where something else can take the emulator's place.

    Args:
        folder: Where failed tries are remembered.
        download: Lets firebase-tools download the emulator of that name; False where it cannot.
    """

    def __init__(self, folder: Path, download: Callable[[str], bool]) -> None:
        self._folder = folder
        self._download = download
        #: The emulators that were tried, and could not be had.
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
