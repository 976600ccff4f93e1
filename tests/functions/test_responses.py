"""Responses from prepared bytes, in the encoding that the client accepts; needs no stack."""

import gzip
import json

import pytest
from werkzeug.test import TestResponse

from functions.callable_endpoint import callable_function
from functions.responses import MAX_JOINED_BYTES, Answer
from shared.tasks import Payload
from tests.functions.front import front

#: One result whose compressed bytes are sent in parts, and one that is too small to be compressed.
LARGE, SMALL = [f"{n * n * 7919:x}" for n in range(MAX_JOINED_BYTES)], ["a"]


@pytest.fixture(autouse=True)
def _deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-nx-tasks")
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")


def answered(result: object, accepts: str | None) -> TestResponse:
    """The response of a callable with this result."""
    answer = Answer(Payload(json.dumps(result).encode()))
    headers = {} if accepts is None else {"Accept-Encoding": accepts}
    return front(callable_function()(lambda _: answer)).post("/", json={"data": None}, headers=headers)


@pytest.mark.parametrize("accepts", ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.5", "*", "GZIP"])
def test_a_client_that_accepts_gzip_gets_it(accepts: str) -> None:
    """One member, with the right Content-Length."""
    answer = answered(LARGE, accepts)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content_length == len(answer.data) > MAX_JOINED_BYTES
    assert json.loads(gzip.decompress(answer.data)) == {"result": LARGE}


@pytest.mark.parametrize("accepts", [None, "", "identity", "gzip;q=0", "br", "*;q=0"])
def test_a_client_that_does_not_accept_gzip_gets_plain_json(accepts: str | None) -> None:
    """With the right Content-Length."""
    answer = answered(LARGE, accepts)
    assert "Content-Encoding" not in answer.headers
    assert answer.content_length == len(answer.data)
    assert answer.json == {"result": LARGE}


def test_a_small_response_is_not_compressed() -> None:
    answer = answered(SMALL, "gzip")
    assert "Content-Encoding" not in answer.headers
    assert answer.json == {"result": SMALL}


@pytest.mark.parametrize("accepts", ["gzip", None])
def test_vary_names_encoding_and_origin(accepts: str | None) -> None:
    headers = answered(LARGE, accepts).headers
    assert headers.getlist("Vary") == ["Accept-Encoding, Origin"]
    assert headers.getlist("Content-Type") == ["application/json"]
    assert headers["Cache-Control"] == "private, no-store"
