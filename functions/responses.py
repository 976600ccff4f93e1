"""Answers of callables that are there already as bytes: nothing is encoded or compressed for a request.

`on_call` would make JSON of a result anew for each caller. A function returns an `Answer`
instead, whose bytes lie in the instance's cache, and this puts them into the response.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from werkzeug.http import parse_accept_header

from shared.tasks import ResultTooLarge

if TYPE_CHECKING:
    from flask import Request, Response

    from shared.tasks import Payload

#: Bytes that Cloud Run returns at most, 32 MiB, less what headers may take.
MAX_ANSWER_BYTES = 32 * 1024 * 1024 - 16 * 1024

#: Bytes of a body up to which its pieces are joined before they are sent.
MAX_JOINED_BYTES = 256 * 1024

_HEAD, _TAIL = b'{"result":', b"}"


class Answer(Struct, frozen=True):
    """What a callable answers: a payload, and JSON around it.

    Attributes:
        payload: JSON, as an instance keeps it.
        head, tail: JSON before and after it, within the protocol's `result`.
        path: of the payload's object in the bucket, if it has one.
    """

    payload: Payload
    head: bytes = b""
    tail: bytes = b""
    path: str | None = None

    def body(self, request: Request) -> tuple[tuple[bytes, ...], bool]:
        """Return the response's body in pieces, and whether they are compressed.

        Args:
            request: tells what the client takes.

        Raises:
            ResultTooLarge: no response holds it.
            ResultUnavailable: the payload is damaged.
        """
        head, tail = _HEAD + self.head, self.tail + _TAIL
        compressed = None
        if _takes_gzip(request.environ.get("HTTP_ACCEPT_ENCODING", "")):
            compressed = self.payload.gzip_around(head, tail)
        if compressed is None and self.payload.size > MAX_ANSWER_BYTES:  # not even made, then
            raise ResultTooLarge(self.path)
        body = compressed or self.payload.around(head, tail)
        if sum(map(len, body)) > MAX_ANSWER_BYTES:
            raise ResultTooLarge(self.path)
        return body, compressed is not None


@functools.lru_cache(maxsize=64)
def _takes_gzip(accept_encoding: str) -> bool:
    """Tell whether a client that says so takes gzip; few clients say it differently."""
    return parse_accept_header(accept_encoding)["gzip"] > 0


def put_into(response: Response, pieces: tuple[bytes, ...], *, compressed: bool) -> None:
    """Replace the body of a JSON response."""
    size = sum(map(len, pieces))
    # Small pieces are sent faster as one; large ones are not copied, nor is one that is whole.
    sent: Any = [b"".join(pieces)] if size < MAX_JOINED_BYTES else pieces
    response.response = sent
    response.headers["Content-Length"] = str(size)
    if compressed:
        response.headers.add("Content-Encoding", "gzip")
