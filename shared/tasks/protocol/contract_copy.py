"""The mirror: the last good result at the contract's path, for readers that know only the contract.

The finish of a run writes it, the watchdog mends it. This engine's readers use it only in place of a
result object that is gone (`reading`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.contract import contract_object
from shared.tasks.errors import ObjectGone
from shared.tasks.protocol.effects import CopyObject, Read, ReadObject, Steps

if TYPE_CHECKING:
    from shared.tasks.contract import TaskName

#: Tries to bring the mirror to the present result before it is left to the next pass.
MIRROR_TRIES = 5


def mend_mirror(task: TaskName) -> Steps[bool]:
    """Bring the mirror to the present result, if Storage keeps that (docs/protocol.md, "Contract copy").

    Reads the mirror first and S then: the copy is refused if anybody mirrored in between, so
    an older result never replaces a newer one.

    Returns:
        Whether the mirror was behind.

    Raises:
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not.
    """
    mirror = contract_object(task)
    missing: str | None = None
    for _ in range(MIRROR_TRIES):
        generation, version = yield ReadObject(mirror)
        document, _ = yield Read()
        result = document.result
        if result is None or result.saved_in != "storage" or result.path is None:
            return False
        if result.version == version:
            return False
        if result.path == missing:  # the status document still points to it
            logger.warning(
                "result object is missing; contract copy not written", task=task.value, object=missing
            )
            return False
        try:
            if (yield CopyObject(result.path, mirror, generation)):
                return True
        except ObjectGone:  # replaced and removed since S was read, or lost
            missing = result.path
    logger.warning("mirror met another writer at each try; the watchdog will mend it", task=task.value)
    return False
