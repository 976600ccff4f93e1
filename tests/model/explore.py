"""Explores every order in which processes, time, deaths and faults can meet, and checks what must hold."""

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
    check_cancel_told,
    check_commit,
    check_contract_copy,
    check_got,
    check_job,
    check_order,
    check_requests_answered,
    facts,
)
from tests.model.memory_store import Documents, Stored, documents_of, fields_of
from tests.model.processes import job_keeper, watchdog
from tests.model.requests import Again, Answer, CancelTold, Choose, Ended, Got, GotByContract
from tests.model.servers import on_storage, read
from tests.model.standing import Event, Place, Script, after, begun

OVER = "over"


class State(NamedTuple):
    """Everything there is at one moment.

    Attributes:
        documents: Firestore.
        objects: Storage.
        at: where each process stands: None before it begins, `OVER` once it has ended or died.
        known: what was true at some moment since each process began.
        in_flight: commits that were sent by processes that don't wait for them any more.
        succeeded: runs that an attempt says it has completed.
        job: the state of Cloud Scheduler's job; None where no process knows of it.
        step: the time.
        faults, deaths, removals, torn: how many may still come.
    """

    documents: Documents
    objects: Objects
    at: tuple[Any, ...]
    known: tuple[Facts, ...]
    in_flight: tuple[Place, ...]
    succeeded: tuple[str, ...]
    job: str | None
    step: int
    faults: int
    deaths: int
    removals: int
    torn: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far is explored.

    Attributes:
        steps: of time, each longer than a lease.
        faults: commits whose answer is lost, reads that fail.
        deaths: processes that die.
        removals: histories that TTL removes.
        torn: reads whose two documents come from different moments, as some BatchGets do.
    """

    steps: int = 1
    faults: int = 0
    deaths: int = 0
    removals: int = 0
    torn: int = 0

    def __str__(self) -> str:
        """The bounds in words."""
        return ", ".join(f"{field.name}: {getattr(self, field.name)}" for field in fields(self))


class Half(NamedTuple):
    """A process that was sent one of the documents it reads, and waits for the other."""

    place: Place
    run_first: bool
    stored: Stored | None


NOTHING_YET: Facts = frozenset()


class Model:
    """A set of processes and what can happen to them.

    Args:
        scripts: the processes.
        bounds: how much can happen.
    """

    def __init__(self, scripts: tuple[Script, ...], bounds: Bounds) -> None:
        self.scripts = scripts
        self.bounds = bounds
        self._names = {script.name: index for index, script in enumerate(scripts)}
        self._committed: dict[tuple[Documents, Place], Documents | None] = {}
        self._left: dict[tuple[Documents, Objects, str | None, int], State] = {}

    def explore(self, most: int = 20_000_000) -> int:
        """Visit every state that can be reached; return how many there are.

        Raises:
            Violation: something that must hold does not.
        """
        first = self._first(documents_of(), (), 0)
        came_from: dict[State, tuple[State, str] | None] = {first: None}
        waiting = [first]
        while waiting:
            state = waiting.pop()
            try:
                quiet = True
                for what, following in self._following(state):
                    quiet = quiet and what == "time passes"
                    noted = self._noted(following)
                    if noted not in came_from:
                        if len(came_from) >= most:
                            raise RuntimeError(f"more than {most} states")
                        came_from[noted] = (state, what)
                        waiting.append(noted)
                if quiet:
                    self._check_quiet(state)
            except Violation as violation:
                raise Violation(f"{violation}\n{_story(came_from, state)}") from None
        return len(came_from)

    def _first(self, documents: Documents, objects: Objects, step: int) -> State:
        nobody, bounds = len(self.scripts), self.bounds
        return State(
            documents,
            objects,
            (None,) * nobody,
            (NOTHING_YET,) * nobody,
            (),
            (),
            JobState.enabled if any(script.kind == "steerer" for script in self.scripts) else None,
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
        for index, place in enumerate(state.at):
            if place is None:
                if all(state.at[self._names[name]] == OVER for name in self.scripts[index].after):
                    begins = begun(self.scripts[index], state.step)
                    yield f"{self.scripts[index].name} begins", self._put(state, index, begins)
            elif isinstance(place, Half):
                yield self._other_half(state, index, place)
            elif place is not OVER:
                yield from self._moves(state, index, place)

    def _arrivals(self, state: State) -> Iterator[tuple[str, State]]:
        for number, place in enumerate(state.in_flight):
            left = state._replace(in_flight=state.in_flight[:number] + state.in_flight[number + 1 :])
            if isinstance(place.request, SetJob):
                called = left._replace(job=place.request.wanted)
                yield f"{place.script.name}: its lost call to Cloud Scheduler arrives", called
                continue
            documents = self._commit(state, place)
            if documents is not None:
                yield f"{place.script.name}: its lost commit arrives", left._replace(documents=documents)

    @staticmethod
    def _removals(state: State) -> Iterator[tuple[str, State]]:
        for key, stored in state.documents.stored:
            if key.startswith(HISTORY) and "expire_at" in fields_of(stored):
                documents = state.documents.without(key)
                yield f"TTL removes {key}", state._replace(documents=documents, removals=state.removals - 1)

    def _moves(self, state: State, index: int, place: Place) -> Iterator[tuple[str, State]]:
        name, kind = place.script.name, place.script.kind
        sends = isinstance(place.request, Commit) and kind != "original"  # its late merge can't be borne
        if state.deaths and kind != "reader":
            died = self._put(state._replace(deaths=state.deaths - 1), index, OVER)
            yield f"{name} dies", died
            if sends or isinstance(place.request, SetJob):
                yield f"{name} dies, its {type(place.request).__name__} sent", self._flying(died, place)
        if state.faults and sends:
            faulty = self._flying(state._replace(faults=state.faults - 1), place)
            yield f"{name}'s commit loses its answer", self._moved(faulty, index, place, ("unknown",))
        if state.faults and isinstance(place.request, ReadDocuments | ReadSchedule):
            faulty = state._replace(faults=state.faults - 1)
            yield f"{name}'s read fails", self._moved(faulty, index, place, ("down",))
        if state.faults and isinstance(place.request, SetJob):
            for done in (state, state._replace(job=place.request.wanted)):
                faulty = done._replace(faults=state.faults - 1)
                yield (
                    f"{name}'s call to Cloud Scheduler fails",
                    self._moved(faulty, index, place, ("no answer",)),
                )
        if state.torn and isinstance(place.request, ReadDocuments) and place.request.run_id:
            torn, run_id = state._replace(torn=state.torn - 1), place.request.run_id
            half = Half(place, run_first=False, stored=state.documents.get(STATUS))
            yield f"{name} reads the status", self._put(torn, index, half)
            half = Half(place, run_first=True, stored=state.documents.get(f"{HISTORY}{run_id}"))
            yield f"{name} reads the history", self._put(torn, index, half)
        if isinstance(place.request, Choose):
            for each in place.request.among:
                yield f"{name}: {each}", self._moved(state, index, place, ("value", each))
        else:
            changed, answer = self._answered(state, place)
            what = type(place.request).__name__
            yield f"{name}: {what}, {answer[0]}", self._moved(changed, index, place, answer)

    def _other_half(self, state: State, index: int, half: Half) -> tuple[str, State]:
        place, stored = half.place, half.stored
        other = STATUS if half.run_first else f"{HISTORY}{place.request.run_id}"
        read = state.documents.get(other)
        answer = ("read", read, stored) if half.run_first else ("read", stored, read)
        return f"{place.script.name} reads the rest", self._moved(state, index, place, answer)

    @staticmethod
    def _flying(state: State, place: Place) -> State:
        return state._replace(in_flight=tuple(sorted((*state.in_flight, place), key=id)))

    def _answered(self, state: State, place: Place) -> tuple[State, Event]:
        """Carry out what a process asks for."""
        if isinstance(place.request, Again):
            return state, ("value", None)
        if isinstance(place.request, RunJob):  # the deliveries that follow are processes of their own
            return state, ("value", None)
        if isinstance(place.request, ReadJob):
            return state, ("value", JobStatus(str(state.job)))
        if isinstance(place.request, SetJob):
            return state._replace(job=place.request.wanted), ("value", None)
        if isinstance(place.request, Commit):
            written = self._commit(state, place)
            if written is None:
                return state, ("refused",)
            first = written.get(place.request.writes[0].update.name)
            return state._replace(documents=written), ("committed", first.version if first else 0)
        answer = read(state.documents, place.request)
        if answer is None:
            objects, answer = on_storage(state.documents, state.objects, place.request)
            return state._replace(objects=objects), answer
        return state, answer

    def _moved(self, state: State, index: int, place: Place, answer: Event) -> State:
        """The process is answered, and goes on until it asks for something again."""
        following = after(place, answer, state.step)
        while isinstance(following.request, Answer | CancelTold | Got | GotByContract):
            state = self._told(state, index, following)
            following = after(following, ("value", None), state.step)
        return self._put(state, index, OVER if isinstance(following.request, Ended) else following)

    def _told(self, state: State, index: int, place: Place) -> State:
        """What a process tells is checked against what was true since it began."""
        told, known = place.request, state.known[index]
        known |= facts(place.script, state.documents, state.objects, state.step)
        if isinstance(told, Answer):
            if state.removals == self.bounds.removals:  # what TTL has removed can't be looked up
                check_answer(told, place.script, state.documents, known)
            if (state.faults, state.deaths) == (self.bounds.faults, self.bounds.deaths):
                check_answers_request(told, place.script, state.documents)
            if told.outcome == "completed":
                if told.run_id in state.succeeded:
                    raise Violation(f"two attempts of {told.run_id} succeeded")
                return state._replace(succeeded=tuple(sorted((*state.succeeded, told.run_id))))
        elif isinstance(told, CancelTold):
            if state.removals == self.bounds.removals:
                check_cancel_told(told, state.documents)
        else:
            untroubled = state.faults == self.bounds.faults
            check_got(told, place.script, known, untroubled=untroubled)
        return state

    @staticmethod
    def _put(state: State, index: int, place: Any) -> State:
        return state._replace(at=(*state.at[:index], place, *state.at[index + 1 :]))

    @staticmethod
    def _noted(state: State) -> State:
        """What is true now is noted for each process at work."""
        known = []
        for at, before in zip(state.at, state.known, strict=True):
            place = at.place if isinstance(at, Half) else at
            if place is None or place is OVER or isinstance(place.request, Again):
                known.append(NOTHING_YET)
            else:
                known.append(before | facts(place.script, state.documents, state.objects, state.step))
        noted = tuple(known)
        return state if noted == state.known else state._replace(known=noted)

    def _commit(self, state: State, place: Place) -> Documents | None:
        key = (state.documents, place)
        if key not in self._committed:
            self._committed[key] = state.documents.commit(place.request.writes)
        documents = self._committed[key]
        if documents is not None:
            check_commit(state.documents, documents, state.objects, place.script)
        return documents

    def _check_quiet(self, state: State) -> None:
        """All processes have ended: after a pass of the watchdog, everything is in order."""
        untroubled = (state.faults, state.deaths) == (self.bounds.faults, self.bounds.deaths)
        if untroubled:
            check_contract_copy(state.documents, state.objects, when="no process died, nothing failed")
            check_job(state.documents, state.job, when="no process died, nothing failed")
            if any(script.kind == "delivery" and script.after for script in self.scripts):
                check_requests_answered(state.documents)
        key = (state.documents, state.objects, state.job, state.step)
        if key not in self._left:
            self._left[key] = _after_watchdog(*key)
            check_order(self._left[key].documents, self._left[key].objects)
        left = self._left[key]
        check_job(left.documents, left.job, when="the watchdog has passed")


def _after_watchdog(documents: Documents, objects: Objects, job: str | None, step: int) -> State:
    passes = [watchdog("last watchdog"), *([job_keeper("last job keeper")] if job else [])]
    alone = Model(tuple(passes), Bounds(0))
    state = alone._first(documents, objects, step + 10)._replace(job=job)
    while following := list(alone._following(state)):
        (_, state), *_ = following
    return state


def _story(came_from: dict[State, tuple[State, str] | None], state: State) -> str:
    told = []
    while (before := came_from[state]) is not None:
        state, what = before
        told.append(what)
    return "\n".join(f"  {number}. {what}" for number, what in enumerate(reversed(told), 1))
