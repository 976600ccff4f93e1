"""Downloads of emulators are tried, and failures are remembered."""

import os
import time
from pathlib import Path

from emulators.downloads import DAY_SECONDS, Downloads


class Tool:
    """A firebase-tools whose downloads succeed or fail."""

    def __init__(self, *, can: bool = False) -> None:
        self.can = can
        self.asked: list[str] = []

    def __call__(self, emulator: str) -> bool:
        self.asked.append(emulator)
        return self.can


def test_the_next_start_does_not_repeat_a_failed_download(tmp_path: Path) -> None:
    """The first start tries each emulator and reports failures; the next start tries none."""
    tool = Tool()
    first, second = Downloads(tmp_path, tool), Downloads(tmp_path, tool)
    assert not first("firestore", needed=False)
    assert not first("storage", needed=False)
    assert not second("firestore", needed=False)
    assert tool.asked == ["firestore", "storage"]
    assert (first.failed, second.failed) == ({"firestore", "storage"}, set())


def test_a_required_emulator_is_always_tried(tmp_path: Path) -> None:
    """A required emulator is tried despite a recent failure, and a success removes the failure."""
    tool = Tool()
    downloads = Downloads(tmp_path, tool)
    assert not downloads("firestore", needed=True)
    tool.can = True
    assert downloads("firestore", needed=True)
    assert downloads("firestore", needed=False)
    assert tool.asked == ["firestore"] * 3


def test_a_failed_download_is_tried_again_after_a_day(tmp_path: Path) -> None:
    tool = Tool()
    downloads = Downloads(tmp_path, tool)
    downloads("firestore", needed=False)
    tool.can = True
    [memory] = tmp_path.iterdir()
    for age, tried in ((DAY_SECONDS - 60, False), (DAY_SECONDS + 60, True)):
        then = time.time() - age
        os.utime(memory, (then, then))
        assert downloads("firestore", needed=False) is tried
