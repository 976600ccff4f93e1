"""How measures are taken and told: interleaved, medians, a table for a person and JSON for a program."""

from __future__ import annotations

import json
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    Attributes:
        name: what was measured against what.
        value: the ratio of the medians.
        limit: what is aimed at; None where the figure stands for itself.
        parts: medians that the value is made of, by name.
        at_least: whether the limit is a lower one.
        unit: of the parts.
    """

    name: str
    value: float
    limit: float | None
    parts: dict[str, float]
    at_least: bool = False
    unit: str = "ms"

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def interleaved(ways: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int) -> dict[str, float]:
    """Time several ways of doing a thing in turn, so that a machine that slows down slows all of them.

    Who comes first changes with each round: what a way leaves behind falls on each of the others alike.

    Args:
        ways: what to do, by name.
        rounds: how often each is timed.
        warm_up: rounds before that are not.

    Returns:
        The median of each, milliseconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(warm_up + rounds):
        random.Random(number).shuffle(names)  # noqa: S311  (an order, no secret)
        for name in names:
            do = ways[name]
            began = time.perf_counter()
            do()
            if number >= warm_up:
                taken[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def table(measures: Iterable[Measure]) -> Iterator[str]:
    """Give the lines that tell all measures."""
    measures = list(measures)
    width = max(len(measure.name) for measure in measures)
    yield f"{'measure':<{width}}  {'value':>7}  {'aim':>8}  met  medians"
    for measure in measures:
        aim = "-" if measure.limit is None else f"{'≥' if measure.at_least else '≤'} {measure.limit:g}"
        met = {None: "", True: "yes", False: "no"}[measure.met]
        parts = ", ".join(
            f"{name} {value:,.{1 if value >= 100 else 2}f} {measure.unit}"
            for name, value in measure.parts.items()
        )
        yield f"{measure.name:<{width}}  {measure.value:>7.2f}  {aim:>8}  {met:<3}  {parts}".rstrip()


def save(measures: Iterable[Measure]) -> None:
    """Write results.json."""
    told = [
        {
            "measure": each.name,
            "value": round(each.value, 3),
            "limit": each.limit,
            "met": each.met,
            "parts": {name: round(milliseconds, 3) for name, milliseconds in each.parts.items()},
        }
        for each in measures
    ]
    RESULTS.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
