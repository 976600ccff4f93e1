"""A past for tasks: runs that the engine itself did, on a clock that is put back.

What the page shows of weeks is there in seconds, written by the product's own code.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from shared import firebase, settings
from shared.tasks import TaskEngine, TaskName
from shared.tasks.clock import Clock


class PutBackClock(Clock):
    """Stands at a time until it is moved."""

    def __init__(self, at: dt.datetime) -> None:
        self._began = at
        self.at = at

    def now(self) -> dt.datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - self._began).total_seconds()

    def pass_by(self, seconds: float) -> None:
        self.at += dt.timedelta(seconds=seconds)


class OperatorUnreachable(Exception):
    """Why runs of the past failed."""


class Past:
    """Has tasks run at times that have gone by.

    Args:
        now: when the past ends, UTC.
    """

    def __init__(self, now: dt.datetime) -> None:
        self._now = now

    def of(
        self,
        task: TaskName,
        *,
        every: dt.timedelta,
        result: Callable[[], Any],
        seconds: Callable[[int], float],
        fails: Callable[[int], bool] = lambda _number: False,
        count: int = 50,
        save_in: str = "db",
        summary: dict[str, Any] | None = None,
        last: dt.timedelta | None = None,
    ) -> None:
        """Have one task run so many times.

        Args:
            task: which.
            every: from one run to the next.
            result: makes what it returns.
            seconds: how long the run of a number takes, counted from the oldest, 0.
            fails: whether that run fails.
            count: how many runs.
            save_in: where results are kept.
            summary: what it says beside its result.
            last: how long ago the last run began; by default the time between two.
        """
        for number in range(count):
            tick = self._now - (every if last is None else last) - every * (count - 1 - number)
            clock = PutBackClock(tick)

            def work(run: Any, number: int = number, clock: PutBackClock = clock) -> Any:
                clock.pass_by(seconds(number))
                if fails(number):
                    return _ask_an_operator()
                if summary is not None:
                    run.summarise(summary)
                return result()

            outcome = TaskEngine(clock=clock).execute_task(
                f"firebase-schedule-{task.value}-{settings.region()}",
                task,
                work,
                {"scheduled_for": tick, "save_in": save_in},
            )
            assert outcome.status == ("failed" if fails(number) else "completed"), outcome


def _ask_an_operator() -> Any:
    raise OperatorUnreachable("north: GET https://ocpi.example.com/locations answered 503, three times")


def devices(count: int) -> Iterator[dict[str, Any]]:
    """Devices as their health is judged: as many records as a test wants."""
    kinds = ["good"] * 7 + ["degraded", "unhealthy", "offline"]
    for number in range(count):
        health = kinds[number * 37 % 10]
        yield {
            "id": f"tracker-{number:06}",
            "name": f"Tracker {number}",
            "health": health,
            "reasons": [] if health == "good" else ["no GPS fix", f"GSM signal weak ({number % 9})"],
            "battery_voltage": round(11.2 + number % 300 / 100, 2),
            "gsm_signal": number % 31,
            "firmware": f"4.{number % 3}.{number % 10}",
        }


def clear(task: TaskName) -> None:
    """Take a task's documents away."""
    database = firebase.firestore_client()
    document = database.document(f"nx-tasks/{task.value}")
    for run in document.collection("nx-runs").list_documents():
        run.delete()
    document.delete()
