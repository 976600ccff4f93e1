"""Latency of a warm answer by result size: one instance, one keep-alive connection."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.report import Measure, interleaved
from bench.results import ASK_LARGE, publish_large
from bench.serving import BARE, BODY, REFERENCE, Client, Refused, instance, listening
from bench.targets import WARM_SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Bytes of the results, and how often each way is timed.
SIZES = {1_000: 300, 10_000: 300, 100_000: 300, 1_000_000: 200, 10_000_000: 100, 100_000_000: 20}
WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Size:
    """The medians of one result size, milliseconds.

    Attributes:
        requested: bytes of JSON that were asked for.
        size: bytes of JSON that the result has.
        stored: the same, compressed.
        noop: answer of a no-op callable.
        bare: answer of gunicorn alone, as many bytes as the compressed answer has.
        gzip: answer to a client that accepts gzip.
        plain: answer to a client that does not; None if it is too large for a response.
        route: answer of a Flask route that returns the same bytes as `plain`; None likewise.
    """

    requested: int
    size: int
    stored: int
    noop: float
    bare: float
    gzip: float
    plain: float | None
    route: float | None

    @property
    def name(self) -> str:
        """The requested size with its unit."""
        unit, factor = ("MB", 1_000_000) if self.requested >= 1_000_000 else ("KB", 1_000)
        return f"{self.requested // factor} {unit}"

    @property
    def ratio(self) -> float:
        """The answer with gzip over a no-op and its bytes sent by gunicorn alone."""
        return self.gzip / (self.noop + self.bare)


def sizes() -> Iterator[Size]:
    """Measure each size on an instance that has served it before."""
    with instance("noop", REFERENCE) as noop, TemporaryDirectory() as folder:
        for requested, rounds in SIZES.items():
            yield _measured(requested, rounds, noop.port, Path(folder))


def _measured(requested: int, rounds: int, noop: int, folder: Path) -> Size:
    published = publish_large(requested)
    plain, compressed = folder / "plain", folder / "compressed"
    plain.write_bytes(published.answer)
    compressed.write_bytes(bytes(published.stored))
    with instance("get_task_data") as product:
        with listening(BARE, **{BODY: str(compressed)}) as bare:
            ways = {"noop": Client(noop), "bare": Client(bare.port), "gzip": Client(product.port, ASK_LARGE)}
            taken = _timed(rounds, **ways)
        # Apart from the others: a large answer leaves cold caches to the next one.
        if _is_answered(product.port):
            with instance("fixed", REFERENCE, **{BODY: str(plain)}) as fixed:
                route = Client(fixed.port, gzip=False)
                taken |= _timed(rounds, plain=Client(product.port, ASK_LARGE, gzip=False), route=route)
    return Size(
        requested,
        published.size,
        published.stored,
        taken["noop"],
        taken["bare"],
        taken["gzip"],
        taken.get("plain"),
        taken.get("route"),
    )


def _timed(rounds: int, **clients: Client) -> dict[str, float]:
    with ExitStack() as opened:
        ways = {name: opened.enter_context(client).call for name, client in clients.items()}
        return interleaved(ways, rounds=rounds, warm_up=WARM_UP)


def _is_answered(port: int) -> bool:
    """Return whether a client without gzip gets the result."""
    with Client(port, ASK_LARGE, gzip=False) as client:
        try:
            client.call()
        except Refused:
            return False
    return True


def measures(sizes: Sequence[Size]) -> Iterator[Measure]:
    """Yield the measures that have a target."""
    by_name = {each.name: each for each in sizes}
    small, large = by_name["1 KB"], by_name["10 MB"]
    parts = {"answer": small.gzip, "no-op": small.noop}
    yield Measure("warm 1 KB, gzip : no-op callable", small.gzip / small.noop, parts)
    for name in WARM_SIZES:
        each = by_name[name]
        parts = {"answer": each.gzip, "no-op": each.noop, "gunicorn alone": each.bare}
        yield Measure(f"warm {name}, gzip : no-op + same bytes from gunicorn", each.ratio, parts)
    if large.plain is not None and large.route is not None:
        parts = {"answer": large.plain, "route": large.route}
        yield Measure("warm 10 MB, no gzip : Flask route, same bytes", large.plain / large.route, parts)


def table(sizes: Sequence[Size]) -> Iterator[str]:
    """Yield the lines of the table of all sizes, Markdown."""
    heads = "result | JSON, bytes | gzip, bytes | no-op | gunicorn alone | answer, gzip | ratio"
    yield f"| {heads} | answer, no gzip | Flask route, same bytes |"
    yield "| ---: " * 9 + "|"
    for each in sizes:
        plain = "refused" if each.plain is None else f"{each.plain:.2f} ms"
        route = "" if each.route is None else f"{each.route:.2f} ms"
        times = f"{each.noop:.2f} ms | {each.bare:.2f} ms | {each.gzip:.2f} ms | {each.ratio:.2f}"
        yield f"| {each.name} | {each.size:,} | {each.stored:,} | {times} | {plain} | {route} |"
