"""The map `run.result` of a status document, which describes the last good result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from shared.tasks.documents.codec import as_int, as_text, as_time

if TYPE_CHECKING:
    from datetime import datetime

    from shared.tasks.contract import Json

#: `saved_in` of a legacy result: `data` is read as the contract says.
SAVED_BY_CONTRACT = "contract"


class ResultPointer(Struct, frozen=True):
    """Describes the last good result (`run.result`). The value is in `data` or in an object.

    Attributes:
        version: Unique among all results of the task; readers compare it.
        saved_in: "db", "storage", "none", or "contract" for a legacy result.
        run_id: The run that produced the result; None for a legacy result.
        completed: Time of publication, UTC.
        path: Path of the result object, for "storage"; the document's field is `object`.
        size_bytes: Length of the result as JSON, uncompressed.
        count: Number of records of an array, or of entries of a map; None for any other value.
        encoding: "gzip" if the object is compressed.
        summary: The task's summary of its result.
        details: Path of the object with the result's details; None if it has none.
    """

    version: str
    saved_in: str
    run_id: str | None = None
    completed: datetime | None = None
    path: str | None = None
    size_bytes: int | None = None
    count: int | None = None
    encoding: str | None = None
    summary: dict[str, Json] | None = None
    details: str | None = None

    @classmethod
    def parse(cls, value: object) -> ResultPointer | None:
        """Return the pointer that `run.result` contains, or None for a legacy document."""
        if not isinstance(value, dict):
            return None
        version, saved_in = as_text(value.get("version")), as_text(value.get("saved_in"))
        if not version or not saved_in:
            return None
        summary = value.get("summary")
        return cls(
            version=version,
            saved_in=saved_in,
            run_id=as_text(value.get("run_id")),
            completed=as_time(value.get("completed")),
            path=as_text(value.get("object")),
            size_bytes=as_int(value.get("size_bytes")),
            count=as_int(value.get("count")),
            encoding=as_text(value.get("encoding")),
            summary=summary if isinstance(summary, dict) else None,
            details=as_text(value.get("details")),
        )

    def to_fields(self) -> dict[str, object]:
        """Return the fields to write, without those that are None."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        fields["object"] = fields.pop("path")
        return {name: value for name, value in fields.items() if value is not None}
