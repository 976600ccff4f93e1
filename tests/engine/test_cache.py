"""The contract's `cache_manager`: what a warm instance remembers."""

import pytest

from shared.tasks import ResultNotStorable, TaskName
from shared.tasks.cache import CachedResult, CacheManager
from shared.tasks.clock import SystemClock

HEALTH = TaskName.collect_devices_health


@pytest.fixture
def cache() -> CacheManager:
    return CacheManager(SystemClock())


@pytest.mark.parametrize("key", [HEALTH, "anything"])
def test_what_was_set_is_got(cache: CacheManager, key: str) -> None:
    """Arrays as arrays, objects as objects, nothing where nothing was set."""
    assert cache.get_array_data(key) is None
    cache.set_array_data(key, [1, {"a": None}])
    assert cache.get_array_data(key) == [1, {"a": None}]
    assert cache.get_object_data(key) is None


@pytest.mark.parametrize("key", [HEALTH, "anything"])
def test_a_later_value_of_the_other_kind_replaces_the_earlier(cache: CacheManager, key: str) -> None:
    """After an array an object is all there is: no old value lives on beside it (lesson 1)."""
    cache.set_array_data(key, [1])
    cache.set_object_data(key, {})
    assert cache.get_array_data(key) is None
    assert cache.get_object_data(key) == {}


def test_empty_is_a_value(cache: CacheManager) -> None:
    """An empty array is remembered, not taken for none (lesson 15)."""
    cache.set_array_data(HEALTH, [])
    assert cache.get_array_data(HEALTH) == []


def test_a_reader_can_t_change_what_the_next_one_gets(cache: CacheManager) -> None:
    """What is handed out is the reader's own, what was handed in too (lesson 13)."""
    mine = [{"a": 1}]
    cache.set_array_data(HEALTH, mine)
    mine[0]["a"] = 2
    first = cache.get_array_data(HEALTH)
    assert first == [{"a": 1}]
    first.append("scribble")
    assert cache.get_array_data(HEALTH) == [{"a": 1}]


def test_a_task_s_name_is_its_key_as_text_too(cache: CacheManager) -> None:
    """As everywhere, the name may be text; other keys are nobody's result (lesson 16)."""
    cache.set_array_data(HEALTH.value, ["health"])
    cache.set_array_data("nx-settings", ["settings"])
    assert cache.get_array_data(HEALTH) == ["health"]
    assert cache.result(HEALTH) is not None
    assert cache.get_array_data("nx-settings") == ["settings"]


def test_a_wrong_type_is_refused_and_nothing_lost(cache: CacheManager) -> None:
    """An object is no array, and what was there stays."""
    cache.set_array_data(HEALTH, [1])
    with pytest.raises(TypeError, match="takes a list, not a dict"):
        cache.set_array_data(HEALTH, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a dict, not a str"):
        cache.set_object_data(HEALTH, "x")  # type: ignore[arg-type]
    with pytest.raises(ResultNotStorable):
        cache.set_array_data(HEALTH, [float("nan")])
    assert cache.get_array_data(HEALTH) == [1]


def test_a_slow_reader_does_not_replace_what_came_meanwhile(cache: CacheManager) -> None:
    """What a run published while a reader was busy is newer than what the reader found."""
    cache.set_result(HEALTH, b"[1]", "v1")
    seen = cache.result(HEALTH)
    cache.set_result(HEALTH, b"[2]", "v2")
    cache.replace_result(HEALTH, seen, CachedResult(b"[1]", "v1", 0))
    assert cache.get_array_data(HEALTH) == [2]
    cache.replace_result(HEALTH, cache.result(HEALTH), CachedResult(b"[3]", "v3", 0))
    assert cache.get_array_data(HEALTH) == [3]
