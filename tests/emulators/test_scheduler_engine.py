"""What the local Cloud Scheduler sends when, driven by a clock that only the test moves."""

from datetime import timedelta

import pytest

from emulators.scheduler.engine import MAX_FORCED_RUNS
from emulators.scheduler.errors import RequestError, ScheduleError
from tests.emulators.scheduler_doubles import Bench, job, retries

FIRST = "2026-05-05T12:01:00Z"
SECOND = "2026-05-05T12:02:00Z"


def bench(*jobs: object, paused: bool = False, **changes: object) -> Bench:
    """A scheduler with these jobs, or with one that fires every minute; it is 12:00:30."""
    made = Bench(paused=paused)
    made.scheduler.load(jobs or [job(**changes)])
    return made


def test_a_tick_fires_when_it_is_due_and_once() -> None:
    """Nothing is sent before the tick; at the tick one attempt is, with the tick's own time."""
    b = bench()
    b.advance(seconds=29)
    assert b.sent == []
    b.advance(seconds=1)
    b.advance(seconds=0.2)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [(FIRST, 1)]
    b.sent[0].answer()
    b.advance(seconds=60)
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND]


def test_a_failed_attempt_is_retried_after_the_back_off_with_the_same_schedule_time() -> None:
    """Retries come after 1, 2 and 4 seconds, carry the tick's time, and end with the retry count."""
    b = bench(schedule="0 * * * *", retry=retries(3))
    b.advance(minutes=59, seconds=30)
    for seconds in (1, 2, 4):
        b.sent[-1].answer(13, "HTTP 500")
        count = len(b.sent)
        b.advance(seconds=seconds - 0.1)
        assert len(b.sent) == count
        b.advance(seconds=0.1)
        assert len(b.sent) == count + 1
    b.sent[-1].answer(13, "HTTP 500")
    b.advance(minutes=30)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [
        ("2026-05-05T13:00:00Z", number) for number in (1, 2, 3, 4)
    ]
    assert "retry in 4 s" in b.lines[2]
    assert "attempt 4: HTTP 500" in b.lines[3]
    assert "next tick 2026-05-05T14:00:00Z" in b.lines[3]


def test_a_success_ends_the_retries() -> None:
    """After an attempt that succeeds there is no other until the next tick."""
    b = bench(schedule="0 * * * *", retry=retries(3))
    b.advance(hours=1)
    b.sent[0].answer(13)
    b.advance(seconds=1)
    b.sent[1].answer()
    b.advance(minutes=20)
    assert len(b.sent) == 2
    assert b.scheduler.jobs()[0].outcome is not None
    assert b.scheduler.jobs()[0].outcome.code == 0


def test_without_a_retry_count_a_failure_waits_for_the_next_tick() -> None:
    """The default is no retry at all."""
    b = bench()
    b.advance(seconds=30)
    b.sent[0].answer(14)
    b.advance(seconds=59)
    assert len(b.sent) == 1
    b.advance(seconds=1)
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND]


def test_retries_stop_at_the_next_tick() -> None:
    """A retry that would not come before the next tick is not made; the tick is, on time."""
    b = bench(retry=retries(5, min_backoff=timedelta(seconds=40)))
    b.advance(seconds=30)
    b.sent[0].answer(13)
    b.advance(seconds=40)
    b.sent[1].answer(13)  # the next would be 80 s later
    assert f"next tick {SECOND}" in b.lines[1]
    b.advance(seconds=20)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [(FIRST, 1), (FIRST, 2), (SECOND, 1)]


def test_a_job_never_has_two_executions_outstanding() -> None:
    """A tick due during an execution starts when that ends, with its own time; those between are gone."""
    b = bench(attempt_deadline=timedelta(minutes=10), retry=retries(3))
    b.advance(seconds=30)
    b.advance(minutes=1)
    b.advance(minutes=2, seconds=30)
    assert [sent.tick for sent in b.sent] == [FIRST]
    [line] = b.lines
    assert line == f"{SECOND} firebase-schedule-f-us-central1: tick {SECOND} waits for the current execution"
    b.sent[0].answer(13)  # its retry gives way to the tick that waits
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND]
    b.sent[1].answer()
    b.advance(seconds=30)
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND, "2026-05-05T12:05:00Z"]


def test_one_job_that_hangs_does_not_delay_the_others() -> None:
    """While one job's execution is outstanding, another job's ticks are sent on time."""
    b = bench(job("hangs", attempt_deadline=timedelta(hours=1)), job("works"))
    b.advance(seconds=30)
    works = [sent for sent in b.sent if sent.attempt.job.function == "works"]
    works[0].answer()
    b.advance(minutes=1)
    assert [sent.attempt.job.function for sent in b.sent] == ["hangs", "works", "works"]


def test_an_attempt_without_an_answer_fails_at_its_deadline() -> None:
    """At its deadline an attempt has failed and is retried; an answer after that changes nothing."""
    b = bench(schedule="0 * * * *", attempt_deadline=timedelta(minutes=3), retry=retries(1))
    b.advance(minutes=59, seconds=30)
    b.advance(minutes=2, seconds=59)
    assert not b.sent[0].given_up
    b.advance(seconds=1)
    entry = b.scheduler.jobs()[0]
    assert b.sent[0].given_up
    assert entry.outcome is not None
    assert entry.outcome.code == 4
    b.sent[0].answer()
    assert b.scheduler.jobs()[0].outcome == entry.outcome
    b.advance(seconds=1)
    assert [sent.attempt.number for sent in b.sent] == [1, 2]


def test_a_forced_run_is_sent_at_once_even_during_an_execution() -> None:
    """jobs.run sends while a tick's execution is outstanding; its schedule time is the next tick's."""
    b = bench()
    b.advance(seconds=30)
    b.advance(seconds=10)
    name = b.scheduler.jobs()[0].job.name
    b.scheduler.run(name)
    b.scheduler.run(name)
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND, SECOND]
    b.sent[0].answer()
    b.advance(seconds=50)
    assert len(b.sent) == 3  # the tick waits for the forced runs
    b.sent[1].answer()
    b.sent[2].answer()
    assert b.sent[3].tick == SECOND


def test_a_forced_run_that_fails_is_retried_as_a_tick_is() -> None:
    """The retry config holds for forced runs too; the retry carries the schedule time of the first try."""
    b = bench(schedule="0 * * * *", retry=retries(1))
    b.scheduler.run(b.scheduler.jobs()[0].job.name)
    b.sent[0].answer(13)
    b.advance(seconds=1)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [
        ("2026-05-05T13:00:00Z", 1),
        ("2026-05-05T13:00:00Z", 2),
    ]
    assert "requested run" in b.lines[0]


def test_a_forced_run_of_a_paused_job_carries_a_tick_to_come() -> None:
    """However long a job has been paused, the schedule time of a forced run is not a tick that is past."""
    b = bench()
    name = b.scheduler.jobs()[0].job.name
    b.scheduler.pause(name)
    b.advance(minutes=5)
    b.scheduler.run(name)
    assert [sent.tick for sent in b.sent] == ["2026-05-05T12:06:00Z"]


def test_forced_runs_of_a_job_are_bounded() -> None:
    """A client that forces run after run of a function that hangs gets an error that asks it to wait."""
    b = bench()
    name = b.scheduler.jobs()[0].job.name
    for _ in range(MAX_FORCED_RUNS):
        b.scheduler.run(name)
    with pytest.raises(RequestError, match="wait until one ends"):
        b.scheduler.run(name)
    b.sent[0].answer()
    b.scheduler.run(name)


def test_a_paused_job_does_not_tick_and_a_resumed_one_goes_on_from_now() -> None:
    """Ticks while paused are not sent, neither then nor later; the first after the resumption is."""
    b = bench()
    name = b.scheduler.jobs()[0].job.name
    assert b.scheduler.pause(name).state == "PAUSED"
    assert b.scheduler.get(name).next_time is None
    b.advance(minutes=5)
    assert b.sent == []
    assert b.scheduler.resume(name).state == "ENABLED"
    b.advance()
    assert b.sent == []
    b.advance(seconds=30)
    assert [sent.tick for sent in b.sent] == ["2026-05-05T12:06:00Z"]


def test_a_resumed_interval_counts_from_the_resumption() -> None:
    """After a resumption "every 10 minutes" first fires ten minutes later."""
    b = bench(schedule="every 10 minutes")
    name = b.scheduler.jobs()[0].job.name
    b.scheduler.pause(name)
    b.advance(minutes=3)
    b.scheduler.resume(name)
    b.advance(minutes=9, seconds=59)
    assert b.sent == []
    b.advance(seconds=1)
    assert [sent.tick for sent in b.sent] == ["2026-05-05T12:13:30Z"]


def test_a_pause_ends_retries_but_not_the_attempt_under_way() -> None:
    """Neither a pending retry nor a failure after the pause is tried again; a forced run is."""
    b = bench(job("pending", retry=retries(3)), job("under_way", retry=retries(3)))
    b.advance(seconds=30)
    pending, under_way = b.sent
    pending.answer(13)
    for entry in b.scheduler.jobs():
        b.scheduler.pause(entry.job.name)
    assert not under_way.given_up
    under_way.answer(13)
    b.advance(minutes=5)
    assert len(b.sent) == 2
    b.scheduler.run(under_way.attempt.job.name)
    b.sent[2].answer(13)
    b.advance(seconds=1)
    assert len(b.sent) == 4


def test_pause_and_resume_need_the_state_that_the_service_asks_for() -> None:
    """Pausing a paused job or resuming an enabled one is FAILED_PRECONDITION; no such job is NOT_FOUND."""
    b = bench()
    name = b.scheduler.jobs()[0].job.name
    with pytest.raises(RequestError, match="must be PAUSED") as caught:
        b.scheduler.resume(name)
    assert (caught.value.http_status, caught.value.status) == (400, "FAILED_PRECONDITION")
    b.scheduler.pause(name)
    with pytest.raises(RequestError, match="must be ENABLED"):
        b.scheduler.pause(name)
    for request in (b.scheduler.get, b.scheduler.run, b.scheduler.pause, b.scheduler.resume):
        with pytest.raises(RequestError, match="not found") as caught:
            request(f"{name}x")
        assert caught.value.http_status == 404


def test_after_the_machine_slept_one_late_tick_fires_with_its_own_time() -> None:
    """A clock that jumps three hours brings the tick that was due, once, and then the next one on time."""
    b = bench()
    b.advance(hours=3)
    assert [sent.tick for sent in b.sent] == [FIRST]
    b.sent[0].answer()
    b.advance(seconds=29)
    assert len(b.sent) == 1
    b.advance(seconds=1)
    assert b.sent[1].tick == "2026-05-05T15:01:00Z"


def test_after_the_machine_slept_a_tick_goes_before_an_older_retry() -> None:
    """A retry that is overdue together with the next tick is dropped; the tick is sent alone."""
    b = bench(retry=retries(3))
    b.advance(seconds=30)
    b.sent[0].answer(13)
    b.advance(hours=3)
    b.sent[1].answer()
    b.advance(seconds=10)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [(FIRST, 1), (SECOND, 1)]


def test_with_schedules_off_only_forced_runs_are_sent() -> None:
    """With schedules off, jobs are ENABLED and show a next tick, but only jobs.run sends, and retries."""
    b = bench(paused=True, retry=retries(1))
    b.advance(minutes=5)
    assert b.sent == []
    entry = b.scheduler.jobs()[0]
    assert entry.state == "ENABLED"
    assert entry.next_time is not None
    assert entry.next_time > b.clock.now()
    b.scheduler.run(entry.job.name)
    b.sent[0].answer(13)
    b.advance(seconds=1)
    assert [sent.attempt.number for sent in b.sent] == [1, 2]
    b.sent[1].answer()
    assert "no next tick" in b.lines[1]


def test_a_new_manifest_keeps_the_state_of_the_jobs_that_stay() -> None:
    """Paused stays paused and an outstanding execution outstanding; new jobs begin, old ones end."""
    b = bench(job("paused"), job("runs"), job("goes"))
    paused, goes, runs = job("paused").name, job("goes").name, job("runs").name
    b.scheduler.pause(paused)
    b.advance(seconds=30)
    b.scheduler.load([job("paused"), job("runs", schedule="*/2 * * * *"), job("comes")])
    assert [entry.job.function for entry in b.scheduler.jobs()] == ["comes", "paused", "runs"]
    assert b.scheduler.get(paused).state == "PAUSED"
    assert b.scheduler.get(runs).last_attempt is not None
    b.advance(minutes=1)
    later = [(sent.attempt.job.function, sent.tick) for sent in b.sent[2:]]
    assert later == [("comes", SECOND)]  # runs is outstanding still
    next(sent for sent in b.sent if sent.attempt.job.name == goes).answer(
        13
    )  # its end affects no other delivery
    next(sent for sent in b.sent if sent.attempt.job.name == runs).answer()
    assert (b.sent[-1].attempt.job.function, b.sent[-1].tick) == ("runs", SECOND)


def test_an_unchanged_job_keeps_its_next_tick_on_a_reload() -> None:
    """Reloading the functions again and again does not push "every 10 minutes" away for ever."""
    b = bench(schedule="every 10 minutes")
    for _ in range(3):
        b.advance(minutes=3)
        b.scheduler.load([job(schedule="every 10 minutes")])
    b.advance(minutes=1)
    assert [sent.tick for sent in b.sent] == ["2026-05-05T12:10:30Z"]


def test_a_manifest_with_a_wrong_schedule_changes_nothing() -> None:
    """One wrong schedule and the old jobs stay, all of them."""
    b = bench()
    with pytest.raises(ScheduleError):
        b.scheduler.load([job("new"), job("wrong", schedule="@daily")])
    assert [entry.job.function for entry in b.scheduler.jobs()] == ["f"]


def test_a_thread_that_cannot_start_is_a_failed_attempt() -> None:
    """Out of threads, the attempt has failed and is retried; the scheduler goes on."""
    b = bench(retry=retries(1))
    send = b.dispatcher.send

    def refuse(*_: object) -> None:
        b.dispatcher.send = send
        raise RuntimeError("can't start new thread")

    b.dispatcher.send = refuse
    b.advance(seconds=30)
    b.advance(seconds=1)
    assert [sent.attempt.number for sent in b.sent] == [2]
