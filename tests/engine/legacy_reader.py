"""An instance of the callable that reads the results of all tasks at once.

`python -m tests.engine.legacy_reader LIMIT`: the file LIMIT contains the instance's memory, like its
control group. Prints the path of each object that is too large, and the peak of resident bytes.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import main as deployed  # what an instance loads
from functions.responses import MAX_ANSWER_BYTES
from shared.settings import platform
from shared.tasks import ResultTooLarge, TaskName, get_task_result
from shared.tasks.results import legacy_json
from tests.memory import peak_bytes

#: Seconds after which the readers stop waiting for each other.
PATIENCE = 60.0


def meet() -> None:
    """Download all objects before the first is parsed, the order with the highest memory."""
    unpack, all_there = legacy_json.json_of, threading.Barrier(len(TaskName), timeout=PATIENCE)

    def json_of(stored: bytes, most: int) -> bytes:
        all_there.wait()
        return unpack(stored, most)

    legacy_json.json_of = json_of


def read(task: TaskName) -> str | None:
    """Read a result and make the response for a client with gzip; return the path if it is too large."""
    try:
        payload = get_task_result(task, max_bytes=MAX_ANSWER_BYTES).payload
    except ResultTooLarge as error:
        return error.path
    assert payload is not None
    assert payload.gzip_around(b"{", b"}") is not None
    return None


def main(limit: str) -> None:
    """Read all results and print the report."""
    assert deployed.get_task_data
    platform._MEMORY_LIMITS = (limit,)
    meet()
    with ThreadPoolExecutor(len(TaskName)) as readers:
        paths = list(readers.map(read, TaskName))
    print(json.dumps([paths, peak_bytes()]))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
