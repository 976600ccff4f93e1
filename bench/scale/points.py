"""The loads for which the formulas are compared with the simulated cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.scale import model
from bench.scale.model import Load
from bench.scale.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.scale.simulation import Counted


@dataclass(frozen=True, slots=True)
class Point:
    """A load, and the simulated seconds for which it is counted."""

    name: str
    load: Load
    seconds: float


POINTS = (
    Point("small", Load(1, 10, 5, published_every=60), 3600),
    Point("middle", Load(100, 1_000, 5, published_every=20), 60),
    Point("edge", Load(1_000, 20_000, 1, published_every=2.5), 2.5),
    Point("each read asks", Load(100, 5_000, 0, published_every=1, fetch_seconds=0.02), 2),
    Point("seldom read", Load(1_000, 100, 5, published_every=60), 60),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One compared figure.

    Attributes:
        name: name and unit.
        formula: value of the formula.
        counted: value counted in the simulation.
        tolerance: largest difference of the ratio from 1; None if the formula is an upper bound.
    """

    name: str
    formula: float
    counted: float
    tolerance: float | None

    @property
    def ratio(self) -> float:
        """The counted value over the formula."""
        return self.counted / self.formula

    @property
    def holds(self) -> bool:
        """Whether the simulation confirms the formula."""
        return self.ratio <= 1 if self.tolerance is None else abs(self.ratio - 1) <= self.tolerance


def compare(point: Point, simulated: Callable[..., Counted] = simulate) -> list[Figure]:
    """Simulate a point and compare the counts with the formulas."""
    load, seconds = point.load, point.seconds
    seen = simulated(load, seconds=seconds)
    figures = [
        Figure("Firestore reads, 1/s", model.checks(load), seen.firestore_reads / seconds, 0.05),
        Figure("downloads, 1/s", model.fetches(load), seen.downloads / seconds, 0.05),
        Figure("mean wait, ms", model.mean_wait(load) * 1000, seen.mean_wait * 1000, 0.1),
        Figure("oldest answer, s", model.stale_most(load), seen.stale_most, None),
    ]
    if load.max_age > 0:
        median = model.stale_median(load)
        figures.append(Figure("median age of old answers, s", median, seen.stale_median, 0.1))
    return figures
