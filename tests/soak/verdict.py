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
from tests.soak.soak import ACKNOWLEDGED, Record

#: Seconds by which timestamps of the emulator and of instances may differ: one clock, but rounded.
CLOCK_SECONDS = 0.05
#: Seconds by which a result may be older than the read.
AGES = {"cold": 0.0, "warm": MAX_AGE + CHECK_SECONDS, "unchecked": STALE_SECONDS}
#: Memory is flat if the median of the last third exceeds that of the middle third by at most this.
GROWTH, GROWTH_BYTES = 0.10, 10 << 20
#: Samples needed to judge memory, because a process grows for a while after its start.
SAMPLES = 300


@dataclass(frozen=True)
class FinalState:
    """The state of a task after the soak.

    Attributes:
        status: The status document.
        value: The result that a cold reader gets.
        contract_copy: The version of the contract copy.
        history: The run records by id.
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


def final_state(database: Client, bucket: Bucket, task: TaskName) -> FinalState:
    """Read the state of a task with the clients of the stack."""
    document = database.document(f"nx-tasks/{task.value}")
    runs = list(document.collection("nx-runs").stream())
    blob = bucket.get_blob(contract_object(task))
    return FinalState(
        status=document.get().to_dict() or {},
        value=identity(TaskEngine().get_task_data(task)),
        contract_copy=(blob.metadata or {}).get("nx-version") if blob else None,
        history={run.id: run.to_dict() or {} for run in runs},
        changed={run.id: run.update_time.timestamp() for run in runs},
    )


def findings(record: Record, final: dict[TaskName, FinalState]) -> dict[str, list[str]]:
    """Return all findings by kind."""
    found = {
        "lost results": list(_lost(record, final)),
        "repeated legs": list(_repeated_legs(record)),
        "duplicate runs": list(_duplicates(record, final)),
        "stale publications": list(_stale(final)),
        "wrong reads": list(_wrong_reads(record, final)),
        "inconsistent final state": [
            problem for task, each in final.items() for problem in _inconsistencies(task, each)
        ],
        "growing memory": [f"{name}: {text}" for name, flat, text in memory(record) if flat is False],
    }
    known = ACKNOWLEDGED | {"failed", "busy", "lost", "superseded", "killed", "hung"}
    strange = {answer for answers in record.answers.values() for answer in answers} - known
    return {**found, "hung": list(_hung(record)), "errors": [*record.errors, *sorted(strange)]}


def _hung(record: Record) -> Iterator[str]:
    """Unanswered deliveries, and processes that did not end."""
    yield from record.hung
    yield from (f"{task} {run_id}" for (task, run_id), given in record.answers.items() if "hung" in given)


def _lost(record: Record, final: dict[TaskName, FinalState]) -> Iterator[str]:
    """Ticks that were acknowledged without a run record, or never acknowledged."""
    for task, run_id in record.ticks:
        history = final[task].history
        answers = set(record.answers.get((task, run_id), []))
        completed = history.get(run_id, {}).get("state") == "completed"
        if answers & {"completed", "waiting", "duplicate"} and not completed:
            yield f"{task} {run_id}: answered {answers}, but not completed"
        if not completed and skip_id(run_id) not in history:
            yield f"{task} {run_id}: neither completed nor skipped; answered {answers}"


def _repeated_legs(record: Record) -> Iterator[str]:
    """Long runs whose legs or positions went back. That each record is there once is read from the result."""
    for (task, run_id), legs in record.legs.items():
        yield from (
            f"{task} {run_id}: leg {leg} began at {position}, after leg {last} had begun at {before}"
            for (last, before), (leg, position) in pairwise(legs)
            if leg < last or position < before or (leg > last and position == before)
        )


def _duplicates(record: Record, final: dict[TaskName, FinalState]) -> Iterator[str]:
    """Runs with two publications, an attempt that began twice, or one that began after completion."""
    for (task, run_id), answers in record.answers.items():
        if answers.count("completed") > 1:
            yield f"{task} {run_id}: completed {answers.count('completed')} times"
    for (task, run_id), attempts in record.began.items():
        run = final[task].history.get(run_id, {})
        if len(set(attempts)) < len(attempts):
            yield f"{task} {run_id}: an attempt began twice: {attempts}"
        if run.get("state") == "completed" and max(attempts) > run["attempt"]:
            yield f"{task} {run_id}: attempts {attempts}, but {run['attempt']} published"


def _stale(final: dict[TaskName, FinalState]) -> Iterator[str]:
    """Results that were published after another run had acquired the task."""
    for task, each in final.items():
        for (before, earlier), (_, later) in pairwise(each.published):
            began = each.history[later]["started"].timestamp()
            if began < before - CLOCK_SECONDS:
                yield f"{task}: {later} started {before - began:.3f} s before {earlier} was published"


def _wrong_reads(record: Record, final: dict[TaskName, FinalState]) -> Iterator[str]:
    """Reads of a result that was not current at any moment of the read, or of the max-age before it.

    A result may be read from the moment when its run begins to publish it. It must be read once an
    answer has reported the run as completed. Both hold even if a server pauses.
    """
    validity = {task: _Validity.of(record, task, each) for task, each in final.items()}
    for one in record.reads:
        allowed = validity[one.task].between(one.began - AGES[one.reader], one.ended)
        if one.result not in allowed:
            yield f"{one}: not one of {allowed}"


@dataclass(frozen=True)
class _Validity:
    """The times at which each result of a task may have been the current one.

    Attributes:
        results: The results that readers get, in order of publication; the first is None.
        possible: The earliest time at which each may be read.
        certain: Times from which a result, given by its position, or a later one must be read; ascending.
    """

    results: list[Any]
    possible: list[float]
    certain: list[tuple[float, int]]

    @classmethod
    def of(cls, record: Record, task: TaskName, final: FinalState) -> "_Validity":
        runs = [run_id for _, run_id in final.published]
        certain: list[tuple[float, int]] = []
        reported = ((record.completed_at.get((task, i)), place) for place, i in enumerate(runs, start=1))
        for moment, place in sorted((moment, place) for moment, place in reported if moment is not None):
            if not certain or place > certain[-1][1]:
                certain.append((moment, place))
        return cls(
            [None, *(_read(final, run_id) for run_id in runs)],
            [float("-inf"), *(final.history[run_id]["completed"].timestamp() for run_id in runs)],
            certain,
        )

    def between(self, began: float, ended: float) -> list[Any]:
        """Return the results that may have been current at a moment of that time."""
        known = bisect_left(self.certain, (began, 0))
        first = self.certain[known - 1][1] if known else 0
        places = range(first, len(self.results))
        return [self.results[place] for place in places if self.possible[place] <= ended]


def _read(final: FinalState, run_id: str) -> tuple[str, int] | None:
    """Return the result that readers get after a run was published."""
    run = final.history[run_id]
    attempt = 1 if "legs" in run else run["attempt"]
    return None if run["result"]["saved_in"] == "none" else (run_id, attempt)


def _inconsistencies(task: TaskName, final: FinalState) -> Iterator[str]:
    """A status, result or contract copy that is not the last one, or a run that never ended."""
    run = final.status.get("run", {})
    result = run.get("result", {})
    if (final.status.get("status"), run.get("state")) != ("completed", "completed") or "lease_until" in run:
        yield f"{task}: {final.status.get('status')}, {run}"
    open_runs = [i for i, run in final.history.items() if run["state"] in {"running", "waiting"}]
    yield from (f"{task} {i}: never ended" for i in open_runs)
    if not final.published:
        yield f"{task}: no completed run"
        return
    last = final.published[-1][1]
    if result.get("version") != f"{last}.{final.history[last]['token']}":
        yield f"{task}: the result is {result}, but {last} was the last run"
    if final.value != _read(final, last):
        yield f"{task}: read {final.value}, but {last} was the last run"
    if result.get("saved_in") == "storage" and final.contract_copy != result["version"]:
        yield f"{task}: the contract copy is {final.contract_copy}, but the result is {result['version']}"


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


def table(record: Record, final: dict[TaskName, FinalState], found: dict[str, list[str]]) -> Iterator[str]:
    """Yield the lines that report events and findings."""
    states = Counter(run["state"] for each in final.values() for run in each.history.values())
    answers = Counter(answer for given in record.answers.values() for answer in given)
    readers = Counter(one.reader for one in record.reads)
    for name, total, parts in (
        ("ticks", len(record.ticks), {}),
        ("history", states.total(), states),
        ("deliveries", answers.total(), answers),
        ("attempts that worked", sum(map(len, record.began.values())), {}),
        ("legs that worked", sum(map(len, record.legs.values())), {"long runs": len(record.legs)}),
        ("faults", record.faults.total(), record.faults),
        ("reads", readers.total(), readers),
    ):
        details = ", ".join(f"{part} {number:,}" for part, number in sorted(parts.items()))
        yield f"{name:<25}{total:>8,}  {details}".rstrip()
    for name, _, text in memory(record):
        yield f"memory, {name:<17}{text}"
    for kind, problems in found.items():
        yield f"{kind:<25}{len(problems):>8,}"
    yield from (f"  {kind}: {each}" for kind, problems in found.items() for each in problems[:10])
