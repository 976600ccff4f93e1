"""The demo: has the local Cloud Scheduler run each task on the demo data, and reads the results.

`make demo` and `make run` run it on the stack, in a separate process.
"""

import datetime as dt
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.cloud import firestore

from emulators import demo_data, functions, page
from emulators.deliveries import FailedDeliveries
from emulators.environment import PROJECT, Addresses
from emulators.history import History, Run
from emulators.loopback import request
from emulators.reloads import Reloads
from emulators.stack import ROOT
from emulators.twilio.server import SHOWN_AT as TWILIO_MESSAGES

#: Longest wait for runs and for reading results, in seconds.
RUN_SECONDS = 120.0
#: Tasks that read other tasks' results; they start after the others have ended.
LAST = {"send_reset_sms"}
LOGS = ROOT / ".stack/logs"
_READER = Path(__file__).with_name("read_task.mjs")


class Demo:
    """Runs the tasks of a running stack and follows their runs."""

    def __init__(self, addresses: Addresses, tasks: list[str]) -> None:
        self._addresses = addresses
        self._reloads = Reloads(ROOT)
        #: Names of all tasks.
        self.tasks = tasks
        client = firestore.Client(project=PROJECT, database=addresses.database)
        self._history = History(client, tasks, since=dt.datetime.now(dt.UTC))
        #: Ended runs that have not been printed.
        self._unreported: list[Run] = []

    def run_all(self) -> dict[str, Run]:
        """Have Cloud Scheduler run each task now, those in LAST after the others, and wait for their runs.

        Returns:
            The runs that ended in time, by task.
        """
        first = [task for task in self.tasks if task not in LAST]
        return self._run(first) | self._run([task for task in self.tasks if task in LAST])

    def _run(self, tasks: list[str]) -> dict[str, Run]:
        for task in tasks:
            # firebase-tools names jobs after function and region.
            job = f"{self._addresses.jobs_url}/firebase-schedule-{task}-{self._addresses.region}"
            request(f"{job}:run", method="POST", body={}, timeout_seconds=30)
        deadline = time.monotonic() + RUN_SECONDS
        runs: dict[str, Run] = {}
        while len(runs) < len(tasks) and time.monotonic() < deadline:
            time.sleep(0.2)
            for run in self._history.ended():
                # After an overlap, the run that holds the task has yet to end. A failed run of another task
                # may be delivered again meanwhile.
                if run.task not in tasks or run.task in runs or run.reason == "overlap":
                    self._unreported.append(run)
                else:
                    runs[run.task] = run
        return runs

    def follow(self) -> Iterator[str]:
        """Yield a line for each run that ends after run_all, each failed delivery, and each failed reload."""
        with FailedDeliveries(LOGS) as failed:
            while True:
                yield from (run.line() for run in self._unreported)
                yield from failed.lines()
                yield from self._reloads.messages()
                time.sleep(1)
                self._unreported = self._history.ended()


def read_results(tasks: list[str]) -> dict[str, dict[str, Any]]:
    """Read results with the Firebase JavaScript SDK; return read_task.mjs's output by task."""
    reader = subprocess.run(["node", _READER, *tasks], capture_output=True, check=False, timeout=RUN_SECONDS)
    answers = [json.loads(line) for line in reader.stdout.decode().splitlines()]
    if reader.stderr:
        print(reader.stderr.decode(errors="replace").strip())
    return {answer["task"]: answer for answer in answers}


def show(tasks: list[str], runs: dict[str, Run], answers: dict[str, dict[str, Any]]) -> bool:
    """Print one line per task; return whether each task completed and its result was read."""
    rows = [["TASK", "STATUS", "DURATION", "SAVED IN", "SIZE", "FIRST RECORD, READ WITH THE JAVASCRIPT SDK"]]
    for task in tasks:
        run = runs.get(task)
        rows.append(
            [task, *(run.cells() if run else ["no run", "-", "-", "-"]), _first_record(answers.get(task))]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for *cells, last in rows:
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), last])
        print(_shortened(line))
    for run in runs.values():
        if run.remark:
            print(f"{run.task}: {run.remark}")
    for task in set(tasks) - runs.keys():
        print(f"{task}: no run ended within {RUN_SECONDS:.0f} s; see the logs in {LOGS}")
    return all(
        task in runs and runs[task].state == "completed" and answers.get(task, {}).get("ok") for task in tasks
    )


def show_messages(twilio: str) -> None:
    """Print the number of messages at the local Twilio and the first one, if there are any."""
    _, answer = request(f"http://{twilio}{TWILIO_MESSAGES}")
    messages = answer["messages"] if isinstance(answer, dict) else []
    if messages:
        print(f"\n{len(messages)} messages at the local Twilio, which delivers none. The first:")
        print(f"  to {messages[0]['to']}: {messages[0]['body']}")


def _first_record(answer: dict[str, Any] | None) -> str:
    if answer is None:
        return "not read"
    if not answer["ok"]:
        return f"not read: {answer['code']}: {answer['message']}"
    if answer["first"] is None:
        return "-"
    return json.dumps(answer["first"], ensure_ascii=False)


def _shortened(line: str) -> str:
    width = shutil.get_terminal_size((120, 24)).columns
    return line if len(line) <= width else f"{line[: width - 1]}…"


def main(arguments: list[str]) -> int:
    """Run the demo; with `--stay`, then print a line per run until interrupted."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # the terminal's encoding may lack characters
    addresses = Addresses.from_environment()
    demo = Demo(addresses, functions.tasks_in(ROOT / functions.MANIFEST))
    print(f"\nDemo data is written. Running each task once: {', '.join(demo.tasks)} …\n", flush=True)
    runs = demo.run_all()
    succeeded = show(demo.tasks, runs, read_results(demo.tasks))
    for omission in functions.omissions_in(ROOT / functions.MANIFEST):
        print(f"Warning: {omission}")
    show_messages(addresses.twilio)
    if "--stay" not in arguments:
        return 0 if succeeded else 1
    page_line = f"Page:           http://{addresses.hosting}\n" if page.is_built(ROOT) else ""
    print(
        f"\n{page_line}Users:          {' and '.join(demo_data.USERS)}; password {demo_data.PASSWORD}\n"
        f"Read a result:  node emulators/read_task.mjs {demo.tasks[0]}\n"
        "Tasks now run on schedule; each run prints a line. Ctrl-C stops the stack and discards its data.\n",
        flush=True,
    )
    for line in demo.follow():
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
