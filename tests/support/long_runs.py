"""Long runs whose legs a test delivers itself, each to an instance of its own."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from shared import firebase
from shared.tasks import TaskEngine, TaskOutcome, TaskSpec
from shared.tasks.backends.leg_queue import LegQueue
from shared.tasks.backends.scheduler import Jobs, JobTarget
from shared.tasks.errors import LegQueueUnavailable
from shared.tasks.options import Continuation
from tests.support.world import TASK, HandClock

TICK = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: Seconds of hand clock that one unit of work takes.
UNIT_SECONDS = 10.0
#: Lengths of a leg in which one unit fits, and two.
ONE_UNIT, TWO_UNITS = 15.0, 25.0
DEADLINE_SECONDS = 3_600.0


class HeldQueue(LegQueue):
    """Cloud Tasks that accepts each name once and delivers nothing by itself.

    Attributes:
        created: The accepted deliveries: run, leg and creation.
        repeated: Those that it had accepted before.
        is_down: Whether it refuses all.
    """

    def __init__(self) -> None:
        super().__init__(firebase.tasks_wire)
        self.created: list[tuple[str, int, int]] = []
        self.repeated: list[tuple[str, int, int]] = []
        self.is_down = False

    def deliver(self, task: Any, run_id: str, leg: int, creation: int, target: Any, **_: Any) -> None:  # noqa: ARG002
        if self.is_down:
            raise LegQueueUnavailable("injected")
        name = (run_id, leg, creation)
        (self.repeated if name in self.created else self.created).append(name)

    @property
    def legs(self) -> list[int]:
        """The legs of the accepted deliveries."""
        return [leg for _, leg, _ in self.created]


class FixedJob(Jobs):
    """The job of a task, whose requests go to a URL; it can be run, which delivers nothing."""

    def __init__(self, url: str = "http://127.0.0.1:1/") -> None:
        super().__init__(firebase.scheduler_wire)
        self._url = url

    def read_target(self, *_: Any, **__: Any) -> JobTarget:
        return JobTarget(self._url)

    def run(self, *_: Any, **__: Any) -> None:
        pass


class PassingClock(HandClock):
    """Pauses take no time, and yet pass."""

    def sleep(self, seconds: float) -> None:
        self.ahead += 20 * seconds


class LongRun:
    """A long run. Each delivery gets an engine of its own.

    Args:
        task: The task.
        clock: The clock of all engines, which tasks put forward.
        **options: Options of `execute_task`.
    """

    def __init__(self, task: Callable[..., Any], clock: HandClock, **options: Any) -> None:
        self.task = task
        self.queue = HeldQueue()
        self.options: dict[str, Any] = {
            "leg_seconds": ONE_UNIT,
            "deadline_seconds": DEADLINE_SECONDS,
            "debug_logs": False,
            **options,
        }
        self._clock = clock

    def engine(self) -> TaskEngine:
        """Return a new instance's engine."""
        return TaskEngine(clock=self._clock, jobs=FixedJob(), queue=self.queue)

    def deliver_tick(self, tick: datetime = TICK, **options: Any) -> TaskOutcome:
        """Deliver a tick, which is the first leg."""
        return self._execute({"scheduled_for": tick, **options})

    def deliver(self, leg: int | None = None, run_id: str | None = None) -> TaskOutcome:
        """Deliver a leg, the last created one by default."""
        last_run, last_leg, _ = self.queue.created[-1]
        return self._execute({"continuation": Continuation(run_id or last_run, leg or last_leg)})

    def deliver_all(self) -> list[str]:
        """Deliver legs until none is created; return the outcomes."""
        outcomes = ["waiting"]
        while outcomes[-1] == "waiting":
            outcomes.append(self.deliver().status)
        return outcomes[1:]

    def watch(self) -> None:
        """Let the watchdog pass."""
        self.engine().watch_task(TaskSpec(TASK))

    def _execute(self, options: dict[str, Any]) -> TaskOutcome:
        return self.engine().execute_task("s", TASK, self.task, {**self.options, **options})
