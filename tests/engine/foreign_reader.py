"""An instance of the callable that reads all tasks' results at once.

`python -m tests.engine.foreign_reader LIMIT`: LIMIT is a file that tells an instance's memory, as
its control group does. Prints what became of each, and the most bytes that were ever resident.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import main as deployed  # what an instance loads
from functions.responses import MAX_ANSWER_BYTES
from shared.settings import platform
from shared.tasks import ResultTooLarge, TaskName, get_task_result
from shared.tasks.results import legacy_json as foreign
from tests.memory import peak_bytes

#: Seconds after which the readers no longer wait for one another.
PATIENCE = 60.0


def meet() -> None:
    """Have all objects be there before the first is looked at: no order takes more memory."""
    unpack, all_there = foreign.json_of, threading.Barrier(len(TaskName), timeout=PATIENCE)

    def json_of(stored: bytes, most: int) -> bytes:
        all_there.wait()
        return unpack(stored, most)

    foreign.json_of = json_of


def read(task: TaskName) -> str | None:
    """Read a result and make the answer of a client that takes gzip."""
    try:
        payload = get_task_result(task, max_bytes=MAX_ANSWER_BYTES).payload
    except ResultTooLarge as error:
        return error.path
    assert payload is not None
    assert payload.gzip_around(b"{", b"}") is not None
    return None


def main(limit: str) -> None:
    """Read, and tell."""
    assert deployed.get_task_data
    platform._MEMORY_LIMITS = (limit,)
    meet()
    with ThreadPoolExecutor(len(TaskName)) as readers:
        told = list(readers.map(read, TaskName))
    print(json.dumps([told, peak_bytes()]))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
