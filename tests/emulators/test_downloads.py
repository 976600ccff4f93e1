"""Trying downloads, and remembering those that failed."""

import os
import time
from pathlib import Path

from emulators.downloads import DAY_SECONDS, Downloads


class Tool:
    """A firebase-tools that can download, or cannot."""

    def __init__(self, *, can: bool = False) -> None:
        self.can = can
        self.asked: list[str] = []

    def __call__(self, emulator: str) -> bool:
        self.asked.append(emulator)
        return self.can


def test_a_failed_try_is_not_made_again_by_the_next_start(tmp_path: Path) -> None:
    """The first start tries each emulator and says which cannot be had; the next one tries none."""
    tool = Tool()
    first, second = Downloads(tmp_path, tool), Downloads(tmp_path, tool)
    assert not first("firestore", needed=False)
    assert not first("storage", needed=False)
    assert not second("firestore", needed=False)
    assert tool.asked == ["firestore", "storage"]
    assert (first.failed, second.failed) == ({"firestore", "storage"}, set())


def test_what_nothing_can_replace_is_always_tried(tmp_path: Path) -> None:
    """An emulator that is needed is tried although that failed just now; had, the failure is forgotten."""
    tool = Tool()
    downloads = Downloads(tmp_path, tool)
    assert not downloads("firestore", needed=True)
    tool.can = True
    assert downloads("firestore", needed=True)
    assert downloads("firestore", needed=False)
    assert tool.asked == ["firestore"] * 3


def test_after_a_day_it_is_tried_again(tmp_path: Path) -> None:
    """A failure counts for a day."""
    tool = Tool()
    downloads = Downloads(tmp_path, tool)
    downloads("firestore", needed=False)
    tool.can = True
    [memory] = tmp_path.iterdir()
    for age, tried in ((DAY_SECONDS - 60, False), (DAY_SECONDS + 60, True)):
        then = time.time() - age
        os.utime(memory, (then, then))
        assert downloads("firestore", needed=False) is tried
