"""Explores every order in which processes, time, deaths and faults can meet, and checks what must hold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shared.tasks.names import contract_object
from shared.tasks.steps import (
    Commit,
    CopyObject,
    ListObjects,
    Read,
    ReadNextResult,
    ReadObject,
    ReadRunning,
    RemoveObject,
)
from shared.tasks.writes import history_name, status_name
from tests.model.memory_store import Documents, fields_of, run_document, task_document
from tests.model.processes import (
    DOCUMENTS,
    EPOCH,
    TASK,
    Choose,
    Ended,
    History,
    Remove,
    Script,
    Upload,
    shortest,
    standing_of,
    watchdog,
)

STATUS = status_name(DOCUMENTS, TASK)
HISTORY = history_name(DOCUMENTS, TASK, "")
MIRROR = contract_object(TASK)
DEAD = ("dead",)
#: Older than anything is kept.
LONG_AGO = EPOCH - timedelta(days=365)


class Violation(AssertionError):
    """Something that must hold did not; the text tells what, and how it came."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything there is at one moment.

    Attributes:
        documents: Firestore.
        objects: what version each object of a path is, the mirror's with its generation.
        at: where each process stands: not begun, its history, ended or dead.
        in_flight: commits that were sent by processes that don't wait for them any more.
        step: the time.
        faults, deaths, removals: how many may still come.
    """

    documents: Documents
    objects: tuple[tuple[str, tuple[int, str]], ...]
    at: tuple[History | None, ...]
    in_flight: tuple[tuple[int, History], ...]
    step: int
    faults: int
    deaths: int
    removals: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far is explored: steps of time, faults (lost answers, reads that fail), deaths, TTL removals."""

    steps: int = 1
    faults: int = 0
    deaths: int = 0
    removals: int = 0


class Model:
    """A set of processes and what can happen to them.

    Args:
        scripts: the processes.
        bounds: how much can happen.
        documents: what there is at first.
    """

    def __init__(
        self, scripts: tuple[Script, ...], bounds: Bounds, documents: Documents | None = None
    ) -> None:
        self.scripts = scripts
        self.first = State(
            documents or Documents(),
            (),
            (None,) * len(scripts),
            (),
            0,
            bounds.faults,
            bounds.deaths,
            bounds.removals,
        )
        self._steps = bounds.steps

    def explore(self, most: int = 10_000_000) -> int:
        """Visit every state that can be reached; return how many there are.

        Raises:
            Violation: something that must hold does not.
        """
        came_from: dict[State, tuple[State, str] | None] = {self.first: None}
        waiting = [self.first]
        while waiting:
            state = waiting.pop()
            try:
                quiet = True
                for what, following in self._following(state):
                    quiet = quiet and what == "time passes"
                    if following not in came_from:
                        if len(came_from) >= most:
                            raise RuntimeError(f"more than {most} states")
                        came_from[following] = (state, what)
                        waiting.append(following)
                if quiet:
                    self._check_quiet(state)
            except Violation as violation:
                raise Violation(f"{violation}\n{_story(came_from, state)}") from None
        return len(came_from)

    def _following(self, state: State) -> Iterator[tuple[str, State]]:
        if state.step < self._steps:
            yield "time passes", replace(state, step=state.step + 1)
        if state.removals:
            yield from self._removals(state)
        for place, (index, history) in enumerate(state.in_flight):
            left = state.in_flight[:place] + state.in_flight[place + 1 :]
            script = self.scripts[index]
            documents = self._commit(state, index, standing_of(script, history).writes)
            if documents is not None:
                yield (
                    f"{script.name}: its lost commit arrives",
                    replace(state, documents=documents, in_flight=left),
                )
        for index, history in enumerate(state.at):
            yield from self._moves(state, index, history)

    @staticmethod
    def _removals(state: State) -> Iterator[tuple[str, State]]:
        for key, stored in state.documents.stored:
            if key.startswith(HISTORY) and "expire_at" in fields_of(stored):
                documents = state.documents.without(key)
                yield f"TTL removes {key}", replace(state, documents=documents, removals=state.removals - 1)

    def _moves(self, state: State, index: int, history: Any) -> Iterator[tuple[str, State]]:
        script = self.scripts[index]
        if history is None:
            yield f"{script.name} begins", self._moved(state, index, ("born",))
            return
        if history == DEAD or history[0] == "ended":
            return
        request = standing_of(script, history)
        if isinstance(request, Ended):
            self._check_answer(state, script, request.answer)
            yield f"{script.name}: {request.answer}", self._put(state, index, ("ended", request.answer))
            return
        if state.deaths:
            died = self._put(replace(state, deaths=state.deaths - 1), index, DEAD)
            yield f"{script.name} dies", died
            if isinstance(request, Commit):
                flying = tuple(sorted((*state.in_flight, (index, history)), key=repr))
                yield f"{script.name} dies, its commit sent", replace(died, in_flight=flying)
        yield from self._answers(state, index, history, request)

    def _answers(
        self, state: State, index: int, history: History, request: Any
    ) -> Iterator[tuple[str, State]]:
        name = self.scripts[index].name
        match request:
            case Choose(among):
                for each in among:
                    yield f"{name} chooses {each}", self._moved(state, index, ("value", each))
            case Read(run_id):
                status = state.documents.get(STATUS)
                run = state.documents.get(f"{HISTORY}{run_id}") if run_id else None
                yield f"{name} reads", self._moved(state, index, ("read", status, run))
                yield from self._fault(state, index, "down")
            case ReadRunning():
                found = tuple(
                    (key.rpartition("/")[2], stored)
                    for key, stored in state.documents.stored
                    if key.startswith(HISTORY) and fields_of(stored).get("state") == "running"
                )
                yield f"{name} finds running histories", self._moved(state, index, ("running", found))
            case Commit(writes):
                documents = self._commit(state, index, writes)
                if documents is None:
                    yield f"{name}'s commit is refused", self._moved(state, index, ("refused",))
                else:
                    version = dict(documents.stored)[writes[0].update.name].version
                    yield (
                        f"{name} commits",
                        self._moved(replace(state, documents=documents), index, ("version", version)),
                    )
                if state.faults:
                    flying = tuple(sorted((*state.in_flight, (index, history)), key=repr))
                    faulty = replace(state, faults=state.faults - 1, in_flight=flying)
                    yield f"{name}'s commit loses its answer", self._moved(faulty, index, ("unknown",))
            case _:
                yield from self._objects(state, index, request)

    def _objects(self, state: State, index: int, request: Any) -> Iterator[tuple[str, State]]:
        name = self.scripts[index].name
        objects = dict(state.objects)
        answer: tuple[Any, ...] = ("value", None)
        match request:
            case Upload(path, version):
                objects[path] = (1, version)
            case Remove(path) | RemoveObject(path):
                self._check_removal(state, path)
                objects.pop(path, None)
            case ListObjects(folder):  # all of them old enough: what keeps an object is not its age alone
                answer = ("value", tuple((path, LONG_AGO) for path in objects if path.startswith(folder)))
            case ReadNextResult(after):
                ends = [
                    run_document(stored) for key, stored in state.documents.stored if key.startswith(HISTORY)
                ]
                later = any(
                    run and run.state == "completed" and run.completed and run.completed > after
                    for run in ends
                )
                answer = ("value", LONG_AGO if later else None)
            case ReadObject(path):
                answer = ("value", objects.get(path, (0, None)))
            case CopyObject(source, target, generation):
                if source not in objects:
                    answer = ("gone",)
                elif objects.get(target, (0, ""))[0] != generation:
                    answer = ("value", False)
                else:
                    objects[target] = (generation + 1, objects[source][1])
                    answer = ("value", True)
            case _:
                raise AssertionError(request)
        changed = replace(state, objects=tuple(sorted(objects.items())))
        yield f"{name}: {type(request).__name__}", self._moved(changed, index, answer)

    def _fault(self, state: State, index: int, error: str) -> Iterator[tuple[str, State]]:
        if state.faults:
            faulty = replace(state, faults=state.faults - 1)
            yield f"{self.scripts[index].name}'s read fails", self._moved(faulty, index, (error,))

    def _moved(self, state: State, index: int, answer: tuple[Any, ...]) -> State:
        history = (*(state.at[index] or ()), (answer, state.step))
        return self._put(state, index, shortest(self.scripts[index], history))

    @staticmethod
    def _put(state: State, index: int, history: Any) -> State:
        return replace(state, at=(*state.at[:index], history, *state.at[index + 1 :]))

    def _commit(self, state: State, index: int, writes: list[Any]) -> Documents | None:
        documents = state.documents.commit(writes)
        if documents is not None:
            self._check_commit(state, documents, self.scripts[index])
        return documents

    def _check_commit(self, state: State, after: Documents, script: Script) -> None:
        """What a commit may not do, whoever sends it."""
        old = task_document(state.documents.get(STATUS))
        new = task_document(after.get(STATUS))
        if old.result is not None and new.result is None:
            raise Violation("a result turned into nothing")
        if new.result is not None and new.result != old.result:
            self._check_publication(state, after, script)
        suspended = new.suspended is not None and new.status == "suspeneded"
        if old.suspended is not None and not suspended and script.name != "resume":
            raise Violation(f"{script.name} undid a suspension")
        for key, stored in state.documents.stored:
            before, run = run_document(stored), run_document(after.get(key))
            ended = key.startswith(HISTORY) and before is not None and before.state == "completed"
            if ended and (run is None or (run.state, run.token) != (before.state, before.token)):
                raise Violation(f"{key} was completed, and is not final")
        if new.state == "running" and new.run_id is not None:
            run = run_document(after.get(f"{HISTORY}{new.run_id}"))
            if run is None or (run.state, run.token) != ("running", new.token):
                raise Violation(f"{script.name} closed the history of a run at work")

    @staticmethod
    def _check_publication(state: State, after: Documents, script: Script) -> None:
        old, new = task_document(state.documents.get(STATUS)), task_document(after.get(STATUS))
        if new.result is None or (old.result is None and new.result.saved_in == "contract"):
            return  # a start that adopts what the original left
        if old.token != script.token or old.state != "running":
            raise Violation(f"{script.name} published without holding the task")
        if fields_of(after.get(STATUS))["data"] != new.result.version:
            raise Violation("version and data don't match")
        if new.result.path is not None and new.result.path not in dict(state.objects):
            raise Violation("the result points to no object")

    @staticmethod
    def _check_removal(state: State, path: str) -> None:
        result = task_document(state.documents.get(STATUS)).result
        if result is not None and result.path == path:
            raise Violation("the last good result's object was removed")

    def _check_answer(self, state: State, script: Script, answer: str) -> None:
        """A 2xx is for ticks that are dealt with for good."""
        if not script.is_delivery or state.removals < self.first.removals:
            return  # what TTL has removed since can't be looked up
        run = run_document(state.documents.get(f"{HISTORY}{script.run_id}"))
        if answer in {"completed", "duplicate"} and (run is None or run.state != "completed"):
            raise Violation(f"{script.name} answered {answer}, and its run is not completed")
        if answer == "skipped" and state.documents.get(f"{HISTORY}{script.run_id}.skipped") is None:
            raise Violation(f"{script.name} answered skipped, and no record says so")

    def _check_quiet(self, state: State) -> None:
        """Nobody moves any more: after a pass of the watchdog, everything is in order."""
        untroubled = (state.faults, state.deaths) == (self.first.faults, self.first.deaths)
        if untroubled and not self._mirror_is_right(state):
            raise Violation("nobody died, nothing failed, and the mirror is not the last good result")
        state = self._after_watchdog(state)
        task = task_document(state.documents.get(STATUS))
        if task.state == "running":
            raise Violation("the task is running for ever")
        for key, stored in state.documents.stored:
            if key.startswith(HISTORY) and fields_of(stored).get("state") == "running":
                raise Violation(f"{key} is running for ever")
        if task.result is not None and task.result.path not in {None, *dict(state.objects)}:
            raise Violation("the last good result's object is gone")
        if not self._mirror_is_right(state):
            raise Violation("the mirror is not the last good result")

    @staticmethod
    def _mirror_is_right(state: State) -> bool:
        result = task_document(state.documents.get(STATUS)).result
        if result is None or result.saved_in != "storage":
            return True
        return dict(state.objects).get(MIRROR, (0, ""))[1] == result.version

    @staticmethod
    def _after_watchdog(state: State) -> State:
        alone = Model((watchdog("last watchdog"),), Bounds(0, 0, 0))
        state = State(state.documents, state.objects, (None,), (), state.step + 10, 0, 0, 0)
        while True:
            following = list(alone._following(state))
            if not following:
                return state
            state = following[0][1]


def _story(came_from: dict[State, tuple[State, str] | None], state: State) -> str:
    told = []
    while (before := came_from[state]) is not None:
        state, what = before
        told.append(what)
    return "\n".join(f"  {number}. {what}" for number, what in enumerate(reversed(told), 1))
