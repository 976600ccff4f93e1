"""What the runs of an instance share: its connections, its cache and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from shared.tasks.protocol.effect_handler import EffectHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.leg_queue import LegQueue
    from shared.tasks.backends.scheduler import Jobs
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.contract import TaskName
    from shared.tasks.serving.cache import CacheManager


class Services(Struct, frozen=True):
    """What the runs of an instance share. Safe to share between threads.

    Attributes:
        store: Status documents and run history.
        objects: Result objects.
        jobs: Scheduler jobs.
        queue: Delivers the legs of long runs.
        cache: The results that the instance holds.
        clock: The time.
        new_token: Makes the fencing token of an attempt.
    """

    store: Store
    objects: Objects
    jobs: Jobs
    queue: LegQueue
    cache: CacheManager
    clock: Clock
    new_token: Callable[[], str]

    def handler(self, task: TaskName, *, deadline: float = float("inf")) -> EffectHandler:
        """Return what carries out the effects of a task's procedures, until `deadline`."""
        return EffectHandler(
            task, self.clock, self.store, self.objects, self.jobs, self.queue, deadline=deadline
        )
