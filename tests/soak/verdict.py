"""The state after a soak, and the checks on it."""

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

#: Seconds by which timestamps of the emulator and of instances may differ: one clock, but rounded.
CLOCK_SECONDS = 0.05
#: Seconds by which a result may be older than the read.
AGES = {"cold": 0.0, "warm": MAX_AGE + CHECK_SECONDS, "unchecked": STALE_SECONDS}
#: Memory is flat if the median of the last third exceeds that of the middle third by at most this.
GROWTH, GROWTH_BYTES = 0.10, 10 << 20
#: Samples needed to judge memory, because a process grows for a while after its start.
SAMPLES = 300


@dataclass(frozen=True)
class Left:
    """The state of a task after the soak.

    Attributes:
        status: the status document.
        value: the result that a cold reader gets.
        contract_copy: the version of the contract copy.
        history: the run records by id.
        changed: Unix time of the last write of each run record, seconds.
    """

    status: dict[str, Any]
    value: Any
    contract_copy: str | None
    history: dict[str, dict[str, Any]]
    changed: dict[str, float]

    @cached_property
    def published(self) -> list[tuple[float, str]]:
        """The time of each publication and its run, in order."""
        return sorted((self.changed[i], i) for i, run in self.history.items() if run["state"] == "completed")


def look(database: Client, bucket: Bucket, task: TaskName) -> Left:
    """Read the state of a task with the clients of the stack."""
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
    """Return all findings by kind."""
    found = {
        "lost results": list(_lost(record, left)),
        "duplicate runs": list(_duplicates(record, left)),
        "stale publications": list(_stale(left)),
        "wrong reads": list(_wrong_reads(record, left)),
        "left in disorder": [what for task, each in left.items() for what in _disorder(task, each)],
        "growing memory": [f"{name}: {text}" for name, flat, text in memory(record) if flat is False],
    }
    known = DEALT_WITH | {"failed", "busy", "lost", "superseded", "killed", "hung"}
    strange = {answer for answers in record.answers.values() for answer in answers} - known
    return {**found, "hung": list(_hung(record)), "errors": [*record.errors, *sorted(strange)]}


def _hung(record: Record) -> Iterator[str]:
    """Unanswered deliveries, and processes that did not end."""
    yield from record.hung
    yield from (f"{task} {run_id}" for (task, run_id), given in record.answers.items() if "hung" in given)


def _lost(record: Record, left: dict[TaskName, Left]) -> Iterator[str]:
    """Ticks that were acknowledged without a run record, or never dealt with."""
    for task, run_id in record.ticks:
        history = left[task].history
        answers = set(record.answers.get((task, run_id), []))
        completed = history.get(run_id, {}).get("state") == "completed"
        if answers & {"completed", "duplicate"} and not completed:
            yield f"{task} {run_id}: answered {answers}, and not completed"
        if not completed and skip_id(run_id) not in history:
            yield f"{task} {run_id}: neither completed nor skipped; answered {answers}"


def _duplicates(record: Record, left: dict[TaskName, Left]) -> Iterator[str]:
    """Runs with two publications, an attempt that began twice, or one that began after completion."""
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
    """Results that were published after another run had acquired the task."""
    for task, each in left.items():
        for (before, earlier), (_, later) in pairwise(each.published):
            began = each.history[later]["started"].timestamp()
            if began < before - CLOCK_SECONDS:
                yield f"{task}: {later} had the task {before - began:.3f} s before {earlier} was published"


def _wrong_reads(record: Record, left: dict[TaskName, Left]) -> Iterator[str]:
    """Reads of a result that was not current at any moment of the read, or of the max-age before it.

    A result may be read from the moment when its run begins to publish it. It must be read once an
    answer has reported the run as completed. Both hold even if a server pauses.
    """
    standing = {task: _Standing.of(record, task, each) for task, each in left.items()}
    for seen in record.seen:
        allowed = standing[seen.task].between(seen.began - AGES[seen.reader], seen.ended)
        if seen.what not in allowed:
            yield f"{seen}: not one of {allowed}"


@dataclass(frozen=True)
class _Standing:
    """When each result of a task may have been the current one.

    Attributes:
        results: what readers get, in order of publication; the first is None.
        possible: the earliest time at which each may be read.
        certain: times from which a result, given by its position, or a later one must be read; ascending.
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
        """Return the results that may have been current at a moment of that time."""
        known = bisect_left(self.certain, (began, 0))
        first = self.certain[known - 1][1] if known else 0
        places = range(first, len(self.results))
        return [self.results[place] for place in places if self.possible[place] <= ended]


def _read(left: Left, run_id: str) -> tuple[str, int] | None:
    """Return what readers get after a run was published."""
    run = left.history[run_id]
    return None if run["result"]["saved_in"] == "none" else (run_id, run["attempt"])


def _disorder(task: TaskName, left: Left) -> Iterator[str]:
    """A status, result or contract copy that is not the last one, or a run that never ended."""
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
    """Yield whether the memory of each long-living process is flat; None with too few samples."""
    for name, samples in record.memory.items():
        third = len(samples) // 3
        if len(samples) < SAMPLES:
            yield name, None, f"{samples[-1] / 1e6:.0f} MB, too few samples to judge"
            continue
        middle, last = statistics.median(samples[third : 2 * third]), statistics.median(samples[2 * third :])
        flat = last - middle <= max(GROWTH * middle, GROWTH_BYTES)
        yield name, flat, f"{middle / 1e6:.1f} → {last / 1e6:.1f} MB, {'flat' if flat else 'GROWING'}"


def table(record: Record, left: dict[TaskName, Left], found: dict[str, list[str]]) -> Iterator[str]:
    """Yield the lines that report events and findings."""
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
        details = ", ".join(f"{part} {number:,}" for part, number in sorted(parts.items()))
        yield f"{name:<21}{total:>8,}  {details}".rstrip()
    for name, _, text in memory(record):
        yield f"memory, {name:<13}{text}"
    for kind, what in found.items():
        yield f"{kind:<21}{len(what):>8,}"
    yield from (f"  {kind}: {each}" for kind, what in found.items() for each in what[:10])
