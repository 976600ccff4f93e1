"""Shows the whole way on a running stack: demo data in, every task run by Cloud Scheduler, its result read.

`make demo` and `make run` run this inside the stack, as a process of its own.
"""

import datetime as dt
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.cloud import firestore

from emulators import demo_data
from emulators.environment import LOCATION, PROJECT, Addresses
from emulators.loopback import request

RUN_SECONDS = 120.0
_READER = Path(__file__).with_name("read_task.mjs")
_FINAL = {"completed", "failed"}


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, as the task's status document tells it."""

    task: str
    status: str
    started: dt.datetime
    completed: dt.datetime
    saved_in: str
    size_bytes: int | None
    error: str

    @classmethod
    def from_document(cls, task: str, document: dict[str, Any]) -> "Run | None":
        """The run that a status document describes; None while there is none that has finished."""
        run = document.get("run") or {}
        status = run.get("state") or document.get("status")
        if status not in _FINAL or not isinstance(document.get("completed"), dt.datetime):
            return None
        result = run.get("result") or {} if status == "completed" else {}
        saved_in, size, error = (
            result.get("saved_in", ""),
            result.get("size_bytes"),
            document.get("error") or "",
        )
        return cls(task, status, document["started"], document["completed"], saved_in, size, str(error))

    def cells(self) -> list[str]:
        """Status, duration, where the result was saved and its size, for a person."""
        where = {"db": "database", "storage": "storage", "none": "nowhere"}.get(self.saved_in, "-")
        seconds = (self.completed - self.started).total_seconds()
        return [self.status, f"{seconds:.2f} s", where, _size(self.size_bytes)]


class Demo:
    """The tasks of a running stack, and their runs."""

    def __init__(self, addresses: Addresses) -> None:
        self._jobs_url = f"http://{addresses.scheduler}/v1/projects/{PROJECT}/locations/{LOCATION}/jobs"
        self._client = firestore.Client(project=PROJECT)
        _, listed = request(self._jobs_url)
        #: Job's id in Cloud Scheduler by task; firebase-tools names jobs after function and region.
        self._jobs: dict[str, str] = {}
        for job in listed["jobs"]:
            job_id = job["name"].rpartition("/")[2]
            self._jobs[job_id.removeprefix("firebase-schedule-").removesuffix(f"-{LOCATION}")] = job_id

    @property
    def tasks(self) -> list[str]:
        """Names of all tasks."""
        return sorted(self._jobs)

    def run_all(self) -> dict[str, Run]:
        """Let Cloud Scheduler run every task now, and wait for them.

        Returns:
            The runs that finished in time, by task.
        """
        before = self.finished()
        for job_id in self._jobs.values():
            request(f"{self._jobs_url}/{job_id}:run", method="POST", body={}, timeout_seconds=30)
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            runs = {task: run for task, run in self.finished().items() if run != before.get(task)}
            if len(runs) == len(self._jobs) or time.monotonic() > deadline:
                return runs
            time.sleep(0.2)

    def finished(self) -> dict[str, Run]:
        """The last finished run of each task that has one."""
        references = [self._client.document("nx-tasks", task) for task in self._jobs]
        fields = ["status", "started", "completed", "error", "run"]
        runs = (
            Run.from_document(snapshot.id, snapshot.to_dict() or {})
            for snapshot in self._client.get_all(references, field_paths=fields)
            if snapshot.exists
        )
        return {run.task: run for run in runs if run}

    def follow(self, seen: dict[str, Run]) -> Iterator[Run]:
        """Runs as they finish, for ever.

        Args:
            seen: Runs that are known already, by task.
        """
        while True:
            for task, run in self.finished().items():
                if run != seen.get(task):
                    yield run
                    seen = seen | {task: run}
            time.sleep(1)


def read_results(tasks: list[str]) -> dict[str, dict[str, Any]]:
    """What the Firebase JavaScript SDK reads through the callable: read_task.mjs's answer by task."""
    reader = subprocess.run(["node", _READER, *tasks], capture_output=True, check=False, timeout=RUN_SECONDS)
    answers = [json.loads(line) for line in reader.stdout.decode().splitlines()]
    if reader.returncode:
        print(reader.stderr.decode(errors="replace").strip())
    return {answer["task"]: answer for answer in answers}


def show(tasks: list[str], runs: dict[str, Run], answers: dict[str, dict[str, Any]]) -> bool:
    """Print a line a task, and say whether every task was completed and read."""
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
        if run.error:
            print(f"{run.task}: {run.error}")
    return all(
        task in runs and runs[task].status == "completed" and answers.get(task, {}).get("ok")
        for task in tasks
    )


def _first_record(answer: dict[str, Any] | None) -> str:
    if answer is None:
        return "not read"
    if not answer["ok"]:
        return f"not read: {answer['code']}: {answer['message']}"
    return json.dumps(answer["first"], ensure_ascii=False)


def _shortened(line: str) -> str:
    width = shutil.get_terminal_size((120, 24)).columns
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "-"
    return f"{size_bytes} B" if size_bytes < 1000 else f"{size_bytes / 1000:.1f} kB"


def main(arguments: list[str]) -> int:
    """Run the demo; with `--stay`, go on with a line per run until somebody ends it."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may not know a letter
    demo_data.seed(dt.datetime.now(dt.UTC))
    demo = Demo(Addresses.from_environment())
    print(f"\nDemo data is in. Cloud Scheduler runs each task once: {', '.join(demo.tasks)} …\n", flush=True)
    runs = demo.run_all()
    succeeded = show(demo.tasks, runs, read_results(demo.tasks))
    if "--stay" not in arguments:
        return 0 if succeeded else 1
    print(
        f"\nRead a result yourself:  node emulators/read_task.mjs {demo.tasks[0]}\n"
        f"(as {', '.join(demo_data.USERS)}; password {demo_data.PASSWORD})\n"
        "Tasks run on schedule from here on, a line per run. Ctrl-C ends everything.\n",
        flush=True,
    )
    for run in demo.follow(runs):
        print(
            f"{run.completed.astimezone():%H:%M:%S}  {run.task}  {'  '.join(run.cells())}  {run.error}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
