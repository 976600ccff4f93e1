"""What is left of a soak, and whether it is as it must be."""

import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from google.cloud.firestore import Client
from google.cloud.storage import Bucket

from shared.tasks import TaskEngine, TaskName
from shared.tasks.contract import contract_object
from shared.tasks.documents.run_ids import skip_id
from shared.tasks.serving.reader import CHECK_SECONDS, STALE_SECONDS
from tests.soak.instance import identity
from tests.soak.readers import MAX_AGE
from tests.soak.soak import DEALT_WITH, Record

#: Seconds by which the emulator's clock and the instances' may differ: both are this machine's, rounded.
CLOCK_SECONDS = 0.05
#: How much older than the moment of reading a result may be.
AGES = {"cold": 0.0, "warm": MAX_AGE + CHECK_SECONDS, "unchecked": STALE_SECONDS}
#: Memory is flat where the last third's median is at most that much above the middle third's.
GROWTH, GROWTH_BYTES = 0.10, 10 << 20
#: Samples that there must be to say so: a process grows for a while after its start.
SAMPLES = 300


@dataclass(frozen=True)
class Left:
    """What a task has left: its status, the value that readers get, its contract copy's version, its history.

    Attributes:
        status: the status document.
        value: as a cold reader gets it.
        contract_copy: the version of the object at the contract's path.
        history: its documents by id.
        changed: when each was last written, seconds of the machine's clock.
    """

    status: dict[str, Any]
    value: Any
    contract_copy: str | None
    history: dict[str, dict[str, Any]]
    changed: dict[str, float]

    @cached_property
    def published(self) -> list[tuple[float, str]]:
        """When Firestore wrote which run's result, in that order."""
        return sorted((self.changed[i], i) for i, run in self.history.items() if run["state"] == "completed")


def look(database: Client, bucket: Bucket, task: TaskName) -> Left:
    """Read all that a task has left, with the stack's own clients."""
    document = database.document(f"nx-tasks/{task.value}")
    runs = list(document.collection("nx-runs").stream())
    blob = bucket.get_blob(contract_object(task))
    return Left(
        status=document.get().to_dict() or {},
        value=identity(TaskEngine().get_task_data(task)),
        contract_copy=(blob.metadata or {}).get("nx-version") if blob else None,
        history={run.id: run.to_dict() or {} for run in runs},
        changed={run.id: run.update_time.timestamp() for run in runs},
    )


def findings(record: Record, left: dict[TaskName, Left]) -> dict[str, list[str]]:
    """Say all that is not as it must be, by kind."""
    found = {
        "lost results": list(_lost(record, left)),
        "duplicate runs": list(_duplicates(record, left)),
        "stale publications": list(_stale(left)),
        "wrong reads": list(_wrong_reads(record, left)),
        "left in disorder": [what for task, each in left.items() for what in _disorder(task, each)],
        "growing memory": [f"{name}: {told}" for name, flat, told in memory(record) if flat is False],
    }
    known = DEALT_WITH | {"failed", "busy", "lost", "superseded", "killed", "hung"}
    strange = {answer for answers in record.answers.values() for answer in answers} - known
    return {**found, "hung": list(_hung(record)), "errors": [*record.errors, *sorted(strange)]}


def _hung(record: Record) -> Iterator[str]:
    """Deliveries that were not answered in all the time that there was, and what else did not end."""
    yield from record.hung
    yield from (f"{task} {run_id}" for (task, run_id), given in record.answers.items() if "hung" in given)


def _lost(record: Record, left: dict[TaskName, Left]) -> Iterator[str]:
    """Ticks that were answered 2xx and of which nothing is left, or that were never dealt with."""
    for task, run_id in record.ticks:
        history = left[task].history
        answers = set(record.answers.get((task, run_id), []))
        completed = history.get(run_id, {}).get("state") == "completed"
        if answers & {"completed", "duplicate"} and not completed:
            yield f"{task} {run_id}: answered {answers}, and not completed"
        if not completed and skip_id(run_id) not in history:
            yield f"{task} {run_id}: neither completed nor skipped; answered {answers}"


def _duplicates(record: Record, left: dict[TaskName, Left]) -> Iterator[str]:
    """Runs of which two attempts published, or one began twice, or began after it was completed."""
    for (task, run_id), answers in record.answers.items():
        if answers.count("completed") > 1:
            yield f"{task} {run_id}: completed {answers.count('completed')} times"
    for (task, run_id), attempts in record.began.items():
        run = left[task].history.get(run_id, {})
        if len(set(attempts)) < len(attempts):
            yield f"{task} {run_id}: an attempt began twice: {attempts}"
        if run.get("state") == "completed" and max(attempts) > run["attempt"]:
            yield f"{task} {run_id}: attempts {attempts}, and {run['attempt']} published"


def _stale(left: dict[TaskName, Left]) -> Iterator[str]:
    """Results that were published although another run had taken the task meanwhile."""
    for task, each in left.items():
        for (before, earlier), (_, later) in pairwise(each.published):
            began = each.history[later]["started"].timestamp()
            if began < before - CLOCK_SECONDS:
                yield f"{task}: {later} had the task {before - began:.3f} s before {earlier} was published"


def _wrong_reads(record: Record, left: dict[TaskName, Left]) -> Iterator[str]:
    """Reads of what was the last good result at no moment of the read (for the warm: of its max-age).

    A result may be read from when its run was about to publish it, and is read for certain once
    somebody was told that the run is completed: no pause of any server makes these two wrong.
    """
    standing = {task: _Standing.of(record, task, each) for task, each in left.items()}
    for seen in record.seen:
        allowed = standing[seen.task].between(seen.began - AGES[seen.reader], seen.ended)
        if seen.what not in allowed:
            yield f"{seen}: not one of {allowed}"


@dataclass(frozen=True)
class _Standing:
    """Which results of a task may have been the present one, and when.

    Attributes:
        results: what readers get of each, in order; the first is nothing.
        possible: from when each may have been there.
        certain: from when one is there for certain, or a later one, with its place; both growing.
    """

    results: list[Any]
    possible: list[float]
    certain: list[tuple[float, int]]

    @classmethod
    def of(cls, record: Record, task: TaskName, left: Left) -> "_Standing":
        runs = [run_id for _, run_id in left.published]
        certain: list[tuple[float, int]] = []
        heard = ((record.heard.get((task, i)), place) for place, i in enumerate(runs, start=1))
        for moment, place in sorted((moment, place) for moment, place in heard if moment is not None):
            if not certain or place > certain[-1][1]:
                certain.append((moment, place))
        return cls(
            [None, *(_read(left, run_id) for run_id in runs)],
            [float("-inf"), *(left.history[run_id]["completed"].timestamp() for run_id in runs)],
            certain,
        )

    def between(self, began: float, ended: float) -> list[Any]:
        """Give the results that may have been the present one at a moment of that time."""
        known = bisect_left(self.certain, (began, 0))
        first = self.certain[known - 1][1] if known else 0
        places = range(first, len(self.results))
        return [self.results[place] for place in places if self.possible[place] <= ended]


def _read(left: Left, run_id: str) -> tuple[str, int] | None:
    """What readers get of a published run."""
    run = left.history[run_id]
    return None if run["result"]["saved_in"] == "none" else (run_id, run["attempt"])


def _disorder(task: TaskName, left: Left) -> Iterator[str]:
    """A status, a result or a contract copy that is not the last one's; a run that runs for ever."""
    run = left.status.get("run", {})
    result = run.get("result", {})
    if (left.status.get("status"), run.get("state")) != ("completed", "completed") or "lease_until" in run:
        yield f"{task}: {left.status.get('status')}, {run}"
    yield from (
        f"{task} {i}: running for ever" for i, run in left.history.items() if run["state"] == "running"
    )
    if not left.published:
        yield f"{task}: no run of it was ever completed"
        return
    last = left.published[-1][1]
    if result.get("version") != f"{last}.{left.history[last]['token']}":
        yield f"{task}: the result is {result}, and {last} was the last"
    if left.value != _read(left, last):
        yield f"{task}: read {left.value}, and {last} was the last"
    if result.get("saved_in") == "storage" and left.contract_copy != result["version"]:
        yield f"{task}: the contract copy is {left.contract_copy}, the result {result['version']}"


def memory(record: Record) -> Iterator[tuple[str, bool | None, str]]:
    """Tell of each long-living process whether its memory is flat; None where that can't be said."""
    for name, samples in record.memory.items():
        third = len(samples) // 3
        if len(samples) < SAMPLES:
            yield name, None, f"{samples[-1] / 1e6:.0f} MB, too short to tell"
            continue
        middle, last = statistics.median(samples[third : 2 * third]), statistics.median(samples[2 * third :])
        flat = last - middle <= max(GROWTH * middle, GROWTH_BYTES)
        yield name, flat, f"{middle / 1e6:.1f} → {last / 1e6:.1f} MB, {'flat' if flat else 'GROWING'}"


def table(record: Record, left: dict[TaskName, Left], found: dict[str, list[str]]) -> Iterator[str]:
    """Tell what happened and what was found."""
    states = Counter(run["state"] for each in left.values() for run in each.history.values())
    answers = Counter(answer for given in record.answers.values() for answer in given)
    readers = Counter(seen.reader for seen in record.seen)
    for name, total, parts in (
        ("ticks", len(record.ticks), {}),
        ("history", states.total(), states),
        ("deliveries", answers.total(), answers),
        ("attempts that worked", sum(map(len, record.began.values())), {}),
        ("faults", record.faults.total(), record.faults),
        ("reads", readers.total(), readers),
    ):
        told = ", ".join(f"{part} {number:,}" for part, number in sorted(parts.items()))
        yield f"{name:<21}{total:>8,}  {told}".rstrip()
    for name, _, told in memory(record):
        yield f"memory, {name:<13}{told}"
    for kind, what in found.items():
        yield f"{kind:<21}{len(what):>8,}"
    yield from (f"  {kind}: {each}" for kind, what in found.items() for each in what[:10])
