"""The run protocol, explored exhaustively within stated bounds, and each of its rules left out in turn."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared import logger
from shared.tasks import decisions, protocol, retention, writes
from shared.tasks.decisions import is_dead, is_superseded
from shared.tasks.mirror import mend_mirror
from shared.tasks.names import contract_object
from shared.tasks.protocol import CLOCK_SKEW, RunProtocol
from shared.tasks.steps import Commit, CopyObject, Read, ReadObject, ReadRunning
from tests.model import processes
from tests.model.explore import Bounds, Model, Violation
from tests.model.processes import Script, delivery, operator, watchdog

ALL = ("complete", "fail", "extend")

#: What `make test` explores: processes and bounds, by what they show.
SMALL: dict[str, tuple[tuple[Script, ...], Bounds]] = {
    "one run, watched": ((delivery("a", "t1", "storage", ALL), watchdog()), Bounds(1, 1, 1)),
    "one tick delivered twice, a death": ((delivery("a", "t1"), delivery("a", "t2")), Bounds(1, 0, 1)),
    "one tick delivered twice, a fault": ((delivery("a", "t1"), delivery("a", "t2")), Bounds(1, 1, 0)),
    "two ticks": ((delivery("a", "t1", "storage"), delivery("b", "t2", "storage")), Bounds(1)),
    "two ticks, a fault": ((delivery("a", "t1", "storage"), delivery("b", "t2")), Bounds(1, 1)),
    "two ticks, watched": ((delivery("a", "t1"), delivery("b", "t2"), watchdog()), Bounds(1)),
    "suspended and resumed": ((delivery("a", "t1"), operator("suspend"), operator("resume")), Bounds(0, 1)),
    "TTL": ((delivery("a", "t1", "storage"), delivery("b", "t2", "db", ("fail",))), Bounds(1, 1, 0, 1)),
}

#: What `make test-full` explores beyond that.
LARGE: dict[str, tuple[tuple[Script, ...], Bounds]] = {
    "one tick three times": (
        (delivery("a", "t1"), delivery("a", "t2"), delivery("a", "t3")),
        Bounds(1, 0, 1),
    ),
    "two ticks, faults and deaths": (
        (delivery("a", "t1", "storage", ALL), delivery("b", "t2", "storage")),
        Bounds(1, 1, 1),
    ),
    "two ticks, watched, a death": ((delivery("a", "t1"), delivery("b", "t2"), watchdog()), Bounds(2, 0, 1)),
    "one tick twice, watched, a fault": (
        (delivery("a", "t1"), delivery("a", "t2"), watchdog()),
        Bounds(1, 1),
    ),
    "suspended at work": (
        (delivery("a", "t1"), delivery("b", "t2"), operator("suspend"), watchdog()),
        Bounds(1, 0, 0),
    ),
}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Millions of log lines help nobody; and what was remembered of one protocol is not another's."""
    monkeypatch.setattr(logger, "warning", lambda *_, **__: None)
    processes.forget()
    yield
    processes.forget()


def explored(name: str, configurations: dict[str, tuple[tuple[Script, ...], Bounds]]) -> int:
    scripts, bounds = configurations[name]
    states = Model(scripts, bounds).explore()
    print(f"{name}: {states:,} states within {bounds}")  # noqa: T201  (pytest shows it with -s, test-full too)
    return states


@pytest.mark.parametrize("name", SMALL)
def test_nothing_that_must_hold_is_ever_broken(name: str) -> None:
    """Whatever the order of deliveries, deaths, lost answers, expiring leases, watchdog and operator."""
    assert explored(name, SMALL) > 1000


@pytest.mark.full
@pytest.mark.parametrize("name", LARGE)
def test_nothing_that_must_hold_is_broken_in_larger_bounds(name: str) -> None:
    """The same with more of everything."""
    assert explored(name, LARGE) > 10_000


def by_token_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is one's own by the token, whatever its state says."""
    for module in (decisions, protocol):
        monkeypatch.setattr(module, "is_own", lambda task, token: task.token == token)


def without_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a write was applied is asked of S alone."""
    standing = decisions.standing
    monkeypatch.setattr(protocol, "standing", lambda task, _run, **how: standing(task, None, **how))


def removing_unclosed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object goes although its history is gone and says nothing of whose it is."""

    def closes(self: RunProtocol, run: Any) -> Any:
        if run is not None and run.token == self.identity.token and run.state == "running":
            now = self._clock.now()
            yield Commit(writes.close_superseded(self.identity, run.update_time, now=now))
        self.object_may_go = True

    monkeypatch.setattr(RunProtocol, "_close_superseded", closes)


def mirror_from_an_earlier_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """S is read before the mirror's metadata."""

    def mends(task: Any) -> Any:
        document, _ = yield Read()
        generation, version = yield ReadObject(contract_object(task))
        result = document.result
        if result is None or result.saved_in != "storage" or result.version == version:
            return False
        return (yield CopyObject(result.path, contract_object(task), generation))

    monkeypatch.setattr(processes, "mend_mirror", mends)


def watchdog_reads_the_task_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories are compared with an S that was read before them."""

    def watches(documents: str, spec: Any, *, now: Any, deadline: Any) -> Any:
        del deadline
        name = spec.name
        task, _ = yield Read()
        for run_id, run in (yield ReadRunning()):
            if is_superseded(run, task):
                yield Commit(writes.close_superseded_history(documents, name, run_id, run, now=now))
        if is_dead(task, now=now, skew=CLOCK_SKEW):
            yield Commit(writes.fail_dead(documents, name, task, now=now))
        yield from mend_mirror(name)

    monkeypatch.setattr(processes, "watch", watches)


def success_for_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A superseded run is answered as if it had completed."""
    monkeypatch.setattr(processes, "ANSWERS", {"superseded": "completed"})


def success_for_what_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that meets its own run at work is answered as a duplicate."""
    monkeypatch.setattr(processes, "ANSWERS", {"busy": "duplicate"})


def without_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes to S are made whatever version it has."""
    write_to = writes._write_to

    def unconditional(name: str, fields: Any, **how: Any) -> Any:
        return write_to(name, fields, **{**how, "on": None})

    monkeypatch.setattr(writes, "_write_to", unconditional)


def removing_by_age_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that no result points to is nobody's, whoever may be about to publish it."""

    def over_since(path: str, _token: str, created: Any, task: Any, _run: Any) -> Any:
        yield from ()
        return None if task.result is not None and task.result.path == path else created

    monkeypatch.setattr(retention, "_over_since", over_since)


@pytest.mark.parametrize(
    ("left_out", "where", "says"),
    [
        (removing_by_age_alone, "one run, watched", "the result points to no object"),
        (by_token_alone, "one run, watched", "published without holding the task"),
        (without_history, "two ticks, a fault", "object was removed"),
        (removing_unclosed, "TTL", "object was removed"),
        (mirror_from_an_earlier_read, "two ticks", "the mirror is not the last good result"),
        (watchdog_reads_the_task_first, "two ticks, watched", "closed the history of a run at work"),
        (success_for_what_was_lost, "two ticks, watched", "answered completed, and its run is not completed"),
        (
            success_for_what_is_busy,
            "one tick delivered twice, a death",
            "answered duplicate, and its run is not",
        ),
        (without_conditions, "two ticks, watched", "was completed, and is not final"),
    ],
)
def test_each_rule_left_out_is_found(
    left_out: Callable[[pytest.MonkeyPatch], None], where: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model sees what each rule is for: without it, something that must hold breaks."""
    left_out(monkeypatch)
    with pytest.raises(Violation, match=says):
        explored(where, SMALL)
