"""`docs/performance.md`: what `make bench` printed, on which machine, and what it means."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import growth, plot, reasons, report, stages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.growth import Size
    from bench.report import Measure
    from bench.stages import Stage

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PLOT = DOCS / "performance.md", DOCS / "performance.svg"

ABOUT = """
What `make bench` printed; it writes this page. Each value is a ratio of medians within one run, whose ways
of doing a thing are timed in turn; values without an aim stand for themselves. Functions are served as in
production, their source compiled, by functions-framework and gunicorn in one process of 80 threads, beside
their clients, Firestore's emulator and the Storage server on one machine.
"""
GROWTH = """
Results are charging sites with ids, coordinates, connectors and times; gzip makes the largest {ratio:.1f}
times smaller. A warm instance, one keep-alive connection. An answer above 32 MiB is refused, with a URL in
its place.
"""
STAGES = """
The same call, to servers of which each does one thing more than the one before.
"""
READING = """
- **A warm answer** costs what a no-op costs, and what it takes to send its bytes: nothing is encoded,
  compressed or copied for it. What the product does itself is one line of the table. The no-op writes
  on_call's line into the log, which the product leaves out.
- **In the process**, `get_task_result` hands out the bytes that are kept, whatever their number;
  `get_task_data` decodes them for each caller, who may change what it is given.
- **A cold read** asks Firestore which result there is, and only then Storage for it. The farther Storage is
  from the instance, the less all but the download weighs.
- **80 cold callers** share one read and one download. Callers of an instance that Cloud Run has yet to start
  wait for that as well.
"""


def page(measures: Sequence[Measure], sizes: Sequence[Size], where: Sequence[Stage]) -> str:
    """Return the page, Markdown."""
    return "\n".join(_lines(measures, sizes, where)) + "\n"


def write(text: str, sizes: Sequence[Size]) -> None:
    """Write the page, and the plot beside it."""
    PAGE.write_text(text, "utf-8")
    lines = {
        "no gzip": [(each.wanted, each.plain) for each in sizes if each.plain is not None],
        "Flask, same bytes": [(each.wanted, each.route) for each in sizes if each.route is not None],
        "gzip": [(each.wanted, each.gzip) for each in sizes],
        "no-op": [(each.wanted, each.noop) for each in sizes],
    }
    PLOT.write_text(plot.svg(lines), "utf-8")


def _lines(measures: Sequence[Measure], sizes: Sequence[Size], where: Sequence[Stage]) -> Iterator[str]:
    yield "# Performance"
    yield ABOUT
    yield from _machine()
    yield "\n```text"
    yield from report.table(measures)
    yield "```\n\n## Over the size of the result"
    yield GROWTH.format(ratio=max(each.size / each.stored for each in sizes))
    yield from growth.table(sizes)
    yield f"\n![latency over the size of the result]({PLOT.name})\n\n## Where the time goes"
    yield STAGES
    yield from stages.table(where)
    yield READING.rstrip()
    missed = list(reasons.lines(measures, where))
    if missed:
        yield "\n## Aims that are missed\n"
        yield from missed


def _machine() -> Iterator[str]:
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = f"{platform.system()} {platform.release()}"
    yield "| run on |  |"
    yield "| --- | --- |"
    yield f"| date | {datetime.now(UTC):%Y-%m-%d} |"
    yield f"| machine | {os.cpu_count()} cores, {system}, {platform.machine()} |"
    yield f"| Python | {platform.python_version()} |"
