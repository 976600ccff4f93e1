"""A task that reads pages, and its function, which `functions-framework` serves for tests."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flask import Request, Response

from functions import instance, scheduled_endpoint
from functions.scheduled_endpoint import scheduled_task
from shared.tasks import TaskEngine, TaskRun, TaskSpec
from tests.support.long_runs import FixedJob
from tests.support.world import TASK

PAGES, PAGE = 60, 5
RECORDS = list(range(PAGES * PAGE))
SPEC = TaskSpec(TASK, schedule="0 0 1 1 *", deadline_seconds=3_600, save_in="storage")


def function(read: Callable[[TaskRun, int], None]) -> Callable[[Request], Response]:
    """Return the task's function; `read` is called for each page."""

    @scheduled_task(SPEC)
    def collect_charge_cdrs(run: TaskRun) -> Iterator[Any]:
        cursor = run.cursor("pages", 0)
        while cursor.value < PAGES:
            yield from RECORDS[PAGE * cursor.value : PAGE * cursor.value + PAGE]
            read(run, cursor.value)
            cursor.advance(cursor.value + 1)

    return collect_charge_cdrs


def serve(log: Path, legs_to: str) -> Callable[[Request], Response]:
    """Return the function of a process whose legs go elsewhere.

    Args:
        log: Gets a line with process id, leg and number for each page.
        legs_to: URL of the function that carries out further legs.
    """
    engine = TaskEngine(jobs=FixedJob(legs_to))
    scheduled_endpoint.execute_task = engine.execute_task
    instance.shut_down, instance.report_hung_tasks = engine.shut_down, engine.report_hung_tasks

    def read(run: TaskRun, page: int) -> None:
        with log.open("a", encoding="utf-8") as lines:
            lines.write(f"{os.getpid()} {run.leg} {page}\n")
        time.sleep(0.3)  # stands for work, which must not end before the signal

    return function(read)


if "PAGES_LOG" in os.environ:
    collect_charge_cdrs = serve(Path(os.environ["PAGES_LOG"]), os.environ["LEGS_TO"])
