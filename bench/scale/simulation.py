"""The product's cache in many simulated instances.

Reader, cache, single-flight and payload are the product's own. Time, randomly arriving readers, and the
two servers are simulated.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from bench.scale.world import SimulatedSingleFlight, World
from shared import firebase
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.storage import Objects
from shared.tasks.contract import TaskName
from shared.tasks.documents.models import TaskDocument
from shared.tasks.documents.result_pointer import ResultPointer
from shared.tasks.results import gzipped
from shared.tasks.serving.cache import CacheManager
from shared.tasks.serving.reader import ReadOptions, ResultReader

if TYPE_CHECKING:
    from bench.scale.model import Load

TASK = TaskName.collect_charge_locations
_CACHE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts of the measured part of a simulation.

    Attributes:
        reads: number of answers.
        firestore_reads: number of document reads.
        downloads: number of downloads.
        stale: age of each outdated answer, seconds since a newer result was published.
        mean_wait: mean seconds that a reader waited.
    """

    reads: int
    firestore_reads: int
    downloads: int
    stale: tuple[float, ...]
    mean_wait: float

    @property
    def stale_most(self) -> float:
        """Age of the oldest answer, seconds; 0 if none was outdated."""
        return max(self.stale, default=0.0)

    @property
    def stale_median(self) -> float:
        """Median age of the outdated answers, seconds; 0 if there are none."""
        return statistics.median(self.stale) if self.stale else 0.0


def simulate(load: Load, *, seconds: float, seed: int = 1) -> Counted:
    """Simulate a load, after an uncounted time in which all instances start.

    Args:
        load: the load.
        seconds: simulated time that is counted.
        seed: seed of the random numbers.
    """
    return _Simulation(load, seconds, random.Random(seed)).run()  # noqa: S311  (not a secret)


class _Simulation:
    def __init__(self, load: Load, seconds: float, chance: random.Random) -> None:
        self._load = load
        self._chance = chance
        self._world = World()
        # Real instances start at any moment of a round of checks.
        self._spread = load.max_age + load.instances / load.reads
        self._from = 2 * self._spread + load.check_seconds + load.fetch_seconds
        self._until = self._from + seconds
        self._servers = _Servers(self._world, load)
        self._options = ReadOptions(load.max_age)
        self._stale: list[float] = []
        self._waits: list[float] = []

    def run(self) -> Counted:
        for _ in range(self._load.instances):
            begins = self._chance.uniform(0, self._spread)
            self._world.at(begins + self._pause(), partial(self._read, self._instance()))
        published = self._chance.uniform(0, self._load.published_every)
        while published < self._until:
            self._world.at(published, self._servers.publish)
            published += self._load.published_every
        self._world.at(self._from, self._servers.start_counting)
        self._world.at(self._until, self._servers.stop_counting)
        self._world.run()
        counted = self._servers.counted
        return Counted(
            len(self._waits),
            counted["firestore"],
            counted["storage"],
            tuple(self._stale),
            statistics.fmean(self._waits),
        )

    def _instance(self) -> ResultReader:
        world: Any = self._world
        cache = CacheManager(world, max_bytes=lambda: _CACHE_BYTES)
        reader = ResultReader(self._servers.store, self._servers.objects, cache, world)
        reader._calls = {TASK: SimulatedSingleFlight(world)}  # noqa: SLF001  (its waits are simulated)
        return reader

    def _pause(self) -> float:
        return self._chance.expovariate(self._load.reads / self._load.instances)

    def _read(self, reader: ResultReader) -> None:
        """Read, and schedule the next reader."""
        arrived = self._world.monotonic()
        if arrived >= self._until:
            return
        self._world.at(arrived + self._pause(), partial(self._read, reader))
        result = reader.result(TASK, self._options)
        if result.payload is None:
            raise AssertionError("a read returned no data")
        if arrived >= self._from:
            now = self._world.monotonic()
            self._waits.append(now - arrived)
            superseded = self._servers.superseded.get(result.version)
            if superseded is not None:
                self._stale.append(now - superseded)


class _Servers:
    """Firestore and Storage as a reader sees them: the current version and its bytes."""

    def __init__(self, world: World, load: Load) -> None:
        self._world = world
        self._load = load
        self._number = 0
        self._present = self._document()
        #: When each earlier version was superseded.
        self.superseded: dict[str, float] = {}
        self._running: dict[str, int] | None = None
        self.counted = {"firestore": 0, "storage": 0}
        self.store = _Store(self)
        self.objects = _Objects(self)

    def publish(self) -> None:
        """Publish the next result."""
        self.superseded[self._present.result_version] = self._world.monotonic()
        self._number += 1
        self._present = self._document()

    def start_counting(self) -> None:
        """Start counting."""
        self._running = self.counted

    def stop_counting(self) -> None:
        """Stop counting."""
        self._running = None

    def document(self) -> TaskDocument:
        """Answer a document read with its content after half of the latency."""
        self._count("firestore")
        self._world.sleep(self._load.check_seconds / 2)
        document = self._present
        self._world.sleep(self._load.check_seconds / 2)
        return document

    def content(self, path: str) -> bytes:
        """Answer a download."""
        self._count("storage")
        self._world.sleep(self._load.fetch_seconds)
        return gzipped.member(gzipped.compress(orjson.dumps([path])))

    def _count(self, server: str) -> None:
        if self._running is not None:
            self._running[server] += 1

    def _document(self) -> TaskDocument:
        version = f"version {self._number}"
        pointer = ResultPointer(version, "storage", path=f"results/{version}", size_bytes=100)
        return TaskDocument(status="completed", result=pointer)


class _Store(Store):
    def __init__(self, servers: _Servers) -> None:
        super().__init__(firebase.firestore_wire)
        self._servers = servers

    def read_version(self, *_: Any, **__: Any) -> TaskDocument:
        return self._servers.document()

    def read_result(self, *_: Any, **__: Any) -> tuple[TaskDocument, Any]:
        return self._servers.document(), None


class _Objects(Objects):
    def __init__(self, servers: _Servers) -> None:
        super().__init__(firebase.bucket)
        self.read: Any = lambda path, **_: servers.content(path)
