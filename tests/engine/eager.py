"""A connection to Storage whose server stores one piece of an upload as if it were the whole object."""

import re
from typing import Any

import requests

from tests.faults.faulty import Fault, Faulty

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class EagerStorage(Faulty):
    """Declares one piece of each upload to be the last one, so that any server stores it at once.

    It does not copy objects either; the engine has to upload the copy itself.

    Args:
        at: Number of the piece, from 1.
    """

    def __init__(self, at: int = 1) -> None:
        super().__init__(Fault(0))
        self._at = at
        self._pieces: dict[str, int] = {}

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> Any:
        if "/rewriteTo/" in url:
            answer = requests.Response()
            answer.status_code = 501
            answer.request = requests.Request(method, url).prepare()
            return answer
        headers = options.get("headers") or {}
        piece = _RANGE.fullmatch(headers.get("content-range", ""))
        if piece is not None:
            self._pieces[url] = self._pieces.get(url, 0) + 1
            if self._pieces[url] == self._at:
                headers["content-range"] = f"bytes {piece[1]}-{piece[2]}/{int(piece[2]) + 1}"
        return super().request(method, url, *arguments, **options)
