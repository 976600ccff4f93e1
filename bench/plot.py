"""A log-log plot of latency by result size, as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    #: Bytes and milliseconds of each point.
    Line = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 150, 20, 50
FONT = 'font-family="sans-serif" font-size="12" fill="#555"'
COLOURS = ("#1b6ca8", "#c8553d", "#5b8c5a", "#888888")


def svg(lines: Mapping[str, Line]) -> str:
    """Return a plot with a legend.

    Args:
        lines: points (bytes, milliseconds) by name.
    """
    sizes, times = ([point[axis] for line in lines.values() for point in line] for axis in (0, 1))
    x = _scale(min(sizes), max(sizes), LEFT, WIDTH - RIGHT)
    y = _scale(min(times), max(times), HEIGHT - BOTTOM, TOP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            *_axes(x, y),
            *(
                part
                for number, (name, line) in enumerate(lines.items())
                for part in _line(number, name, line, x, y)
            ),
            "</svg>\n",
        ]
    )


class _scale:  # noqa: N801  (used as a function)
    """A logarithmic scale that begins and ends at powers of ten.

    Args:
        least, most: the smallest and the largest value.
        first, last: the coordinates of its ends.
    """

    def __init__(self, least: float, most: float, first: float, last: float) -> None:
        self.powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
        self._first = first
        self._step = (last - first) / (len(self.powers) - 1)

    def __call__(self, value: float) -> float:
        return round(self._first + (math.log10(value) - self.powers[0]) * self._step, 1)


def _axes(x: _scale, y: _scale) -> Iterator[str]:
    grid = 'stroke="#ddd"'
    for power in x.powers:
        at = x(10**power)
        yield f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" {grid}/>'
        yield f'<text x="{at}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_bytes(power)}</text>'
    for power in y.powers:
        at = y(10**power)
        yield f'<path d="M{LEFT} {at}H{WIDTH - RIGHT}" {grid}/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4}" text-anchor="end">{10.0**power:g} ms</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">result, JSON</text>'


def _line(number: int, name: str, line: Line, x: _scale, y: _scale) -> Iterator[str]:
    colour = COLOURS[number]
    points = " ".join(f"{x(size)},{y(time)}" for size, time in line)
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for point in points.split():
        at, height = point.split(",")
        yield f'<circle cx="{at}" cy="{height}" r="3" fill="{colour}"/>'
    yield f'<path d="M{WIDTH - RIGHT + 14} {TOP + 8 + 20 * number}h16" stroke="{colour}" stroke-width="2"/>'
    yield f'<text x="{WIDTH - RIGHT + 36}" y="{TOP + 12 + 20 * number}">{name}</text>'


def _bytes(power: int) -> str:
    unit, name = next((each for each in ((6, "MB"), (3, "KB")) if power >= each[0]), (0, "B"))
    return f"{10 ** (power - unit)} {name}"
