"""A caller's token bucket, with a clock that the test sets; needs no stack."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.rate_limit import RateLimit


class SetClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def taken(limit: RateLimit, caller: str, calls: int) -> int:
    return sum(limit.take(caller) == 0 for _ in range(calls))


def test_a_full_bucket_holds_the_calls_of_a_minute(clock: SetClock) -> None:
    assert taken(RateLimit(300, clock), "a", 400) == 300


def test_after_the_returned_wait_one_call_is_accepted(clock: SetClock) -> None:
    """A refused call uses no token."""
    limit = RateLimit(6, clock)
    assert taken(limit, "a", 6) == 6
    assert limit.take("a") == limit.take("a") == pytest.approx(10)
    clock.now += 4
    assert limit.take("a") == pytest.approx(6)
    clock.now += 6.001
    assert taken(limit, "a", 3) == 1


def test_a_bucket_never_holds_more_than_a_minute(clock: SetClock) -> None:
    """However long the caller was idle."""
    limit = RateLimit(6, clock)
    assert taken(limit, "a", 6) == 6
    clock.now += 86_400
    assert taken(limit, "a", 10) == 6


def test_each_caller_has_its_own_bucket(clock: SetClock) -> None:
    limit = RateLimit(2, clock)
    assert taken(limit, "a", 10) == 2
    assert taken(limit, "b", 10) == 2


def test_memory_is_bounded(clock: SetClock) -> None:
    """The caller that was idle for longest is forgotten; one that is refused repeatedly is not."""
    limit = RateLimit(2, clock, max_callers=3)
    assert taken(limit, "wild", 5) == 2
    for number in range(100):
        assert limit.take(f"caller {number}") == 0
        assert limit.take("wild") > 0
    assert len(limit._buckets) == 3


def test_threads_share_a_bucket(clock: SetClock) -> None:
    """Concurrent calls use no more tokens than there are."""
    limit = RateLimit(1000, clock)
    with ThreadPoolExecutor(8) as threads:
        parts = threads.map(lambda _: taken(limit, "a", 500), range(8))
    assert sum(parts) == 1000
