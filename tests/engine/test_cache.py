"""The contract's `cache_manager`: what a warm instance remembers."""

import pytest

from shared.tasks import ResultNotStorable, TaskName
from shared.tasks.clock import SystemClock
from shared.tasks.results.gzipped import compress
from shared.tasks.results.payload import Payload
from shared.tasks.results.task_result import TaskResult
from shared.tasks.serving.cache import CacheManager

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
    cache.set_result(HEALTH, Payload(b"[1]"), "v1")
    seen = cache.result(HEALTH)
    cache.set_result(HEALTH, Payload(b"[2]"), "v2")
    cache.replace_result(HEALTH, seen, TaskResult(Payload(b"[1]"), "v1"))
    assert cache.get_array_data(HEALTH) == [2]
    cache.replace_result(HEALTH, cache.result(HEALTH), TaskResult(Payload(b"[3]"), "v3"))
    assert cache.get_array_data(HEALTH) == [3]


def filled(bound: int) -> CacheManager:
    """A cache of so many bytes that three results of 100 were set in, one after the other."""
    cache = CacheManager(SystemClock(), lambda: bound)
    for number, task in enumerate((HEALTH, TaskName.send_reset_sms, TaskName.collect_charge_cdrs)):
        cache.set_result(task, Payload(b" " * 98 + b"%02d" % number), f"v{number}")
    return cache


def test_what_was_not_asked_for_longest_makes_room() -> None:
    """The bound holds, and what is served often stays (lesson 30)."""
    cache = filled(300)
    cache.touch(HEALTH)
    cache.set_array_data("other", ["x" * 90])
    assert cache.held <= 300
    held = {task: (entry := cache.result(task)) and entry.payload for task in TaskName}
    assert held[HEALTH] is not None
    assert held[TaskName.send_reset_sms] is None
    assert cache.get_array_data("other") == ["x" * 90]


def test_what_made_room_keeps_its_version() -> None:
    """A result that had to go can still be found unchanged: its bytes are read again, no more."""
    entry = filled(200).result(HEALTH)
    assert entry is not None
    assert (entry.version, entry.payload) == ("v0", None)


def test_a_result_of_more_than_the_bound_is_not_kept() -> None:
    """It would push out everything else, and not fit all the same."""
    cache = filled(1000)
    cache.set_array_data("large", ["x" * 2000])
    assert cache.get_array_data("large") is None
    assert cache.held == 300
    cache.set_result(HEALTH, Payload(b" " * 2000), "v9")
    entry = cache.result(HEALTH)
    assert entry is not None
    assert (entry.version, entry.payload) == ("v9", None)
    assert cache.held == 200


def test_what_grows_by_being_served_is_weighed_again() -> None:
    """A result that is kept compressed and then read as JSON takes the memory of both."""
    cache = CacheManager(SystemClock(), lambda: 100_000)
    plain = b"[" + b"1," * 30_000 + b"1]"
    cache.set_result(HEALTH, Payload(blocks=compress(plain)), "v1")
    small = cache.held
    assert len(cache.get_array_data(HEALTH) or []) == 30_001
    assert cache.held == small + len(plain)


def test_what_grows_after_it_was_handed_out_is_weighed_all_the_same() -> None:
    """A reader gets a payload, and makes of it what its client takes; nobody need ask a second time."""
    cache = CacheManager(SystemClock(), lambda: 100_000)
    payload = Payload(blocks=compress(b"[" + b"1," * 30_000 + b"1]"))
    cache.set_result(HEALTH, payload, "v1")
    assert len(payload.json) == 60_003
    assert cache.held == payload.held > 60_003
    other = Payload(b"[" + b"1," * 25_000 + b"1]")
    cache.set_result(TaskName.send_reset_sms, other, "v1")
    assert cache.held == other.held
    payload.gzip_around(b"", b"")
    assert other.gzip_around(b"", b"") is not None
    assert cache.held == other.held > 50_003


def test_what_was_replaced_weighs_nothing_however_it_grows() -> None:
    """A slow reader still holds it, the cache does not."""
    cache = CacheManager(SystemClock(), lambda: 100_000)
    old = Payload(blocks=compress(b"[" + b"1," * 30_000 + b"1]"))
    cache.set_result(HEALTH, old, "v1")
    cache.set_result(HEALTH, Payload(b"[2]"), "v2")
    assert old.json
    assert cache.held == 3


def test_a_thing_that_is_forgotten_takes_no_memory() -> None:
    """What is dropped or replaced is not counted twice."""
    cache = filled(1000)
    for task in TaskName:
        cache.set_array_data(task, [])
        cache.forget(task)
    assert cache.held == 0
