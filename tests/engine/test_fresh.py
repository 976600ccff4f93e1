"""How fresh a served result is, and what it costs to know: counted at the wire, on the real servers."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from shared import firebase
from shared.firebase import FirestoreWire, StorageWire
from shared.tasks import ResultUnavailable, TaskEngine, TaskName, TaskResult, TaskSpec, specs
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.storage import Objects
from shared.tasks.documents.models import VERSION_MASK
from shared.tasks.serving import reader as reader_module
from shared.tasks.serving.single_flight import Call, SingleFlight
from tests.engine.counting import CountedSession, Counter
from tests.engine.line import Line
from tests.engine.world import TASK, HandClock, World, in_thread

VERSION = list(VERSION_MASK)
WHOLE: list[str] = []


class Watched(SingleFlight[TaskResult]):
    """Single-flight that reports each request for its call."""

    def __init__(self) -> None:
        super().__init__()
        self._comers = threading.Semaphore(0)

    def join(self, now: float) -> tuple[Call[TaskResult], bool]:
        joined = super().join(now)
        self._comers.release()
        return joined

    def wait_for(self, comers: int) -> None:
        for _ in range(comers):
            assert self._comers.acquire(timeout=60)


class Instance:
    """A reading instance: its engine, and what that asked of the servers."""

    def __init__(self, line: Line, storage_line: Line, clock: HandClock, channel: grpc.Channel) -> None:
        near = firebase.firestore_wire()
        self.firestore, self.storage = Counter(), CountedSession()
        wire = FirestoreWire(grpc.intercept_channel(channel, self.firestore), near.database, near.metadata)
        reads = StorageWire(self.storage, f"http://{storage_line.address}", firebase.bucket().name)
        self.line, self.storage_line, self.clock = line, storage_line, clock
        self.engine = TaskEngine(
            Store(lambda: wire, call_seconds=1.0),
            Objects(firebase.bucket, lambda: reads, call_seconds=1.0, total_seconds=2.0),
            clock=clock,
        )
        self.calls = self.engine._reader._calls[TASK] = Watched()

    def get(self) -> Any:
        return self.engine.get_task_data(TASK)

    def result(self, **wish: Any) -> TaskResult:
        return self.engine.get_task_result(TASK, **wish)

    def asked(self) -> tuple[list[list[str]], int]:
        """What was asked since it was last asked for: fields of each read, and the downloads."""
        asked = list(self.firestore.masks), len(self.storage.requests)
        self.firestore.masks.clear()
        self.storage.requests.clear()
        return asked


@pytest.fixture
def instance(line: Line, storage_line: Line, clock: HandClock) -> Iterator[Instance]:
    """An instance whose servers are behind lines."""
    options = [(f"grpc.{kind}_reconnect_backoff_ms", 50) for kind in ("initial", "min", "max")]
    with grpc.insecure_channel(line.address, options=options) as channel:
        yield Instance(line, storage_line, clock, channel)


@pytest.fixture
def max_age(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the task's max-age."""

    def be(seconds: float) -> None:
        monkeypatch.setitem(specs._specs, TASK, TaskSpec(TASK, max_age_seconds=seconds))

    return be


def publish(value: Any, save_in: str = "db") -> None:
    """Another instance runs the task."""
    assert TaskEngine().execute_task("s", TASK, lambda: value, {"save_in": save_in}).status == "completed"


def together(count: int, call: Callable[[], Any]) -> tuple[list[threading.Thread], list[Any]]:
    """Make a call in many threads; what each got, or its error."""
    found: list[Any] = []

    def one() -> None:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001
            found.append(error)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, found


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


# Max-age


@pytest.mark.parametrize("save_in", ["db", "storage"])
@pytest.mark.parametrize("seconds", [5.0, 60.0])
def test_an_unchanged_result_costs_nothing_within_max_age_and_a_look_at_its_version_past_it(
    instance: Instance, max_age: Callable[[float], None], save_in: str, seconds: float
) -> None:
    """The task's own max-age counts; neither data nor object is read again."""
    max_age(seconds)
    publish([1], save_in)
    assert [instance.get() for _ in range(5)] == [[1]] * 5
    assert instance.asked() == ([WHOLE], 1 if save_in == "storage" else 0)
    instance.clock.ahead += seconds - 2
    assert instance.get() == [1]
    assert instance.asked() == ([], 0)
    for _ in range(3):
        instance.clock.ahead += seconds
        assert [instance.get() for _ in range(3)] == [[1]] * 3
        assert instance.asked() == ([VERSION], 0)


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_max_age_0_looks_at_the_version_for_each_call(
    instance: Instance, max_age: Callable[[float], None], save_in: str
) -> None:
    """A new result is seen by the very next call."""
    max_age(0)
    for value in ([1], [2]):
        publish(value, save_in)
        instance.get()
        instance.asked()
        assert [instance.get() for _ in range(3)] == [value] * 3
        assert instance.asked() == ([VERSION] * 3, 0)


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_new_result_is_read_once_it_is_seen(instance: Instance, save_in: str) -> None:
    """A stored one without reading the document whole."""
    publish([1], save_in)
    instance.get()
    publish([2], save_in)
    instance.asked()
    instance.clock.ahead += 6
    assert instance.get() == [2]
    assert instance.asked() == (([VERSION], 1) if save_in == "storage" else ([VERSION, WHOLE], 0))


def test_a_change_between_db_and_storage_is_followed(
    instance: Instance, max_age: Callable[[float], None]
) -> None:
    """Wherever each result is kept, it is the one that is served."""
    max_age(0)
    for value, save_in in (([1], "db"), ({"a": 2}, "storage"), ([], "db"), ([4], "storage"), ([5], "none")):
        publish(value, save_in)
        assert instance.get() == ([] if save_in == "none" else value)


def test_with_max_age_0_a_comer_waits_for_a_check_that_began_after_it_came(
    instance: Instance, max_age: Callable[[float], None]
) -> None:
    """A check that is under way may have read an older result; all who wait share the next one."""
    max_age(0)
    publish([1])
    instance.get()
    instance.calls.wait_for(1)
    instance.asked()
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()  # the old version is on its way to the first
        publish([2])
        late, seen = together(10, instance.get)
        instance.calls.wait_for(11)
        assert seen == []
    join([first, *late])
    assert found == [[1]]
    assert seen == [[2]] * 10
    # The first look, the one that all the others share, and the new result.
    reads, _ = instance.asked()
    assert reads[:3] == [VERSION, VERSION, WHOLE]
    assert len(reads) <= 4  # a thread that comes late to the shared one looks once more


def test_above_0_one_asks_and_the_others_have_the_present_answer_at_once(instance: Instance) -> None:
    """Nobody waits who has something to serve."""
    publish([1])
    instance.get()
    publish([2])
    instance.clock.ahead += 6
    instance.asked()
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        others, seen = together(10, instance.get)
        join(others)
        assert (found, seen) == ([], [[1]] * 10)
    first.join(60)
    assert found == [[2]]
    assert instance.asked() == ([VERSION, WHOLE], 0)


def test_a_new_result_is_seen_within_max_age_and_a_check_s_bound_however_slowly_it_is_read(
    instance: Instance,
) -> None:
    """While one reads the new result, the others serve the old one no longer than that."""
    publish([1], "storage")
    instance.get()
    instance.calls.wait_for(1)
    publish([2], "storage")
    instance.clock.ahead += 5 + reader_module.CHECK_SECONDS
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        other, seen = in_thread(instance.get)
        instance.calls.wait_for(2)
        assert seen == []
    join([first, other])
    assert (found, seen) == ([[2]], [[2]])


@pytest.mark.parametrize("changed", [True, False])
def test_what_took_long_to_read_is_checked_again_before_it_is_served(
    instance: Instance, changed: bool
) -> None:
    """Who fetched it and who waited for it get the present result; an unchanged one is not fetched again."""
    publish([1], "storage")
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        other, seen = in_thread(instance.get)
        instance.calls.wait_for(2)
        instance.clock.ahead += 5 + reader_module.CHECK_SECONDS
        if changed:
            publish([2], "storage")
    join([first, other])
    assert (found, seen) == (([[2]], [[2]]) if changed else ([[1]], [[1]]))
    assert instance.asked() == ([WHOLE, VERSION], 2 if changed else 1)


# One fetch for many


def test_80_cold_callers_make_one_read_and_one_download(instance: Instance) -> None:
    """They come before it is answered, and all get what it found."""
    publish([1], "storage")
    with instance.firestore.held_back():
        callers, found = together(80, instance.get)
        instance.calls.wait_for(80)
    join(callers)
    assert found == [[1]] * 80
    assert instance.asked() == ([WHOLE], 1)


class Late(Watched):
    """Single-flight that the second request reaches only once the first call has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Call[TaskResult] | None = None
        self.second_came = threading.Event()

    def join(self, now: float) -> tuple[Call[TaskResult], bool]:
        if self.first is None:
            joined = super().join(now)
            self.first = joined[0]
            return joined
        self.second_came.set()
        assert self.first.done.wait(60)
        return super().join(now)


def test_a_request_that_joins_after_another_call_ended_makes_no_call(
    instance: Instance,
) -> None:
    """What was found between its two looks is what it wanted."""
    publish([1], "storage")
    late = instance.engine._reader._calls[TASK] = Late()
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        second, seen = in_thread(instance.get)
        assert late.second_came.wait(60)
    join([first, second])
    assert (found, seen) == ([[1]], [[1]])
    assert instance.asked() == ([WHOLE], 1)


def test_a_fetch_that_fails_fails_all_who_wait_once(instance: Instance) -> None:
    """Nobody tries on his own; nothing of it is kept: the next caller asks anew."""
    publish([1], "storage")
    instance.storage_line.cut()
    with instance.firestore.held_back():
        callers, found = together(80, instance.get)
        instance.calls.wait_for(80)
    join(callers)
    assert {type(error) for error in found} == {ResultUnavailable}
    assert len({id(error) for error in found}) == 80
    reads, tries = instance.asked()
    assert reads == [WHOLE]
    assert tries <= 15  # one download with its repetitions
    instance.storage_line.mend()
    assert instance.get() == [1]
    assert instance.asked()[0] == [WHOLE]


def test_callers_of_several_kinds_get_what_each_wants(instance: Instance) -> None:
    """Whoever wants the data does not get the description that another asked for."""
    publish([1, 2], "storage")
    with instance.firestore.held_back():
        describing, described = together(5, lambda: instance.result(include_data=False))
        instance.calls.wait_for(5)
        reading, read = together(5, instance.get)
        instance.calls.wait_for(5)
    join([*describing, *reading])
    assert [(one.count, one.payload) for one in described] == [(2, None)] * 5
    assert read == [[1, 2]] * 5
    assert instance.asked()[1] == 1


# Outages


@pytest.mark.parametrize("seconds", [0, 5, 300])
@pytest.mark.parametrize("idle", [0, 250])
def test_an_outage_is_outlasted_for_300_seconds_with_growing_pauses(
    instance: Instance,
    monkeypatch: pytest.MonkeyPatch,
    max_age: Callable[[float], None],
    seconds: float,
    idle: float,
) -> None:
    """The present answer, marked stale; then an error; and when it is over, nothing is left of it.

    From the first check that failed on, however long nobody had asked before.
    """
    max_age(seconds)
    publish([1])
    began = instance.clock.monotonic()
    assert instance.result().stale is False
    instance.line.cut()
    instance.clock.ahead += max(seconds, idle)
    with monkeypatch.context() as patch:
        patch.setattr(reader_module, "CHECK_SECONDS", 0.2)
        tried: list[float] = []
        while (age := instance.clock.monotonic() - began) < seconds + 295:
            instance.asked()
            result = instance.result()
            assert result.stale is True
            assert result.payload is not None
            assert result.payload.json == b"[1]"
            assert instance.get() == [1]
            if instance.asked()[0]:
                tried.append(age)
            instance.clock.ahead += 1
        pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
        assert pauses[0] < 5
        assert all(later > earlier - 2 for earlier, later in itertools.pairwise(pauses))
        assert max(pauses) < 35
        if idle <= seconds:
            assert max(pauses) > 28
        instance.clock.ahead += 10
        for _ in range(2):
            with pytest.raises(ResultUnavailable):
                instance.get()
    publish([2])
    instance.line.mend()
    result = instance.result()
    assert result.stale is False
    assert result.payload is not None
    assert result.payload.json == b"[2]"


def test_an_outage_that_is_over_leaves_an_unchanged_result_as_it_was(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not marked any more, and not read again."""
    publish([1], "storage")
    instance.get()
    instance.line.cut()
    instance.clock.ahead += 6
    with monkeypatch.context() as patch:
        patch.setattr(reader_module, "CHECK_SECONDS", 0.2)
        assert instance.result(include_metadata=False).stale is True
    instance.line.mend()
    instance.asked()
    instance.clock.ahead += 30
    assert instance.result().stale is False
    reads, downloads = instance.asked()
    assert reads[-1] == VERSION  # the channel may need a try more
    assert (WHOLE in reads, downloads) == (False, 0)


def test_a_stored_result_that_can_t_be_read_leaves_the_one_before_it(instance: Instance) -> None:
    """Marked stale, and for no longer than an outage of Firestore's."""
    publish([1], "storage")
    instance.get()
    publish([2], "storage")
    instance.storage_line.cut()
    instance.clock.ahead += 6
    result = instance.result(include_metadata=False)
    assert result.stale is True
    assert instance.get() == [1]
    instance.storage_line.mend()
    instance.clock.ahead += 3
    assert instance.get() == [2]
    assert instance.result().stale is False
    publish([3], "storage")
    instance.storage_line.cut()
    instance.clock.ahead += 306
    with pytest.raises(ResultUnavailable):
        instance.get()


def test_what_a_caller_cached_is_no_result_past_max_age(instance: Instance) -> None:
    """Nobody knows whether it ever was one: an outage is told."""
    instance.engine.save_task_data_in_cache(TASK, ["mine"])
    assert instance.get() == ["mine"]
    instance.line.cut()
    instance.clock.ahead += 6
    with pytest.raises(ResultUnavailable):
        instance.get()


# Descriptions and unchanged versions


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_neither_a_description_nor_an_unchanged_version_reads_the_result(
    instance: Instance, world: World, save_in: str
) -> None:
    """On a cold instance neither: a look at the version is all."""
    publish([1, 2], save_in)
    version = world.status()["run"]["result"]["version"]
    described = instance.result(include_data=False)
    assert (described.version, described.saved_in, described.count) == (version, save_in, 2)
    assert described.size_bytes == 5
    assert described.payload is None
    assert instance.asked() == ([VERSION], 0)
    instance.engine.cache.forget(TASK)
    assert instance.result(if_version=version).payload is None
    assert instance.asked() == ([VERSION], 0)
    assert instance.result(if_version="another").payload is not None
    reads, downloads = instance.asked()
    assert (len(reads), downloads) == ((1, 1) if save_in == "storage" else (2, 0))


def test_a_result_that_is_too_large_for_a_reader_is_not_read(instance: Instance, world: World) -> None:
    """It is told where it lies; this process, which can take it, still does."""
    publish(["x" * 5000, "y"], "storage")
    for _ in range(2):
        with pytest.raises(reader_module.ResultTooLarge) as told:
            instance.result(max_bytes=10)
        assert told.value.path == world.status()["run"]["result"]["object"]
    assert instance.asked() == ([WHOLE], 1)
    assert instance.result(include_data=False).size_bytes == 5008
    assert instance.asked() == ([], 0)
    assert instance.get() == ["x" * 5000, "y"]
    assert instance.asked() == ([VERSION], 1)
    assert instance.result(max_bytes=10).path == told.value.path


@pytest.mark.parametrize("read", ["get_task_data", "get_task_result"])
def test_what_was_not_read_for_longest_makes_room(instance: Instance, read: str) -> None:
    """A result that is read again and again stays, however it is read; another is fetched anew."""
    tasks = [TaskName.collect_devices_health, TaskName.collect_charge_locations, TaskName.send_reset_sms]
    for task in tasks:
        assert TaskEngine().execute_task("s", task, lambda: ["x" * 1000]).status == "completed"
    instance.engine.cache._find_max_bytes = lambda: 2500
    often, once, last = (lambda task=task: getattr(instance.engine, read)(task) for task in tasks)  # type: ignore[misc]
    for call in (often, once, often, last):
        call()
    instance.asked()
    often()
    assert instance.asked() == ([], 0)
    once()
    assert instance.asked()[0] != []
