"""What runs and readers need of the world, made once for an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from shared.tasks.backends.firestore import Store
    from shared.tasks.backends.storage import Objects
    from shared.tasks.clock import Clock
    from shared.tasks.serving.cache import CacheManager


class Parts(Struct, frozen=True):
    """Documents, objects, this instance's cache, and time."""

    store: Store
    objects: Objects
    cache: CacheManager
    clock: Clock
