"""Interleaved timing, and the table of measures."""

from __future__ import annotations

import json
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured value.

    Attributes:
        name: what was measured against what; the key of its target, if it has one.
        value: a ratio of medians, or a count.
        parts: the medians it is computed from, by name.
        unit: the unit of the parts.
    """

    name: str
    value: float
    parts: dict[str, float]
    unit: str = "ms"

    @property
    def target(self) -> Target | None:
        """The target, or None if the value is shown for information."""
        return TARGETS.get(self.name)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met, or None without a target."""
        return self.target.is_met(self.value) if self.target else None


def interleaved(ways: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int) -> dict[str, float]:
    """Time several functions in turn, so that a slower machine slows all of them.

    The order changes with each round, because one call can leave cold caches to the next.

    Args:
        ways: the functions, by name.
        rounds: how often each is timed.
        warm_up: untimed rounds before that.

    Returns:
        The median of each, milliseconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(warm_up + rounds):
        random.Random(number).shuffle(names)  # noqa: S311  (not a secret)
        for name in names:
            call = ways[name]
            began = time.perf_counter()
            call()
            if number >= warm_up:
                taken[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def table(measures: Iterable[Measure]) -> Iterator[str]:
    """Yield the lines of the table of all measures."""
    measures = list(measures)
    width = max(len(measure.name) for measure in measures)
    yield f"{'measure':<{width}}  {'value':>7}  {'target':>8}  met  medians"
    for measure in measures:
        target = measure.target
        limit = str(target or "-")
        met = {None: "", True: "yes", False: "no"}[measure.is_met]
        parts = ", ".join(
            f"{name} {value:,.{1 if value >= 100 else 2}f} {measure.unit}"
            for name, value in measure.parts.items()
        )
        yield f"{measure.name:<{width}}  {measure.value:>7.2f}  {limit:>8}  {met:<3}  {parts}".rstrip()


def missed(measures: Iterable[Measure]) -> Iterator[str]:
    """Yield one Markdown list item for each missed target."""
    for measure in measures:
        if measure.target and not measure.is_met:
            why = measure.target.why_missed or "The reason is not known yet."
            yield f"- **{measure.name}** is {measure.value:.2f}, target {measure.target}. {why}"


def save(measures: Iterable[Measure]) -> None:
    """Write results.json."""
    rows = [
        {
            "measure": each.name,
            "value": round(each.value, 3),
            "limit": each.target.limit if each.target else None,
            "met": each.is_met,
            "parts": {name: round(value, 3) for name, value in each.parts.items()},
        }
        for each in measures
    ]
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
