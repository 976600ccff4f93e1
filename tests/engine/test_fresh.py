"""How fresh a served result is, and the requests that this takes, counted on the wire of the real servers."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from shared.settings import serving
from shared.tasks import ResultUnavailable, TaskEngine, TaskName, TaskResult, TaskSpec, specs
from shared.tasks.documents.models import VERSION_MASK
from shared.tasks.serving import reader as reader_module
from shared.tasks.serving.single_flight import Call, SingleFlight
from tests.engine.line import Line
from tests.support.instances import CountedInstance, publish
from tests.support.world import TASK, World, in_thread

VERSION = list(VERSION_MASK)
WHOLE: list[str] = []


join_call = SingleFlight.join


class Watched:
    """Replaces `SingleFlight.join` and reports each request that joins a call."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._comers = threading.Semaphore(0)

        def join(calls: SingleFlight[TaskResult], now: float) -> tuple[Call[TaskResult], bool]:
            return self.join(calls, now)

        patch.setattr(SingleFlight, "join", join)

    def join(self, calls: SingleFlight[TaskResult], now: float) -> tuple[Call[TaskResult], bool]:
        joined = join_call(calls, now)
        self._comers.release()
        return joined

    def wait_for(self, comers: int) -> None:
        for _ in range(comers):
            assert self._comers.acquire(timeout=60)


class Instance(CountedInstance):
    """An instance that reads results, whose servers are behind lines."""

    def __init__(
        self, line: Line, storage_line: Line, channel: grpc.Channel, call_seconds: float, calls: Watched
    ) -> None:
        super().__init__(channel, f"http://{storage_line.address}", call_seconds=call_seconds)
        self.line, self.storage_line, self.calls = line, storage_line, calls

    def get(self) -> Any:
        return self.engine.get_task_data(TASK)

    def result(self, **options: Any) -> TaskResult:
        return self.engine.get_task_result(TASK, **options)

    def requests(self) -> tuple[list[list[str]], int]:
        """The requests since the last call: the fields of each read, and the number of downloads."""
        asked = list(self.firestore.masks), len(self.storage.requests)
        self.firestore.masks.clear()
        self.storage.requests.clear()
        return asked


@pytest.fixture
def call_seconds() -> float:
    """Longest duration of one call: a busy machine repeats none."""
    return 30.0


#: For a test that cuts a line and waits until calls are given up.
gives_up_early = pytest.mark.parametrize("call_seconds", [1.0])


@pytest.fixture
def instance(
    line: Line, storage_line: Line, call_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Instance]:
    options = [(f"grpc.{kind}_reconnect_backoff_ms", 50) for kind in ("initial", "max")]
    with grpc.insecure_channel(line.address, options=options) as channel:
        yield Instance(line, storage_line, channel, call_seconds, Watched(monkeypatch))


@pytest.fixture
def max_age(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the task's max-age."""

    def be(seconds: float) -> None:
        monkeypatch.setitem(specs.REGISTERED, TASK, TaskSpec(TASK, max_age_seconds=seconds))

    return be


def together(count: int, call: Callable[[], Any]) -> tuple[list[threading.Thread], list[Any]]:
    """Make a call in many threads; their results or errors."""
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
def test_an_unchanged_result_costs_no_request_within_max_age_and_one_after_it(
    instance: Instance, max_age: Callable[[float], None], save_in: str, seconds: float
) -> None:
    """The version is read; neither the data nor the object is read again."""
    max_age(seconds)
    publish(TASK, [1], save_in)
    assert [instance.get() for _ in range(5)] == [[1]] * 5
    assert instance.requests() == ([WHOLE], 1 if save_in == "storage" else 0)
    instance.clock.ahead += seconds - 2
    assert instance.get() == [1]
    assert instance.requests() == ([], 0)
    for _ in range(3):
        instance.clock.ahead += seconds
        assert [instance.get() for _ in range(3)] == [[1]] * 3
        assert instance.requests() == ([VERSION], 0)


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_with_max_age_0_each_call_reads_the_version(
    instance: Instance, max_age: Callable[[float], None], save_in: str
) -> None:
    """The next call returns a new result."""
    max_age(0)
    for value in ([1], [2]):
        publish(TASK, value, save_in)
        instance.get()
        instance.requests()
        assert [instance.get() for _ in range(3)] == [value] * 3
        assert instance.requests() == ([VERSION] * 3, 0)


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_a_new_result_is_read_once(instance: Instance, save_in: str) -> None:
    """A stored one without another read of the whole document."""
    publish(TASK, [1], save_in)
    instance.get()
    publish(TASK, [2], save_in)
    instance.requests()
    instance.clock.ahead += 6
    assert instance.get() == [2]
    assert instance.requests() == (([VERSION], 1) if save_in == "storage" else ([VERSION, WHOLE], 0))


def test_a_change_between_firestore_and_storage_is_followed(
    instance: Instance, max_age: Callable[[float], None]
) -> None:
    """The current result is served from either place."""
    max_age(0)
    for value, save_in in (([1], "db"), ({"a": 2}, "storage"), ([], "db"), ([4], "storage"), ([5], "none")):
        publish(TASK, value, save_in)
        assert instance.get() == ([] if save_in == "none" else value)


def test_with_max_age_0_a_call_waits_for_a_check_that_started_after_it(
    instance: Instance, max_age: Callable[[float], None]
) -> None:
    """An earlier check may have read an older result; all waiting calls share the next one."""
    max_age(0)
    publish(TASK, [1])
    instance.get()
    instance.calls.wait_for(1)
    instance.requests()
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()  # the response to the first call has the old version
        publish(TASK, [2])
        late, shared = together(10, instance.get)
        instance.calls.wait_for(11)
        assert shared == []
    join([first, *late])
    assert found == [[1]]
    assert shared == [[2]] * 10
    # The first check, the check that all others share, and the new result.
    reads, _ = instance.requests()
    assert reads[:3] == [VERSION, VERSION, WHOLE]
    assert len(reads) <= 4  # a thread that misses the shared check makes another


def test_above_max_age_0_one_call_checks_and_the_others_get_the_cached_result(instance: Instance) -> None:
    """They do not wait."""
    publish(TASK, [1])
    instance.get()
    publish(TASK, [2])
    instance.clock.ahead += 6
    instance.requests()
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        others, shared = together(10, instance.get)
        join(others)
        assert (found, shared) == ([], [[1]] * 10)
    first.join(60)
    assert found == [[2]]
    assert instance.requests() == ([VERSION, WHOLE], 0)


def test_a_new_result_is_served_within_max_age_and_the_time_limit_of_a_check(
    instance: Instance,
) -> None:
    """While one call reads the new result slowly, the others serve the old one no longer than that."""
    publish(TASK, [1], "storage")
    instance.get()
    instance.calls.wait_for(1)
    publish(TASK, [2], "storage")
    instance.clock.ahead += 5 + reader_module.CHECK_SECONDS
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        other, shared = in_thread(instance.get)
        instance.calls.wait_for(2)
        assert shared == []
    join([first, other])
    assert (found, shared) == ([[2]], [[2]])


@pytest.mark.parametrize("changed", [True, False])
def test_a_slowly_read_result_is_checked_again_before_it_is_served(instance: Instance, changed: bool) -> None:
    """All waiting calls get the current result; an unchanged one is not read again."""
    publish(TASK, [1], "storage")
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        other, shared = in_thread(instance.get)
        instance.calls.wait_for(2)
        instance.clock.ahead += 5 + reader_module.CHECK_SECONDS
        if changed:
            publish(TASK, [2], "storage")
    join([first, other])
    assert (found, shared) == (([[2]], [[2]]) if changed else ([[1]], [[1]]))
    assert instance.requests() == ([WHOLE, VERSION], 2 if changed else 1)


# One read for many calls


def test_80_cold_callers_make_one_read_and_one_download(instance: Instance) -> None:
    """They call before the response and all get its result."""
    publish(TASK, [1], "storage")
    with instance.firestore.held_back():
        callers, found = together(80, instance.get)
        instance.calls.wait_for(80)
    join(callers)
    assert found == [[1]] * 80
    assert instance.requests() == ([WHOLE], 1)


class Late(Watched):
    """Lets the second request join only once the first call has ended."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__(patch)
        self.first: Call[TaskResult] | None = None
        self.second_came = threading.Event()

    def join(self, calls: SingleFlight[TaskResult], now: float) -> tuple[Call[TaskResult], bool]:
        if self.first is None:
            joined = super().join(calls, now)
            self.first = joined[0]
            return joined
        self.second_came.set()
        assert self.first.done.wait(60)
        return super().join(calls, now)


def test_a_request_that_joins_after_another_call_has_ended_makes_no_call(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the result that the other call cached."""
    publish(TASK, [1], "storage")
    late = Late(monkeypatch)
    with instance.firestore.held_back() as wait_for_answer:
        first, found = in_thread(instance.get)
        wait_for_answer()
        second, shared = in_thread(instance.get)
        assert late.second_came.wait(60)
    join([first, second])
    assert (found, shared) == ([[1]], [[1]])
    assert instance.requests() == ([WHOLE], 1)


@gives_up_early
def test_a_failed_read_fails_all_waiting_calls(instance: Instance) -> None:
    """None of them retries, and the failure is not cached; the next call reads again."""
    publish(TASK, [1], "storage")
    instance.storage_line.cut()
    with instance.firestore.held_back():
        callers, found = together(80, instance.get)
        instance.calls.wait_for(80)
    join(callers)
    assert {type(error) for error in found} == {ResultUnavailable}
    assert len({id(error) for error in found}) == 80
    reads, tries = instance.requests()
    assert reads == [WHOLE]
    assert tries <= 15  # one download with its retries
    instance.storage_line.restore()
    assert instance.get() == [1]
    assert instance.requests()[0] == [WHOLE]


def test_calls_with_different_options_do_not_share_a_response(instance: Instance) -> None:
    """A call for the data does not get the description that another requested."""
    publish(TASK, [1, 2], "storage")
    with instance.firestore.held_back():
        describing, described = together(5, lambda: instance.result(include_data=False))
        instance.calls.wait_for(5)
        reading, read = together(5, instance.get)
        instance.calls.wait_for(5)
    join([*describing, *reading])
    assert [(one.count, one.payload) for one in described] == [(2, None)] * 5
    assert read == [[1, 2]] * 5
    assert instance.requests()[1] == 1


# Outages


@pytest.mark.parametrize("seconds", [0, 5, 300])
@pytest.mark.parametrize("idle", [0, 250])
@gives_up_early
def test_during_an_outage_a_stale_result_is_served_for_300_seconds(
    instance: Instance,
    monkeypatch: pytest.MonkeyPatch,
    max_age: Callable[[float], None],
    seconds: float,
    idle: float,
) -> None:
    """With growing pauses between checks; then an error, and after the outage the current result.

    The time counts from the first failed check, however old the result was.
    """
    max_age(seconds)
    publish(TASK, [1])
    began = instance.clock.monotonic()
    assert instance.result().stale is False
    instance.line.cut()
    instance.clock.ahead += max(seconds, idle)
    with monkeypatch.context() as patch:
        patch.setattr(reader_module, "CHECK_SECONDS", 0.2)
        tried: list[float] = []
        while (age := instance.clock.monotonic() - began) < seconds + 295:
            instance.requests()
            result = instance.result()
            assert result.stale is True
            assert result.payload is not None
            assert result.payload.json == b"[1]"
            assert instance.get() == [1]
            if instance.requests()[0]:
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
    publish(TASK, [2])
    instance.line.restore()
    result = instance.result()
    assert result.stale is False
    assert result.payload is not None
    assert result.payload.json == b"[2]"


@gives_up_early
def test_after_an_outage_an_unchanged_result_is_fresh(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not marked stale any more and not read again."""
    publish(TASK, [1], "storage")
    instance.get()
    instance.line.cut()
    instance.clock.ahead += 6
    with monkeypatch.context() as patch:
        patch.setattr(reader_module, "CHECK_SECONDS", 0.2)
        assert instance.result(include_metadata=False).stale is True
    instance.line.restore()
    instance.requests()
    instance.clock.ahead += 30
    assert instance.result().stale is False
    reads, downloads = instance.requests()
    assert reads[-1] == VERSION  # the channel may need one more try
    assert (WHOLE in reads, downloads) == (False, 0)


@gives_up_early
def test_while_a_new_result_cannot_be_read_the_last_one_is_served(instance: Instance) -> None:
    """Marked stale, for no longer than during an outage of Firestore."""
    publish(TASK, [1], "storage")
    instance.get()
    publish(TASK, [2], "storage")
    instance.storage_line.cut()
    instance.clock.ahead += 6
    result = instance.result(include_metadata=False)
    assert result.stale is True
    assert instance.get() == [1]
    instance.storage_line.restore()
    instance.clock.ahead += 3
    assert instance.get() == [2]
    assert instance.result().stale is False
    publish(TASK, [3], "storage")
    instance.storage_line.cut()
    instance.clock.ahead += 306
    with pytest.raises(ResultUnavailable):
        instance.get()


@gives_up_early
def test_a_value_cached_by_a_caller_is_not_served_after_max_age(instance: Instance) -> None:
    """It may never have been a result, so an outage raises an error."""
    instance.engine.save_task_data_in_cache(TASK, ["mine"])
    assert instance.get() == ["mine"]
    instance.line.cut()
    instance.clock.ahead += 6
    with pytest.raises(ResultUnavailable):
        instance.get()


# Descriptions and unchanged versions


@pytest.mark.parametrize("save_in", ["db", "storage"])
def test_descriptions_and_unchanged_versions_do_not_read_the_result(
    instance: Instance, world: World, save_in: str
) -> None:
    """Not on a cold instance either; only the version is read."""
    publish(TASK, [1, 2], save_in)
    version = world.status()["run"]["result"]["version"]
    described = instance.result(include_data=False)
    assert (described.version, described.saved_in, described.count) == (version, save_in, 2)
    assert described.size_bytes == 5
    assert described.payload is None
    assert instance.requests() == ([VERSION], 0)
    instance.engine.cache.forget(TASK)
    assert instance.result(if_version=version).payload is None
    assert instance.requests() == ([VERSION], 0)
    assert instance.result(if_version="another").payload is not None
    reads, downloads = instance.requests()
    assert (len(reads), downloads) == ((1, 1) if save_in == "storage" else (2, 0))


def test_a_result_above_max_bytes_is_not_read(instance: Instance, world: World) -> None:
    """The error has its path; readers without the limit still get it."""
    publish(TASK, ["x" * 5000, "y"], "storage")
    for _ in range(2):
        with pytest.raises(reader_module.ResultTooLarge) as error:
            instance.result(max_bytes=10)
        assert error.value.path == world.status()["run"]["result"]["object"]
    assert instance.requests() == ([WHOLE], 1)
    assert instance.result(include_data=False).size_bytes == 5008
    assert instance.requests() == ([], 0)
    assert instance.get() == ["x" * 5000, "y"]
    assert instance.requests() == ([VERSION], 1)
    assert instance.result(max_bytes=10).path == error.value.path


@pytest.mark.parametrize("read", ["get_task_data", "get_task_result"])
def test_the_least_recently_read_result_is_evicted(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """A result that is read frequently stays, however it is read."""
    monkeypatch.setattr(serving, "memory_bytes", lambda: 2500 / serving.CACHE_SHARE)
    tasks = [TaskName.collect_devices_health, TaskName.collect_charge_locations, TaskName.send_reset_sms]
    for task in tasks:
        assert TaskEngine().execute_task("s", task, lambda: ["x" * 1000]).status == "completed"
    often, once, last = (lambda task=task: getattr(instance.engine, read)(task) for task in tasks)  # type: ignore[misc]
    for call in (often, once, often, last):
        call()
    instance.requests()
    often()
    assert instance.requests() == ([], 0)
    once()
    assert instance.requests()[0] != []
