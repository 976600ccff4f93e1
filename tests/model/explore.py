"""Explores every interleaving of processes, time, deaths and faults, and checks the invariants."""

from collections.abc import Iterator
from typing import Any

from shared.tasks.backends.scheduler import JobState, JobStatus
from shared.tasks.protocol.effects import (
    Commit,
    DeliverLeg,
    ReadDocuments,
    ReadJob,
    ReadSchedule,
    RunJob,
    SetJob,
)
from tests.model import cloud_tasks
from tests.model.cloud_tasks import CloudTask, Delivery, Queue
from tests.model.invariants import (
    HISTORY,
    STATUS,
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
from tests.model.leg_invariants import check_leg_answer, check_legs, check_run_to_its_end, is_over
from tests.model.long_runs import last_continuation
from tests.model.memory_store import Documents, documents_of, fields_of, with_equal_versions
from tests.model.positions import Event, Position, Script, first_position, next_position
from tests.model.processes import last_watchdog, resumer, watchdog
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
from tests.model.states import NOTHING_YET, OVER, Bounds, PartialRead, State, trace_of

#: Calls to Cloud Scheduler and Cloud Tasks, and reports of processes. Checks of tuples are quick.
CALLS = (SetJob, DeliverLeg)
REPORTS = (Answer, CancelReport, ReadReport, ContractReadReport)
#: Fields that change in most transitions.
AT, KNOWN = State._fields.index("at"), State._fields.index("known")
#: Passes of the watchdog, and deliveries after each, that end every run.
MAX_TURNS = 8


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
        self._checked_commits: set[tuple[Documents, Position, Objects, int]] = set()
        self._after_watchdog: dict[tuple[Documents, Objects, str | None, int], State] = {}
        self._ended: set[tuple[Documents, Objects, Queue, int]] = set()
        self._has_legs = any(script.has_legs for script in scripts)

    def explore(self, max_states: int = 20_000_000) -> int:
        """Visit every reachable state and return their number.

        Raises:
            Violation: An invariant is violated.
        """
        first = self.first(documents_of(), (), 0)
        came_from: dict[State, tuple[State, str] | None] = {first: None}
        waiting = [first]
        while waiting:
            state = waiting.pop()
            try:
                ended = True
                for what, following in self.following(state):
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
                raise Violation(f"{violation}\n{trace_of(came_from, state)}") from None
        return len(came_from)

    def first(self, documents: Documents, objects: Objects, step: int) -> State:
        count, bounds = len(self.scripts), self.bounds
        return State(
            documents,
            objects,
            (None,) * count,
            (NOTHING_YET,) * count,
            (),
            (),
            JobState.enabled if any(script.kind == "job operator" for script in self.scripts) else None,
            (),
            step,
            bounds.faults,
            bounds.deaths,
            bounds.removals,
            bounds.torn,
            bounds.given_up,
            bounds.repeats,
        )

    def following(self, state: State) -> Iterator[tuple[str, State]]:
        if state.step < self.bounds.steps:
            yield "time passes", state._replace(step=state.step + 1)
        if state.removals:
            yield from self._removals(state)
        yield from self._arrivals(state)
        if self._has_legs:
            yield from self._cloud_tasks(state)
        for index, position in enumerate(state.at):
            if position is None:
                if self.scripts[index].kind == "continuation":
                    continue
                if all(state.at[self._names[name]] == OVER for name in self.scripts[index].after):
                    begins = first_position(self.scripts[index], state.step)
                    yield f"{self.scripts[index].name} begins", self._put(state, index, begins)
            elif isinstance(position, PartialRead):
                yield self._finish_read(state, index, position)
            elif position is not OVER:
                yield from self._transitions(state, index, position)

    def _cloud_tasks(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield the deliveries of Cloud Tasks, by the first continuation that is free."""
        if state.given_up:
            for name in cloud_tasks.in_state(state.queue, Delivery.queued):
                queue = cloud_tasks.changed(state.queue, name, Delivery.over)
                yield f"{name} is given up", state._replace(queue=queue, given_up=state.given_up - 1)
        free = (
            index
            for index, script in enumerate(self.scripts)
            if script.kind == "continuation" and state.at[index] is None
        )
        if (index := next(free, None)) is None:
            return
        begins = first_position(self.scripts[index], state.step)
        for name, delivery in state.queue:
            is_repeated = delivery is not Delivery.queued
            if is_repeated and not state.repeats:
                continue
            left = state._replace(
                queue=cloud_tasks.changed(state.queue, name, Delivery.out),
                repeats=state.repeats - is_repeated,
            )
            received = next_position(begins, ("value", name), state.step)
            yield f"{name} is delivered to {self.scripts[index].name}", self._put(left, index, received)

    def _arrivals(self, state: State) -> Iterator[tuple[str, State]]:
        for number, position in enumerate(state.in_flight):
            left = state._replace(in_flight=state.in_flight[:number] + state.in_flight[number + 1 :])
            if isinstance(position.request, CALLS):
                what = type(position.request).__name__
                yield f"{position.script.name}: its lost {what} arrives", self._called(left, position.request)
                continue
            documents = self._commit(state, position)
            if documents is not None:
                yield f"{position.script.name}: its lost commit arrives", left._replace(documents=documents)

    @staticmethod
    def _removals(state: State) -> Iterator[tuple[str, State]]:
        for key, stored in state.documents.records(HISTORY):
            if "expire_at" in fields_of(stored):
                documents = state.documents.without(key)
                yield f"TTL removes {key}", state._replace(documents=documents, removals=state.removals - 1)

    def _transitions(self, state: State, index: int, position: Position) -> Iterator[tuple[str, State]]:
        name, kind = position.script.name, position.script.kind
        if state.deaths and kind != "reader":
            yield from self._deaths(state, index, position)
        if state.faults:
            yield from self._faults(state, index, position)
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

    def _deaths(self, state: State, index: int, position: Position) -> Iterator[tuple[str, State]]:
        name, kind = position.script.name, position.script.kind
        died = self._put(state._replace(deaths=state.deaths - 1), index, OVER)
        if kind == "continuation":
            queue = cloud_tasks.changed(died.queue, _received_by(position), Delivery.queued)
            died = died._replace(queue=queue)
        yield f"{name} dies", died
        if isinstance(position.request, CALLS) or _may_be_late(position):
            what = type(position.request).__name__
            yield f"{name} dies, its {what} sent", self._with_in_flight(died, position)

    def _faults(self, state: State, index: int, position: Position) -> Iterator[tuple[str, State]]:
        name, faulty = position.script.name, state._replace(faults=state.faults - 1)
        late = self._with_in_flight(faulty, position)
        match position.request:
            case Commit() if _may_be_late(position):
                yield (
                    f"{name}'s commit loses its response",
                    self._resumed(late, index, position, ("unknown",)),
                )
            case ReadDocuments() | ReadSchedule():
                yield f"{name}'s read fails", self._resumed(faulty, index, position, ("down",))
            case SetJob(requested):
                for done in (faulty, faulty._replace(job=requested)):
                    what = f"{name}'s call to Cloud Scheduler fails"
                    yield what, self._resumed(done, index, position, ("no answer",))
            case DeliverLeg():
                for done in (faulty, late):
                    what = f"{name}'s call to Cloud Tasks fails"
                    yield what, self._resumed(done, index, position, ("no leg",))

    def _finish_read(self, state: State, index: int, partial: PartialRead) -> tuple[str, State]:
        position, stored = partial.position, partial.stored
        other = STATUS if partial.run_first else f"{HISTORY}{position.request.record_id}"
        read = state.documents.get(other)
        answer = ("read", read, stored) if partial.run_first else ("read", stored, read)
        return f"{position.script.name} reads the rest", self._resumed(state, index, position, answer)

    @staticmethod
    def _with_in_flight(state: State, position: Position) -> State:
        return state._replace(in_flight=tuple(sorted((*state.in_flight, position), key=id)))

    @staticmethod
    def _called(state: State, request: SetJob | DeliverLeg) -> State:
        """Return the state after a call to Cloud Scheduler or Cloud Tasks."""
        if isinstance(request, SetJob):
            return state._replace(job=request.state)
        return state._replace(queue=cloud_tasks.created(state.queue, request))

    def _carry_out(self, state: State, position: Position) -> tuple[State, Event]:
        """Carry out a process's request."""
        if isinstance(position.request, StartNext):
            return state, ("value", None)
        if isinstance(position.request, RunJob):  # The resulting deliveries are separate processes.
            return state, ("value", None)
        if isinstance(position.request, ReadJob):
            return state, ("value", JobStatus(str(state.job)))
        if isinstance(position.request, CALLS):
            return self._called(state, position.request), ("value", None)
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
        while isinstance(following.request, REPORTS):
            state = self._checked(state, index, following)
            following = next_position(following, ("value", None), state.step)
        return self._put(state, index, OVER if isinstance(following.request, Ended) else following)

    def _checked(self, state: State, index: int, position: Position) -> State:
        """Check a process's report against the facts since it began."""
        report, known = position.request, state.known[index]
        known |= facts(position.script, state.documents, state.objects, state.step)
        if isinstance(report, Answer):
            if report.cloud_task is not None:
                delivery = Delivery.over if 200 <= report.status < 300 else Delivery.queued
                state = state._replace(queue=cloud_tasks.changed(state.queue, report.cloud_task, delivery))
            # The checks need records that TTL may have removed.
            if state.removals == self.bounds.removals and not check_leg_answer(
                report, position.script, state.documents, state.queue, state.step
            ):
                check_answer(report, position.script, state.documents, known)
            without_faults = (state.faults, state.deaths) == (self.bounds.faults, self.bounds.deaths)
            if without_faults and report.cloud_task is None:
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
        return _changed(state, AT, (*state.at[:index], position, *state.at[index + 1 :]))

    @staticmethod
    def _with_facts(state: State) -> State:
        """Add the current facts to those of each running process."""
        known = []
        for at, before in zip(state.at, state.known, strict=True):
            position = at.position if isinstance(at, PartialRead) else at
            if position is None or position is OVER or isinstance(position.request, StartNext):
                known.append(NOTHING_YET)
            else:
                found = facts(position.script, state.documents, state.objects, state.step)
                # The same object, if nothing is new, keeps its hash.
                known.append(before if found <= before else before | found)
        facts_since = tuple(known)
        return state if facts_since == state.known else _changed(state, KNOWN, facts_since)

    def _commit(self, state: State, position: Position) -> Documents | None:
        key = (state.documents, position)
        if key not in self._committed:
            self._committed[key] = state.documents.commit(position.request.writes)
        documents = self._committed[key]
        check = (state.documents, position, state.objects, state.step)
        if documents is not None and check not in self._checked_commits:
            check_commit(state.documents, documents, state.objects, position.script)
            if self._has_legs:
                check_legs(state.documents, documents, position.script, state.step)
            self._checked_commits.add(check)
        return documents

    def finish(self, state: State) -> State:
        """Carry out the first possible event until none is left."""
        while following := list(self.following(state)):
            (_, state), *_ = following
        return state

    def _check_end(self, state: State) -> None:
        """Check the invariants of a state in which all processes have ended, then after a watchdog pass."""
        without_faults = (state.faults, state.deaths) == (self.bounds.faults, self.bounds.deaths)
        if without_faults:
            check_contract_copy(state.documents, state.objects, when="no process died, nothing failed")
            check_job(state.documents, state.job, when="no process died, nothing failed")
            if any(script.kind == "delivery" and script.after for script in self.scripts):
                check_requests_answered(state.documents)
        if self._has_legs:
            documents = with_equal_versions(state.documents)
            end = (documents, state.objects, state.queue, state.step)
            if end not in self._ended:
                self._ended.add(end)
                run_to_its_end(*end)
            return
        key = (state.documents, state.objects, state.job, state.step)
        if key not in self._after_watchdog:
            self._after_watchdog[key] = _after_watchdog(*key)
            check_order(self._after_watchdog[key].documents, self._after_watchdog[key].objects)
        left = self._after_watchdog[key]
        check_job(left.documents, left.job, when="the watchdog has passed")


def _changed(state: State, field: int, value: Any) -> State:
    """Return the state with another value of a field, in a third of the time that `_replace` takes."""
    return State._make((*state[:field], value, *state[field + 1 :]))


def _may_be_late(position: Position) -> bool:
    """Return whether a process sends a commit; a late one of the legacy writer violates the invariants."""
    return isinstance(position.request, Commit) and position.script.kind != "legacy writer"


def _received_by(position: Position) -> CloudTask:
    """Return the Cloud Task that a continuation received first."""
    (_, name), _ = position.history[1]
    assert isinstance(name, CloudTask)
    return name


def _after_watchdog(documents: Documents, objects: Objects, job: str | None, step: int) -> State:
    if job:
        alone = Model((resumer("last watchdog with a job"),), Bounds(0))
        resumed = alone.finish(alone.first(documents, objects, step + 10)._replace(job=job))
        documents, objects, job = resumed.documents, resumed.objects, resumed.job
    alone = Model((watchdog("last watchdog"),), Bounds(0))
    return alone.finish(alone.first(documents, objects, step + 10)._replace(job=job))


def run_to_its_end(documents: Documents, objects: Objects, queue: Queue, step: int) -> None:
    """Let the watchdog pass and Cloud Tasks deliver, alone and without faults, until all runs have ended."""
    for turn in range(MAX_TURNS):
        step += 10
        alone = Model((last_watchdog(turn),), Bounds(0))
        state = alone.finish(alone.first(documents, objects, step)._replace(queue=queue))
        for number in range(MAX_TURNS):
            if not any(cloud_tasks.in_state(state.queue, Delivery.queued, Delivery.out)):
                break
            queue = tuple((name, Delivery.queued if it is Delivery.out else it) for name, it in state.queue)
            alone = Model((last_continuation(turn, number),), Bounds(0))
            state = alone.finish(alone.first(state.documents, state.objects, step)._replace(queue=queue))
        documents, objects, queue = state.documents, state.objects, state.queue
        if is_over(documents):
            break
    check_order(documents, objects)
    check_run_to_its_end(documents, step)
