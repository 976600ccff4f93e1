"""The contract copy: the last good result at the contract's path, for readers that know only the contract.

The end of a run writes it, and the watchdog repairs it. This engine's readers use it only in place of a
missing result object (`result_read`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import logger
from shared.tasks.contract import contract_object
from shared.tasks.errors import ObjectGone
from shared.tasks.protocol.effects import CopyObject, Procedure, ReadDocuments, ReadMetadata, ask

if TYPE_CHECKING:
    from shared.tasks.contract import TaskName

#: Tries to update the contract copy; then the watchdog's next pass repairs it.
COPY_TRIES = 5


def repair_contract_copy(task: TaskName) -> Procedure[bool]:
    """Update the contract copy, if Storage keeps the current result (docs/protocol.md, "Contract copy").

    Reads the contract copy's generation before the status document. The copy is refused if another writer
    has changed the generation since, so an older result never replaces a newer one.

    Returns:
        Whether the contract copy was updated.

    Raises:
        StoreError: Firestore did not answer.
        GoogleAPIError: Storage did not answer.
    """
    contract_copy = contract_object(task)
    missing: str | None = None
    for _ in range(COPY_TRIES):
        generation, version = yield from ask(ReadMetadata(contract_copy))
        document, _ = yield from ask(ReadDocuments())
        result = document.result
        if result is None or result.saved_in != "storage" or result.path is None:
            return False
        if result.version == version:
            return False
        if result.path == missing:  # the status document still points to it
            logger.warning(
                "result object missing, contract copy not written", task=task.value, object=missing
            )
            return False
        try:
            if (yield from ask(CopyObject(result.path, contract_copy, generation))):
                return True
        except ObjectGone:  # replaced and removed since the status document was read, or lost
            missing = result.path
    logger.warning("contract copy left to the watchdog", task=task.value)
    return False
