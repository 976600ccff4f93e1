"""A Node.js process that calls the Firebase JavaScript SDK."""

import json
import selectors
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("client.mjs")
#: Timeout of one operation, seconds.
ANSWER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Refused:
    """An error of the SDK: its code and its message."""

    code: str
    message: str


class JavaScript:
    """The SDK; each call runs an operation of client.mjs.

    Args:
        process: The process that runs client.mjs.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, op: str, **options: object) -> Any:
        """Run an operation; return its value, or `Refused`."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        requests.write(json.dumps({"op": op, **options}) + "\n")
        requests.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            assert selector.select(ANSWER_SECONDS), f"the SDK did not finish {op} within {ANSWER_SECONDS} s"
        line = answers.readline()
        assert line, f"the SDK's process ended during {op}"
        answer = json.loads(line)
        return answer["value"] if answer["ok"] else Refused(answer["code"], answer["message"])


@contextmanager
def javascript() -> Iterator[JavaScript]:
    """Start the SDK for the duration of a with block; the environment points it to the stack."""
    process = subprocess.Popen(
        ["node", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    with process:  # Closing the pipes ends the script.
        try:
            yield JavaScript(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
