"""Answers clients as Twilio's REST API does for messages: create one, list them, get one.

Made for the official library. What a request needs is checked as Twilio checks it, errors included.
"""

import base64
import binascii
import hmac
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from emulators.serving import Handler, Server
from emulators.twilio.messages import ACCOUNT_SID, AUTH_TOKEN, Messages, Refusal

#: What was sent so far, for a person or a test: no part of Twilio's API, and no credentials needed.
SHOWN_AT = "/messages"

_MESSAGES = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages\.json")
_MESSAGE = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages/(\w+)\.json")
_LARGEST_BODY = 64 * 1024  # bytes
_LARGEST_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls one request.

    Attributes:
        status: the HTTP status that is answered; None: the connection is closed without an answer.
        code: Twilio's error code.
        after: whether the request is carried out nevertheless.
        content: the answer's body, instead of Twilio's JSON.
        meanwhile: done before the answer.
    """

    status: int | None
    code: int = 20500
    after: bool = False
    content: bytes | None = None
    meanwhile: Callable[[], object] = lambda: None


class TwilioServer(Server):
    """The REST surface of an account.

    Args:
        address: Host and port to listen on; port 0 takes a free one.

    Raises:
        OSError: The port is in use.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.messages = Messages()
        #: Befalls the requests to come, one each, by method.
        self.troubles: dict[str, deque[Trouble]] = {"GET": deque(), "POST": deque()}


class _Handler(Handler):
    server: TwilioServer

    def do_GET(self) -> None:  # noqa: N802 the name is the standard library's
        self._answer(b"")

    def do_POST(self) -> None:  # noqa: N802 the name is the standard library's
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > _LARGEST_BODY:
            self.close_connection = True
            self._send(400, _error(400, 20001, "The body must have a Content-Length"))
            return
        self._answer(self.rfile.read(int(length)))

    def _answer(self, body: bytes) -> None:
        path, _, parameters = self.path.partition("?")
        waiting = self.server.troubles[self.command]
        trouble = waiting.popleft() if waiting and path != SHOWN_AT else None
        if trouble is None or trouble.after:
            try:
                status, content = self._route(
                    path, _fields(parameters), _fields(body.decode(errors="replace"))
                )
            except Refusal as refusal:
                status, content = refusal.status, _error(refusal.status, refusal.code, str(refusal))
        if trouble is None:
            self._send(status, content)
        else:
            self._befall(trouble)

    def _befall(self, trouble: Trouble) -> None:
        trouble.meanwhile()
        if trouble.status is None:
            self.close_connection = True
            return
        content = _error(trouble.status, trouble.code, "as the trouble has it")
        self._send(trouble.status, content, trouble.content)

    def _route(self, path: str, query: dict[str, str], fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        messages = self.server.messages
        if path == SHOWN_AT and self.command == "GET":
            return 200, {"messages": [message.to_resource() for message in messages.all()]}
        listed, one = _MESSAGES.fullmatch(path), _MESSAGE.fullmatch(path)
        if listed is None and one is None:
            raise Refusal(404, 20404, f"The requested resource {path} was not found")
        self._authenticate((listed or one)[1])  # type: ignore[index]  # one of them is there
        if self.command == "POST" and listed:
            return 201, messages.create(fields).to_resource()
        if self.command == "GET" and one:
            return 200, messages.get(one[2]).to_resource()
        if self.command == "GET":
            return 200, self._page(path, query)
        raise Refusal(405, 20004, "Method not allowed")

    def _authenticate(self, account: str) -> None:
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        try:
            said = base64.b64decode(encoded, validate=True) if scheme == "Basic" else b""
        except binascii.Error:
            said = b""
        if not hmac.compare_digest(said, f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()) or account != ACCOUNT_SID:
            raise Refusal(401, 20003, "Authenticate")

    def _page(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        size, number = query.get("PageSize", "50"), query.get("Page", "0")
        if not re.fullmatch("[0-9]{1,9}", size) or not re.fullmatch("[0-9]{1,9}", number):
            raise Refusal(400, 20006, "Invalid page")
        length, page = min(max(int(size), 1), _LARGEST_PAGE), int(number)
        found = self.server.messages.listed(query)
        start, end = page * length, (page + 1) * length
        return {
            "messages": [message.to_resource() for message in found[start:end]],
            "page": page,
            "page_size": length,
            "start": start,
            "end": max(min(end, len(found)) - 1, 0),
            "uri": _link(path, query, page),
            "first_page_uri": _link(path, query, 0),
            "previous_page_uri": _link(path, query, page - 1) if page else None,
            "next_page_uri": _link(path, query, page + 1) if end < len(found) else None,
        }

    def _send(self, status: int, content: dict[str, Any], instead: bytes | None = None) -> None:
        body = json.dumps(content).encode() if instead is None else instead
        self.send(status, body, "application/json;charset=utf-8")


def _fields(encoded: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(encoded, keep_blank_values=True).items()}


def _error(status: int, code: int, message: str) -> dict[str, Any]:
    more_info = f"https://www.twilio.com/docs/errors/{code}"
    return {"code": code, "message": message, "more_info": more_info, "status": status}


def _link(path: str, query: dict[str, str], page: int) -> str:
    return f"{path}?{urlencode(query | {'Page': str(page)})}"
