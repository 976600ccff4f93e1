"""The contract's `cache_manager`, the cache of a warm instance."""

import pytest

from shared.tasks import ResultNotStorable, TaskName
from shared.tasks.clock import Clock
from shared.tasks.results.gzipped import compress
from shared.tasks.results.payload import Payload
from shared.tasks.results.task_result import TaskResult
from shared.tasks.serving.cache import CacheManager

HEALTH = TaskName.collect_devices_health


@pytest.fixture
def cache() -> CacheManager:
    return CacheManager(Clock())


@pytest.mark.parametrize("key", [HEALTH, "anything"])
def test_a_set_value_is_returned(cache: CacheManager, key: str) -> None:
    """Arrays as arrays, objects as objects, and none if none was set."""
    assert cache.get_array_data(key) is None
    cache.set_array_data(key, [1, {"a": None}])
    assert cache.get_array_data(key) == [1, {"a": None}]
    assert cache.get_object_data(key) is None


@pytest.mark.parametrize("key", [HEALTH, "anything"])
def test_a_later_value_of_the_other_kind_replaces_the_earlier_one(cache: CacheManager, key: str) -> None:
    """An old array does not stay beside a new object (lesson 1)."""
    cache.set_array_data(key, [1])
    cache.set_object_data(key, {})
    assert cache.get_array_data(key) is None
    assert cache.get_object_data(key) == {}


def test_an_empty_value_is_cached(cache: CacheManager) -> None:
    """An empty array differs from a missing value (lesson 15)."""
    cache.set_array_data(HEALTH, [])
    assert cache.get_array_data(HEALTH) == []


def test_a_reader_cannot_change_the_cached_value(cache: CacheManager) -> None:
    """Values are copied when they are set and when they are returned (lesson 13)."""
    mine = [{"a": 1}]
    cache.set_array_data(HEALTH, mine)
    mine[0]["a"] = 2
    first = cache.get_array_data(HEALTH)
    assert first == [{"a": 1}]
    first.append("scribble")
    assert cache.get_array_data(HEALTH) == [{"a": 1}]


def test_the_name_of_a_task_may_be_a_str(cache: CacheManager) -> None:
    """Other keys have no result (lesson 16)."""
    cache.set_array_data(HEALTH.value, ["health"])
    cache.set_array_data("nx-settings", ["settings"])
    assert cache.get_array_data(HEALTH) == ["health"]
    assert cache.result(HEALTH) is not None
    assert cache.get_array_data("nx-settings") == ["settings"]


def test_a_wrong_type_is_refused_and_the_value_kept(cache: CacheManager) -> None:
    cache.set_array_data(HEALTH, [1])
    with pytest.raises(TypeError, match="takes a list, not a dict"):
        cache.set_array_data(HEALTH, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a dict, not a str"):
        cache.set_object_data(HEALTH, "x")  # type: ignore[arg-type]
    with pytest.raises(ResultNotStorable):
        cache.set_array_data(HEALTH, [float("nan")])
    assert cache.get_array_data(HEALTH) == [1]


def test_a_slow_reader_does_not_replace_a_newer_result(cache: CacheManager) -> None:
    """A run published while the reader was busy."""
    cache.set_result(HEALTH, Payload(b"[1]"), "v1")
    found = cache.result(HEALTH)
    cache.set_result(HEALTH, Payload(b"[2]"), "v2")
    cache.replace_result(HEALTH, found, TaskResult(Payload(b"[1]"), "v1"))
    assert cache.get_array_data(HEALTH) == [2]
    cache.replace_result(HEALTH, cache.result(HEALTH), TaskResult(Payload(b"[3]"), "v3"))
    assert cache.get_array_data(HEALTH) == [3]


def filled(bound: int) -> CacheManager:
    """A cache of this size in which three results of 100 bytes were set in turn."""
    cache = CacheManager(Clock(), lambda: bound)
    for number, task in enumerate((HEALTH, TaskName.send_reset_sms, TaskName.collect_charge_cdrs)):
        cache.set_result(task, Payload(b" " * 98 + b"%02d" % number), f"v{number}")
    return cache


def test_the_least_recently_used_result_is_evicted() -> None:
    """The bound holds, and frequently served results stay (lesson 30)."""
    cache = filled(300)
    cache.touch(HEALTH)
    cache.set_array_data("other", ["x" * 90])
    assert cache.held_bytes <= 300
    held = {task: (entry := cache.result(task)) and entry.payload for task in TaskName}
    assert held[HEALTH] is not None
    assert held[TaskName.send_reset_sms] is None
    assert cache.get_array_data("other") == ["x" * 90]


def test_an_evicted_result_keeps_its_version() -> None:
    """If it is unchanged, only its bytes are read again."""
    entry = filled(200).result(HEALTH)
    assert entry is not None
    assert (entry.version, entry.payload) == ("v0", None)


def test_a_result_larger_than_the_cache_is_not_cached() -> None:
    """It would evict all others and still not fit."""
    cache = filled(1000)
    cache.set_array_data("large", ["x" * 2000])
    assert cache.get_array_data("large") is None
    assert cache.held_bytes == 300
    cache.set_result(HEALTH, Payload(b" " * 2000), "v9")
    entry = cache.result(HEALTH)
    assert entry is not None
    assert (entry.version, entry.payload) == ("v9", None)
    assert cache.held_bytes == 200


def test_a_result_that_grows_when_it_is_served_is_measured_again() -> None:
    """A compressed result that is also read as JSON takes the memory of both."""
    cache = CacheManager(Clock(), lambda: 100_000)
    plain = b"[" + b"1," * 30_000 + b"1]"
    cache.set_result(HEALTH, Payload(blocks=compress(plain)), "v1")
    small = cache.held_bytes
    assert len(cache.get_array_data(HEALTH) or []) == 30_001
    assert cache.held_bytes == small + len(plain)


def test_a_result_that_grows_after_it_was_returned_is_measured_again() -> None:
    """A reader may convert the payload without another request to the cache."""
    cache = CacheManager(Clock(), lambda: 100_000)
    payload = Payload(blocks=compress(b"[" + b"1," * 30_000 + b"1]"))
    cache.set_result(HEALTH, payload, "v1")
    assert len(payload.json) == 60_003
    assert cache.held_bytes == payload.held_bytes > 60_003
    other = Payload(b"[" + b"1," * 25_000 + b"1]")
    cache.set_result(TaskName.send_reset_sms, other, "v1")
    assert cache.held_bytes == other.held_bytes
    payload.gzip_around(b"", b"")
    assert other.gzip_around(b"", b"") is not None
    assert cache.held_bytes == other.held_bytes > 50_003


def test_a_replaced_result_does_not_count() -> None:
    """A slow reader still uses it, but the cache does not."""
    cache = CacheManager(Clock(), lambda: 100_000)
    old = Payload(blocks=compress(b"[" + b"1," * 30_000 + b"1]"))
    cache.set_result(HEALTH, old, "v1")
    cache.set_result(HEALTH, Payload(b"[2]"), "v2")
    assert old.json
    assert cache.held_bytes == 3


def test_a_removed_result_does_not_count() -> None:
    """A removed or replaced result is not subtracted twice."""
    cache = filled(1000)
    for task in TaskName:
        cache.set_array_data(task, [])
        cache.forget(task)
    assert cache.held_bytes == 0
