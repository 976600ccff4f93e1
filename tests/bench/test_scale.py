"""The formulas of docs/scale.md agree with the simulated cache, and the page with the formulas."""

from itertools import pairwise, product
from pathlib import Path

import pytest

from bench.scale import model, page
from bench.scale.model import Load
from bench.scale.points import POINTS, Point, compare
from bench.scale.world import Event, World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
LOADS = [
    Load(instances, reads, max_age, size)
    for instances, reads, max_age, size in product(page.INSTANCES, page.READS, page.MAX_AGES, page.SIZES)
]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_the_cache_agrees_with_the_formulas(point: Point) -> None:
    """Document reads, downloads and waits are within the tolerances; no answer exceeds the bound."""
    figures = compare(point)
    assert [figure for figure in figures if not figure.holds] == []


def test_a_simulation_is_the_same_each_time() -> None:
    """Threads take turns, so that only the seed decides."""
    point = Point("short", Load(20, 1_000, 0, published_every=0.1), 0.3)
    assert compare(point) == compare(point)


def test_waiting_threads_wake_in_order() -> None:
    """Time passes only while all threads wait."""
    world, order = World(), []
    event = Event(world)

    def waits(name: str) -> None:
        event.wait()
        order.append((name, world.monotonic()))

    def sets() -> None:
        world.sleep(2)
        event.set()
        order.append(("set", world.monotonic()))

    world.at(0, lambda: waits("first"))
    world.at(0, sets)
    world.at(1, lambda: waits("second"))
    world.run()
    assert order == [("set", 2), ("first", 2), ("second", 2)]


def test_an_error_in_a_world_ends_it() -> None:
    """`run` raises it."""
    world = World()

    def fails() -> None:
        world.sleep(1)
        raise ConnectionError("down")

    world.at(1, fails)
    with pytest.raises(ConnectionError, match="down"):
        world.run()


def test_no_load_checks_more_often_than_the_upper_bound() -> None:
    """The bound holds for all loads, and many readers nearly reach it."""
    assert all(model.checks(load) <= model.most_checks(load) * 1.000001 for load in LOADS)
    busy = Load(10, 100_000, 5)
    assert model.checks(busy) == pytest.approx(model.most_checks(busy), rel=0.001)


def test_figures_do_not_shrink_as_the_load_grows() -> None:
    """More readers cause no fewer document reads, downloads, bytes or instances."""
    for figure in (model.checks, model.fetches, model.egress, model.instances_needed):
        for max_age in page.MAX_AGES:
            figures = [figure(Load(100, reads, max_age, 100_000)) for reads in page.READS]
            assert all(less <= more for less, more in pairwise(figures)), figure


@pytest.mark.parametrize("max_age", page.MAX_AGES)
@pytest.mark.parametrize("size", page.SIZES)
def test_the_first_limit_is_the_first_to_be_exceeded(max_age: float, size: int) -> None:
    """All limits hold just below it, and the named one is exceeded just above it."""
    reads, limit = model.first_limit(Load(1, 1, max_age, size))
    assert model.uses(model.grown(Load(1, 1, max_age, size), reads * 0.99))[0].share <= 1
    above = model.uses(model.grown(Load(1, 1, max_age, size), reads * 1.01))
    assert above[0].share > 1
    assert limit in {use.limit for use in above if use.share > 1}


def test_a_result_that_is_too_large_reaches_its_limit_at_once() -> None:
    """Every read of it is a download from Storage."""
    assert model.first_limit(Load(1, 1, 5, page.TOO_LARGE)) == (0, "Cloud Run: size of an answer")


def test_the_page_is_up_to_date() -> None:
    """`make scale` has run after the last change to the model or a fact."""
    written = PAGE.read_text("utf-8")
    for part in (*page.on_paper_first(), *page.on_paper_then()):
        assert part in written
