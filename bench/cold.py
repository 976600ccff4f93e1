"""What an instance that has just begun costs its first callers."""

from __future__ import annotations

import json
import os
import statistics
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import requests

from bench.report import Measure
from bench.results import ASK_LARGE, ASK_TINY, LARGE, publish_large, publish_tiny
from bench.serving import PRODUCT, TARGETS, Client, Crowd, Refused, instance
from shared import firebase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNTING = Path(__file__).with_name("counting.py")
SIZE = 10_000_000
CALLERS, CROWD_SIZE = 80, 1_000_000
ROUNDS = 7


def measures() -> Iterator[Measure]:
    """Measure the first read, the first crowd, and the start."""
    publish_tiny()
    published = publish_large(SIZE)
    yield from _first_read(published.path)
    yield from _first_crowd()
    yield _start()


def _first_read(path: str) -> Iterator[Measure]:
    """Read a large result on an instance that has not read it.

    Its no-op is the read of another task, a few bytes in Firestore: it opens what every read
    needs, the token check and the Firestore client, and nothing of Storage. What an instance
    pays that was only knocked at before, by a call without a token, is shown beside it; and what
    a read of the status document takes, without which nobody knows what to download.
    """
    download = _download(path)
    status = firebase.firestore_client().document(f"nx-tasks/{LARGE.value}")
    taken: dict[str, list[float]] = {
        "after a read": [],
        "after a refusal": [],
        "download": [],
        "document": [],
    }
    for _ in range(ROUNDS):
        with instance("get_task_data") as warm, Client(warm.port, ASK_TINY) as client:
            client.call()
            client.will_ask(ASK_LARGE)
            taken["after a read"].append(_seconds(client.call))
        with instance("get_task_data") as knocked, Client(knocked.port, ASK_TINY, token=False) as refused:
            with suppress(Refused):
                refused.call()
            with Client(knocked.port, ASK_LARGE) as client:
                taken["after a refusal"].append(_seconds(client.call))
        for _ in range(3):
            taken["document"].append(_seconds(status.get))
            taken["download"].append(_seconds(download))
    medians = {name: statistics.median(each) * 1000 for name, each in taken.items()}
    for name, limit in (("after a read", 1.5), ("after a refusal", None)):
        parts = {"read": medians[name], "download": medians["download"], "document": medians["document"]}
        what = f"cold read of 10 MB from Storage, {name} : plain download"
        yield Measure(what, medians[name] / medians["download"], limit, parts)


def _download(path: str) -> Callable[[], object]:
    """Return what downloads an object as it is stored, on a connection that is open."""
    bucket, origin = os.environ["NX_TASKS_BUCKET"], os.environ["STORAGE_EMULATOR_HOST"]
    url = f"{origin}/download/storage/v1/b/{bucket}/o/{quote(path, safe='')}?alt=media"
    session = requests.Session()

    def download() -> bytes:
        with session.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            return bytes(answer.raw.read(decode_content=False))

    download()
    return download


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _first_crowd() -> Iterator[Measure]:
    """Have many call at once an instance that has served nothing, and one call another.

    A cold caller waits for the instance as well, on Cloud Run: both are shown, with its start
    and without. What as many no-ops take that come at once says how much less is possible.
    """
    publish_large(CROWD_SIZE)
    taken: dict[int, list[tuple[float, float]]] = {1: [], CALLERS: []}
    asked: dict[str, list[int]] = {"reads of Firestore": [], "downloads": []}
    noops: list[float] = []
    with instance("noop", TARGETS) as noop:
        for _ in range(ROUNDS):
            with Crowd(CALLERS, noop.port) as warm:
                noops.append(_seconds(warm.call_once))
            for callers, times in taken.items():
                began = time.perf_counter()
                with instance("counted", COUNTING) as cold, Crowd(callers, cold.port, ASK_LARGE) as crowd:
                    reading = _seconds(crowd.call_once)
                    times.append((time.perf_counter() - began, reading))
                    if callers == CALLERS:
                        for name, count in _counts(cold.port).items():
                            asked[name].append(count)
    what = f"{CALLERS} concurrent cold callers, 1 MB"
    for number, since in enumerate(("from the instance's start", "once it listens")):
        one, many = (statistics.median(each[number] for each in times) * 1000 for times in taken.values())
        parts = {f"{CALLERS} callers": many, "one": one}
        if number:
            parts[f"{CALLERS} no-ops at once"] = statistics.median(noops) * 1000
        yield Measure(f"{what}, {since} : one cold caller", many / one, 1.5, parts)
    for name, counts in asked.items():
        yield Measure(f"{what}: {name}", max(counts), 1, {})


def _counts(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60) as told:
        counts: dict[str, int] = json.load(told)
        return counts


def _start() -> Measure:
    """Start a process and have its first answer, beside the least that a callable of use does."""
    taken: dict[str, list[float]] = {"get_task_data": [], "hello-world": []}
    for _ in range(ROUNDS):
        taken["get_task_data"].append(_first_answer("get_task_data", PRODUCT, ASK_TINY))
        taken["hello-world"].append(_first_answer("hello", TARGETS, None))
    parts = {name: statistics.median(each) * 1000 for name, each in taken.items()}
    ratio = parts["get_task_data"] / parts["hello-world"]
    return Measure("start of process to first answer : hello-world with Firestore", ratio, 1.15, parts)


def _first_answer(target: str, source: Path, data: object) -> float:
    began = time.perf_counter()
    with instance(target, source) as started, Client(started.port, data) as client:
        client.call()
        return time.perf_counter() - began
