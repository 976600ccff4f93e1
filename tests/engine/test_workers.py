"""The threads that tasks work on: kept for the next, and never two tasks on one."""

import threading
from collections.abc import Callable

import pytest

from shared.tasks import TaskEngine, TaskName, TaskRun
from shared.tasks.clock import SystemClock
from shared.tasks.documents.run_writes import RunIdentity
from shared.tasks.runtime.task_thread import Work
from shared.tasks.runtime.workers import KEPT, WORKERS, Workers
from tests.waiting import wait_for


def hand_and_wait(workers: Workers) -> threading.Thread:
    """Have a call made; return the thread that made it, once it waits for the next."""
    made: list[threading.Thread] = []
    workers.hand(lambda: made.append(threading.current_thread()))
    wait_for("the call, and the thread to wait again", lambda: made and workers._idle)
    return made[0]


def test_a_thread_is_kept_for_the_next_task() -> None:
    """One task after the other needs one thread."""
    workers = Workers()
    assert hand_and_wait(workers) is hand_and_wait(workers)


def test_a_task_that_does_not_end_keeps_its_thread_to_itself() -> None:
    """Nothing waits behind it: the next gets another thread."""
    workers, over = Workers(), threading.Event()
    stuck = threading.Event()

    def endless() -> None:
        stuck.set()
        over.wait(60)

    workers.hand(endless)
    assert stuck.wait(10)
    hand_and_wait(workers)
    over.set()
    wait_for("both threads to wait for work", lambda: len(workers._idle) == 2)


def test_more_threads_than_are_kept_end_with_their_work() -> None:
    """A burst of runs leaves no more threads behind than are of use."""
    workers, together = Workers(), threading.Barrier(KEPT + 4)
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        together.wait(30)

    for _ in range(KEPT + 3):
        workers.hand(work)
    together.wait(30)
    wait_for("the others to end", lambda: sum(thread.is_alive() for thread in threads) == KEPT)


def test_many_engines_share_their_threads() -> None:
    """A process that makes an engine for each of many runs does not end up with a thread for each."""
    threads = {TaskEngine()._parts.workers for _ in range(3)}
    assert threads == {WORKERS}


class Dawdling(Workers):
    """Its threads are slow to come back from what they were handed."""

    def __init__(self) -> None:
        super().__init__()
        self.back = threading.Event()

    def hand(self, call: Callable[[], None]) -> None:
        def dawdles() -> None:
            call()
            self.back.wait(60)

        super().hand(dawdles)


@pytest.fixture
def dawdling() -> Dawdling:
    return Dawdling()


def test_work_that_is_done_is_not_taken_for_work_left_behind(dawdling: Dawdling) -> None:
    """A thread outlives its task by a moment: the next run on this instance is not refused for that."""
    identity = RunIdentity("d", TaskName.send_reset_sms, "r", "t", "test")
    run = TaskRun(identity, SystemClock().monotonic() + 100, SystemClock(), lambda _: None)
    work = Work(lambda: 1, run, lambda value: value, SystemClock(), dawdling)
    work.start()
    assert work.done.wait(10)
    assert not work.alive
    dawdling.back.set()
