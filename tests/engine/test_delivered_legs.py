"""Long runs whose legs the Cloud Tasks emulator delivers to the task's function."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

from functions import scheduled_endpoint
from shared.tasks import TaskEngine, TaskOutcome, TaskRun, TaskSpec, specs
from tests.engine.paging import PAGES, RECORDS, function
from tests.engine.test_long_runs import let_lease_expire
from tests.functions.front import front
from tests.serving import served
from tests.support.long_runs import FixedJob, PassingClock
from tests.support.world import TASK, World, in_thread
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


class Function:
    """The served function of the task; each delivery gets an engine of its own.

    Attributes:
        url: Its URL.
        outcomes: The outcomes of its deliveries.
        unit_seconds: Seconds of its clock that a page takes.
        failing: Pages that fail once.
    """

    def __init__(self) -> None:
        self.url = ""
        self.outcomes: list[TaskOutcome] = []
        self.unit_seconds = 0.0
        self.failing: list[int] = []
        self.clock = PassingClock()

    def engine(self) -> TaskEngine:
        return TaskEngine(clock=self.clock, jobs=FixedJob(self.url))

    def execute(self, *delivery: Any) -> TaskOutcome:
        outcome = self.engine().execute_task(*delivery)
        self.outcomes.append(outcome)
        return outcome

    def read(self, _: TaskRun, page: int) -> None:
        self.clock.ahead += self.unit_seconds
        if page in self.failing:
            self.failing.remove(page)
            raise ConnectionError("no page")


@pytest.fixture
def served_function(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    monkeypatch.setattr(specs, "REGISTERED", {})
    here = Function()
    monkeypatch.setattr(scheduled_endpoint, "execute_task", here.execute)
    server = make_server("127.0.0.1", 0, front(function(here.read)).application, threaded=True)
    here.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield here
    server.shutdown()


def start(url: str) -> int | None:
    """Start a run; return the response's status. Its id is random: the emulator remembers Cloud Tasks."""
    try:
        return requests.post(url, timeout=120).status_code
    except requests.ConnectionError:  # the process was killed
        return None


def completed(world: World) -> dict[str, Any]:
    """Wait for the end of the run; return its record."""
    run_id, record = wait_for(
        "the run to complete",
        lambda: next(((i, r) for i, r in world.history().items() if r["state"] == "completed"), None),
        seconds=60,
    )
    assert world.status()["run"]["id"] == run_id
    assert TaskEngine().get_task_data(TASK) == RECORDS
    return record


def test_cloud_tasks_delivers_all_legs(
    served_function: Function, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each leg is one delivery, and each record is in the result once."""
    monkeypatch.setenv("NX_LEG_SECONDS", "300")
    served_function.unit_seconds = 55.0
    assert start(served_function.url) == 200
    record = completed(world)
    wait_for("the last answer", lambda: len(served_function.outcomes) == 13)  # it follows the commit
    assert [outcome.status for outcome in served_function.outcomes] == ["waiting"] * 12 + ["completed"]
    assert (record["legs"]["number"], record["legs"]["creation"], record["attempt"]) == (13, 12, 1)


def test_a_failed_leg_is_delivered_again(
    served_function: Function, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Tasks repeats the delivery after a 5xx."""
    monkeypatch.setenv("NX_LEG_SECONDS", "300")
    served_function.unit_seconds = 55.0
    served_function.failing = [7, 30, 31]
    assert start(served_function.url) == 200
    record = completed(world)
    wait_for("the last answer", lambda: served_function.outcomes[-1].status == "completed")
    statuses = [outcome.status for outcome in served_function.outcomes]
    assert statuses.count("failed") == 3
    assert record["legs"]["number"] == statuses.count("waiting") + 1


class Elsewhere:
    """The function in a process of its own, whose further legs go to `served_function`."""

    def __init__(self, folder: Path, legs_to: str) -> None:
        self.pages = folder / "pages"
        self.pages.touch()
        self._settings = {"PAGES_LOG": str(self.pages), "LEGS_TO": legs_to}
        self._log = folder / "log"

    def serving(self) -> Any:
        arguments = ["--source", "tests/engine/paging.py", "--target", TASK.value, "--host", "127.0.0.1"]
        return served(
            TASK.value,
            lambda port: [sys.executable, "-m", "functions_framework", *arguments, "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **self._settings},
            log=self._log,
        )

    def worker(self, *, pages: int) -> int:
        """Wait until the task has read these pages; return its process id."""
        lines = wait_for(
            "the pages",
            lambda: (read := self.pages.read_text("utf-8").splitlines()) and len(read) > pages and read,
        )
        return int(lines[0].split()[0])


def test_a_leg_hands_over_at_sigterm(served_function: Function, world: World, tmp_path: Path) -> None:
    """Within the eight seconds that the instance has, at the next page; no work is repeated."""
    elsewhere = Elsewhere(tmp_path, served_function.url)
    with elsewhere.serving() as address:
        delivery, answers = in_thread(lambda: start(f"http://{address}"))
        os.kill(elsewhere.worker(pages=3), signal.SIGTERM)
        delivery.join(8)
        assert answers == [200]
    record = completed(world)
    assert (record["legs"]["number"], record["legs"]["creation"], record["attempt"]) == (2, 1, 1)
    read = [int(line.split()[2]) for line in elsewhere.pages.read_text("utf-8").splitlines()]
    assert read == list(range(len(read)))
    assert 4 <= len(read) < PAGES


def test_the_watchdog_revives_a_killed_leg(
    served_function: Function, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process is killed in the middle of a leg; the next one continues from the last checkpoint."""
    elsewhere = Elsewhere(tmp_path, served_function.url)
    with elsewhere.serving() as address:
        delivery, answers = in_thread(lambda: start(f"http://{address}"))
        process = elsewhere.worker(pages=3)
        wait_for("a checkpoint", lambda: "checkpoint" in next(iter(world.history().values()), {}))
        os.kill(process, signal.SIGKILL)
        delivery.join(30)
        assert answers == [None]
    (before,) = world.history().values()
    assert (before["state"], before["legs"]["number"]) == ("running", 1)
    served_function.engine().watch_task(TaskSpec(TASK))
    assert "incident" not in capsys.readouterr().out  # its lease has not ended
    let_lease_expire(world)
    served_function.engine().watch_task(TaskSpec(TASK))
    assert "incident=lost_leg" in capsys.readouterr().out
    record = completed(world)
    assert record["legs"]["number"] == 1
    wait_for("the answer", lambda: served_function.outcomes)  # it follows the commit
    assert [outcome.status for outcome in served_function.outcomes] == ["completed"]
