"""The HTTP server of charge point operators with OCPI 2.2.1: versions, credentials, locations and CDRs.

As the specification's "Transport and format" and "Status codes" require, a request that OCPI can process
gets HTTP 200, and `status_code` in the body contains the outcome.
"""

import base64
import datetime as dt
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from emulators.ocpi.data import make_cdrs, make_locations, text
from emulators.ocpi.operators import OPERATORS, DemoOperator
from emulators.serving import Handler, Server

VERSION = "2.2.1"
#: Path that responds when the server is ready.
READY_AT = "/ready"
#: Largest number of records in a page, sent as X-Limit.
MAX_PAGE = 200
#: Message routing headers (OCPI 2.2.1, 4.2.2), with the patterns of their values.
ROUTING_HEADERS = {
    "OCPI-from-country-code": "[A-Za-z]{2}",
    "OCPI-from-party-id": "[A-Za-z0-9]{3}",
    "OCPI-to-country-code": "[A-Za-z]{2}",
    "OCPI-to-party-id": "[A-Za-z0-9]{3}",
}
_PATH = re.compile(
    rf"/(?P<operator>[a-z]+)/(?:(?P<top>versions|{re.escape(VERSION)})|{re.escape(VERSION)}/(?P<module>\w+)(?:/(?P<id>[^/]+))?)/?"
)


class OcpiError(Exception):
    """An error response: an HTTP status, an OCPI status code and its message."""

    def __init__(self, http: int, code: int, message: str) -> None:
        super().__init__(message)
        self.http = HTTPStatus(http)
        self.code = code


@dataclass(frozen=True, slots=True)
class OperatorRecords:
    """An operator and its records."""

    operator: DemoOperator
    #: Records by module, oldest first.
    records: dict[str, list[dict[str, Any]]]


class OcpiServer(Server):
    """The server of all demo operators.

    Args:
        address: Host and port to listen on; port 0 selects a free one.
        now: Time that records count back from; aware.

    Raises:
        OSError: The port is in use.
    """

    def __init__(self, address: tuple[str, int], now: dt.datetime) -> None:
        super().__init__(address, _Handler)
        self.operators = {
            each.name: OperatorRecords(
                each, {"locations": make_locations(each, now), "cdrs": make_cdrs(each, now)}
            )
            for each in OPERATORS
        }


class _Handler(Handler):
    server: OcpiServer

    def do_GET(self) -> None:  # noqa: N802 - named by the standard library
        """Respond with data or an error."""
        headers: dict[str, str] = {}
        try:
            data, headers = self._found()
        except OcpiError as error:
            self._send(error.http, {"status_code": error.code, "status_message": str(error)}, {})
        else:
            self._send(
                HTTPStatus.OK, {"data": data, "status_code": 1000, "status_message": "Success"}, headers
            )

    def _refuse(self) -> None:
        self.close_connection = True  # the body is not read
        message = f"{self.command} is not a method of the Sender interfaces of locations and cdrs"
        self._send(
            HTTPStatus.METHOD_NOT_ALLOWED, {"status_code": 2000, "status_message": message}, {"Allow": "GET"}
        )

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse  # noqa: N815 - named by the standard library

    def _found(self) -> tuple[Any, dict[str, str]]:
        url = urlsplit(self.path)
        if url.path == READY_AT:
            return sorted(self.server.operators), {}
        path = _PATH.fullmatch(url.path)
        known = self.server.operators.get(path["operator"]) if path else None
        if path is None or known is None:
            raise OcpiError(404, 2000, "unknown path; start at /north/versions")
        self._check_token(known.operator)
        base = f"http://{self.headers['Host']}/{known.operator.name}"
        self._check_routing(known.operator, functional=path["module"] in known.records)
        if path["top"] == "versions":
            return [{"version": VERSION, "url": f"{base}/{VERSION}"}], {}
        if path["top"]:
            return _details(base), {}
        if path["module"] == "credentials":
            return _credentials(known.operator, base), {}
        records = known.records.get(path["module"])
        if records is None:
            raise OcpiError(404, 2000, f"unknown module {path['module']}")
        if path["id"]:
            return self._one(path["module"], records, path["id"]), {}
        return _page(f"{base}/{VERSION}/{path['module']}", records, parse_qs(url.query))

    def _check_token(self, operator: DemoOperator) -> None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind != "Token" or token != base64.b64encode(operator.token.encode()).decode():
            raise OcpiError(401, 2000, "the credentials token is missing or not valid")

    def _check_routing(self, operator: DemoOperator, *, functional: bool) -> None:
        """Refuse message routing headers that are missing, malformed, or name another party (4.2.2)."""
        sent = {name: self.headers[name] for name in ROUTING_HEADERS if self.headers[name] is not None}
        if not functional:
            if sent:
                raise OcpiError(200, 2001, f"{min(sent)} is not allowed in requests to configuration modules")
            return
        for name, pattern in ROUTING_HEADERS.items():
            if name in sent and not re.fullmatch(pattern, sent[name]):
                raise OcpiError(200, 2001, f"{name} is malformed")
        missing = ROUTING_HEADERS.keys() - sent.keys()
        if missing and (sent or operator.needs_routing):
            raise OcpiError(200, 2001, f"{min(missing)} is missing")
        receiver = sent.get("OCPI-to-country-code", ""), sent.get("OCPI-to-party-id", "")
        if sent and [part.upper() for part in receiver] != [operator.country_code, operator.party_id]:
            raise OcpiError(200, 2001, f"unknown party {'*'.join(receiver)}")

    @staticmethod
    def _one(module: str, records: list[dict[str, Any]], record_id: str) -> dict[str, Any]:
        found = next((each for each in records if each["id"].lower() == record_id.lower()), None)
        if found is None or module != "locations":  # CDRs have no URLs here
            raise OcpiError(404, 2003, f"unknown: {record_id}")
        return found

    def _send(self, status: HTTPStatus, envelope: dict[str, Any], headers: dict[str, str]) -> None:
        body = json.dumps({**envelope, "timestamp": text(dt.datetime.now(dt.UTC))}).encode()
        echoed = {
            name: self.headers[name] for name in ("X-Request-ID", "X-Correlation-ID") if self.headers[name]
        }
        self.send(status, body, "application/json", echoed | headers)


def _details(base: str) -> dict[str, Any]:
    modules = ("credentials", "locations", "cdrs")
    endpoints = [
        {"identifier": each, "role": "SENDER", "url": f"{base}/{VERSION}/{each}"} for each in modules
    ]
    return {"version": VERSION, "endpoints": endpoints}


def _credentials(operator: DemoOperator, base: str) -> dict[str, Any]:
    role = {
        "role": "CPO",
        "business_details": {"name": f"{operator.name.title()} Charging"},
        "party_id": operator.party_id,
        "country_code": operator.country_code,
    }
    return {"token": operator.token, "url": f"{base}/versions", "roles": [role]}


def _page(
    url: str, records: list[dict[str, Any]], query: dict[str, list[str]]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    date_from, date_to = (_moment(query, name) for name in ("date_from", "date_to"))
    offset, limit = _number(query, "offset", 0), min(_number(query, "limit", MAX_PAGE), MAX_PAGE)
    matching = [
        each
        for each in records
        if date_from <= each["last_updated"] and (not date_to or each["last_updated"] < date_to)
    ]
    headers = {"X-Total-Count": str(len(matching)), "X-Limit": str(MAX_PAGE)}
    if offset + limit < len(matching) and limit:
        filters = {name: query[name][-1] for name in ("date_from", "date_to") if name in query}
        rest = {"offset": str(offset + limit), "limit": str(limit)}
        following = urlencode(filters | rest, safe=":")
        headers["Link"] = f'<{url}?{following}>; rel="next"'
    return matching[offset : offset + limit], headers


def _moment(query: dict[str, list[str]], name: str) -> str:
    value = query.get(name, [""])[-1]
    if not value:
        return ""
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        raise OcpiError(200, 2001, f"{name} is not a DateTime") from None
    return text(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC))


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    value = query.get(name, [str(default)])[-1]
    if not re.fullmatch("[0-9]{1,9}", value):
        raise OcpiError(200, 2001, f"{name} must be a number of at least 0")
    return int(value)
