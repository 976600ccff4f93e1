"""How the latency of a warm answer grows with the result: one instance, one keep-alive client, each size."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.reference_functions import BODY
from bench.report import Measure, interleaved
from bench.results import ASK_LARGE, publish_large
from bench.serving import REFERENCE, Client, Refused, instance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Bytes of the results, and how often each way is timed.
SIZES = {1_000: 300, 10_000: 300, 100_000: 300, 1_000_000: 200, 10_000_000: 100, 100_000_000: 20}
WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Size:
    """A result of one size, and the medians of its answers, milliseconds.

    Attributes:
        wanted: bytes that its JSON was to have.
        size: bytes that it has.
        stored: bytes of the same compressed.
        noop: a no-op callable's answer.
        gzip: the answer to a client that takes gzip.
        plain: to one that doesn't; None where no response holds it.
        route: a Flask route's that returns the same bytes as they are; None likewise.
    """

    wanted: int
    size: int
    stored: int
    noop: float
    gzip: float
    plain: float | None
    route: float | None

    @property
    def name(self) -> str:
        """The size as a person says it."""
        for unit, one in (("MB", 1_000_000), ("KB", 1_000)):
            if self.wanted >= one:
                return f"{self.wanted // one} {unit}"
        return f"{self.wanted} B"


def sizes() -> Iterator[Size]:
    """Measure each size, on an instance that has served it before."""
    with instance("noop", REFERENCE) as noop, TemporaryDirectory() as folder:
        for wanted, rounds in SIZES.items():
            yield _measured(wanted, rounds, noop.port, Path(folder) / "body")


def _measured(wanted: int, rounds: int, noop: int, body: Path) -> Size:
    published = publish_large(wanted)
    body.write_bytes(published.answer)
    with instance("get_task_data") as product:
        # In pairs: what is many bytes leaves the processor's caches cold for who comes next.
        taken = _pair(rounds, noop=Client(noop), gzip=Client(product.port, ASK_LARGE))
        if _is_answered(product.port):
            with instance("fixed", REFERENCE, **{BODY: str(body)}) as fixed:
                route = Client(fixed.port, gzip=False)
                taken |= _pair(rounds, plain=Client(product.port, ASK_LARGE, gzip=False), route=route)
    return Size(
        wanted,
        published.size,
        published.stored,
        taken["noop"],
        taken["gzip"],
        taken.get("plain"),
        taken.get("route"),
    )


def _pair(rounds: int, **clients: Client) -> dict[str, float]:
    with ExitStack() as opened:
        ways = {name: opened.enter_context(client).call for name, client in clients.items()}
        return interleaved(ways, rounds=rounds, warm_up=WARM_UP)


def _is_answered(port: int) -> bool:
    """Tell whether a client without gzip gets the result."""
    with Client(port, ASK_LARGE, gzip=False) as client:
        try:
            client.call()
        except Refused:
            return False
    return True


def measures(sizes: Sequence[Size]) -> Iterator[Measure]:
    """Give the measures that have an aim."""
    by_size = {each.wanted: each for each in sizes}
    small, large = by_size[1_000], by_size[10_000_000]
    for each, limit in ((small, 1.1), (large, 1.5)):
        parts = {"answer": each.gzip, "no-op": each.noop}
        yield Measure(f"warm {each.name}, gzip : no-op callable", each.gzip / each.noop, limit, parts)
    if large.plain is not None and large.route is not None:
        parts = {"answer": large.plain, "route": large.route}
        name = f"warm {large.name}, no gzip : Flask route, same bytes"
        yield Measure(name, large.plain / large.route, 1.3, parts)


def table(sizes: Sequence[Size]) -> Iterator[str]:
    """Give the lines of the table over all sizes, Markdown."""
    heads = "result | JSON, bytes | gzip, bytes | no-op | gzip | : no-op | no gzip | Flask route, same bytes"
    yield f"| {heads} |"
    yield "| ---: " * 8 + "|"
    for each in sizes:
        plain = "refused" if each.plain is None else f"{each.plain:.2f} ms"
        route = "" if each.route is None else f"{each.route:.2f} ms"
        times = f"{each.noop:.2f} ms | {each.gzip:.2f} ms | {each.gzip / each.noop:.2f} | {plain} | {route}"
        yield f"| {each.name} | {each.size:,} | {each.stored:,} | {times} |"
