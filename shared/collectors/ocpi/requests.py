"""Requests of people to read an operator again, or to drop its records.

`python -m deploy read-operator` and `drop-operator` write them to Firestore, and the next run reads them. A
run changes none of them. The memory of its result has the requests that have ended, so both are published
together.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from shared import logger
from shared.collectors.firestore_reads import read_page

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from google.cloud.firestore import Client

    from shared.collectors.ocpi.memory import Memory

#: Firestore collection of the requests; a document's id is an operator's name.
COLLECTION = "nx-ocpi-requests"
MAX_REQUESTS = 500


class Request(msgspec.Struct, kw_only=True):
    """What is requested for one operator.

    Attributes:
        read_from: Records last updated then or later are read again, UTC.
        read_requested: Time of that request, UTC.
        drop_requested: Time of the request to drop its records, UTC.
    """

    read_from: datetime | None = None
    read_requested: datetime | None = None
    drop_requested: datetime | None = None


class Requests:
    """The requests that have not ended yet.

    Args:
        found: The stored requests by operator.
        memory: Memory of the last run.
    """

    def __init__(self, found: Mapping[str, Request], memory: Memory) -> None:
        self._reads = {
            name: (one.read_from, one.read_requested)
            for name, one in found.items()
            if one.read_from and one.read_requested and memory.reads.get(name) != one.read_requested
        }
        self._drops = {
            name: one.drop_requested
            for name, one in found.items()
            if one.drop_requested and memory.drops.get(name) != one.drop_requested
        }
        self._memory = memory

    @property
    def drops(self) -> frozenset[str]:
        """Operators whose records are to be dropped."""
        return frozenset(self._drops)

    def read_from(self, operator: str) -> datetime | None:
        """Return the time from which an operator is to be read again; None if it is not."""
        return self._reads[operator][0] if operator in self._reads else None

    def without_effect(
        self, operators: AbstractSet[str], with_records: AbstractSet[str]
    ) -> list[tuple[str, str]]:
        """Return the requests that a run cannot carry out, such as those with a mistyped name.

        Args:
            operators: Operators in the setting.
            with_records: Operators of which the last result has records.

        Returns:
            The command and the operator of each.
        """
        reads = [("read-operator", name) for name in sorted(self._reads.keys() - operators)]
        drops = [("drop-operator", name) for name in sorted(self._drops.keys() - operators - with_records)]
        return reads + drops

    def ended(self, failed: AbstractSet[str]) -> dict[str, dict[str, datetime]]:
        """Return the requests that this run or an earlier one has ended, for the memory.

        Args:
            failed: Operators that this run could not read; their requests stay open. All others end,
                those without effect included.
        """
        reads = {name: requested for name, (_, requested) in self._reads.items() if name not in failed}
        drops = {name: requested for name, requested in self._drops.items() if name not in failed}
        return {"reads": self._memory.reads | reads, "drops": self._memory.drops | drops}


def find_requests(client: Client) -> dict[str, Request]:
    """Return all stored requests by operator, ended or not.

    Args:
        client: The database.

    Raises:
        GoogleAPIError: Firestore did not answer.
    """
    found = {}
    for document in read_page(client.collection(COLLECTION).limit(MAX_REQUESTS)):
        fields = document.to_dict() or {}
        # Firestore returns a subclass of datetime.
        moments = {
            name: datetime.fromisoformat(moment.isoformat())
            for name in Request.__struct_fields__
            if isinstance(moment := fields.get(name), datetime)
        }
        if len(moments) < len(fields):
            logger.warning("request for an operator ignored", operator=document.id, fields=sorted(fields))
            continue
        found[document.id] = Request(**moments)
    return found
