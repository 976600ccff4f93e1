"""Readers of the soak: a process that reads continually, with new engines and with a warm one."""

import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from shared.tasks import TaskEngine, TaskName, TaskSpec, register
from tests.soak.instance import identity

#: Seconds for which the warm reader serves a result without a check.
MAX_AGE = 1.0
#: Reads reported together.
BATCH = 50
#: Seconds between two reads, because all processes may share two cores.
PACE = 0.02


@dataclass(frozen=True, slots=True)
class Read:
    """One read.

    Attributes:
        reader: "cold", "warm", or "unchecked" for a warm reader whose freshness check failed.
        task: The task.
        began, ended: Unix time, seconds.
        result: The `identity` of the result, or the error.
    """

    reader: str
    task: TaskName
    began: float
    ended: float
    result: Any


def serve(pipe: Connection) -> None:
    """Read until a message arrives, and report the reads."""
    for name in TaskName:
        register(TaskSpec(name, max_age_seconds=MAX_AGE))
    over, lock = threading.Event(), threading.Lock()
    readers = [threading.Thread(target=read, args=(warm, pipe, lock, over)) for warm in (TaskEngine(), None)]
    for reader in readers:
        reader.start()
    pipe.recv()
    over.set()
    for reader in readers:
        reader.join()


def read(warm: TaskEngine | None, pipe: Connection, lock: threading.Lock, over: threading.Event) -> None:
    reads: list[Read] = []
    while not over.wait(PACE):
        reads.extend(timed_read(warm, task) for task in TaskName)
        if len(reads) >= BATCH:
            with lock:
                pipe.send(reads)
            reads = []
    with lock:
        pipe.send(reads)


def timed_read(warm: TaskEngine | None, task: TaskName) -> Read:
    engine = warm or TaskEngine()
    began = time.time()
    try:
        result: Any = identity(engine.get_task_data(task))
    except Exception as error:  # noqa: BLE001  (any error is a finding)
        result = repr(error)
    ended = time.time()
    entry = engine.cache.result(task)
    unchecked = entry is not None and entry.failed_at is not None
    return Read("unchecked" if unchecked else "warm" if warm else "cold", task, began, ended, result)
