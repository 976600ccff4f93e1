"""`get_task_data` and related functions on the real Firestore and Storage, as the contract specifies."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from google.cloud.firestore import DELETE_FIELD, GeoPoint

from emulators.environment import PROJECT, Addresses
from shared import firebase
from shared.tasks import ResultNotStorable, ResultTooLarge, ResultUnavailable, TaskEngine, TaskRun
from shared.tasks.admin.queries import view_tasks
from shared.tasks.backends.storage import Objects
from tests.engine.line import Line
from tests.support.world import TASK, HandClock, World

CONTRACT_PATH = "tasks_data/collect_charge_cdrs.json"
MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def by_contract_alone(world: World) -> Any:
    """Read a result like an implementation that knows only the contract."""
    data = world.status().get("data")
    if isinstance(data, str) and data.startswith("http"):
        return json.loads(world.bucket.blob(CONTRACT_PATH).download_as_bytes())
    return data if isinstance(data, list | dict) else []


def legacy_document(**fields: Any) -> dict[str, Any]:
    """A status document like those of the legacy writer."""
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
    """docs/contract.md, "get_task_data": `[]` if there is no result; no records."""
    assert engine.get_task_data(TASK) == []
    assert list(engine.iter_task_data(TASK)) == []
    world.write(legacy_document())
    assert TaskEngine().get_task_data(TASK) == []


@pytest.mark.parametrize("keep", [True, False])
def test_a_task_whose_runs_all_failed_has_no_result(
    engine: TaskEngine, world: World, clock: HandClock, *, keep: bool
) -> None:
    """The end of a failed run is no time of publication, and the version stays until the first result."""
    versions = [engine.get_task_result(TASK).version]

    def checks_and_fails() -> None:
        clock.ahead += 60
        for reader in (TaskEngine(), engine):
            result, details = reader.get_task_result(TASK), reader.get_task_details(TASK)
            described = reader.get_task_result(TASK, include_data=False)
            unchanged = reader.get_task_result(TASK, if_version=versions[0])
            assert [each.completed for each in (result, described, unchanged, details)] == [None] * 4
            assert result.payload is not None
            assert (result.payload.json, unchanged.payload, details.payload) == (b"[]", None, None)
            assert (reader.get_task_data(TASK), list(reader.iter_task_data(TASK))) == ([], [])
            versions.extend([result.version, described.version, details.version])
        raise ValueError("no result")

    for _ in range(2):
        outcome = TaskEngine().execute_task("s", TASK, checks_and_fails, {"keep_last_result": keep})
        assert (outcome.status, outcome.error) == ("failed", "ValueError: no result")
        with pytest.raises(ValueError, match="no result"):
            checks_and_fails()
    assert set(versions) == {versions[0]}
    TaskEngine().execute_task("s", TASK, lambda: [1])
    clock.ahead += 60
    result = engine.get_task_result(TASK, if_version=versions[0])
    assert (result.version in versions, result.completed) == (False, world.status()["completed"])


def test_a_removed_result_does_not_become_a_legacy_result(engine: TaskEngine, world: World) -> None:
    """A task that is started over (docs/deploy.md) has none, although its last run completed."""
    engine.execute_task("s", TASK, lambda: [1])
    world.database.document(f"nx-tasks/{TASK.value}").update({"run.result": DELETE_FIELD})
    result = TaskEngine().get_task_result(TASK)
    assert (result.payload and result.payload.json, result.completed) == (b"[]", None)
    (view,) = view_tasks(engine.store, (TASK,))
    assert view.result is None


@pytest.mark.parametrize("data", [[{"a": 1}], {"a": [1]}, [], {}])
def test_a_legacy_document_is_read(engine: TaskEngine, world: World, data: Any) -> None:
    """The contract's fields suffice: an object or array in `data` is the result."""
    world.write(legacy_document(data=data))
    assert engine.get_task_data(TASK) == data


@pytest.mark.parametrize("data", ["no data to save", "text", 5, None, True, 0])
def test_other_data_of_a_legacy_document_is_an_empty_array(
    engine: TaskEngine, world: World, data: Any
) -> None:
    """docs/contract.md, "Firestore fallback": neither a URL nor an object."""
    world.write(legacy_document(data=data))
    assert engine.get_task_data(TASK) == []


def test_a_url_in_a_legacy_document_is_read_from_the_contract_s_path(
    engine: TaskEngine, world: World
) -> None:
    """docs/contract.md, "Storage fallback"."""
    world.bucket.blob(CONTRACT_PATH).upload_from_string('[{"ü": 1}]', content_type="application/json")
    world.write(legacy_document(data="https://storage.googleapis.com/expired?X-Goog-Signature=gone"))
    assert engine.get_task_data(TASK) == [{"ü": 1}]
    assert engine.get_task_data_from_storage(TASK) == [{"ü": 1}]


def test_a_legacy_url_without_an_object_is_an_empty_array(engine: TaskEngine, world: World) -> None:
    """As in the TypeScript helper."""
    world.write(legacy_document(data="https://storage.googleapis.com/x"))
    assert engine.get_task_data(TASK) == []


def test_types_of_firestore_are_read_as_json(engine: TaskEngine, world: World) -> None:
    """Times, places, bytes and NaN of other writers become texts, maps and null (lesson 18)."""
    world.write(
        legacy_document(
            data={"at": MOMENT, "where": GeoPoint(1.5, 2), "raw": b"\x00\xff", "odd": float("nan")}
        )
    )
    assert engine.get_task_data(TASK) == {
        "at": "2026-11-01T12:00:00Z",
        "where": {"latitude": 1.5, "longitude": 2},
        "raw": "AP8=",
        "odd": None,
    }


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize("value", [[{"n": 1}], {"a": {"b": [1]}}, [], {}])
def test_a_client_that_knows_only_the_contract_reads_the_result(
    engine: TaskEngine, world: World, save_in: str, value: Any
) -> None:
    """It finds status and result where the contract has them."""
    engine.execute_task("s", TASK, lambda: value, {"save_in": save_in})
    assert by_contract_alone(world) == value
    status = world.status()
    assert status["status"] == "completed"
    assert isinstance(status["completed"], datetime)


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_task_is_taken_over_from_the_legacy_writer_without_a_gap(
    engine: TaskEngine, world: World, save_in: str
) -> None:
    """Both kinds of readers get its result before, during and after a failed first run."""
    world.bucket.blob(CONTRACT_PATH).upload_from_string("[1]", content_type="application/json")
    world.write(legacy_document(data=[1] if save_in == "db" else "https://storage.googleapis.com/x"))
    found: list[Any] = []

    def works() -> None:
        found.extend([TaskEngine().get_task_data(TASK), by_contract_alone(world)])
        raise ValueError

    engine.execute_task("s", TASK, works)
    assert found == [[1], [1]]
    assert TaskEngine().get_task_data(TASK) == by_contract_alone(world) == [1]
    assert world.status()["run"]["result"] == {
        "version": f"original:{MOMENT.isoformat()}",
        "saved_in": "contract",
        "completed": MOMENT,
    }
    assert TaskEngine().get_task_result(TASK).completed == MOMENT  # and not the end of the failed run
    engine.execute_task("s", TASK, lambda: [2], {"save_in": save_in})
    assert TaskEngine().get_task_data(TASK) == by_contract_alone(world) == [2]


def test_a_task_is_handed_back_to_the_legacy_writer(engine: TaskEngine, world: World) -> None:
    """It overwrites the document; its result counts, whatever the contract copy was."""
    engine.execute_task("s", TASK, lambda: ["ours"], {"save_in": "storage"})
    world.write(legacy_document(data=["legacy"]))
    assert TaskEngine().get_task_data(TASK) == ["legacy"]
    world.bucket.blob(CONTRACT_PATH).upload_from_string('["legacy, large"]')
    world.write(legacy_document(data="https://storage.googleapis.com/x"))
    assert TaskEngine().get_task_data(TASK) == ["legacy, large"]


def test_a_contract_copy_is_not_taken_for_a_legacy_result(engine: TaskEngine, world: World) -> None:
    """The URL of a legacy document cannot mean an object with a version."""
    engine.execute_task("s", TASK, lambda: ["ours"], {"save_in": "storage"})
    world.write(legacy_document(data="https://storage.googleapis.com/x"))
    with pytest.raises(ResultUnavailable):
        TaskEngine().get_task_data(TASK)


def test_a_legacy_object_replaced_during_a_read_is_not_served(
    world: World,
) -> None:
    """The legacy writer replaces its object before it publishes it."""
    stored = world.bucket.blob(CONTRACT_PATH)
    stored.upload_from_string('["first"]')
    world.write(legacy_document(data="https://storage.googleapis.com/x"))
    objects = Objects(firebase.bucket)
    read = objects.read

    def meanwhile(path: str, **options: Any) -> bytes | None:
        world.write({"source": "ts", "status": "running", "started": MOMENT, "timestamp": MOMENT})
        stored.upload_from_string('["never published"]')
        return read(path, **options)

    objects.read = meanwhile  # type: ignore[method-assign]  # advances the clock, then reads
    assert TaskEngine(objects=objects).get_task_data(TASK) == []


def test_within_max_age_a_result_is_served_from_the_cache(
    far_engine: TaskEngine, world: World, line: Line
) -> None:
    """docs/contract.md, "Cache check": without another request."""
    TaskEngine().execute_task("s", TASK, lambda: [1])
    assert far_engine.get_task_data(TASK) == [1]
    line.cut()
    assert far_engine.get_task_data(TASK) == [1]


def test_a_new_result_of_another_instance_is_served_after_max_age(
    engine: TaskEngine, world: World, clock: HandClock
) -> None:
    """A warm instance does not serve its first value for ever (lesson 17)."""
    TaskEngine().execute_task("s", TASK, lambda: [1])
    assert engine.get_task_data(TASK) == [1]
    TaskEngine().execute_task("s", TASK, lambda: [2])
    assert engine.get_task_data(TASK) == [1]
    clock.ahead += 6
    assert engine.get_task_data(TASK) == [2]


def test_a_reader_cannot_change_the_result_of_others(engine: TaskEngine) -> None:
    """Each reader gets a copy (lesson 13)."""
    engine.execute_task("s", TASK, lambda: [{"a": 1}])
    engine.get_task_data(TASK)[0]["a"] = "scribbled"
    assert engine.get_task_data(TASK) == [{"a": 1}]


def test_a_value_cached_by_a_caller_is_served_until_max_age(engine: TaskEngine, clock: HandClock) -> None:
    """docs/contract.md, "save_task_data_in_cache": arrays and objects; then Firestore is read."""
    engine.execute_task("s", TASK, lambda: [1])
    engine.save_task_data_in_cache(TASK, {"mine": True})
    assert engine.get_task_data(TASK) == {"mine": True}
    assert engine.cache.get_object_data(TASK) == {"mine": True}
    clock.ahead += 6
    assert engine.get_task_data(TASK) == [1]
    with pytest.raises(TypeError):
        engine.save_task_data_in_cache(TASK, "text")


def test_storage_helpers_write_and_read_the_contract_s_path(engine: TaskEngine, world: World) -> None:
    """docs/contract.md, "Storage helpers": `keep_task_data_in_storage` and `get_task_data_from_storage`."""
    assert engine.get_task_data_from_storage(TASK) is None
    url = engine.keep_task_data_in_storage(TASK, [{"id": "1", "health": "good"}])
    assert world.objects() == {CONTRACT_PATH}
    assert "collect_charge_cdrs.json" in url
    assert world.bucket.get_blob(CONTRACT_PATH).content_type == "application/json"
    assert engine.get_task_data_from_storage(TASK) == [{"id": "1", "health": "good"}]


@pytest.mark.parametrize("data", ["text", 5, None, {1, 2}, [float("nan")]])
def test_only_arrays_and_objects_can_be_kept_in_storage(engine: TaskEngine, world: World, data: Any) -> None:
    """docs/contract.md, "keep_task_data_in_storage": other data raises an error and is not uploaded."""
    with pytest.raises(ResultNotStorable):
        engine.keep_task_data_in_storage(TASK, data)
    assert world.objects() == set()


def test_the_stored_result_is_that_of_the_last_run(engine: TaskEngine, world: World) -> None:
    """Reading from Storage follows `run.result`, because the contract copy may be stale."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    world.bucket.blob(CONTRACT_PATH).upload_from_string("[0]")
    assert engine.get_task_data_from_storage(TASK) == [1]


@pytest.mark.parametrize("content", [b"\x1f\x8bbroken", b"\xff\xfe", b'{"half": '])
def test_an_object_that_is_not_json_is_an_error(engine: TaskEngine, world: World, content: bytes) -> None:
    """It is never read as missing data; the error has the task's name."""
    world.bucket.blob(CONTRACT_PATH).upload_from_string(content)
    world.write(legacy_document(data="https://storage.googleapis.com/x"))
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
def test_a_missing_result_object_is_read_from_the_contract_copy(
    engine: TaskEngine, world: World, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """The copy has the same version; the log names the task."""
    engine.execute_task("s", TASK, lambda: [1], {"save_in": "storage"})
    lose_result_object(world)
    assert READS[how](TaskEngine()) == [1]
    logged = capsys.readouterr().out
    assert f"result object missing, contract copy read task={TASK.value}" in logged


def test_a_missing_result_above_max_bytes_has_the_path_of_the_contract_copy(
    engine: TaskEngine, world: World
) -> None:
    """The existing object is the one that can be read as a stream."""
    engine.execute_task("s", TASK, lambda: ["long enough"] * 100, {"save_in": "storage"})
    lose_result_object(world)
    with pytest.raises(ResultTooLarge) as raised:
        READS["too large for its reader"](TaskEngine())
    assert raised.value.path == CONTRACT_PATH


@pytest.mark.parametrize("how", list(READS))
@pytest.mark.parametrize("copy", ["gone", "an earlier version", "another writer's"])
def test_a_missing_result_without_a_copy_of_its_version_is_an_error(
    engine: TaskEngine, world: World, how: str, copy: str
) -> None:
    """It is never read as missing data or another result; the error has a link to the documentation."""
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
    with pytest.raises(ResultUnavailable, match=r"missing or replaced .* docs/deploy.md"):
        READS[how](TaskEngine())


@pytest.mark.parametrize("how", ["whole", "from Storage", "record by record"])
def test_a_contract_copy_that_changes_during_a_read_is_not_served(
    engine: TaskEngine, world: World, how: str
) -> None:
    """It is overwritten in place, so the bytes may be of another version."""
    engine.execute_task("s", TASK, lambda: ["lost"], {"save_in": "storage"})
    lose_result_object(world)
    objects = Objects(firebase.bucket)
    reader = TaskEngine(objects=objects)
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


def test_a_task_that_merges_its_last_result_survives_the_loss_of_its_object(
    engine: TaskEngine, world: World
) -> None:
    """It continues from the contract copy and publishes a new object."""

    def merges(run: TaskRun) -> Iterator[Any]:
        yield from engine.iter_task_data(run.task_name)
        yield run.run_id

    first = engine.execute_task("s", TASK, merges, {"save_in": "storage"}).run_id
    lose_result_object(world)
    second = engine.execute_task("s", TASK, merges, {"save_in": "storage"}).run_id
    assert TaskEngine().get_task_data(TASK) == [first, second]
    world.bucket.blob(CONTRACT_PATH).delete()
    assert TaskEngine().get_task_data(TASK) == [first, second]


def test_the_documented_request_resets_a_task_without_a_result(
    engine: TaskEngine, world: World, stack: Addresses
) -> None:
    """Result and copy are lost: once the pointer is removed, the next run starts without a result."""

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
