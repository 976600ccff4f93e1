"""Responses of callables from cached bytes, without encoding or compressing a result for each request.

`on_call` would encode a result as JSON for each caller. Instead, a function returns an `Answer` with the
cached bytes, and `put_into` replaces the body of the response.
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

#: Bytes of the largest body that Cloud Run returns: 32 MiB, minus room for headers.
MAX_ANSWER_BYTES = 32 * 1024 * 1024 - 16 * 1024

#: Bytes of a body up to which its pieces are joined.
MAX_JOINED_BYTES = 256 * 1024

_HEAD, _TAIL = b'{"result":', b"}"


class Answer(Struct, frozen=True):
    """The result of a callable: a payload, and JSON around it.

    Attributes:
        payload: JSON as the instance caches it.
        head: JSON before the payload, within the protocol's field `result`.
        tail: JSON after the payload.
        path: Path of the payload's object in the bucket; None if it has none.
    """

    payload: Payload
    head: bytes = b""
    tail: bytes = b""
    path: str | None = None

    def body(self, request: Request) -> tuple[tuple[bytes, ...], bool]:
        """Return the response's body in pieces, and whether they are compressed.

        Args:
            request: The request; its headers show whether the client accepts gzip.

        Raises:
            ResultTooLarge: The body is larger than `MAX_ANSWER_BYTES`.
            ResultUnavailable: The payload is damaged.
        """
        head, tail = _HEAD + self.head, self.tail + _TAIL
        compressed = None
        if _accepts_gzip(request.environ.get("HTTP_ACCEPT_ENCODING", "")):
            compressed = self.payload.gzip_around(head, tail)
        if compressed is None and self.payload.size > MAX_ANSWER_BYTES:  # before it is decompressed
            raise ResultTooLarge(self.path)
        body = compressed or self.payload.around(head, tail)
        if sum(map(len, body)) > MAX_ANSWER_BYTES:
            raise ResultTooLarge(self.path)
        return body, compressed is not None


@functools.lru_cache(maxsize=64)
def _accepts_gzip(accept_encoding: str) -> bool:
    """Return whether a client with this header accepts gzip. Clients send few different headers."""
    return parse_accept_header(accept_encoding)["gzip"] > 0


def put_into(response: Response, pieces: tuple[bytes, ...], *, compressed: bool) -> None:
    """Replace the body of a JSON response."""
    size = sum(map(len, pieces))
    # One small piece is sent faster than several. Large pieces are not copied.
    sent: Any = [b"".join(pieces)] if size < MAX_JOINED_BYTES else pieces
    response.response = sent
    response.headers["Content-Length"] = str(size)
    if compressed:
        response.headers.add("Content-Encoding", "gzip")
