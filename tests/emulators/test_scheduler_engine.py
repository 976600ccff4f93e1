"""The local Cloud Scheduler sends attempts at the right times of a fake clock."""

from datetime import timedelta

import pytest

from emulators.scheduler.engine import MAX_FORCED_RUNS
from emulators.scheduler.errors import RequestError, ScheduleError
from emulators.scheduler.job import RetryConfig
from tests.emulators.scheduler_doubles import Bench, job, retries

FIRST = "2026-05-05T12:01:00Z"
SECOND = "2026-05-05T12:02:00Z"


def bench(*jobs: object, paused: bool = False, **changes: object) -> Bench:
    """Return a scheduler at 12:00:30 with the given jobs, or one that fires every minute."""
    made = Bench(paused=paused)
    made.scheduler.load(jobs or [job(**changes)])
    return made


def test_a_tick_fires_once_when_it_is_due() -> None:
    """At the tick, one attempt with the tick's time is sent."""
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
    """Retries follow after 1, 2 and 4 seconds with the tick's time until the retry count is reached."""
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
    """No attempt follows until the next tick."""
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
    """The default is no retry."""
    b = bench()
    b.advance(seconds=30)
    b.sent[0].answer(14)
    b.advance(seconds=59)
    assert len(b.sent) == 1
    b.advance(seconds=1)
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND]


def test_retries_stop_at_the_next_tick() -> None:
    """A retry that would be due after the next tick is dropped; the tick fires on time."""
    b = bench(retry=retries(5, min_backoff=timedelta(seconds=40)))
    b.advance(seconds=30)
    b.sent[0].answer(13)
    b.advance(seconds=40)
    b.sent[1].answer(13)  # The next retry would be 80 s later.
    assert f"next tick {SECOND}" in b.lines[1]
    b.advance(seconds=20)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [(FIRST, 1), (FIRST, 2), (SECOND, 1)]


def test_a_job_never_has_two_executions_outstanding() -> None:
    """The last tick during an execution starts after it with its own time; earlier ones are dropped."""
    b = bench(attempt_deadline=timedelta(minutes=10), retry=retries(3))
    b.advance(seconds=30)
    b.advance(minutes=1)
    b.advance(minutes=2, seconds=30)
    assert [sent.tick for sent in b.sent] == [FIRST]
    [line] = b.lines
    assert line == f"{SECOND} firebase-schedule-f-us-central1: tick {SECOND} waits for the current execution"
    b.sent[0].answer(13)  # The waiting tick replaces the retry.
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND]
    b.sent[1].answer()
    b.advance(seconds=30)
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND, "2026-05-05T12:05:00Z"]


def test_a_hanging_job_does_not_delay_other_jobs() -> None:
    """Ticks of other jobs are sent on time."""
    b = bench(job("hangs", attempt_deadline=timedelta(hours=1)), job("works"))
    b.advance(seconds=30)
    works = [sent for sent in b.sent if sent.attempt.job.function == "works"]
    works[0].answer()
    b.advance(minutes=1)
    assert [sent.attempt.job.function for sent in b.sent] == ["hangs", "works", "works"]


def test_an_attempt_without_a_response_fails_at_its_deadline() -> None:
    """It is retried, and a later response is ignored."""
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
    """Its schedule time is that of the next tick."""
    b = bench()
    b.advance(seconds=30)
    b.advance(seconds=10)
    name = b.scheduler.jobs()[0].job.name
    b.scheduler.run(name)
    b.scheduler.run(name)
    assert [sent.tick for sent in b.sent] == [FIRST, SECOND, SECOND]
    b.sent[0].answer()
    b.advance(seconds=50)
    assert len(b.sent) == 3  # The tick waits for the forced runs.
    b.sent[1].answer()
    b.sent[2].answer()
    assert b.sent[3].tick == SECOND


def test_a_failed_forced_run_is_retried_like_a_tick() -> None:
    """The retry has the schedule time of the first attempt."""
    b = bench(schedule="0 * * * *", retry=retries(1))
    b.scheduler.run(b.scheduler.jobs()[0].job.name)
    b.sent[0].answer(13)
    b.advance(seconds=1)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [
        ("2026-05-05T13:00:00Z", 1),
        ("2026-05-05T13:00:00Z", 2),
    ]
    assert "forced run" in b.lines[0]


def test_a_forced_run_of_a_paused_job_has_the_time_of_a_future_tick() -> None:
    """This holds however long the job has been paused."""
    b = bench()
    name = b.scheduler.jobs()[0].job.name
    b.scheduler.pause(name)
    b.advance(minutes=5)
    b.scheduler.run(name)
    assert [sent.tick for sent in b.sent] == ["2026-05-05T12:06:00Z"]


def test_the_number_of_concurrent_forced_runs_is_limited() -> None:
    """With a hanging function, further forced runs get an error that asks the client to wait."""
    b = bench()
    name = b.scheduler.jobs()[0].job.name
    for _ in range(MAX_FORCED_RUNS):
        b.scheduler.run(name)
    with pytest.raises(RequestError, match="wait until one ends"):
        b.scheduler.run(name)
    b.sent[0].answer()
    b.scheduler.run(name)


def test_ticks_of_a_paused_job_are_not_sent_later() -> None:
    """The first tick after the resumption is sent."""
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


def test_an_interval_starts_at_the_resumption() -> None:
    """After a resumption, "every 10 minutes" fires ten minutes later."""
    b = bench(schedule="every 10 minutes")
    name = b.scheduler.jobs()[0].job.name
    b.scheduler.pause(name)
    b.advance(minutes=3)
    b.scheduler.resume(name)
    b.advance(minutes=9, seconds=59)
    assert b.sent == []
    b.advance(seconds=1)
    assert [sent.tick for sent in b.sent] == ["2026-05-05T12:13:30Z"]


def test_a_pause_ends_retries_but_not_the_current_attempt() -> None:
    """Pending retries and failures after the pause are not retried; forced runs are."""
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


def test_pause_and_resume_require_the_state_of_the_service() -> None:
    """A wrong state is FAILED_PRECONDITION; an unknown job is NOT_FOUND."""
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
    """After a jump of three hours, the due tick fires once and the next one on time."""
    b = bench()
    b.advance(hours=3)
    assert [sent.tick for sent in b.sent] == [FIRST]
    b.sent[0].answer()
    b.advance(seconds=29)
    assert len(b.sent) == 1
    b.advance(seconds=1)
    assert b.sent[1].tick == "2026-05-05T15:01:00Z"


def test_after_the_machine_slept_a_tick_replaces_an_older_retry() -> None:
    """The overdue retry is dropped."""
    b = bench(retry=retries(3))
    b.advance(seconds=30)
    b.sent[0].answer(13)
    b.advance(hours=3)
    b.sent[1].answer()
    b.advance(seconds=10)
    assert [(sent.tick, sent.attempt.number) for sent in b.sent] == [(FIRST, 1), (SECOND, 1)]


def test_with_schedules_off_only_forced_runs_are_sent() -> None:
    """Jobs are ENABLED and have a next tick, but only jobs.run and its retries send attempts."""
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


@pytest.mark.parametrize(
    "retry",
    [
        retries(0),
        retries(5, min_backoff=timedelta(seconds=10)),
        retries(1, max_retry_duration=timedelta(minutes=20), max_backoff=timedelta(minutes=2)),
    ],
)
def test_with_schedules_off_a_forced_run_ends_before_its_tick(retry: RetryConfig) -> None:
    """A retry after its tick would look like the tick, which no delivery of its own follows."""
    b = bench(paused=True, retry=retry)
    b.advance(seconds=29)
    b.scheduler.run(b.scheduler.jobs()[0].job.name)
    while b.scheduler.jobs()[0].executions:  # each attempt takes until its deadline
        b.advance(seconds=1)
    attempts = [sent.attempt for sent in b.sent]
    assert len(attempts) > retry.retry_count
    assert {each.schedule_time for each in attempts} == {attempts[0].schedule_time}
    assert attempts[0].schedule_time > b.clock.now()


def test_with_schedules_on_a_forced_run_has_the_time_of_the_next_tick() -> None:
    """As in the service, even if its retries pass that tick."""
    b = bench(retry=retries(5, min_backoff=timedelta(seconds=10)))
    b.scheduler.run(b.scheduler.jobs()[0].job.name)
    assert b.sent[0].tick == FIRST


def test_a_new_manifest_keeps_the_state_of_existing_jobs() -> None:
    """Pauses and outstanding executions remain; new jobs start, removed ones end."""
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
    assert later == [("comes", SECOND)]  # The execution of `runs` is still outstanding.
    next(sent for sent in b.sent if sent.attempt.job.name == goes).answer(
        13
    )  # Its end affects no other delivery.
    next(sent for sent in b.sent if sent.attempt.job.name == runs).answer()
    assert (b.sent[-1].attempt.job.function, b.sent[-1].tick) == ("runs", SECOND)


def test_an_unchanged_job_keeps_its_next_tick_on_a_reload() -> None:
    """Repeated reloads do not postpone "every 10 minutes"."""
    b = bench(schedule="every 10 minutes")
    for _ in range(3):
        b.advance(minutes=3)
        b.scheduler.load([job(schedule="every 10 minutes")])
    b.advance(minutes=1)
    assert [sent.tick for sent in b.sent] == ["2026-05-05T12:10:30Z"]


def test_a_manifest_with_an_invalid_schedule_changes_nothing() -> None:
    """All old jobs stay."""
    b = bench()
    with pytest.raises(ScheduleError):
        b.scheduler.load([job("new"), job("wrong", schedule="@daily")])
    assert [entry.job.function for entry in b.scheduler.jobs()] == ["f"]


def test_a_thread_that_cannot_start_is_a_failed_attempt() -> None:
    """The attempt is retried, and the scheduler continues."""
    b = bench(retry=retries(1))
    send = b.dispatcher.send

    def refuse(*_: object) -> None:
        b.dispatcher.send = send
        raise RuntimeError("can't start new thread")

    b.dispatcher.send = refuse
    b.advance(seconds=30)
    b.advance(seconds=1)
    assert [sent.attempt.number for sent in b.sent] == [2]
