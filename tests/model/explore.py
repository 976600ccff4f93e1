"""Explores every interleaving of processes, time, deaths and faults, and checks the invariants."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from shared.tasks.backends.scheduler import JobState, JobStatus
from shared.tasks.protocol.effects import Commit, ReadDocuments, ReadJob, ReadSchedule, RunJob, SetJob
from tests.model.invariants import (
    HISTORY,
    STATUS,
    Facts,
    Objects,
    Violation,
    check_answer,
    check_answers_request,
    check_cancel_report,
    check_commit,
    check_contract_copy,
    check_job,
    check_order,
    check_read,
    check_requests_answered,
    facts,
)
from tests.model.memory_store import Documents, Stored, documents_of, fields_of
from tests.model.positions import Event, Position, Script, first_position, next_position
from tests.model.processes import job_keeper, watchdog
from tests.model.requests import (
    Answer,
    CancelReport,
    Choose,
    ContractReadReport,
    Ended,
    ReadReport,
    StartNext,
)
from tests.model.servers import on_storage, read

OVER = "over"


class State(NamedTuple):
    """The state of the whole system.

    Attributes:
        documents: Firestore.
        objects: Storage.
        at: Each process's position: None before it begins, `OVER` after it ended or died.
        known: The facts that were true at some moment since each process began.
        in_flight: Requests whose senders no longer wait for the responses.
        succeeded: Runs that an attempt reported as completed.
        job: The state of the Cloud Scheduler job; None if no process uses the job.
        step: The time.
        faults, deaths, removals, torn: The numbers of each that may still happen.
    """

    documents: Documents
    objects: Objects
    at: tuple[Any, ...]
    known: tuple[Facts, ...]
    in_flight: tuple[Position, ...]
    succeeded: tuple[str, ...]
    job: str | None
    step: int
    faults: int
    deaths: int
    removals: int
    torn: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of an exploration.

    Attributes:
        steps: Steps of time, each longer than a lease.
        faults: Commits whose response is lost, and calls that fail.
        deaths: Processes that die.
        removals: Run records that TTL removes.
        torn: Reads whose two documents come from different moments, which BatchGetDocuments allows.
    """

    steps: int = 1
    faults: int = 0
    deaths: int = 0
    removals: int = 0
    torn: int = 0

    def __str__(self) -> str:
        """The bounds in words."""
        return ", ".join(f"{field.name}: {getattr(self, field.name)}" for field in fields(self))


class PartialRead(NamedTuple):
    """The position of a process that has received one of two documents that it reads."""

    position: Position
    run_first: bool
    stored: Stored | None


NOTHING_YET: Facts = frozenset()


class Model:
    """A set of processes and what can happen to them.

    Args:
        scripts: The processes.
        bounds: The limits of the exploration.
    """

    def __init__(self, scripts: tuple[Script, ...], bounds: Bounds) -> None:
        self.scripts = scripts
        self.bounds = bounds
        self._names = {script.name: index for index, script in enumerate(scripts)}
        self._committed: dict[tuple[Documents, Position], Documents | None] = {}
        self._after_watchdog: dict[tuple[Documents, Objects, str | None, int], State] = {}

    def explore(self, max_states: int = 20_000_000) -> int:
        """Visit every reachable state and return their number.

        Raises:
            Violation: An invariant is violated.
        """
        first = self._first(documents_of(), (), 0)
        came_from: dict[State, tuple[State, str] | None] = {first: None}
        waiting = [first]
        while waiting:
            state = waiting.pop()
            try:
                ended = True
                for what, following in self._following(state):
                    ended = ended and what == "time passes"
                    reached = self._with_facts(following)
                    if reached not in came_from:
                        if len(came_from) >= max_states:
                            raise RuntimeError(f"more than {max_states} states")
                        came_from[reached] = (state, what)
                        waiting.append(reached)
                if ended:
                    self._check_end(state)
            except Violation as violation:
                raise Violation(f"{violation}\n{_trace(came_from, state)}") from None
        return len(came_from)

    def _first(self, documents: Documents, objects: Objects, step: int) -> State:
        count, bounds = len(self.scripts), self.bounds
        return State(
            documents,
            objects,
            (None,) * count,
            (NOTHING_YET,) * count,
            (),
            (),
            JobState.enabled if any(script.kind == "job operator" for script in self.scripts) else None,
            step,
            bounds.faults,
            bounds.deaths,
            bounds.removals,
            bounds.torn,
        )

    def _following(self, state: State) -> Iterator[tuple[str, State]]:
        if state.step < self.bounds.steps:
            yield "time passes", state._replace(step=state.step + 1)
        if state.removals:
            yield from self._removals(state)
        yield from self._arrivals(state)
        for index, position in enumerate(state.at):
            if position is None:
                if all(state.at[self._names[name]] == OVER for name in self.scripts[index].after):
                    begins = first_position(self.scripts[index], state.step)
                    yield f"{self.scripts[index].name} begins", self._put(state, index, begins)
            elif isinstance(position, PartialRead):
                yield self._finish_read(state, index, position)
            elif position is not OVER:
                yield from self._transitions(state, index, position)

    def _arrivals(self, state: State) -> Iterator[tuple[str, State]]:
        for number, position in enumerate(state.in_flight):
            left = state._replace(in_flight=state.in_flight[:number] + state.in_flight[number + 1 :])
            if isinstance(position.request, SetJob):
                called = left._replace(job=position.request.state)
                yield f"{position.script.name}: its lost call to Cloud Scheduler arrives", called
                continue
            documents = self._commit(state, position)
            if documents is not None:
                yield f"{position.script.name}: its lost commit arrives", left._replace(documents=documents)

    @staticmethod
    def _removals(state: State) -> Iterator[tuple[str, State]]:
        for key, stored in state.documents.stored:
            if key.startswith(HISTORY) and "expire_at" in fields_of(stored):
                documents = state.documents.without(key)
                yield f"TTL removes {key}", state._replace(documents=documents, removals=state.removals - 1)

    def _transitions(self, state: State, index: int, position: Position) -> Iterator[tuple[str, State]]:
        name, kind = position.script.name, position.script.kind
        # A delayed merge of the legacy writer violates the invariants.
        sends = isinstance(position.request, Commit) and kind != "legacy writer"
        if state.deaths and kind != "reader":
            died = self._put(state._replace(deaths=state.deaths - 1), index, OVER)
            yield f"{name} dies", died
            if sends or isinstance(position.request, SetJob):
                yield (
                    f"{name} dies, its {type(position.request).__name__} sent",
                    self._with_in_flight(died, position),
                )
        if state.faults and sends:
            faulty = self._with_in_flight(state._replace(faults=state.faults - 1), position)
            yield f"{name}'s commit loses its response", self._resumed(faulty, index, position, ("unknown",))
        if state.faults and isinstance(position.request, ReadDocuments | ReadSchedule):
            faulty = state._replace(faults=state.faults - 1)
            yield f"{name}'s read fails", self._resumed(faulty, index, position, ("down",))
        if state.faults and isinstance(position.request, SetJob):
            for done in (state, state._replace(job=position.request.state)):
                faulty = done._replace(faults=state.faults - 1)
                yield (
                    f"{name}'s call to Cloud Scheduler fails",
                    self._resumed(faulty, index, position, ("no answer",)),
                )
        if state.torn and isinstance(position.request, ReadDocuments) and position.request.record_id:
            torn, run_id = state._replace(torn=state.torn - 1), position.request.record_id
            partial = PartialRead(position, run_first=False, stored=state.documents.get(STATUS))
            yield f"{name} reads the status", self._put(torn, index, partial)
            partial = PartialRead(position, run_first=True, stored=state.documents.get(f"{HISTORY}{run_id}"))
            yield f"{name} reads the history", self._put(torn, index, partial)
        if isinstance(position.request, Choose):
            for each in position.request.among:
                yield f"{name}: {each}", self._resumed(state, index, position, ("value", each))
        else:
            changed, answer = self._carry_out(state, position)
            what = type(position.request).__name__
            yield f"{name}: {what}, {answer[0]}", self._resumed(changed, index, position, answer)

    def _finish_read(self, state: State, index: int, partial: PartialRead) -> tuple[str, State]:
        position, stored = partial.position, partial.stored
        other = STATUS if partial.run_first else f"{HISTORY}{position.request.record_id}"
        read = state.documents.get(other)
        answer = ("read", read, stored) if partial.run_first else ("read", stored, read)
        return f"{position.script.name} reads the rest", self._resumed(state, index, position, answer)

    @staticmethod
    def _with_in_flight(state: State, position: Position) -> State:
        return state._replace(in_flight=tuple(sorted((*state.in_flight, position), key=id)))

    def _carry_out(self, state: State, position: Position) -> tuple[State, Event]:
        """Carry out a process's request."""
        if isinstance(position.request, StartNext):
            return state, ("value", None)
        if isinstance(position.request, RunJob):  # The resulting deliveries are separate processes.
            return state, ("value", None)
        if isinstance(position.request, ReadJob):
            return state, ("value", JobStatus(str(state.job)))
        if isinstance(position.request, SetJob):
            return state._replace(job=position.request.state), ("value", None)
        if isinstance(position.request, Commit):
            written = self._commit(state, position)
            if written is None:
                return state, ("refused",)
            first = written.get(position.request.writes[0].update.name)
            return state._replace(documents=written), ("committed", first.version if first else 0)
        answer = read(state.documents, position.request)
        if answer is None:
            objects, answer = on_storage(state.documents, state.objects, position.request)
            return state._replace(objects=objects), answer
        return state, answer

    def _resumed(self, state: State, index: int, position: Position, answer: Event) -> State:
        """Resume a process with a response, and run it until its next request."""
        following = next_position(position, answer, state.step)
        while isinstance(following.request, Answer | CancelReport | ReadReport | ContractReadReport):
            state = self._checked(state, index, following)
            following = next_position(following, ("value", None), state.step)
        return self._put(state, index, OVER if isinstance(following.request, Ended) else following)

    def _checked(self, state: State, index: int, position: Position) -> State:
        """Check a process's report against the facts since it began."""
        report, known = position.request, state.known[index]
        known |= facts(position.script, state.documents, state.objects, state.step)
        if isinstance(report, Answer):
            if state.removals == self.bounds.removals:  # The check needs records that TTL may have removed.
                check_answer(report, position.script, state.documents, known)
            if (state.faults, state.deaths) == (self.bounds.faults, self.bounds.deaths):
                check_answers_request(report, position.script, state.documents)
            if report.outcome == "completed":
                if report.run_id in state.succeeded:
                    raise Violation(f"two attempts of {report.run_id} succeeded")
                return state._replace(succeeded=tuple(sorted((*state.succeeded, report.run_id))))
        elif isinstance(report, CancelReport):
            if state.removals == self.bounds.removals:
                check_cancel_report(report, state.documents)
        else:
            without_faults = state.faults == self.bounds.faults
            check_read(report, position.script, known, without_faults=without_faults)
        return state

    @staticmethod
    def _put(state: State, index: int, position: Any) -> State:
        return state._replace(at=(*state.at[:index], position, *state.at[index + 1 :]))

    @staticmethod
    def _with_facts(state: State) -> State:
        """Add the current facts to those of each running process."""
        known = []
        for at, before in zip(state.at, state.known, strict=True):
            position = at.position if isinstance(at, PartialRead) else at
            if position is None or position is OVER or isinstance(position.request, StartNext):
                known.append(NOTHING_YET)
            else:
                known.append(before | facts(position.script, state.documents, state.objects, state.step))
        facts_since = tuple(known)
        return state if facts_since == state.known else state._replace(known=facts_since)

    def _commit(self, state: State, position: Position) -> Documents | None:
        key = (state.documents, position)
        if key not in self._committed:
            self._committed[key] = state.documents.commit(position.request.writes)
        documents = self._committed[key]
        if documents is not None:
            check_commit(state.documents, documents, state.objects, position.script)
        return documents

    def _check_end(self, state: State) -> None:
        """Check the invariants of a state in which all processes have ended, then after a watchdog pass."""
        without_faults = (state.faults, state.deaths) == (self.bounds.faults, self.bounds.deaths)
        if without_faults:
            check_contract_copy(state.documents, state.objects, when="no process died, nothing failed")
            check_job(state.documents, state.job, when="no process died, nothing failed")
            if any(script.kind == "delivery" and script.after for script in self.scripts):
                check_requests_answered(state.documents)
        key = (state.documents, state.objects, state.job, state.step)
        if key not in self._after_watchdog:
            self._after_watchdog[key] = _after_watchdog(*key)
            check_order(self._after_watchdog[key].documents, self._after_watchdog[key].objects)
        left = self._after_watchdog[key]
        check_job(left.documents, left.job, when="the watchdog has passed")


def _after_watchdog(documents: Documents, objects: Objects, job: str | None, step: int) -> State:
    passes = [watchdog("last watchdog"), *([job_keeper("last job keeper")] if job else [])]
    alone = Model(tuple(passes), Bounds(0))
    state = alone._first(documents, objects, step + 10)._replace(job=job)
    while following := list(alone._following(state)):
        (_, state), *_ = following
    return state


def _trace(came_from: dict[State, tuple[State, str] | None], state: State) -> str:
    steps = []
    while (before := came_from[state]) is not None:
        state, what = before
        steps.append(what)
    return "\n".join(f"  {number}. {what}" for number, what in enumerate(reversed(steps), 1))
