"""`get_task_data` and its kin on the real Firestore and Storage, behaviour by behaviour of the contract."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from google.cloud.firestore import GeoPoint

from emulators.environment import PROJECT, Addresses
from shared.tasks import ResultNotStorable, ResultTooLarge, ResultUnavailable, TaskEngine, TaskRun
from tests.engine.line import Line
from tests.engine.world import TASK, HandClock, World

CONTRACT_PATH = "tasks_data/collect_charge_cdrs.json"
MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def by_contract_alone(world: World) -> Any:
    """Read a result as an implementation does that knows nothing but the contract."""
    data = world.status().get("data")
    if isinstance(data, str) and data.startswith("http"):
        return json.loads(world.bucket.blob(CONTRACT_PATH).download_as_bytes())
    return data if isinstance(data, list | dict) else []


def original(**fields: Any) -> dict[str, Any]:
    """A status document as the TypeScript original writes it."""
    return {
        "source": "ts",
        "status": "completed",
        "started": MOMENT,
        "completed": MOMENT,
        "timestamp": MOMENT,
        "error": "",
        **fields,
    }


def test_no_data_is_an_empty_array(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "get_task_data": `[]` if there is no result; record by record, none."""
    assert engine.get_task_data(TASK) == []
    assert list(engine.iter_task_data(TASK)) == []
    world.write(original())
    assert TaskEngine().get_task_data(TASK) == []


@pytest.mark.parametrize("data", [[{"a": 1}], {"a": [1]}, [], {}])
def test_a_document_of_another_implementation_is_read(engine: TaskEngine, world: World, data: Any) -> None:
    """The contract's fields alone are enough: an object or array in `data` is the result."""
    world.write(original(data=data))
    assert engine.get_task_data(TASK) == data


@pytest.mark.parametrize("data", ["no data to save", "text", 5, None, True, 0])
def test_other_data_of_another_implementation_is_none(engine: TaskEngine, world: World, data: Any) -> None:
    """docs/contract.md, "Firestore fallback": neither URL nor object: an empty array."""
    world.write(original(data=data))
    assert engine.get_task_data(TASK) == []


def test_a_url_of_another_implementation_leads_to_the_contract_s_path(
    engine: TaskEngine, world: World
) -> None:
    """docs/contract.md, "Storage fallback": the URL says where it is kept, the path is the contract's."""
    world.bucket.blob(CONTRACT_PATH).upload_from_string('[{"ü": 1}]', content_type="application/json")
    world.write(original(data="https://storage.googleapis.com/expired?X-Goog-Signature=gone"))
    assert engine.get_task_data(TASK) == [{"ü": 1}]
    assert engine.get_task_data_from_storage(TASK) == [{"ü": 1}]


def test_a_url_to_an_object_that_is_gone_is_no_data(engine: TaskEngine, world: World) -> None:
    """As the original's reader has it: null from Storage is an empty array."""
    world.write(original(data="https://storage.googleapis.com/x"))
    assert engine.get_task_data(TASK) == []


def test_firestore_s_own_types_are_read_as_json(engine: TaskEngine, world: World) -> None:
    """Times, places, bytes and NaN of other writers come as text, maps and null (lesson 18)."""
    world.write(
        original(data={"at": MOMENT, "where": GeoPoint(1.5, 2), "raw": b"\x00\xff", "odd": float("nan")})
    )
    assert engine.get_task_data(TASK) == {
        "at": "2026-11-01T12:00:00Z",
        "where": {"latitude": 1.5, "longitude": 2},
        "raw": "AP8=",
        "odd": None,
    }


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize("value", [[{"n": 1}], {"a": {"b": [1]}}, [], {}])
def test_what_is_written_here_is_read_by_contract_alone(
    engine: TaskEngine, world: World, save_in: str, value: Any
) -> None:
    """A service that knows only the contract finds status and result where it looks for them."""
    engine.execute_task("s", TASK, lambda: value, {"save_in": save_in})
    assert by_contract_alone(world) == value
    status = world.status()
    assert status["status"] == "completed"
    assert isinstance(status["completed"], datetime)


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_task_is_handed_over_from_the_original_without_a_gap(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    """Its result is served before, during and after a failed first run here, by both kinds of reader."""
    world.bucket.blob(CONTRACT_PATH).upload_from_string("[1]", content_type="application/json")
    world.write(original(data=[1] if save_in == "db" else "https://storage.googleapis.com/x"))
    seen: list[Any] = []

    def works() -> None:
        seen.extend([TaskEngine().get_task_data(TASK), by_contract_alone(world)])
        raise ValueError

    engine.execute_task("s", TASK, works)
    assert seen == [[1], [1]]
    assert TaskEngine().get_task_data(TASK) == by_contract_alone(world) == [1]
    assert world.status()["run"]["result"] == {
        "version": f"original:{MOMENT.isoformat()}",
        "saved_in": "contract",
    }
    engine.execute_task("s", TASK, lambda: [2], {"save_in": save_in})
    assert TaskEngine().get_task_data(TASK) == by_contract_alone(world) == [2]


def test_a_task_is_handed_back_to_the_original(engine: TaskEngine, world: World) -> None:
    """The original overwrites the document whole; its result counts then, whatever the contract copy was."""
    engine.execute_task("s", TASK, lambda: ["ours"], {"save_in": "storage"})
    world.write(original(data=["theirs"]))
    assert TaskEngine().get_task_data(TASK) == ["theirs"]
    world.bucket.blob(CONTRACT_PATH).upload_from_string('["theirs, large"]')
    world.write(original(data="https://storage.googleapis.com/x"))
    assert TaskEngine().get_task_data(TASK) == ["theirs, large"]


def test_a_contract_copy_is_not_taken_for_a_legacy_result(engine: TaskEngine, world: World) -> None:
    """An object whose metadata carries a version can't be what the original's URL means."""
    engine.execute_task("s", TASK, lambda: ["ours"], {"save_in": "storage"})
    world.write(original(data="https://storage.googleapis.com/x"))
    with pytest.raises(ResultUnavailable):
        TaskEngine().get_task_data(TASK)


def test_an_object_that_the_original_replaces_meanwhile_is_not_taken_for_the_earlier_result(
    world: World,
) -> None:
    """The original overwrites its object before it says so: nothing is served that it may never publish."""
    stored = world.bucket.blob(CONTRACT_PATH)
    stored.upload_from_string('["first"]')
    world.write(original(data="https://storage.googleapis.com/x"))
    engine = TaskEngine()
    read = engine._objects.read

    def meanwhile(path: str, **options: Any) -> bytes | None:
        world.write({"source": "ts", "status": "running", "started": MOMENT, "timestamp": MOMENT})
        stored.upload_from_string('["never published"]')
        return read(path, **options)

    engine._objects.read = meanwhile  # type: ignore[method-assign]  # lets time pass, and reads for real
    assert engine.get_task_data(TASK) == []


def test_within_max_age_a_result_is_served_from_the_cache(
    far_engine: TaskEngine, world: World, line: Line
) -> None:
    """docs/contract.md, "Cache check": what was found is served without asking again."""
    TaskEngine().execute_task("s", TASK, lambda: [1])
    assert far_engine.get_task_data(TASK) == [1]
    line.cut()
    assert far_engine.get_task_data(TASK) == [1]


def test_another_instance_s_new_result_is_seen_after_max_age(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """A warm instance does not serve its first value until it dies (lesson 17)."""
    TaskEngine().execute_task("s", TASK, lambda: [1])
    assert engine.get_task_data(TASK) == [1]
    TaskEngine().execute_task("s", TASK, lambda: [2])
    assert engine.get_task_data(TASK) == [1]
    clock.ahead += 6
    assert engine.get_task_data(TASK) == [2]


def test_a_reader_that_changes_its_result_changes_nobody_else_s(engine: TaskEngine) -> None:
    """What is handed out is the reader's own (lesson 13)."""
    engine.execute_task("s", TASK, lambda: [{"a": 1}])
    engine.get_task_data(TASK)[0]["a"] = "scribbled"
    assert engine.get_task_data(TASK) == [{"a": 1}]


def test_what_a_caller_cached_is_served_until_max_age(engine: TaskEngine, clock: HandClock) -> None:
    """docs/contract.md, "save_task_data_in_cache": arrays and objects; then Firestore has the word."""
    engine.execute_task("s", TASK, lambda: [1])
    engine.save_task_data_in_cache(TASK, {"mine": True})
    assert engine.get_task_data(TASK) == {"mine": True}
    assert engine.cache.get_object_data(TASK) == {"mine": True}
    clock.ahead += 6
    assert engine.get_task_data(TASK) == [1]
    with pytest.raises(TypeError):
        engine.save_task_data_in_cache(TASK, "text")


def test_storage_helpers_keep_and_read_at_the_contract_s_path(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "Storage helpers": `keep_task_data_in_storage` and `get_task_data_from_storage`."""
    assert engine.get_task_data_from_storage(TASK) is None
    url = engine.keep_task_data_in_storage(TASK, [{"id": "1", "health": "good"}])
    assert world.objects() == {CONTRACT_PATH}
    assert "collect_charge_cdrs.json" in url
    assert world.bucket.get_blob(CONTRACT_PATH).content_type == "application/json"
    assert engine.get_task_data_from_storage(TASK) == [{"id": "1", "health": "good"}]


@pytest.mark.parametrize("data", ["text", 5, None, {1, 2}, [float("nan")]])
def test_what_is_no_array_or_object_is_not_kept(engine: TaskEngine, world: World, data: Any) -> None:
    """docs/contract.md, "keep_task_data_in_storage": throws if the data is neither; nothing is uploaded."""
    with pytest.raises(ResultNotStorable):
        engine.keep_task_data_in_storage(TASK, data)
    assert world.objects() == set()


def test_the_stored_result_is_the_last_run_s(engine: TaskEngine, world: World) -> None:
    """Reading from Storage follows `run.result`, not a contract copy that may be behind."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    world.bucket.blob(CONTRACT_PATH).upload_from_string("[0]")
    assert engine.get_task_data_from_storage(TASK) == [1]


@pytest.mark.parametrize("content", [b"\x1f\x8bbroken", b"\xff\xfe", b'{"half": '])
def test_an_object_that_is_no_json_is_an_error_and_never_no_data(
    engine: TaskEngine, world: World, content: bytes
) -> None:
    """Damage is told, with the task's name."""
    world.bucket.blob(CONTRACT_PATH).upload_from_string(content)
    world.write(original(data="https://storage.googleapis.com/x"))
    with pytest.raises(ResultUnavailable):
        engine.get_task_data(TASK)
    with pytest.raises(ResultUnavailable):
        engine.get_task_data_from_storage(TASK)


READS: dict[str, Callable[[TaskEngine], Any]] = {
    "whole": lambda engine: engine.get_task_data(TASK),
    "from Storage": lambda engine: engine.get_task_data_from_storage(TASK),
    "record by record": lambda engine: list(engine.iter_task_data(TASK)),
    "too large for its reader": lambda engine: engine.get_task_result(TASK, max_bytes=10),
}


def lose_result_object(world: World) -> None:
    world.bucket.blob(world.status()["run"]["result"]["object"]).delete()


@pytest.mark.parametrize("how", ["whole", "from Storage", "record by record"])
def test_a_lost_result_object_is_read_from_the_contract_copy(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """The copy holds the same version: no reader notices, and the log names the task."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    lose_result_object(world)
    assert READS[how](TaskEngine()) == [1]
    told = capsys.readouterr().out
    assert f"result object is missing; reading the contract copy task={TASK.value}" in told


def test_a_reader_that_cannot_take_a_lost_result_is_led_to_the_contract_copy(
    engine: TaskEngine, world: World
) -> None:
    """What it is to read as a stream is the object that is there."""
    engine.execute_task("s", TASK, lambda: ["long enough"] * 100, {"save_in": "storage"})
    lose_result_object(world)
    with pytest.raises(ResultTooLarge) as raised:
        READS["too large for its reader"](TaskEngine())
    assert raised.value.path == CONTRACT_PATH


@pytest.mark.parametrize("how", list(READS))
@pytest.mark.parametrize("copy", ["gone", "an earlier version", "another writer's"])
def test_a_lost_result_without_a_copy_of_its_version_is_an_error(
    engine: TaskEngine, world: World, how: str, copy: str
) -> None:
    """It is never "no data", nor another result; the error says where to read on."""
    engine.execute_task("s", TASK, lambda: ["earlier"], {"save_in": "storage"})
    contract = world.bucket.blob(CONTRACT_PATH)
    contract.reload()
    earlier = (contract.download_as_bytes(raw_download=True), contract.metadata)
    engine.execute_task("s", TASK, lambda: ["lost"], {"save_in": "storage"})
    lose_result_object(world)
    contract = world.bucket.blob(CONTRACT_PATH)
    if copy == "gone":
        contract.delete()
    else:
        contract.metadata = earlier[1] if copy == "an earlier version" else None
        contract.upload_from_string(earlier[0], content_type="application/json")
    with pytest.raises(ResultUnavailable, match=r"missing or was replaced .* docs/deploy.md"):
        READS[how](TaskEngine())


@pytest.mark.parametrize("how", ["whole", "from Storage", "record by record"])
def test_a_contract_copy_that_changes_while_it_is_read_is_not_taken_for_the_lost_result(
    engine: TaskEngine, world: World, how: str
) -> None:
    """It is written in place: what was read may be of another version than what was asked for."""
    engine.execute_task("s", TASK, lambda: ["lost"], {"save_in": "storage"})
    lose_result_object(world)
    reader = TaskEngine()
    objects = reader._objects
    read, opened = objects.read, objects.open

    def replaced(path: str) -> None:
        if path == CONTRACT_PATH:
            world.bucket.blob(CONTRACT_PATH).upload_from_string('["another"]')

    def read_later(path: str, **options: Any) -> Any:
        replaced(path)
        return read(path, **options)

    def open_later(path: str, **options: Any) -> Any:
        replaced(path)
        return opened(path, **options)

    objects.read, objects.open = read_later, open_later  # type: ignore[method-assign]  # then read for real
    with pytest.raises(ResultUnavailable):
        READS[how](reader)


def test_a_task_that_merges_its_last_result_outlives_the_loss_of_its_object(
    engine: TaskEngine, world: World
) -> None:
    """It goes on from the contract copy, and publishes an object of its own again."""

    def merges(run: TaskRun) -> Iterator[Any]:
        yield from engine.iter_task_data(run.task_name)
        yield run.run_id

    first = engine.execute_task("s", TASK, merges, {"save_in": "storage"}).run_id
    lose_result_object(world)
    second = engine.execute_task("s", TASK, merges, {"save_in": "storage"}).run_id
    assert TaskEngine().get_task_data(TASK) == [first, second]
    world.bucket.blob(CONTRACT_PATH).delete()
    assert TaskEngine().get_task_data(TASK) == [first, second]


def test_a_task_is_started_over_by_the_documented_request(
    engine: TaskEngine, world: World, stack: Addresses
) -> None:
    """Its result is lost, copy and all: once the pointer is removed, the next run starts from nothing."""

    def merges(run: TaskRun) -> Iterator[Any]:
        yield from engine.iter_task_data(run.task_name)
        yield run.run_id

    engine.execute_task("s", TASK, merges, {"save_in": "storage"})
    lose_result_object(world)
    world.bucket.blob(CONTRACT_PATH).delete()
    assert engine.execute_task("s", TASK, merges, {"save_in": "storage"}).status == "failed"
    page = (Path(__file__).parents[2] / "docs/deploy.md").read_text("utf-8")
    (documented,) = re.findall(r"google -X PATCH .+/nx-tasks/\$TASK(\?\S+)\" -d '\{\}'", page)
    document = f"projects/{PROJECT}/databases/{stack.database}/documents/nx-tasks/{TASK.value}{documented}"
    answer = requests.patch(
        f"http://{stack.firestore}/v1/{document}",
        json={},
        headers={"Authorization": "Bearer owner"},
        timeout=30,
    )
    assert answer.ok, answer.text
    assert TaskEngine().get_task_data(TASK) == []
    last = engine.execute_task("s", TASK, merges, {"save_in": "storage"})
    assert last.status == "completed"
    assert TaskEngine().get_task_data(TASK) == [last.run_id]
