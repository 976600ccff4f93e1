"""A run of an OCPI task that is interrupted has the result of one that is not."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.collectors import charge_cdrs, charge_locations
from shared.collectors.ocpi import client, operator_crawl
from shared.collectors.ocpi.errors import NoOperatorAnswered
from shared.collectors.ocpi.memory import Memory
from shared.collectors.ocpi.operators import Operator
from shared.collectors.ocpi.requests import Request
from shared.collectors.ocpi.transport import Limits
from shared.tasks import TaskName, TaskRun
from shared.tasks.errors import LegEnded
from shared.tasks.testing import RecordedRun, interrupted, leg_ending
from tests.collectors.conftest import DEMO_NOW
from tests.collectors.hostile import HttpRequest, hostile, serving
from tests.collectors.ocpi_samples import cdr, credit, location
from tests.collectors.runs import FAST

NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)
HOUR = 3_600.0

Lists = Callable[[HttpRequest], None]
Task = Callable[[TaskRun], Iterator[dict[str, Any]]]
Interruption = Callable[..., AbstractContextManager[None]]


def cdrs_of(
    *operators: Operator,
    previous: list[dict[str, Any]] | None = None,
    now: datetime = NOW,
    months: int = 13,
    memory: Memory | None = None,
    requests: dict[str, Request] | None = None,
    limits: Limits = FAST,
) -> Task:
    """The task that collects CDRs of these operators."""

    def task(run: TaskRun) -> Iterator[dict[str, Any]]:
        return charge_cdrs.collect(
            operators,
            lambda: iter(previous or []),
            run,
            now=now,
            months=months,
            memory=memory,
            requests=requests,
            limits=limits,
        )

    return task


def locations_of(*operators: Operator) -> Task:
    """The task that collects their locations."""
    return lambda run: charge_locations.collect(operators, list, run, now=DEMO_NOW, limits=FAST)


def new_run(*, hours: float = 12, leg_seconds: float | None = None) -> RecordedRun:
    """A run on a clock that stands still."""
    return RecordedRun(TaskName.collect_charge_cdrs, deadline_seconds=hours * HOUR, leg_seconds=leg_seconds)


def executed(run: RecordedRun, task: Task) -> tuple[Any, Any, bytes | None]:
    """All that a run publishes: its records, its summary and its details."""
    return run.execute(task), run.summary, run.details


def moves_of(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A list that gets each position to which a cursor moves in this attempt of the run."""
    moves: list[dict[str, Any]] = []
    advance = run.checkpoints.advance

    def record(cursor: Any, value: Any, keep: Any) -> None:
        moves.append(value)
        advance(cursor, value, keep)

    monkeypatch.setattr(run.checkpoints, "advance", record)
    return moves


def pages(
    count: int, *, party: str = "BEC", broken: Callable[[int, HttpRequest], bool] | None = None
) -> Lists:
    """A list of pages with one CDR each; `broken` may respond to the request for a page instead."""

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("page", 0))
        if broken is not None and broken(number, request):
            return
        following = {"Link": f'</cdrs?page={number + 1}>; rel="next"'} if number + 1 < count else {}
        request.list([cdr(id=f"{party}{number}", party_id=party)], X_Total_Count=str(count), **following)

    return lists


def failing_at(page: int, status: int) -> Lists:
    """The same, which responds with this HTTP status instead of a page."""
    return pages(4, broken=lambda asked, request: asked == page and request.body(b"", status=status) is None)


def asked_pages(paths: list[str]) -> list[int]:
    """The number of each requested page."""
    return [int(path.partition("page=")[2] or 0) for path in paths]


def events(run: RecordedRun) -> list[str]:
    """The events that the run has logged."""
    return [each.event for each in run.logged]


class Others:
    """So many other operators, for which an operator waits with its third page until they were read."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._are_read = threading.Event()
        self._lock = threading.Lock()

    def count_down(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._are_read.set()

    def wait(self, page: int, _: HttpRequest) -> bool:
        """A `broken` of `pages`, which breaks none."""
        return page == 2 and not self._are_read.wait(30)


@contextmanager
def leg_ending_at(
    run: RecordedRun, pages: int, monkeypatch: pytest.MonkeyPatch, *, others: Others | None = None
) -> Iterator[None]:
    """Ends the leg when so many pages of an operator were read."""
    advance = run.checkpoints.advance

    def end(cursor: Any, value: Any, keep: Any) -> None:
        if value["pages"] == pages:
            run.checkpoints.end_leg()
        advance(cursor, value, keep)
        if others is not None and value["state"] == "read":
            others.count_down()

    monkeypatch.setattr(run.checkpoints, "advance", end)
    with pytest.raises(LegEnded):
        yield
    run.resume(next_leg=True)


@pytest.mark.parametrize("module", ["cdrs", "locations"])
@pytest.mark.parametrize("interruption", [interrupted, leg_ending])
def test_an_interruption_at_any_page_changes_nothing(
    both: tuple[Operator, ...], monkeypatch: pytest.MonkeyPatch, interruption: Interruption, module: str
) -> None:
    """Records, summary and details are the same, byte for byte, as those of an untroubled run."""
    task = cdrs_of(*both, now=DEMO_NOW, months=2) if module == "cdrs" else locations_of(*both)
    run = new_run()
    moves = moves_of(run, monkeypatch)
    untroubled = executed(run, task)
    assert len(untroubled[0]) > 300
    assert len(moves) == {"cdrs": 4 + 2 + 2, "locations": 2 + 1 + 2}[module]
    for position in moves:
        run = new_run()
        with interruption(run, at=position):
            run.execute(task)
        assert run.resumed
        assert executed(run, task) == untroubled


def test_each_page_may_have_a_leg_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is read once, and the versions are requested in the first leg only."""
    served = [
        [cdr(id="1"), cdr(id="2", currency=5)],
        [credit("3", "1")],
        [cdr(id=4)],
        [cdr(id="1", remark="x")],
    ]

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("page", 0))
        following = {"Link": f'</cdrs?page={number + 1}>; rel="next"'} if number < 3 else {}
        request.list(served[number], X_Total_Count="5", **following)

    with hostile(lists) as server:
        task = cdrs_of(server.operator())
        run = new_run()
        moves = moves_of(run, monkeypatch)
        untroubled = executed(run, task)
        assert [each["id"] for each in untroubled[0]] == ["1", "3"]
        assert untroubled[0][0]["remark"] == "x"
        assert untroubled[1]["this_run"]["set_aside"] == 2
        server.requests.clear()
        run = new_run()
        for position in moves:
            with leg_ending(run, at=position):
                run.execute(task)
        assert run.leg == 6
        assert executed(run, task) == untroubled
        assert asked_pages(server.list_requests()) == [0, 1, 2, 3]
        assert len(server.requests) == 2 + 4


def test_records_of_an_operator_are_used_although_another_one_fails_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failed operator keeps its last records, and no later leg asks it again."""
    last = [cdr(id="OLD", nx_operator="failing")]
    with hostile(pages(4, party="XYZ")) as good, hostile(failing_at(2, 501)) as bad:
        task = cdrs_of(good.operator("good"), bad.operator("failing"), previous=last)
        run = new_run()
        moves = moves_of(run, monkeypatch)
        untroubled = executed(run, task)
        failed = next(each for each in moves if each["state"] == "failed")
        run = new_run()
        with leg_ending(run, at=failed):
            run.execute(task)
        asked = len(bad.requests)
        assert executed(run, task) == untroubled
        assert len(bad.requests) == asked
    records, summary, _ = untroubled
    assert [each["id"] for each in records] == ["OLD", "XYZ0", "XYZ1", "XYZ2", "XYZ3"]
    assert [each["state"] for each in summary["this_run"]["operators"]] == ["failed", "read"]
    assert summary["this_run"]["operators"][0]["error"] == "/cdrs: HTTP 501"


def test_the_run_fails_if_all_operators_have_failed() -> None:
    """One of them in an earlier leg."""
    with hostile(failing_at(1, 501)) as first, hostile(failing_at(3, 501)) as second:
        run = new_run()
        task = cdrs_of(first.operator("one"), second.operator("two"))
        with pytest.MonkeyPatch.context() as patched, leg_ending_at(run, 2, patched):
            run.execute(task)
        with pytest.raises(NoOperatorAnswered, match="one: /cdrs: HTTP 501; two: /cdrs: HTTP 501"):
            run.execute(task)


@pytest.mark.parametrize(("failures", "tries"), [(1, 2), (4, 8), (5, 4)])
def test_a_page_is_tried_again_before_hours_are_lost(
    monkeypatch: pytest.MonkeyPatch, failures: int, tries: int
) -> None:
    """An outage after eleven hours and another one at the next page cost nothing if they end in time."""
    monkeypatch.setattr(operator_crawl, "MAX_PAUSE_SECONDS", 0.0)
    run, left = new_run(hours=13), {2: failures, 3: failures}

    def broken(page: int, request: HttpRequest) -> bool:
        if page == 1:
            run.clock.sleep(11 * HOUR)
        if not left.get(page):
            return False
        left[page] -= 1
        request.body(b"", status=500)
        return True

    with hostile(pages(4, broken=broken)) as server, hostile(pages(1, party="XYZ")) as other:
        once = replace(FAST, attempts=1)
        task = cdrs_of(server.operator(), other.operator("other"), limits=once)
        records, summary, _ = executed(run, task)
    is_lost = failures > operator_crawl.RETRIES
    assert [each["id"] for each in records] == ["BEC0", "BEC1", "BEC2", "BEC3", "XYZ0"][4 * is_lost :]
    assert summary["this_run"]["operators_failed"] == is_lost
    assert events(run).count("page of operator could not be read, and is tried again") == tries


@pytest.mark.parametrize("status", [404, 500])
def test_a_short_run_does_not_wait_for_an_operator_that_fails(status: int) -> None:
    """Neither its page nor the list is tried again: the next run reads it soon."""
    with hostile(failing_at(2, status)) as server, hostile(pages(1, party="XYZ")) as good:
        run = new_run()
        run.execute(cdrs_of(server.operator(), good.operator("good"), limits=replace(FAST, attempts=1)))
        assert asked_pages(server.list_requests()) == [0, 1, 2]
    assert "operator failed" in events(run)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_an_operator_that_has_forgotten_its_pages_is_read_again(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """From the first page, with nothing counted twice."""
    with hostile(pages(4)) as server:
        task = cdrs_of(server.operator())
        untroubled = executed(new_run(), task)
        run = new_run()
        with leg_ending_at(run, 2, monkeypatch):
            run.execute(task)
        forgets = [2]

        def broken(page: int, request: HttpRequest) -> bool:
            return forgets == [page] and request.body(b"gone", status=forgets.pop() and status) is None

        server.lists = pages(4, broken=broken)
        server.requests.clear()
        with leg_ending_at(run, 3, monkeypatch):
            run.execute(task)
        assert executed(run, task) == untroubled
        assert asked_pages(server.list_requests()) == [2, 0, 1, 2, 3]
    assert "operator is read again from its first page" in events(run)


def test_an_operator_that_forgets_its_pages_twice_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(pages(5)) as server:
        task = cdrs_of(server.operator())
        run = new_run()
        with leg_ending_at(run, 3, monkeypatch):
            run.execute(task)
        server.lists = failing_at(3, 404)
        with leg_ending_at(run, 2, monkeypatch):
            run.execute(task)
        server.lists = failing_at(2, 404)
        with pytest.raises(NoOperatorAnswered, match="HTTP 404"):
            run.execute(task)
        assert asked_pages(server.list_requests()) == [0, 1, 2, 3, 0, 1, 2]


def test_pages_in_a_circle_are_found_over_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last page links to the second one, which an earlier leg has read."""

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("page", 0))
        request.list([cdr(id=f"N{number}")], Link=f'</cdrs?page={number % 3 + 1}>; rel="next"')

    with hostile(lists) as server:
        run = new_run()
        for number in (1, 2, 3):
            with leg_ending_at(run, number, monkeypatch):
                run.execute(cdrs_of(server.operator()))
        with pytest.raises(NoOperatorAnswered, match="page 5 repeats an earlier one"):
            run.execute(cdrs_of(server.operator()))
        assert asked_pages(server.list_requests()) == [0, 1, 2, 3, 1]


def test_limits_on_pages_and_bytes_are_those_of_all_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(pages(6)) as server:
        run = new_run()
        moves = moves_of(run, monkeypatch)
        run.execute(cdrs_of(server.operator()))
        size = moves[0]["received_bytes"]
        for name, limits in (("bytes", replace(FAST, crawl_bytes=4 * size)), ("pages", FAST)):
            monkeypatch.setattr(client, "MAX_PAGES", 3 if name == "pages" else 9)
            run = new_run()
            with leg_ending_at(run, 2, monkeypatch):
                run.execute(cdrs_of(server.operator(), limits=limits))
            with pytest.raises(NoOperatorAnswered, match=f"at most .* {name}"):
                run.execute(cdrs_of(server.operator(), limits=limits))


@pytest.mark.parametrize(("hours", "is_late"), [(5.4, False), (5.6, True)])
def test_an_operator_has_one_share_of_the_time_over_all_legs(
    monkeypatch: pytest.MonkeyPatch, hours: float, is_late: bool
) -> None:
    """Five operators are read in two turns: the first one has half of eleven hours."""
    others = Others(4)
    with hostile(pages(4, broken=others.wait)) as slow, hostile(pages(2, party="XYZ")) as good:
        operators = [slow.operator("slow"), *(good.operator(f"good{number}") for number in range(4))]
        run = new_run()
        with leg_ending_at(run, 3, monkeypatch, others=others):
            run.execute(cdrs_of(*operators))
        run.clock.sleep(hours * HOUR)
        _, summary, _ = executed(run, cdrs_of(*operators))
    errors = {row["name"]: row.get("error", "") for row in summary["this_run"]["operators"]}
    assert errors.pop("slow").startswith("too slow") == is_late
    assert not any(errors.values())


def test_an_operator_that_was_removed_while_it_was_read_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last records stay. One that was read completely counts, and one that was added waits."""
    last = [cdr(id="OLD", nx_operator="removed")]
    others = Others(1)
    with (
        hostile(pages(1, party="XYZ")) as whole,
        hostile(pages(4, broken=others.wait)) as half,
        hostile(pages(2, party="NEW")) as added,
    ):
        run = new_run()
        with leg_ending_at(run, 3, monkeypatch, others=others):
            run.execute(cdrs_of(whole.operator("whole"), half.operator("removed"), previous=last))
        records, summary, _ = executed(run, cdrs_of(added.operator("added"), previous=last))
        assert not added.requests
    assert [each["id"] for each in records] == ["OLD", "XYZ0"]
    assert {row["name"]: row.get("error") for row in summary["this_run"]["operators"]} == {
        "removed": "removed from NX_OCPI_OPERATORS while the run was reading it",
        "whole": None,
    }


def test_an_operator_with_a_new_url_is_read_again_and_with_a_new_token_it_is_read_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with hostile(pages(4)) as old, hostile(pages(3, party="XYZ")) as new:
        run = new_run()
        with leg_ending_at(run, 2, monkeypatch):
            run.execute(cdrs_of(old.operator()))
        with leg_ending_at(run, 3, monkeypatch):
            run.execute(cdrs_of(msgspec.structs.replace(old.operator(), token="another")))
        records = run.execute(cdrs_of(new.operator()))
        assert asked_pages(old.list_requests()) == [0, 1, 2]
        assert asked_pages(new.list_requests()) == [0, 1, 2]
    assert [each["id"] for each in records] == ["XYZ0", "XYZ1", "XYZ2"]


def test_what_changes_during_a_run_counts_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, months, memory, requests and parties are those of the first leg."""
    last = [cdr(id="OLD", nx_operator="hostile"), cdr(id="A", nx_operator="gone", party_id="GON")]
    memory = Memory(parties={"BE*BEC": "hostile"}, disowned={"hostile": ["BE*GON"]})
    with hostile(pages(4)) as server:
        first = cdrs_of(server.operator(), previous=last, memory=memory)
        untroubled = executed(new_run(), first)
        run = new_run()
        with leg_ending_at(run, 2, monkeypatch):
            run.execute(first)
        asked_at = datetime(2026, 5, 5, 13, tzinfo=UTC)
        changed = cdrs_of(
            server.operator(parties=("BE*GON",)),
            previous=last,
            now=NOW + timedelta(days=40),
            months=1,
            memory=Memory(set_aside={"hostile": {NOW.date(): NOW}}),
            requests={"hostile": Request(drop_requested=asked_at)},
        )
        assert executed(run, changed) == untroubled


def test_parties_that_are_listed_during_a_run_belong_to_their_operator_in_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lists(request: HttpRequest) -> None:
        links = {} if request.query.get("page") else {"Link": '</locations?page=1>; rel="next"'}
        request.list([location(id=f"L{len(links)}")], **links)

    with hostile(lists) as first, hostile(serving()) as second:
        task = locations_of(first.operator("first"), second.operator("second"))
        untroubled = executed(new_run(), task)
        run = new_run()
        with leg_ending_at(run, 1, monkeypatch):
            run.execute(task)
        changed = locations_of(first.operator("first"), second.operator("second", parties=("BE*BEC",)))
        assert executed(run, changed) == untroubled


def test_an_older_last_result_that_appears_during_a_run_loses_no_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Records that the operators were not asked for are missing from it, so the next run asks for them."""
    last = [cdr(id="OLD", nx_operator="hostile", last_updated="2026-05-04T00:00:00Z")]
    older = [cdr(id="OLD", nx_operator="hostile", last_updated="2026-04-01T00:00:00Z")]
    with hostile(pages(4)) as server, hostile(pages(1, party="XYZ")) as good:
        operators = server.operator(), good.operator("good")
        run = new_run()
        with leg_ending_at(run, 2, monkeypatch):
            run.execute(cdrs_of(*operators, previous=last))
        records, summary, _ = executed(run, cdrs_of(*operators, previous=older))
    assert [each["id"] for each in records] == ["OLD", "XYZ0"]
    assert "replaced by an older one" in summary["this_run"]["operators"][0]["error"]


def test_the_merge_waits_for_a_leg_with_enough_time() -> None:
    """The first leg ends after the last page with half a minute left, and the second one requests nothing."""
    run = new_run(leg_seconds=1_500)
    with hostile(pages(49, broken=lambda *_: run.clock.sleep(30) is not None)) as server:
        task = cdrs_of(server.operator())
        with pytest.raises(LegEnded):
            run.execute(task)
        run.resume(next_leg=True)
        asked = len(server.requests)
        assert asked == 2 + 49
        assert len(run.execute(task)) == 49
        assert len(server.requests) == asked


def test_a_leg_ends_although_an_operator_does_not_respond() -> None:
    """Neither a wait before another attempt nor a pause delays the end of the leg."""
    run = new_run()

    def broken(page: int, request: HttpRequest) -> bool:
        if page == 1:
            run.checkpoints.end_leg()
            request.body(b"", status=503, Retry_After="3600")
        return page == 1

    limits = replace(FAST, max_wait_seconds=HOUR)
    with hostile(pages(3, broken=broken)) as server:
        task = cdrs_of(server.operator(), limits=limits)
        with pytest.raises(LegEnded):
            run.execute(task)
        server.lists = pages(3)
        run.resume(next_leg=True)
        assert len(run.execute(task)) == 3
        assert asked_pages(server.list_requests()) == [0, 1, 1, 2]


def test_an_unexpected_error_does_not_hide_the_end_of_a_leg(monkeypatch: pytest.MonkeyPatch) -> None:
    """One operator fails with an error of its own while another one's cursor ends the leg."""
    run = new_run()
    failing, ended = threading.Event(), threading.Event()
    check = charge_cdrs.read_cdr

    def read(raw: msgspec.Raw, version: str, **rest: Any) -> Any:
        checked = check(raw, version, **rest)
        if checked.record["id"] == "XYZ0":
            failing.set()
            assert ended.wait(10)
            raise ZeroDivisionError
        return checked

    monkeypatch.setattr(charge_cdrs, "read_cdr", read)
    with hostile(pages(3)) as server, hostile(pages(2, party="XYZ")) as other:
        task = cdrs_of(server.operator(), other.operator("other"))
        advance = run.checkpoints.advance

        def end(cursor: Any, value: Any, keep: Any) -> None:
            if cursor.name == "hostile":
                assert failing.wait(10)
                run.checkpoints.end_leg()
            try:
                advance(cursor, value, keep)
            finally:
                ended.set()

        monkeypatch.setattr(run.checkpoints, "advance", end)
        with pytest.raises(LegEnded):
            run.execute(task)
        run.resume(next_leg=True)
        _, summary, _ = executed(run, task)
    errors = {row["name"]: row.get("error") for row in summary["this_run"]["operators"]}
    assert errors == {"hostile": None, "other": "could not be read: ZeroDivisionError"}
