"""What an instance that has just begun costs its first callers."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import requests

from bench.first_download import download
from bench.report import Measure
from bench.results import ASK_LARGE, ASK_OTHER, ASK_TINY, LARGE, OTHER, publish_large, publish_tiny
from bench.serving import COMPILED, PRODUCT, REFERENCE, ROOT, SERVED, Client, Crowd, Refused, instance
from shared import firebase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNTING = Path(__file__).with_name("counting.py")
SIZE = 10_000_000
CALLERS, CROWD_SIZE = 80, 1_000_000
ROUNDS, STARTS = 7, 15
#: The way of the read that follows the first.
NEXT = "of another result, next"


def measures() -> Iterator[Measure]:
    """Measure the first read, the first crowd, and the start."""
    publish_tiny()
    published = publish_large(SIZE)
    publish_large(SIZE, OTHER)
    yield from _first_read(published.path)
    yield from _first_crowd()
    yield from _start()


def _first_read(path: str) -> Iterator[Measure]:
    """Read a large result on an instance that has not read it.

    Its no-op is the read of another task, a few bytes in Firestore: it opens what every read
    needs, the token check and the Firestore client, and nothing of Storage. What an instance
    pays that was only knocked at before, by a call without a token, is shown beside it; and what
    a read of the status document takes, without which nobody knows what to download, and what the
    first download of any process does; and the next read, of another result: by code that has run.
    """
    url, session = _url(path), requests.Session()
    download(session, url)  # opens the connection
    status = firebase.firestore_client().document(f"nx-tasks/{LARGE.value}")
    taken: dict[str, list[float]] = {
        "after a read": [],
        NEXT: [],
        "after a refusal": [],
        "download": [],
        "first download": [],
        "document": [],
    }
    for _ in range(ROUNDS):
        with instance("get_task_data") as warm, Client(warm.port, ASK_TINY) as client:
            client.call()
            client.will_ask(ASK_LARGE)
            taken["after a read"].append(_seconds(client.call))
            client.will_ask(ASK_OTHER)
            taken[NEXT].append(_seconds(client.call))
        with instance("get_task_data") as knocked, Client(knocked.port, ASK_TINY, token=False) as refused:
            with suppress(Refused):
                refused.call()
            with Client(knocked.port, ASK_LARGE) as client:
                taken["after a refusal"].append(_seconds(client.call))
        for _ in range(3):
            taken["document"].append(_seconds(status.get))
            taken["download"].append(_seconds(lambda: download(session, url)))
        taken["first download"].append(_told_by("bench.first_download", url))
    medians = {name: statistics.median(each) * 1000 for name, each in taken.items()}
    for name, limit in (("after a read", 1.5), (NEXT, None), ("after a refusal", 1.5)):
        parts = {"read": medians[name]}
        parts |= {part: medians[part] for part in ("download", "first download", "document")}
        what = f"cold read of 10 MB from Storage, {name} : plain download"
        yield Measure(what, medians[name] / medians["download"], limit, parts)


def _url(path: str) -> str:
    """Return where the bytes of an object are."""
    bucket, origin = os.environ["NX_TASKS_BUCKET"], os.environ["STORAGE_EMULATOR_HOST"]
    return f"{origin}/download/storage/v1/b/{bucket}/o/{quote(path, safe='')}?alt=media"


def _told_by(module: str, *arguments: str) -> float:
    """Return the seconds that a program of the bench says something took in a process of its own."""
    command, environment = [sys.executable, "-m", module, *arguments], {**os.environ, **SERVED}
    told = subprocess.run(  # noqa: S603
        command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    return float(told.stdout)


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
    with instance("noop", REFERENCE) as noop:
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


def _start() -> Iterator[Measure]:
    """Start a process and have its first answer, beside the least that a callable of use does.

    The build of a function compiles its source. Whether what it compiled still counts in the
    image, whose files have other times, is not documented: shown without as well. What importing
    `main.py` takes of it, where hello-world's packages are loaded, is shown beside it.
    """
    ways = {"get_task_data": (PRODUCT, ASK_TINY), "hello": (REFERENCE, None)}
    for compiled in (True, False):
        taken: dict[str, list[float]] = {name: [] for name in (*ways, "importing")}
        for number in range(STARTS + 1):
            if not compiled:
                _forget_compiled()
            importing = _told_by("bench.importing")
            for name, (source, data) in ways.items():
                if not compiled:
                    _forget_compiled()
                seconds = _first_answer(name, source, data)
                if number:  # the first compiles
                    taken[name].append(seconds)
            if number:
                taken["importing"].append(importing)
        get, hello, own = (statistics.median(each) * 1000 for each in taken.values())
        what = "start of process to first answer" + ("" if compiled else ", source not compiled")
        parts = {"get_task_data": get, "hello-world": hello, "importing main.py": own}
        yield Measure(f"{what} : hello-world with Firestore", get / hello, 1.15 if compiled else None, parts)


def _forget_compiled() -> None:
    """Remove what was compiled of this project, and leave the packages'."""
    ours = COMPILED / ROOT.relative_to("/")
    for folder in ("bench", "functions", "shared"):
        shutil.rmtree(ours / folder, ignore_errors=True)
    for file in ours.glob("*.pyc"):
        file.unlink()


def _first_answer(target: str, source: Path, data: object) -> float:
    began = time.perf_counter()
    with instance(target, source) as started, Client(started.port, data) as client:
        client.call()
        return time.perf_counter() - began
