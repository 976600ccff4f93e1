"""A history of runs that the engine carries out on a clock in the past.

The product's own code writes weeks of history within seconds.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from shared import firebase, settings
from shared.tasks import TaskEngine, TaskName
from shared.tasks.clock import Clock


class PutBackClock(Clock):
    """A clock that stands still until it is advanced."""

    def __init__(self, at: dt.datetime) -> None:
        self._began = at
        self.at = at

    def now(self) -> dt.datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - self._began).total_seconds()

    def advance(self, seconds: float) -> None:
        self.at += dt.timedelta(seconds=seconds)


class OperatorUnreachable(Exception):
    """The error of failed runs in the history."""


class Past:
    """Runs tasks at past times.

    Args:
        now: The end of the history, UTC.
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
        """Run a task several times.

        Args:
            task: The task.
            every: Interval between two runs.
            result: Returns the result of each run.
            seconds: Returns the duration of a run by its number, from 0 for the oldest, in seconds.
            fails: Returns whether the run with a number fails.
            count: Number of runs.
            save_in: Where results are stored.
            summary: The summary of each run.
            last: Time since the start of the last run; `every` by default.
        """
        for number in range(count):
            tick = self._now - (every if last is None else last) - every * (count - 1 - number)
            clock = PutBackClock(tick)

            def work(run: Any, number: int = number, clock: PutBackClock = clock) -> Any:
                clock.advance(seconds(number))
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
    """Return records of devices with their health, in the given number."""
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
    """Delete a task's documents."""
    database = firebase.firestore_client()
    document = database.document(f"nx-tasks/{task.value}")
    for run in document.collection("nx-runs").list_documents():
        run.delete()
    document.delete()
