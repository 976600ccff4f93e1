"""The local Cloud Scheduler delivers over real connections to working and faulty functions."""

import queue
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from emulators.scheduler.clock import SystemClock
from emulators.scheduler.dispatch import Attempt, HttpDispatcher, Outcome
from emulators.scheduler.engine import Scheduler
from emulators.scheduler.job import Job
from tests.emulators.scheduler_doubles import PATIENCE, FakeClock, LoopbackFunctions, job, retries

TICK = datetime(2026, 5, 5, 12, 1, tzinfo=UTC)


@pytest.fixture
def functions() -> Iterator[LoopbackFunctions]:
    with LoopbackFunctions() as server:
        yield server


def deliver(
    dispatcher: HttpDispatcher, of: Job | None = None, tick: datetime = TICK
) -> tuple[queue.Queue[Outcome], Callable[[], None]]:
    """Send an attempt; return the queue for its outcome and the function that aborts it."""
    outcomes: queue.Queue[Outcome] = queue.Queue()
    return outcomes, dispatcher.send(Attempt(of or job(), tick, 1, tick), outcomes.put)


def whole_second(schedule_time: str) -> datetime:
    """Return the tick of a schedule time."""
    return datetime.fromisoformat(schedule_time).replace(microsecond=0).astimezone(UTC)


def test_a_delivery_equals_that_of_cloud_scheduler(functions: LoopbackFunctions) -> None:
    """It is an empty POST to the trigger with the scheduler's headers and a fraction of a second."""
    outcomes, _ = deliver(HttpDispatcher(functions.url), job(time_zone="America/Los_Angeles"))
    received = functions.next()
    schedule_time = received.headers.pop("X-CloudScheduler-ScheduleTime")
    assert re.fullmatch(r"2026-05-05T05:01:00\.\d{6}-07:00", schedule_time)
    assert whole_second(schedule_time) == TICK
    assert received.line == "POST /functions/projects/demo-nx-tasks/triggers/us-central1-f-0 HTTP/1.1"
    assert received.headers == {
        "Host": functions.url.removeprefix("http://"),
        "Accept-Encoding": "identity",
        "User-Agent": "Google-Cloud-Scheduler",
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": "firebase-schedule-f-us-central1",
        "Content-Length": "0",
        "Connection": "close",
    }
    received.answer("204 No Content")
    assert outcomes.get(timeout=PATIENCE) == Outcome(0, "HTTP 204")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("200 OK", 0),
        ("299 Fine", 0),
        ("302 Found", 2),
        ("400 Bad", 3),
        ("404 Not Found", 5),
        ("429 Slow", 8),
        ("500 Oops", 13),
        ("503 Busy", 14),
        ("599 ?", 2),
    ],
)
def test_a_response_becomes_a_google_rpc_code(functions: LoopbackFunctions, status: str, code: int) -> None:
    """Only 2xx is a success; other statuses map to the service's codes."""
    outcomes, _ = deliver(HttpDispatcher(functions.url))
    functions.next().answer(status)
    assert outcomes.get(timeout=PATIENCE) == Outcome(code, f"HTTP {status[:3]}")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1",
    ],
)
def test_an_invalid_response_is_a_failed_attempt(functions: LoopbackFunctions, raw: bytes) -> None:
    """Without a valid HTTP response, the attempt fails as UNAVAILABLE."""
    outcomes, _ = deliver(HttpDispatcher(functions.url))
    functions.next().end(raw)
    assert outcomes.get(timeout=PATIENCE).code == 14


def test_a_reset_connection_is_a_failed_attempt(functions: LoopbackFunctions) -> None:
    """The code is UNAVAILABLE."""
    outcomes, _ = deliver(HttpDispatcher(functions.url))
    connection = functions.next().connection
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    assert "Reset" in outcomes.get(timeout=PATIENCE).message


def test_a_stopped_emulator_is_a_failed_attempt() -> None:
    """While the Functions emulator restarts, attempts fail as UNAVAILABLE."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    outcomes, _ = deliver(HttpDispatcher(f"http://127.0.0.1:{port}"))
    assert outcomes.get(timeout=PATIENCE).code == 14


def test_an_aborted_attempt_ends_at_once(functions: LoopbackFunctions) -> None:
    """Its thread ends long before the deadline."""
    outcomes, abort = deliver(HttpDispatcher(functions.url))
    functions.next()
    abort()
    assert outcomes.get(timeout=PATIENCE).code == 14


def test_an_attempt_at_a_hanging_function_ends_at_its_deadline(functions: LoopbackFunctions) -> None:
    """Without an abort, the attempt ends as DEADLINE_EXCEEDED."""
    outcomes, _ = deliver(HttpDispatcher(functions.url), job(attempt_deadline=timedelta(milliseconds=50)))
    functions.next()
    assert outcomes.get(timeout=PATIENCE).code == 4


def valid(*names: str) -> str:
    return f"Function x does not exist, valid functions are: {', '.join(names)}"


def test_a_trigger_renamed_by_a_reload_is_found_and_remembered(functions: LoopbackFunctions) -> None:
    """After a 404 with a list of valid triggers, deliveries use the function's newest trigger."""
    dispatcher = HttpDispatcher(functions.url)
    outcomes, _ = deliver(dispatcher)
    names = [
        "us-central1-f-2",
        "us-central1-ff-9",
        "eu-us-central1-f-88",
        "us-central1-f-10",
        "us-central1-f-99-x-11",
    ]
    functions.next().answer("404 Not Found", valid(*names))
    functions.next().answer()
    assert outcomes.get(timeout=PATIENCE).code == 0
    deliver(dispatcher)
    assert functions.next().line.split()[1].endswith("/us-central1-f-10")
    assert dispatcher.uri(job()).endswith("/triggers/us-central1-f-10")


def test_the_url_of_a_function_is_the_present_one(functions: LoopbackFunctions) -> None:
    """Also after a reload without a delivery. It stays the last known while no function responds."""
    dispatcher = HttpDispatcher(functions.url)
    trigger = f"{functions.url}/functions/projects/demo-nx-tasks/triggers/us-central1-f"
    assert dispatcher.uri(job()) == f"{trigger}-0"
    functions.triggers = ["us-central1-f-2", "us-central1-ff-3"]
    assert dispatcher.uri(job()) == f"{trigger}-2"
    functions.triggers = []
    assert dispatcher.uri(job()) == f"{trigger}-2"


def test_concurrent_deliveries_survive_a_reload(functions: LoopbackFunctions) -> None:
    """The second delivery uses the name that the first one found."""
    dispatcher = HttpDispatcher(functions.url)
    both = [deliver(dispatcher)[0] for _ in range(2)]
    for received in [functions.next() for _ in both]:
        received.answer("404 Not Found", valid("us-central1-f-3"))
        functions.next().answer()
    assert [outcomes.get(timeout=PATIENCE).code for outcomes in both] == [0, 0]


@pytest.mark.parametrize("body", ["Not Found", valid("us-central1-g-3"), valid("us-central1-f-0"), valid("")])
def test_a_404_without_a_newer_trigger_is_a_failed_attempt(functions: LoopbackFunctions, body: str) -> None:
    """No other name is tried."""
    outcomes, _ = deliver(HttpDispatcher(functions.url))
    functions.next().answer("404 Not Found", body)
    assert outcomes.get(timeout=PATIENCE) == Outcome(5, "HTTP 404")
    assert functions.deliveries.empty()


def test_repeated_redirections_of_triggers_fail(functions: LoopbackFunctions) -> None:
    """At most three new names are followed."""
    outcomes, _ = deliver(HttpDispatcher(functions.url))
    for generation in (1, 2, 3):
        functions.next().answer("404 Not Found", valid(f"us-central1-f-{generation}"))
    assert outcomes.get(timeout=PATIENCE).code == 5


@pytest.mark.parametrize(
    "url", ["127.0.0.1:5001", "https://127.0.0.1", "http://", "http://h/path", "http://h:x"]
)
def test_an_invalid_address_is_an_error(url: str) -> None:
    """The address must be http://HOST:PORT."""
    with pytest.raises(ValueError, match=r".+"):
        HttpDispatcher(url)


def test_a_retry_has_the_schedule_time_of_its_tick_with_another_fraction(
    functions: LoopbackFunctions,
) -> None:
    """The function responds with 500, then 200 after the back-off, as observed with the service."""
    clock, ended = FakeClock(), queue.Queue[str]()
    scheduler = Scheduler(clock, HttpDispatcher(functions.url), ended.put)
    scheduler.load([job(schedule="0 * * * *", retry=retries(1))])
    clock.move(minutes=59, seconds=30)
    scheduler.advance()
    first = functions.next()
    first.answer("500 Internal Server Error", "secret text")
    assert "HTTP 500 after 0.00 s; retry in 1 s" in ended.get(timeout=PATIENCE)
    clock.move(seconds=1)
    scheduler.advance()
    second = functions.next()
    second.answer()
    assert "attempt 2: HTTP 200" in ended.get(timeout=PATIENCE)
    times = [received.headers["X-CloudScheduler-ScheduleTime"] for received in (first, second)]
    assert {whole_second(time) for time in times} == {datetime(2026, 5, 5, 13, tzinfo=UTC)}
    assert times[0] != times[1]


def test_an_english_schedule_is_delivered_without_a_schedule_time(functions: LoopbackFunctions) -> None:
    """The service documents the header only for unix-cron."""
    deliver(HttpDispatcher(functions.url), job(schedule="every 5 minutes"))
    received = functions.next()
    received.answer()
    assert "X-CloudScheduler-ScheduleTime" not in received.headers


def test_a_hanging_function_delays_neither_other_jobs_nor_forced_runs(functions: LoopbackFunctions) -> None:
    """A forced run of the function and another job's tick are delivered meanwhile."""
    clock, ended = FakeClock(), queue.Queue[str]()
    scheduler = Scheduler(clock, HttpDispatcher(functions.url), ended.put)
    scheduler.load([job("hangs", "1 12 5 5 *"), job("works", "1 12 5 5 *")])
    clock.move(seconds=30)
    scheduler.advance()
    lines = {functions.next().line.split("us-central1-")[1] for _ in range(2)}
    assert lines == {"hangs-0 HTTP/1.1", "works-0 HTTP/1.1"}
    scheduler.run(job("hangs").name)
    forced = functions.next()
    forced.answer()
    assert "forced run" in ended.get(timeout=PATIENCE)
    clock.move(minutes=3)
    scheduler.advance()
    assert "no answer within the attempt deadline after 180.00 s" in ended.get(timeout=PATIENCE)


def test_the_system_clock_is_utc() -> None:
    """The times have a time zone."""
    assert SystemClock().now().utcoffset() == timedelta()
