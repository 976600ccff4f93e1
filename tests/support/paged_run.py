"""A long run that reads pages for an hour, to be shown between its legs.

Its clock is put forward by its work.
"""

import datetime as dt
from typing import Any

from shared.tasks import TaskEngine, TaskName, TaskOutcome, TaskRun
from shared.tasks.options import Continuation
from tests.support.long_runs import FixedJob, HeldQueue
from tests.web.past import PutBackClock

#: Pages of a run, and how long each takes. A leg has time for five of them.
PAGES = 12
PAGE = dt.timedelta(minutes=5)
DEADLINE = dt.timedelta(hours=6)
LEG_SECONDS = 1500.0


class PagedRun:
    """A run of one tick that needs three legs. A test delivers them.

    Args:
        task: The task.
        tick: When the run starts, UTC.
    """

    def __init__(self, task: TaskName, tick: dt.datetime) -> None:
        self.task, self.tick = task, tick
        self.clock, self.queue = PutBackClock(tick), HeldQueue()
        self.engine = TaskEngine(clock=self.clock, jobs=FixedJob(), queue=self.queue)
        self.run_id = ""
        #: The error that the next page raises.
        self.fails: Exception | None = None

    @classmethod
    def waiting(cls, task: TaskName, leg: int = 2) -> "PagedRun":
        """Return a run that has just begun to wait for a leg."""
        of_earlier_legs = PAGE * 5 * (leg - 1)
        run = cls(task, dt.datetime.now(dt.UTC) - of_earlier_legs)
        for number in range(1, leg):
            assert run.deliver(number).status == "waiting"
        return run

    def deliver(self, leg: int) -> TaskOutcome:
        """Carry out a leg."""
        options: dict[str, Any] = {"deadline_seconds": DEADLINE.total_seconds(), "leg_seconds": LEG_SECONDS}
        if leg == 1:
            options["scheduled_for"] = self.tick
        else:
            options["continuation"] = Continuation(self.run_id, leg)
        outcome = self.engine.execute_task(
            f"firebase-schedule-{self.task.value}-x", self.task, self._work, options
        )
        self.run_id = outcome.run_id
        return outcome

    def _work(self, run: TaskRun) -> list[int]:
        run.step("operators", lambda: ["north"])
        cursor = run.cursor("pages of north", start=0)
        while cursor.value < PAGES:
            if self.fails is not None:
                raise self.fails
            self.clock.advance(PAGE.total_seconds())
            run.progress(cursor.value + 1, PAGES, f"page {cursor.value + 1}")
            cursor.advance(cursor.value + 1)
        return [1]
