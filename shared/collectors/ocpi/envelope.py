"""Decodes OCPI responses (4.1.7), repairs their text and limits the length of their lists.

A compressed response of a few kilobytes can contain millions of tiny JSON values, each of which would take
dozens of bytes as a Python object. So values stay raw bytes until their number and size are known.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from shared.surrogates import replace_lone_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Records per page; 250 are requested.
MAX_PAGE_RECORDS = 25_000
#: Bytes of a `status_message` beyond which it is not shown.
_MESSAGE_BYTES = 4_096
_BOM = b"\xef\xbb\xbf"
_NULL = msgspec.Raw(b"null")

Element = TypeVar("Element")
#: Errors that decoding an invalid response raises.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)


class Envelope(msgspec.Struct):
    """The response format. `timestamp` is not read: nothing here depends on the operator's clock."""

    status_code: int
    data: msgspec.Raw = _NULL
    status_message: msgspec.Raw = _NULL

    @property
    def message(self) -> str:
        """The status message; empty if it is missing, too long or not text."""
        if len(memoryview(self.status_message)) > _MESSAGE_BYTES:
            return ""
        try:
            return msgspec.json.decode(self.status_message, type=str | None) or ""
        except DECODE_ERRORS:
            return ""


def open_envelope(body: bytearray) -> Envelope:
    """Decode a response, of which `data` stays raw.

    Args:
        body: The response, whose byte order mark is removed in place. Lone surrogates are replaced, as one
            in a name would make the whole page unreadable.

    Raises:
        msgspec.MsgspecError, UnicodeError, RecursionError: It is not a response of OCPI.
    """
    if body.startswith(_BOM):
        del body[: len(_BOM)]
    return msgspec.json.decode(replace_lone_surrogates(body), type=Envelope)


def open_list(data: msgspec.Raw) -> list[msgspec.Raw]:
    """Return the elements of a list, each as raw JSON.

    Args:
        data: The list. Null is an empty one: an empty list may be null, `[]`, or omitted ("Cardinality").

    Raises:
        msgspec.MsgspecError, UnicodeError, RecursionError: It is not a list, or one with more than
            `MAX_PAGE_RECORDS` elements.
    """
    try:
        page = msgspec.json.decode(data, type=_page_type() | None)
    except msgspec.ValidationError as error:
        if "at most length" not in str(error):
            raise
        raise msgspec.ValidationError(
            f"a page must have at most {MAX_PAGE_RECORDS} records, got more"
        ) from None
    return [] if page is None else list(_present(page))


def open_usable(elements: Iterable[msgspec.Raw], kind: type[Element]) -> tuple[list[Element], str]:
    """Return the valid elements, and why the first invalid one is invalid.

    Args:
        elements: The elements as raw JSON.
        kind: The type of each element.
    """
    usable: list[Element] = []
    problem = ""
    for element in elements:
        try:
            usable.append(msgspec.json.decode(element, type=kind))
        except DECODE_ERRORS as error:
            problem = problem or str(error)
    return usable, problem


@cache
def _page_type() -> Any:
    """Return a type that decodes a JSON array of at most `MAX_PAGE_RECORDS` elements.

    An array-like struct stops at the first element too many, whereas msgspec checks the `max_length` of a
    list only after all its elements have been made. Built on first use, since it takes 0.1 s.
    """
    fields = [(name, msgspec.Raw, None) for name in _field_names()]
    return msgspec.defstruct("Page", fields, array_like=True, forbid_unknown_fields=True)


@cache
def _field_names() -> tuple[str, ...]:
    return tuple(f"record_{number}" for number in range(MAX_PAGE_RECORDS))


def _present(page: Any) -> Iterable[msgspec.Raw]:
    for name in _field_names():
        raw = getattr(page, name)
        if raw is None:
            return
        yield raw
