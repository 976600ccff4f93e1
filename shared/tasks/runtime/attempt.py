"""One attempt of a run, carried out: performs the run protocol's steps on the store.

All writes of an attempt go through here, one at a time, from whatever thread they come.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from shared import logger
from shared.tasks.protocol.effect_handler import EffectHandler
from shared.tasks.protocol.effects import Procedure, Value, run_procedure
from shared.tasks.protocol.run import RunProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from shared.tasks.backends.firestore import Store
    from shared.tasks.clock import Clock
    from shared.tasks.documents.models import ResultPointer, TaskDocument
    from shared.tasks.documents.run_writes import RunIdentity
    from shared.tasks.failure import Failure
    from shared.tasks.options import ExecuteTaskOptions
    from shared.tasks.protocol.decisions import Standing, StartDecision
    from shared.tasks.runtime.task_run import Progress


class Attempt:
    """Takes, holds and ends a task for one attempt of a run. `RunProtocol` tells how.

    Args:
        identity: who it is.
        options: lease, deadline, and how the status document is written at the start.
        store: where the documents are.
        clock: the time.
    """

    def __init__(
        self, identity: RunIdentity, options: ExecuteTaskOptions, store: Store, clock: Clock
    ) -> None:
        self._protocol = RunProtocol(identity, options, clock)
        self._answer = EffectHandler(identity.task, clock, store)
        # An extension and the end must not refuse each other, and no progress may follow the end.
        self._lock = threading.Lock()

    @property
    def identity(self) -> RunIdentity:
        """Who it is: `RunProtocol.identity`."""
        return self._protocol.identity

    @property
    def number(self) -> int:
        """The attempt's number, from 1."""
        return self._protocol.number

    @property
    def object_may_go(self) -> bool:
        """Whether a superseded attempt's own object is surely nobody's result."""
        return self._protocol.object_may_go

    @property
    def holds_result(self) -> bool:
        """Whether the status document has this attempt's result, and no later one, as far as is known."""
        return self._protocol.holds_result

    @property
    def cancel(self) -> Mapping[str, Any] | None:
        """Who wants the run to end, when and why, as far as it is known here: `RunProtocol.cancel`."""
        return self._protocol.cancel

    def start(self, remembered: TaskDocument | None, *, deadline: float) -> StartDecision:
        """Take the task, or find out why not: `RunProtocol.start`."""
        return self._perform(self._protocol.start(remembered, deadline=deadline))

    def refuse(self, reason: str) -> None:
        """Record that the delivery is refused: `RunProtocol.refuse`. A failure is logged, no more."""
        try:
            self._perform(self._protocol.refuse(reason))
        except Exception as error:  # noqa: BLE001  (the delivery is refused anyway)
            logger.warning("refused delivery not recorded", run_id=self.identity.run_id, error=error)

    def extend(self) -> None:
        """Extend the lease: `RunProtocol.extend`."""
        self._perform(self._protocol.extend())

    def record_progress(self, progress: Progress) -> None:
        """Write progress to the history, unless the attempt has ended. A failure is logged, no more."""
        try:
            self._perform(self._protocol.record_progress(progress.to_fields()))
        except Exception as error:  # noqa: BLE001  (a number or a text that no document holds, say)
            logger.warning("progress not recorded", run_id=self.identity.run_id, error=error)

    def complete(
        self,
        *,
        data: Any,
        result: Callable[[datetime], ResultPointer],
        summary: Any,
        duration: float,
        deadline: float,
        progress: Mapping[str, Any] | None,
    ) -> Standing:
        """Publish a result: `RunProtocol.complete`."""
        steps = self._protocol.complete(
            data=data,
            result=result,
            summary=summary,
            duration=duration,
            deadline=deadline,
            progress=progress,
        )
        return self._perform(steps)

    def fail(
        self,
        failure: Failure,
        *,
        duration: float,
        deadline: float,
        progress: Mapping[str, Any] | None,
    ) -> Standing:
        """Record a failure: `RunProtocol.fail`."""
        return self._perform(
            self._protocol.fail(failure, duration=duration, deadline=deadline, progress=progress)
        )

    def told(self, failure: Failure) -> Failure:
        """Return how a failure is told: `RunProtocol.told`."""
        return self._protocol.told(failure)

    def remembered(self) -> TaskDocument | None:
        """Return the status document as this attempt left it, or None where it can't be known."""
        return self._protocol.remembered()

    def _perform(self, steps: Procedure[Value]) -> Value:
        with self._lock:
            return run_procedure(steps, self._answer)
