"""Where the time of a warm answer goes: the same call to servers that each do one thing more.

A stage takes the difference to the stage before. Nothing is instrumented, because that would
slow it down.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.report import interleaved
from bench.results import ASK_LARGE, ASK_TINY, publish_large, publish_tiny
from bench.serving import BARE, BODY, PRODUCT, REFERENCE, Client, instance, listening

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIZE = 10_000_000
ROUNDS, WARM_UP = 300, 50
#: Each stage, and the position of the stage that it builds on.
STAGES = {
    "gunicorn alone: connection, request and headers parsed, a few bytes sent": None,
    "functions-framework and Flask: routing, request and response objects": 0,
    "on_call without a token: CORS, the protocol, JSON, its log line": 1,
    "the token decoded and checked: the no-op callable": 2,
    "get_task_data, a result of a few bytes": 3,
    "get_task_data, 10 MB compressed": 4,
    "for comparison, gunicorn alone: the same compressed bytes": 0,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        name: what the server does.
        median: median of its answers, milliseconds.
        more: difference to the stage that it builds on, milliseconds.
    """

    name: str
    median: float
    more: float


def stages() -> list[Stage]:
    """Measure each stage."""
    publish_tiny()
    stored = publish_large(SIZE).stored
    with ExitStack() as opened, TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(bytes(stored))

        def served(target: str, data: object = None, *, token: bool = True) -> Client:
            source = PRODUCT if target == "get_task_data" else REFERENCE
            port = opened.enter_context(instance(target, source)).port
            return opened.enter_context(Client(port, data, token=token))

        def bare(**environment: str) -> Client:
            port = opened.enter_context(listening(BARE, **environment)).port
            return opened.enter_context(Client(port))

        # One process per stage, because a process that is called twice as often is faster.
        clients = [
            bare(),
            served("fixed"),
            served("noop", token=False),
            served("noop"),
            served("get_task_data", ASK_TINY),
            served("get_task_data", ASK_LARGE),
            bare(**{BODY: str(body)}),
        ]
        ways = {name: each.call for name, each in zip(STAGES, clients, strict=True)}
        large = {name: ways.pop(name) for name in list(ways)[-2:]}
        # Apart from the others, because a large answer leaves cold caches to the next one.
        taken = interleaved(ways, rounds=ROUNDS, warm_up=WARM_UP)
        taken |= interleaved(large, rounds=ROUNDS, warm_up=WARM_UP)
    medians = [taken[name] for name in STAGES]
    befores = [0.0 if before is None else medians[before] for before in STAGES.values()]
    rows = zip(STAGES, medians, befores, strict=True)
    return [Stage(name, median, median - before) for name, median, before in rows]


def table(stages: Iterable[Stage]) -> Iterator[str]:
    """Yield the lines of the table, Markdown."""
    yield "| answer of | median | more than the stage before |"
    yield "| --- | ---: | ---: |"
    for each in stages:
        yield f"| {each.name} | {each.median:.2f} ms | {each.more:+.2f} ms |"
