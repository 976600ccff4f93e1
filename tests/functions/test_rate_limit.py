"""A caller's bucket of calls, by a clock that is set. No stack is needed for it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.rate_limit import RateLimit


class SetClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def taken(limit: RateLimit, caller: str, calls: int) -> int:
    return sum(limit.take(caller) == 0 for _ in range(calls))


def test_a_full_bucket_holds_a_minute(clock: SetClock) -> None:
    """That many calls may come at once, and not one more."""
    assert taken(RateLimit(300, clock), "a", 400) == 300


def test_it_says_how_long_to_wait_and_keeps_its_word(clock: SetClock) -> None:
    """A call refused takes nothing; after the time that was told one is let in, and one alone."""
    limit = RateLimit(6, clock)
    assert taken(limit, "a", 6) == 6
    assert limit.take("a") == limit.take("a") == pytest.approx(10)
    clock.now += 4
    assert limit.take("a") == pytest.approx(6)
    clock.now += 6.001
    assert taken(limit, "a", 3) == 1


def test_a_bucket_never_holds_more_than_a_minute(clock: SetClock) -> None:
    """However long a caller stayed away."""
    limit = RateLimit(6, clock)
    assert taken(limit, "a", 6) == 6
    clock.now += 86_400
    assert taken(limit, "a", 10) == 6


def test_callers_have_buckets_of_their_own(clock: SetClock) -> None:
    """One that went wild takes nothing from another."""
    limit = RateLimit(2, clock)
    assert taken(limit, "a", 10) == 2
    assert taken(limit, "b", 10) == 2


def test_memory_is_bounded(clock: SetClock) -> None:
    """Whoever has not called for longest is forgotten; a caller that is refused again and again is not."""
    limit = RateLimit(2, clock, most_callers=3)
    assert taken(limit, "wild", 5) == 2
    for number in range(100):
        assert limit.take(f"caller {number}") == 0
        assert limit.take("wild") > 0
    assert len(limit._buckets) == 3


def test_threads_share_a_bucket(clock: SetClock) -> None:
    """Calls at the same time take no more than there is."""
    limit = RateLimit(1000, clock)
    with ThreadPoolExecutor(8) as threads:
        parts = threads.map(lambda _: taken(limit, "a", 500), range(8))
    assert sum(parts) == 1000
