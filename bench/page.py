"""`docs/performance.md`: the measures, the machine, and how to read them."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import growth, plot, report, stages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.growth import Size
    from bench.report import Measure
    from bench.stages import Stage

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PLOT = DOCS / "performance.md", DOCS / "performance.svg"

ABOUT = """
Written by `make bench`. Each value is a ratio of medians within one run, in which the compared calls are
timed in turn. Values without a target are shown for information. Functions are served as in production,
with compiled source, by functions-framework and gunicorn in one process of 80 threads. The clients, the
Firestore emulator and the Storage server run on the same machine.
"""
GROWTH = """
Results are charging sites with ids, coordinates, connectors and times; gzip makes the largest {ratio:.1f}
times smaller. The instance is warm, and the client has one keep-alive connection. The ratio is the answer
with gzip over the sum of a no-op callable and the same bytes sent by gunicorn alone. An answer above 32 MiB
is refused with the URL of the result.
"""
STAGES = """
The same call to servers that each do one thing more than the one before.
"""
READING = """
- **A warm answer** costs as much as a no-op and the sending of its bytes. Nothing is encoded, compressed or
  copied for it. The no-op also writes on_call's log line, which the product omits.
- **Within the process**, `get_task_result` returns the cached bytes, regardless of their number.
  `get_task_data` decodes them for each caller, because a caller may change the data.
- **A cold read** reads the status document, and only then downloads the result that it names. The farther
  Storage is from the instance, the more the download dominates. Its target is 1.3 times (document read +
  download), plus a no-op. The no-op is therefore subtracted before the ratio is computed.
- **A hand-over** makes a checkpoint, lets the run wait, reads the job and creates the Cloud Task. The next
  leg takes the task and reads the checkpoint. The emulator polls an idle queue once per second, which takes
  most of the time. Between two deliveries it polls at once, and the calls to Firestore remain.
- **DBOS** keeps its steps in a local SQLite file, this engine in the Firestore emulator over gRPC. DBOS is
  measured if `DBOS_PYTHON` names a Python in which it is installed.
- **80 cold callers** share one document read and one download. Callers of an instance that Cloud Run has yet
  to start also wait for its start.
"""


def page(measures: Sequence[Measure], sizes: Sequence[Size], where: Sequence[Stage]) -> str:
    """Return the page, Markdown."""
    return "\n".join(_lines(measures, sizes, where)) + "\n"


def write(text: str, sizes: Sequence[Size]) -> None:
    """Write the page and its plot."""
    PAGE.write_text(text, "utf-8")
    lines = {
        "no gzip": [(each.requested, each.plain) for each in sizes if each.plain is not None],
        "Flask, same bytes": [(each.requested, each.route) for each in sizes if each.route is not None],
        "gzip": [(each.requested, each.gzip) for each in sizes],
        "no-op": [(each.requested, each.noop) for each in sizes],
    }
    PLOT.write_text(plot.svg(lines), "utf-8")


def _lines(measures: Sequence[Measure], sizes: Sequence[Size], where: Sequence[Stage]) -> Iterator[str]:
    yield "# Performance"
    yield ABOUT
    yield from _machine()
    yield "\n```text"
    yield from report.table(measures)
    yield "```\n\n## By size of the result"
    yield GROWTH.format(ratio=max(each.size / each.stored for each in sizes))
    yield from growth.table(sizes)
    yield f"\n![latency by size of the result]({PLOT.name})\n\n## Where the time goes"
    yield STAGES
    yield from stages.table(where)
    yield READING.rstrip()
    if missed := list(report.missed(measures)):
        yield "\n## Missed targets\n"
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
