"""The answers of `get_task_data`, byte for byte, and what they cost on the real Firestore and Storage."""

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

import grpc
import jwt
import pytest
from werkzeug.test import EnvironBuilder, TestResponse

from emulators.environment import PROJECT, Addresses
from functions import responses
from shared import firebase, settings, tasks
from shared.firebase import FirestoreWire, StorageWire
from shared.tasks import TaskEngine, TaskName
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.storage import Objects
from shared.tasks.results import gzipped
from tests.engine.counting import CountedSession, Counter
from tests.engine.world import HandClock, World
from tests.functions.front import front
from tests.support.engines import use_engine

TASK = TaskName.send_reset_sms
CONTRACT_PATH = f"tasks_data/{TASK}.json"
RECORDS = [{"id": str(number), "health": "good", "volts": 12.5} for number in range(5000)]
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


class Instance:
    """An instance of the callable in this process, and what it asks of the servers."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        near = firebase.firestore_wire()
        self.firestore, self.storage = Counter(), CountedSession()
        wire = FirestoreWire(
            grpc.intercept_channel(near.channel, self.firestore), near.database, near.metadata
        )
        reads = StorageWire(self.storage, str(settings.storage_emulator()), firebase.bucket().name)
        self.clock = HandClock()
        self.engine = TaskEngine(
            Store(lambda: wire), Objects(firebase.bucket, lambda: reads), clock=self.clock
        )
        use_engine(patch, self.engine)
        claims = {"iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT, "sub": "somebody"}
        token = jwt.encode({**claims, "role": "viewer"}, None, algorithm="none")
        self.headers = {"Authorization": f"Bearer {token}"}

    @cached_property
    def client(self) -> Any:
        """A client of the function, which is loaded with the stack's settings, and a test's."""
        return front(runpy.run_path("functions/callable/get_task_data.py")["get_task_data"])

    def ask(self, headers: dict[str, str] | None = None, **more: Any) -> TestResponse:
        data = {"data": {"task_name": TASK, **more}}
        answer: TestResponse = self.client.post("/", json=data, headers={**self.headers, **(headers or {})})
        return answer

    def get(self, **more: Any) -> Any:
        """The result that an answer holds."""
        answer = self.ask(**more)
        assert answer.status_code == 200, answer.data
        assert set(answer.json) == {"result"}
        return answer.json["result"]

    def cold(self) -> None:
        """Forget what it remembers, and what it asked."""
        self.engine.cache.forget(TASK)
        self.firestore.calls.clear()
        self.storage.requests.clear()


@pytest.fixture
def world(clean_firestore: Addresses) -> World:
    bucket = firebase.bucket()
    for blob in bucket.client.list_blobs(bucket):
        blob.delete()
    return World(firebase.firestore_client(), bucket)


@pytest.fixture
def instance(world: World, monkeypatch: pytest.MonkeyPatch) -> Instance:
    return Instance(monkeypatch)


def publish(value: Any, save_in: str = "db") -> None:
    """Another instance runs the task."""
    assert TaskEngine().execute_task("s", TASK, lambda: value, {"save_in": save_in}).status == "completed"


def unpacked(answer: TestResponse) -> bytes:
    """What a browser makes of an answer: the first member of its gzip, which must be all of it."""
    assert answer.headers["Content-Encoding"] == "gzip"
    unzip = zlib.decompressobj(wbits=31)
    plain = unzip.decompress(answer.data)
    assert (unzip.eof, unzip.unused_data) == (True, b"")
    return plain


def by_original(content: bytes) -> Callable[[World], None]:
    """The original's document, and its object at the contract's path."""

    def put(world: World) -> None:
        world.bucket.blob(CONTRACT_PATH).upload_from_string(content, content_type="application/json")
        world.write({"source": "ts", "status": "completed", "data": "https://storage.googleapis.com/x"}, TASK)

    return put


PLAIN = json.dumps(RECORDS, indent=1).encode()
WRITERS: dict[str, Callable[[World], None]] = {
    "db": lambda _: publish(RECORDS),
    "storage": lambda _: publish(RECORDS, "storage"),
    "another's document": lambda world: world.write({"status": "completed", "data": RECORDS}, TASK),
    "another's plain object": by_original(PLAIN),
    "another's gzip object": by_original(gzip.compress(PLAIN)),
    "another's object of several members": by_original(
        gzip.compress(PLAIN[:7000]) + gzip.compress(PLAIN[7000:])
    ),
    "another's object of two of ours": by_original(
        b"".join(gzipped.member(gzipped.compress(part)) for part in (PLAIN[:7000], PLAIN[7000:]))
    ),
}


# The entry is the answer


@pytest.mark.parametrize("written", WRITERS.values(), ids=WRITERS)
def test_every_client_gets_the_same_json_as_it_takes_it(
    instance: Instance, world: World, written: Callable[[World], None]
) -> None:
    """Compressed or not, whoever wrote it and however it is kept."""
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
def test_what_a_client_takes_is_heeded(
    instance: Instance, takes: str | None, compressed: bool | None
) -> None:
    """As HTTP has it; what means nothing is answered one way or the other."""
    publish(RECORDS)
    answer = instance.ask({} if takes is None else {"Accept-Encoding": takes})
    assert answer.status_code == 200
    if compressed is not None:
        assert ("Content-Encoding" in answer.headers) is compressed
    body = unpacked(answer) if "Content-Encoding" in answer.headers else answer.data
    assert json.loads(body) == {"result": RECORDS}


def test_all_answers_share_the_very_bytes(instance: Instance) -> None:
    """Those that lie in the cache, as they were stored: nothing is copied, unpacked or packed for a call."""
    publish(RECORDS, "storage")
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
def test_other_methods_read_nothing(instance: Instance, method: str) -> None:
    """They are answered without a body, and without asking anybody."""
    publish(RECORDS)
    answer = instance.client.open("/", method=method, headers={**instance.headers, **GZIP})
    assert (answer.status_code, answer.data) == (400 if method == "HEAD" else 204, b"")
    assert instance.firestore.calls == []


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize("value", [[], {}, 0, "", False, 0.0, [None], {"": None}], ids=repr)
def test_an_empty_result_is_a_result(instance: Instance, save_in: str, value: Any) -> None:
    """Told as it is, in each form of the answer."""
    publish(value, save_in)
    for headers in ({}, GZIP):
        bare, told = (instance.ask(headers, **more).json["result"] for more in ({}, {"if_version": None}))
        assert (bare, told["data"]) == (value, value)
        assert type(bare) is type(told["data"]) is type(value)


# Versions and descriptions


def test_the_answer_with_a_version(instance: Instance, world: World) -> None:
    """`{version, completed, stale, data}`; or, where the caller has it, that it is not modified."""
    publish([1], "storage")
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
def test_a_description_tells_all_but_the_data(instance: Instance, world: World, save_in: str) -> None:
    """And fetches none, not on a cold instance either."""

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


def test_details_are_answered_with_their_version(instance: Instance, world: World) -> None:
    """The object's bytes as they are stored, null where there are none; nothing for a caller who has them."""

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
    publish([2])
    instance.cold()
    assert instance.get(details=True)["details"] is None


@pytest.mark.parametrize("save_in", ["db", "storage", "none"])
def test_the_version_changes_with_each_run(instance: Instance, save_in: str) -> None:
    """Though the result be the same."""
    seen = set()
    for _ in range(3):
        publish([1], save_in)
        instance.cold()
        result = instance.get(if_version=None)
        assert result["data"] == ([] if save_in == "none" else [1])
        assert instance.get(if_version=result["version"]) == {
            "version": result["version"],
            "not_modified": True,
        }
        seen.add(result["version"])
    assert len(seen) == 3


def test_a_failed_run_changes_no_version(instance: Instance) -> None:
    """The last good result is still the one; the description tells of the failure."""
    publish([1])
    version = instance.get(if_version=None)["version"]

    def fails() -> None:
        raise ValueError

    TaskEngine().execute_task("s", TASK, fails)
    instance.cold()
    described = instance.get(describe=True)
    assert (described["version"], described["status"]) == (version, "failed")
    assert instance.get(if_version=version)["not_modified"] is True


def test_where_there_is_no_document_there_is_an_answer(instance: Instance, world: World) -> None:
    """No data, under a version that lasts until there is some."""
    nothing = instance.get(if_version=None)
    assert (nothing["data"], nothing["completed"], nothing["stale"]) == ([], None, False)
    described = instance.get(describe=True)
    assert described == {
        **{name: nothing[name] for name in ("version", "completed", "stale")},
        **dict.fromkeys(("status", "saved_in", "size_bytes", "count", "summary")),
    }
    assert instance.get(if_version=nothing["version"])["not_modified"] is True
    publish([1])
    instance.cold()
    assert instance.get(if_version=nothing["version"])["data"] == [1]
    assert world.objects() == set()


@pytest.mark.parametrize("writer", [name for name in WRITERS if "another" in name])
def test_the_original_s_results_have_versions_too(instance: Instance, world: World, writer: str) -> None:
    """A new one with each document that it writes."""
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


def test_what_is_saved_nowhere_is_nobody_else_s(instance: Instance) -> None:
    """In-process readers of the instance that ran the task have it, while that run's version stands."""
    instance.engine.execute_task("s", TASK, lambda: ["secret"], {"save_in": "none"})
    assert tasks.get_task_data(TASK) == ["secret"]
    for _ in range(2):
        assert instance.get() == []
        assert instance.get(if_version=None)["data"] == []
        assert instance.get(describe=True)["saved_in"] == "none"
        assert tasks.get_task_data(TASK) == ["secret"]
        assert TaskEngine().get_task_data(TASK) == []
    publish(["another"], "none")
    instance.clock.ahead += 6
    assert tasks.get_task_data(TASK) == []


@pytest.mark.parametrize(
    "fields", [{"if_version": 1}, {"if_version": []}, {"describe": 1}, {"describe": None}]
)
def test_a_field_of_another_type_is_the_caller_s_mistake(instance: Instance, fields: dict[str, Any]) -> None:
    """The text names the field."""
    answer = instance.ask(**fields)
    assert (answer.status_code, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert next(iter(fields)) in answer.json["error"]["message"]


# Damage


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
@pytest.mark.parametrize("writer", ["engine", "original"])
def test_a_damaged_object_is_unavailable_and_never_half_an_answer(
    instance: Instance, world: World, content: bytes, writer: str
) -> None:
    """Whoever asks, in whichever form."""
    if writer == "original":
        by_original(content)(world)
    else:
        publish(RECORDS, "storage")
        world.bucket.blob(world.status(TASK)["run"]["result"]["object"]).upload_from_string(content)
    for headers in ({}, GZIP):
        for more in ({}, {"if_version": None}):
            answer = instance.ask(headers, **more)
            message = "the result cannot be read now; try again later"
            assert (answer.status_code, answer.json) == (
                503,
                {"error": {"status": "UNAVAILABLE", "message": message}},
            )


# Too large


LIMIT = 40_000
NOISE = [base64.b85encode(random.Random(number).randbytes(100)).decode() for number in range(1000)]
EVEN = ["x" * 100] * 1000


@pytest.fixture
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud Run returns little."""
    monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", LIMIT)


def handed_off(answer: TestResponse) -> Any:
    """What is at the URL that an answer gives in place of the result."""
    told = answer.json["error"]
    assert (answer.status_code, told["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert told["message"] == "the result is larger than a response may be; read it from details.url"
    assert set(told["details"]) == {"url", "expires_in_seconds"}
    assert told["details"]["expires_in_seconds"] == 900
    with urllib.request.urlopen(told["details"]["url"], timeout=60) as found:
        body = found.read()
    return json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)


@pytest.mark.usefixtures("_small_limit")
@pytest.mark.parametrize("ran", ["here", "elsewhere"])
@pytest.mark.parametrize("headers", [{}, GZIP], ids=["plain", "gzip"])
def test_a_result_that_no_answer_holds_is_handed_to_storage(
    instance: Instance, world: World, capsys: pytest.CaptureFixture[str], headers: dict[str, str], ran: str
) -> None:
    """With a URL that is made on demand and kept nowhere; a description and this process still have it."""
    engine = instance.engine if ran == "here" else TaskEngine()
    engine.execute_task("s", TASK, lambda: NOISE, {"save_in": "storage"})
    before = world.status(TASK)
    for more in ({}, {"if_version": None}, {}):
        answer = instance.ask(headers, **more)
        assert handed_off(answer) == NOISE
        path = before["run"]["result"]["object"].replace("/", "%2F")
        assert path in answer.json["error"]["details"]["url"]
    assert world.status(TASK) == before
    assert "http" not in capsys.readouterr().out
    described = instance.get(describe=True)
    assert described["count"] == 1000
    assert instance.get(if_version=described["version"])["not_modified"] is True
    assert tasks.get_task_data(TASK) == NOISE
    assert handed_off(instance.ask(headers)) == NOISE


@pytest.mark.usefixtures("_small_limit")
def test_a_large_result_that_compresses_well_is_for_those_who_take_that(instance: Instance) -> None:
    """The others read its object, where Storage unpacks it for them."""
    publish(EVEN, "storage")
    assert json.loads(unpacked(instance.ask(GZIP))) == {"result": EVEN}
    assert handed_off(instance.ask()) == EVEN
    assert json.loads(unpacked(instance.ask(GZIP, if_version=None)))["result"]["data"] == EVEN


@pytest.mark.usefixtures("_small_limit")
def test_a_large_result_without_an_object_is_for_those_who_take_it_compressed(instance: Instance) -> None:
    """The text says what to do; there is no URL of a document."""
    publish(EVEN)
    assert json.loads(unpacked(instance.ask(GZIP))) == {"result": EVEN}
    answer = instance.ask()
    assert answer.json["error"] == {
        "status": "RESOURCE_EXHAUSTED",
        "message": "the result is larger than a response may be; send Accept-Encoding: gzip",
    }


@pytest.mark.usefixtures("_small_limit")
def test_a_large_object_of_the_original_s_is_handed_off_too(instance: Instance, world: World) -> None:
    """From the contract's path, which is all there is."""
    by_original(json.dumps(NOISE).encode())(world)
    assert handed_off(instance.ask(GZIP)) == NOISE
    assert handed_off(instance.ask()) == NOISE


@pytest.mark.usefixtures("_small_limit")
def test_the_limit_is_to_the_byte(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of as many bytes is given, one of a byte more is not."""
    publish(EVEN, "storage")
    for headers in ({}, GZIP):
        monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", 1 << 30)
        size = len(instance.ask(headers).data)
        monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", size)
        assert instance.ask(headers).status_code == 200
        monkeypatch.setattr(responses, "MAX_ANSWER_BYTES", size - 1)
        assert instance.ask(headers).status_code == 429


@pytest.mark.usefixtures("_small_limit")
def test_what_no_answer_holds_is_not_unpacked_to_find_out(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without gzip is refused by the size that is known: many of them would fill the memory."""
    publish(["x" * 10 * LIMIT], "storage")
    monkeypatch.setattr(gzipped, "decompress", lambda _: pytest.fail("unpacked"))
    assert instance.ask().status_code == 429
