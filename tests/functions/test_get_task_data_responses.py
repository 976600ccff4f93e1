"""The exact bytes of the responses of `get_task_data`, and their reads of real Firestore and Storage."""

import base64
import gzip
import json
import random
import runpy
import urllib.request
import zlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jwt
import pytest
from werkzeug.test import EnvironBuilder, TestResponse

from emulators.environment import PROJECT
from functions import responses
from shared import tasks
from shared.tasks import TaskEngine, TaskName
from shared.tasks.results import gzipped
from tests.functions.front import front
from tests.support.engines import use_engine
from tests.support.instances import CountedInstance, publish
from tests.support.world import World

TASK = TaskName.send_reset_sms
CONTRACT_PATH = f"tasks_data/{TASK}.json"
RECORDS = [{"id": str(number), "health": "good", "volts": 12.5} for number in range(5000)]
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


class Instance(CountedInstance):
    """An instance of the callable in this process."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        use_engine(patch, self.engine)
        claims = {"iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT, "sub": "user"}
        token = jwt.encode({**claims, "role": "viewer"}, None, algorithm="none")
        self.headers = {"Authorization": f"Bearer {token}"}

    @cached_property
    def client(self) -> Any:
        """A client of the function, loaded with the settings of the stack and of a test."""
        return front(runpy.run_path("functions/callable/get_task_data.py")["get_task_data"])

    def ask(self, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        data = {"data": {"task_name": TASK, **more}}
        answer: TestResponse = self.client.post("/", json=data, headers={**self.headers, **(headers or {})})
        return answer

    def get(self, **more: Any) -> Any:
        """The result in a response."""
        answer = self.ask(**more)
        assert answer.status_code == 200, answer.data
        assert set(answer.json) == {"result"}
        return answer.json["result"]

    def cold(self) -> None:
        """Empty the cache and clear the recorded requests."""
        self.engine.cache.forget(TASK)
        self.firestore.calls.clear()
        self.storage.requests.clear()


@pytest.fixture
def instance(world: World, monkeypatch: pytest.MonkeyPatch) -> Instance:
    return Instance(monkeypatch)


def unpacked(answer: TestResponse) -> bytes:
    """The decompressed body: the first member of its gzip, which must be the only one."""
    assert answer.headers["Content-Encoding"] == "gzip"
    unzip = zlib.decompressobj(wbits=31)
    plain = unzip.decompress(answer.data)
    assert (unzip.eof, unzip.unused_data) == (True, b"")
    return plain


def by_legacy_writer(content: bytes) -> Callable[[World], None]:
    """The legacy writer's document, with its object at the contract's path."""

    def put(world: World) -> None:
        world.bucket.blob(CONTRACT_PATH).upload_from_string(content, content_type="application/json")
        world.write({"source": "ts", "status": "completed", "data": "https://storage.googleapis.com/x"}, TASK)

    return put


PLAIN = json.dumps(RECORDS, indent=1).encode()
WRITERS: dict[str, Callable[[World], None]] = {
    "db": lambda _: publish(TASK, RECORDS),
    "storage": lambda _: publish(TASK, RECORDS, "storage"),
    "legacy document": lambda world: world.write({"status": "completed", "data": RECORDS}, TASK),
    "legacy plain object": by_legacy_writer(PLAIN),
    "legacy gzip object": by_legacy_writer(gzip.compress(PLAIN)),
    "legacy object of several members": by_legacy_writer(
        gzip.compress(PLAIN[:7000]) + gzip.compress(PLAIN[7000:])
    ),
    "legacy object of two of our members": by_legacy_writer(
        b"".join(gzipped.member(gzipped.compress(part)) for part in (PLAIN[:7000], PLAIN[7000:]))
    ),
}


# The cached bytes are the response


@pytest.mark.parametrize("written", WRITERS.values(), ids=WRITERS)
def test_every_client_gets_the_same_json_in_its_encoding(
    instance: Instance, world: World, written: Callable[[World], None]
) -> None:
    """For every writer and every place of storage."""
    written(world)
    for _ in range(2):
        compressed, plain = instance.ask(GZIP), instance.ask()
        assert json.loads(unpacked(compressed)) == json.loads(plain.data) == {"result": RECORDS}
        assert unpacked(compressed) == plain.data
        assert "Content-Encoding" not in plain.headers
        for answer in (compressed, plain):
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Content-Length"] == str(len(answer.data))
            assert {"Accept-Encoding", "Origin"} <= set(answer.vary)
            assert answer.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    ("takes", "compressed"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("gzip, deflate, br, zstd", True),
        ("br, gzip;q=0.1", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("br", False),
        ("deflate, identity;q=0.5", False),
        ("gzip;q=nonsense,,;=", None),
        ("g" * 5000, False),
    ],
)
def test_accept_encoding_is_respected(instance: Instance, takes: str | None, compressed: bool | None) -> None:
    """According to HTTP; invalid values may give either encoding."""
    publish(TASK, RECORDS)
    answer = instance.ask({} if takes is None else {"Accept-Encoding": takes})
    assert answer.status_code == 200
    if compressed is not None:
        assert ("Content-Encoding" in answer.headers) is compressed
    body = unpacked(answer) if "Content-Encoding" in answer.headers else answer.data
    assert json.loads(body) == {"result": RECORDS}


def test_all_responses_share_the_cached_bytes(instance: Instance) -> None:
    """They are neither copied nor compressed again for a call."""
    publish(TASK, RECORDS, "storage")
    request = EnvironBuilder(headers=GZIP).get_request()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzipped, "decompress", lambda _: pytest.fail("unpacked"))
        patch.setattr(gzipped, "compress", lambda _: pytest.fail("packed"))
        assert json.loads(unpacked(instance.ask(GZIP))) == {"result": RECORDS}
        bodies = []
        for _ in range(3):
            payload = tasks.get_task_result(TASK).payload
            assert payload is not None
            bodies.append(responses.Answer(payload).body(request))
        assert json.loads(unpacked(instance.ask(GZIP, if_version="x")))["result"]["data"] == RECORDS
    assert len({id(pieces[0]) for pieces, _ in bodies}) == 1
    plain = [responses.Answer(payload).body(EnvironBuilder().get_request()) for _ in range(3)]
    assert len({id(pieces[1]) for pieces, _ in plain}) == 1


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_other_methods_send_no_reads(instance: Instance, method: str) -> None:
    """The response has no body."""
    publish(TASK, RECORDS)
    answer = instance.client.open("/", method=method, headers={**instance.headers, **GZIP})
    assert (answer.status_code, answer.data) == (400 if method == "HEAD" else 204, b"")
    assert instance.firestore.calls == []


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize("value", [[], {}, 0, "", False, 0.0, [None], {"": None}], ids=repr)
def test_an_empty_result_is_returned_unchanged(instance: Instance, save_in: str, value: Any) -> None:
    """In each form of the response."""
    publish(TASK, value, save_in)
    for headers in ({}, GZIP):
        bare, full = (instance.ask(headers, **more).json["result"] for more in ({}, {"if_version": None}))
        assert (bare, full["data"]) == (value, value)
        assert type(bare) is type(full["data"]) is type(value)


# Versions and descriptions


def test_a_versioned_response_has_data_or_is_not_modified(instance: Instance, world: World) -> None:
    """It is `{version, completed, stale, data}` unless the caller has the current version."""
    publish(TASK, [1], "storage")
    kept = world.status(TASK)
    result = instance.get(if_version=None)
    assert result == {
        "version": kept["run"]["result"]["version"],
        "completed": kept["completed"].isoformat(),
        "stale": False,
        "data": [1],
    }
    assert instance.get(if_version="another") == instance.get(if_version="") == result
    same = {"version": result["version"], "not_modified": True}
    assert instance.get(if_version=result["version"]) == same
    instance.cold()
    assert instance.get(if_version=result["version"]) == same
    assert (instance.firestore.calls, instance.storage.requests) == (["BatchGetDocuments"], [])


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_description_has_all_fields_but_the_data(instance: Instance, world: World, save_in: str) -> None:
    """It reads no data, even on a cold instance."""

    def works(run: tasks.TaskRun) -> Any:
        run.summarise({"good": 2})
        return {"a": 1, "b": 2}

    TaskEngine().execute_task("s", TASK, works, {"save_in": save_in})
    kept = world.status(TASK)
    described = instance.get(describe=True)
    assert described == {
        "version": kept["run"]["result"]["version"],
        "completed": kept["completed"].isoformat(),
        "stale": False,
        "status": "completed",
        "saved_in": save_in,
        "size_bytes": 13,
        "count": 2,
        "summary": {"good": 2},
    }
    assert (instance.firestore.calls, instance.storage.requests) == (["BatchGetDocuments"], [])
    assert instance.get(describe=False) == {"a": 1, "b": 2}
    same = {"version": described["version"], "not_modified": True}
    assert instance.get(describe=True, if_version=described["version"]) == same
    assert instance.get(describe=True, if_version="another") == described


def test_details_are_returned_with_their_version(instance: Instance, world: World) -> None:
    """The stored bytes, or null; nothing for a caller that has the version."""

    def works(run: tasks.TaskRun) -> Any:
        run.summarise({"good": 2}, details={"rows": RECORDS})
        return [1]

    TaskEngine().execute_task("s", TASK, works)
    kept = world.status(TASK)
    version, completed = kept["run"]["result"]["version"], kept["completed"].isoformat()
    answer = {"version": version, "completed": completed, "details": {"rows": RECORDS}}
    assert instance.get(details=True) == answer
    assert json.loads(unpacked(instance.ask(GZIP, details=True))) == {"result": answer}
    assert instance.get(details=True, if_version="another") == answer
    assert instance.get(details=True, if_version=version) == {"version": version, "not_modified": True}
    publish(TASK, [2])
    instance.cold()
    assert instance.get(details=True)["details"] is None


@pytest.mark.parametrize("save_in", ["db", "storage", "none"])
def test_the_version_changes_with_each_run(instance: Instance, save_in: str) -> None:
    """Even if the result is the same."""
    versions = set()
    for _ in range(3):
        publish(TASK, [1], save_in)
        instance.cold()
        result = instance.get(if_version=None)
        assert result["data"] == ([] if save_in == "none" else [1])
        assert instance.get(if_version=result["version"]) == {
            "version": result["version"],
            "not_modified": True,
        }
        versions.add(result["version"])
    assert len(versions) == 3


def test_a_failed_run_does_not_change_the_version(instance: Instance) -> None:
    """The last good result stays; the description has the failure."""
    publish(TASK, [1])
    version = instance.get(if_version=None)["version"]

    def fails() -> None:
        raise ValueError

    TaskEngine().execute_task("s", TASK, fails)
    instance.cold()
    described = instance.get(describe=True)
    assert (described["version"], described["status"]) == (version, "failed")
    assert instance.get(if_version=version)["not_modified"] is True


def test_failed_runs_without_a_result_are_not_taken_for_one(instance: Instance) -> None:
    """A client that has "no result" is sent nothing again, and gets no time."""

    def fails() -> None:
        raise ValueError

    nothing = instance.get(if_version=None)
    for _ in range(2):
        TaskEngine().execute_task("s", TASK, fails)
        instance.cold()
        assert instance.get(if_version=None) == nothing
        instance.cold()
        assert instance.get(if_version=nothing["version"])["not_modified"] is True
        described = instance.get(describe=True)
        assert (described["version"], described["completed"]) == (nothing["version"], None)
        assert (described["status"], described["saved_in"]) == ("failed", None)
        details = instance.get(details=True)
        assert details == {"version": nothing["version"], "completed": None, "details": None}
        assert instance.get(details=True, if_version=nothing["version"])["not_modified"] is True


def test_without_a_document_the_response_has_a_version(instance: Instance, world: World) -> None:
    """Without data, until there is some."""
    nothing = instance.get(if_version=None)
    assert (nothing["data"], nothing["completed"], nothing["stale"]) == ([], None, False)
    described = instance.get(describe=True)
    assert described == {
        **{name: nothing[name] for name in ("version", "completed", "stale")},
        **dict.fromkeys(("status", "saved_in", "size_bytes", "count", "summary")),
    }
    assert instance.get(if_version=nothing["version"])["not_modified"] is True
    publish(TASK, [1])
    instance.cold()
    assert instance.get(if_version=nothing["version"])["data"] == [1]
    assert world.objects() == set()


@pytest.mark.parametrize("writer", [name for name in WRITERS if "legacy" in name])
def test_legacy_results_have_versions(instance: Instance, world: World, writer: str) -> None:
    """A new one for each document that the legacy writer writes."""
    WRITERS[writer](world)
    first = instance.get(if_version=None)
    assert first["data"] == RECORDS
    instance.cold()
    assert instance.get(if_version=first["version"])["not_modified"] is True
    assert instance.storage.requests == []
    document = world.database.document(f"nx-tasks/{TASK}")
    document.update({"timestamp": document.get().update_time})
    instance.cold()
    second = instance.get(if_version=first["version"])
    assert second["data"] == RECORDS
    assert second["version"] != first["version"]


def test_an_unsaved_result_is_available_only_in_its_process(instance: Instance) -> None:
    """While that run's version is the current one."""
    instance.engine.execute_task("s", TASK, lambda: ["secret"], {"save_in": "none"})
    assert tasks.get_task_data(TASK) == ["secret"]
    for _ in range(2):
        assert instance.get() == []
        assert instance.get(if_version=None)["data"] == []
        assert instance.get(describe=True)["saved_in"] == "none"
        assert tasks.get_task_data(TASK) == ["secret"]
        assert TaskEngine().get_task_data(TASK) == []
    publish(TASK, ["another"], "none")
    instance.clock.ahead += 6
    assert tasks.get_task_data(TASK) == []


@pytest.mark.parametrize(
    "fields", [{"if_version": 1}, {"if_version": []}, {"describe": 1}, {"describe": None}]
)
def test_a_field_of_another_type_is_an_invalid_argument(instance: Instance, fields: dict[str, Any]) -> None:
    """The message names the field."""
    answer = instance.ask(**fields)
    assert (answer.status_code, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert next(iter(fields)) in answer.json["error"]["message"]


# Damaged objects


DAMAGED = {
    "nothing": b"",
    "ours, cut off": gzipped.member(gzipped.compress(PLAIN))[:-20],
    "gzip, cut off": gzip.compress(PLAIN)[:-20],
    "gzip, damaged": gzip.compress(PLAIN)[:-8] + b"\x00" * 8,
    "JSON, cut off": PLAIN[:-2],
    "zeros": b"\x00" * 5000,
    "something else": b"<html></html>",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("writer", ["engine", "legacy"])
def test_a_damaged_object_is_unavailable_and_never_a_partial_response(
    instance: Instance, world: World, content: bytes, writer: str
) -> None:
    """In every form of a request."""
    if writer == "legacy":
        by_legacy_writer(content)(world)
    else:
        publish(TASK, RECORDS, "storage")
        world.bucket.blob(world.status(TASK)["run"]["result"]["object"]).upload_from_string(content)
    for headers in ({}, GZIP):
        for more in ({}, {"if_version": None}):
            answer = instance.ask(headers, **more)
            message = "the result cannot be read now; try again later"
            assert (answer.status_code, answer.json) == (
                503,
                {"error": {"status": "UNAVAILABLE", "message": message}},
            )


# Results that are too large


LIMIT = 40_000
NOISE = [base64.b85encode(random.Random(number).randbytes(100)).decode() for number in range(1000)]
EVEN = ["x" * 100] * 1000


@pytest.fixture
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Cloud Run's limit of a response be small."""
    monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", LIMIT)


def content_at_url(answer: TestResponse) -> Any:
    """The content at the URL that a response has instead of the result."""
    full = answer.json["error"]
    assert (answer.status_code, full["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert full["message"] == "the result is larger than a response may be; read it from details.url"
    assert set(full["details"]) == {"url", "expires_in_seconds"}
    assert full["details"]["expires_in_seconds"] == 900
    with urllib.request.urlopen(full["details"]["url"], timeout=60) as found:
        body = found.read()
    return json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)


@pytest.mark.usefixtures("_small_limit")
@pytest.mark.parametrize("ran", ["here", "elsewhere"])
@pytest.mark.parametrize("headers", [{}, GZIP], ids=["plain", "gzip"])
def test_a_result_above_the_limit_is_replaced_by_a_url(
    instance: Instance, world: World, capsys: pytest.CaptureFixture[str], headers: dict[str, str], ran: str
) -> None:
    """The URL is signed on demand and not stored; descriptions and this process have the result."""
    engine = instance.engine if ran == "here" else TaskEngine()
    engine.execute_task("s", TASK, lambda: NOISE, {"save_in": "storage"})
    before = world.status(TASK)
    for more in ({}, {"if_version": None}, {}):
        answer = instance.ask(headers, **more)
        assert content_at_url(answer) == NOISE
        path = before["run"]["result"]["object"].replace("/", "%2F")
        assert path in answer.json["error"]["details"]["url"]
    assert world.status(TASK) == before
    assert "http" not in capsys.readouterr().out
    described = instance.get(describe=True)
    assert described["count"] == 1000
    assert instance.get(if_version=described["version"])["not_modified"] is True
    assert tasks.get_task_data(TASK) == NOISE
    assert content_at_url(instance.ask(headers)) == NOISE


@pytest.mark.usefixtures("_small_limit")
def test_a_large_compressible_result_is_returned_to_clients_with_gzip(instance: Instance) -> None:
    """Other clients read its object, which Storage decompresses."""
    publish(TASK, EVEN, "storage")
    assert json.loads(unpacked(instance.ask(GZIP))) == {"result": EVEN}
    assert content_at_url(instance.ask()) == EVEN
    assert json.loads(unpacked(instance.ask(GZIP, if_version=None)))["result"]["data"] == EVEN


@pytest.mark.usefixtures("_small_limit")
def test_a_large_document_is_returned_only_to_clients_with_gzip(instance: Instance) -> None:
    """There is no URL of a document; the message recommends gzip."""
    publish(TASK, EVEN)
    assert json.loads(unpacked(instance.ask(GZIP))) == {"result": EVEN}
    answer = instance.ask()
    assert answer.json["error"] == {
        "status": "RESOURCE_EXHAUSTED",
        "message": "the result is larger than a response may be; send Accept-Encoding: gzip",
    }


@pytest.mark.usefixtures("_small_limit")
def test_a_large_legacy_object_is_replaced_by_a_url(instance: Instance, world: World) -> None:
    """Of the contract's path, the only copy."""
    by_legacy_writer(json.dumps(NOISE).encode())(world)
    assert content_at_url(instance.ask(GZIP)) == NOISE
    assert content_at_url(instance.ask()) == NOISE


@pytest.mark.usefixtures("_small_limit")
def test_the_limit_is_exact_to_the_byte(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(TASK, EVEN, "storage")
    for headers in ({}, GZIP):
        monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", 1 << 30)
        size = len(instance.ask(headers).data)
        monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", size)
        assert instance.ask(headers).status_code == 200
        monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", size - 1)
        assert instance.ask(headers).status_code == 429


@pytest.mark.usefixtures("_small_limit")
def test_a_result_above_the_limit_is_not_decompressed(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without gzip is refused by the known size; many such calls would fill the memory."""
    publish(TASK, ["x" * 10 * LIMIT], "storage")
    monkeypatch.setattr(gzipped, "decompress", lambda _: pytest.fail("unpacked"))
    assert instance.ask().status_code == 429
