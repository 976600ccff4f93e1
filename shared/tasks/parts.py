"""What runs and readers need of the world, made once for an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from shared.tasks.cache import CacheManager
    from shared.tasks.clock import Clock
    from shared.tasks.objects import Objects
    from shared.tasks.store import Store
    from shared.tasks.workers import Workers


class Parts(Struct, frozen=True):
    """Documents, objects, this instance's cache and threads, and time."""

    store: Store
    objects: Objects
    cache: CacheManager
    clock: Clock
    workers: Workers
