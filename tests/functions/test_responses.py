"""Answers that are there as bytes, in the encoding that a client takes. No stack is needed for it."""

import gzip
import json

import pytest
from werkzeug.test import TestResponse

from functions.callable_endpoint import callable_function
from functions.responses import MAX_JOINED_BYTES, Answer
from shared.tasks import Payload
from tests.functions.front import front

#: Larger compressed than what is joined to be sent, and smaller than what is compressed at all.
LARGE, SMALL = [f"{n * n * 7919:x}" for n in range(MAX_JOINED_BYTES)], ["a"]


@pytest.fixture(autouse=True)
def _deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-nx-tasks")
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")


def answered(result: object, accepts: str | None) -> TestResponse:
    """What a callable with this result answers."""
    answer = Answer(Payload(json.dumps(result).encode()))
    headers = {} if accepts is None else {"Accept-Encoding": accepts}
    return front(callable_function()(lambda _: answer)).post("/", json={"data": None}, headers=headers)


@pytest.mark.parametrize("accepts", ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.5", "*", "GZIP"])
def test_who_takes_gzip_gets_it(accepts: str) -> None:
    """One member, of the length it says."""
    answer = answered(LARGE, accepts)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.content_length == len(answer.data) > MAX_JOINED_BYTES
    assert json.loads(gzip.decompress(answer.data)) == {"result": LARGE}


@pytest.mark.parametrize("accepts", [None, "", "identity", "gzip;q=0", "br", "*;q=0"])
def test_who_does_not_gets_json(accepts: str | None) -> None:
    """As it is, of the length it says."""
    answer = answered(LARGE, accepts)
    assert "Content-Encoding" not in answer.headers
    assert answer.content_length == len(answer.data)
    assert answer.json == {"result": LARGE}


def test_what_is_small_is_not_compressed() -> None:
    """It would be no smaller on its way."""
    answer = answered(SMALL, "gzip")
    assert "Content-Encoding" not in answer.headers
    assert answer.json == {"result": SMALL}


@pytest.mark.parametrize("accepts", ["gzip", None])
def test_caches_are_told_what_an_answer_depends_on(accepts: str | None) -> None:
    """On the encodings that were taken, and on the page that asked."""
    headers = answered(LARGE, accepts).headers
    assert headers.getlist("Vary") == ["Accept-Encoding, Origin"]
    assert headers.getlist("Content-Type") == ["application/json"]
    assert headers["Cache-Control"] == "private, no-store"
