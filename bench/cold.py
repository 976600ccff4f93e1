"""Cost of a new instance to its first callers."""

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


def measures() -> Iterator[Measure]:
    """Measure the first read, the first crowd, and the start of a process."""
    publish_tiny()
    published = publish_large(SIZE)
    publish_large(SIZE, OTHER)
    yield from _first_read(published.path)
    yield from _first_crowd()
    yield from _start()


def _first_read(path: str) -> Iterator[Measure]:
    """Read a large result on an instance that has not read it.

    "After a small read" means that the token check and the Firestore client are already in use, but
    nothing of Storage. At the "first authenticated call", the instance has only refused a call without
    a token. "Next, another result" follows the first read: its code has already run.
    """
    url, session = _url(path), requests.Session()
    _download(session, url)  # opens the connection
    status = firebase.firestore_client().document(f"nx-tasks/{LARGE.value}")
    reads: dict[str, list[float]] = {
        "after a small read": [],
        "next, another result": [],
        "first authenticated call": [],
    }
    taken: dict[str, list[float]] = {"document read": [], "download": [], "no-op": []}
    with instance("noop", REFERENCE) as noop, Client(noop.port) as noop_client:
        noop_client.call()
        for _ in range(ROUNDS):
            with instance("get_task_data") as warm, Client(warm.port, ASK_TINY) as client:
                client.call()
                client.set_data(ASK_LARGE)
                reads["after a small read"].append(_seconds(client.call))
                client.set_data(ASK_OTHER)
                reads["next, another result"].append(_seconds(client.call))
            with instance("get_task_data") as cold, Client(cold.port, ASK_TINY, token=False) as refused:
                with suppress(Refused):
                    refused.call()
                with Client(cold.port, ASK_LARGE) as client:
                    reads["first authenticated call"].append(_seconds(client.call))
            for _ in range(3):
                taken["document read"].append(_seconds(status.get))
                taken["download"].append(_seconds(lambda: _download(session, url)))
                noop_client.connect()
                taken["no-op"].append(_seconds(noop_client.call))
    parts = {name: statistics.median(each) * 1000 for name, each in taken.items()}
    least = parts["document read"] + parts["download"]
    for name, seconds in reads.items():
        read = statistics.median(seconds) * 1000
        what = f"cold read of 10 MB from Storage, {name}, less no-op : document read + download"
        yield Measure(what, (read - parts["no-op"]) / least, {"read": read, **parts})


def _download(session: requests.Session, url: str) -> bytes:
    """Return an object as it is stored."""
    with session.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        return bytes(answer.raw.read(decode_content=False))


def _url(path: str) -> str:
    """Return the download URL of an object."""
    bucket, origin = os.environ["NX_TASKS_BUCKET"], os.environ["STORAGE_EMULATOR_HOST"]
    return f"{origin}/download/storage/v1/b/{bucket}/o/{quote(path, safe='')}?alt=media"


def _import_seconds() -> float:
    """Return the seconds that `bench.importing` measures in a new process."""
    command, environment = [sys.executable, "-m", "bench.importing"], {**os.environ, **SERVED}
    run = subprocess.run(  # noqa: S603  (a program of this project)
        command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    return float(run.stdout)


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _first_crowd() -> Iterator[Measure]:
    """Let 80 callers call a new instance at once, and one caller another one.

    On Cloud Run, a cold caller also waits for the start of the instance: both values are shown, with
    the start and without it. 80 concurrent no-ops show the lower bound.
    """
    publish_large(CROWD_SIZE)
    taken: dict[int, list[tuple[float, float]]] = {1: [], CALLERS: []}
    asked: dict[str, list[int]] = {"document reads": [], "downloads": []}
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
    for number, since in enumerate(("from process start", "once it listens")):
        one, many = (statistics.median(each[number] for each in times) * 1000 for times in taken.values())
        parts = {f"{CALLERS} callers": many, "one": one}
        if number:
            parts[f"{CALLERS} no-ops at once"] = statistics.median(noops) * 1000
        yield Measure(f"{what}, {since} : one cold caller", many / one, parts)
    for name, counts in asked.items():
        yield Measure(f"{what}: {name}", max(counts), {})


def _counts(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=60) as response:
        counts: dict[str, int] = json.load(response)
        return counts


def _start() -> Iterator[Measure]:
    """Time from the start of a process to its first answer, for the product and for hello-world.

    The build of a function compiles its source. It is not documented whether Python still uses the
    compiled files in the image, where modification times differ. Both cases are shown.
    """
    ways = {"get_task_data": (PRODUCT, ASK_TINY), "hello": (REFERENCE, None)}
    for compiled in (True, False):
        taken: dict[str, list[float]] = {name: [] for name in (*ways, "importing")}
        for number in range(STARTS + 1):
            if not compiled:
                _remove_compiled()
            importing = _import_seconds()
            for name, (source, data) in ways.items():
                if not compiled:
                    _remove_compiled()
                seconds = _first_answer(name, source, data)
                if number:  # the first compiles
                    taken[name].append(seconds)
            if number:
                taken["importing"].append(importing)
        get, hello, own = (statistics.median(each) * 1000 for each in taken.values())
        what = "process start to first answer" + ("" if compiled else ", source not compiled")
        parts = {"get_task_data": get, "hello-world": hello, "importing main.py": own}
        yield Measure(f"{what} : hello-world with Firestore", get / hello, parts)


def _remove_compiled() -> None:
    """Remove the compiled code of this project, but not of its packages."""
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
