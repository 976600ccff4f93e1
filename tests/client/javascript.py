"""A process of Node.js with the Firebase JavaScript SDK in it, and what it answers."""

import json
import selectors
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("client.mjs")
#: Seconds that an answer may take.
ANSWER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Refused:
    """An error of the SDK's: its code and its text."""

    code: str
    message: str


class JavaScript:
    """The SDK; each call is one of the operations that client.mjs has.

    Args:
        process: runs client.mjs.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, op: str, **options: object) -> Any:
        """Have an operation done; return its value, or `Refused`."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        requests.write(json.dumps({"op": op, **options}) + "\n")
        requests.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            assert selector.select(ANSWER_SECONDS), f"the SDK has not done {op} in {ANSWER_SECONDS} s"
        line = answers.readline()
        assert line, f"the SDK's process ended while it did {op}"
        answer = json.loads(line)
        return answer["value"] if answer["ok"] else Refused(answer["code"], answer["message"])


@contextmanager
def javascript() -> Iterator[JavaScript]:
    """Have the SDK for the time of a with block, led to the stack by the environment."""
    process = subprocess.Popen(
        ["node", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    with process:  # its end closes the pipes, which ends the script
        try:
            yield JavaScript(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
