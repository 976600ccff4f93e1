"""The part of Twilio's REST API that creates, lists and reads messages.

It serves the official library, and checks requests and reports errors as Twilio does.
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

#: Path that lists all messages without credentials; it is not part of Twilio's API.
SHOWN_AT = "/messages"

_MESSAGES = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages\.json")
_MESSAGE = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages/(\w+)\.json")
_MAX_BODY_BYTES = 64 * 1024
_MAX_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Fault:
    """An injected failure of one request.

    Attributes:
        status: HTTP status of the response; None closes the connection without a response.
        code: Twilio's error code.
        processed: Whether the request is carried out before it fails.
        content: Body of the response instead of Twilio's JSON.
        before_response: Called before the response is sent.
    """

    status: int | None
    code: int = 20500
    processed: bool = False
    content: bytes | None = None
    before_response: Callable[[], object] = lambda: None


class TwilioServer(Server):
    """The REST API of an account.

    Args:
        address: Host and port to listen on; port 0 selects a free one.

    Raises:
        OSError: The port is in use.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.messages = Messages()
        #: Failures of the next requests, one per request, by method.
        self.faults: dict[str, deque[Fault]] = {"GET": deque(), "POST": deque()}


class _Handler(Handler):
    server: TwilioServer

    def do_GET(self) -> None:  # noqa: N802 - named by the standard library
        self._answer(b"")

    def do_POST(self) -> None:  # noqa: N802 - named by the standard library
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._send(400, _error(400, 20001, "The body must have a Content-Length"))
            return
        self._answer(self.rfile.read(int(length)))

    def _answer(self, body: bytes) -> None:
        path, _, parameters = self.path.partition("?")
        faults = self.server.faults[self.command]
        fault = faults.popleft() if faults and path != SHOWN_AT else None
        if fault is None or fault.processed:
            try:
                status, content = self._route(
                    path, _fields(parameters), _fields(body.decode(errors="replace"))
                )
            except Refusal as refusal:
                status, content = refusal.status, _error(refusal.status, refusal.code, str(refusal))
        if fault is None:
            self._send(status, content)
        else:
            self._fail(fault)

    def _fail(self, fault: Fault) -> None:
        fault.before_response()
        if fault.status is None:
            self.close_connection = True
            return
        content = _error(fault.status, fault.code, "injected fault")
        self._send(fault.status, content, fault.content)

    def _route(self, path: str, query: dict[str, str], fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        messages = self.server.messages
        if path == SHOWN_AT and self.command == "GET":
            return 200, {"messages": [message.to_resource() for message in messages.all()]}
        listed, one = _MESSAGES.fullmatch(path), _MESSAGE.fullmatch(path)
        if listed is None and one is None:
            raise Refusal(404, 20404, f"The requested resource {path} was not found")
        self._authenticate((listed or one)[1])  # type: ignore[index]  # one of them matches
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
            credentials = base64.b64decode(encoded, validate=True) if scheme == "Basic" else b""
        except binascii.Error:
            credentials = b""
        if (
            not hmac.compare_digest(credentials, f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode())
            or account != ACCOUNT_SID
        ):
            raise Refusal(401, 20003, "Authenticate")

    def _page(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        size, number = query.get("PageSize", "50"), query.get("Page", "0")
        if not re.fullmatch("[0-9]{1,9}", size) or not re.fullmatch("[0-9]{1,9}", number):
            raise Refusal(400, 20006, "Invalid page")
        length, page = min(max(int(size), 1), _MAX_PAGE), int(number)
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
