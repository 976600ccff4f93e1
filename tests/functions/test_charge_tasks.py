"""Both OCPI tasks on the local stack, from Cloud Scheduler's delivery to the reader."""

import gzip
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import requests

from emulators import demo_data
from emulators.environment import Addresses
from emulators.loopback import request as ask
from emulators.ocpi.operators import secret
from shared import firebase
from shared.collectors import charge_cdrs, charge_locations
from shared.collectors.ocpi.operators import Operator, parse
from shared.tasks import (
    TaskName,
    TaskRun,
    execute_task,
    get_task_data,
    get_task_details,
    get_task_result,
    iter_task_data,
)
from tests.collectors.hostile import HttpRequest, hostile, serving
from tests.collectors.ocpi_samples import cdr, location
from tests.collectors.runs import FAST
from tests.functions.callable_protocol import call, sign_in
from tests.support.long_runs import UNIT_SECONDS, LongRun, PassingClock

LOCATIONS, CDRS = TaskName.collect_charge_locations, TaskName.collect_charge_cdrs


def delivered(stack: Addresses, task: TaskName) -> requests.Response:
    """The response to a delivery to the target of a task's job."""
    _, job = ask(f"{stack.jobs_url}/firebase-schedule-{task.value}-{stack.region}")
    return requests.post(job["httpTarget"]["uri"], data=b"", timeout=120)


def published(task: TaskName) -> dict[str, Any]:
    """The result's fields of the status document."""
    status = firebase.firestore_client().document("nx-tasks", task).get().to_dict() or {}
    result: dict[str, Any] = status["run"]["result"]
    return result


def stored(task: TaskName) -> tuple[bytes, bytes]:
    """The uncompressed bytes of the published objects, of the result and of its details."""
    result, bucket = published(task), firebase.bucket()
    paths = result["object"], result["details"]
    data, details = (
        gzip.decompress(bucket.blob(path).download_as_bytes(raw_download=True)) for path in paths
    )
    return data, details


@pytest.mark.usefixtures("clean_firestore")
@pytest.mark.parametrize("task", [LOCATIONS, CDRS])
def test_a_task_collects_from_the_operators_of_its_secret(stack: Addresses, task: TaskName) -> None:
    """The deployed function stores the result in Storage with a summary, and an operator can read it."""
    answer = delivered(stack, task)
    assert (answer.status_code, answer.text) == (200, "ok")
    result = published(task)
    assert result["saved_in"] == "storage"
    assert result["count"] == result["summary"]["count"] > 300
    summary = result["summary"]["this_run"] if task == CDRS else result["summary"]
    assert [each["state"] for each in summary["operators"]] == ["read", "read"]

    demo_data.seed(datetime.now(UTC))
    token = sign_in(stack, "operator@example.com")
    assert len(call(stack, {"task_name": task}, token).json["result"]) == result["count"]


@pytest.mark.usefixtures("clean_firestore")
def test_a_run_stores_its_details_and_carries_out_requests(stack: Addresses) -> None:
    """Details have the parties, the days of set-aside records, and the completed requests."""
    parties = {"CH*NXS": "south", "DE*NXN": "north"}
    delivered(stack, LOCATIONS)
    delivered(stack, CDRS)
    assert get_task_details(LOCATIONS).value["memory"]["parties"] == parties
    memory = get_task_details(CDRS).value["memory"]
    assert (memory["parties"], memory["reads"]) == (parties, {})
    assert memory["set_aside"].keys() == {"north", "south"}
    request = {"read_from": datetime(2026, 1, 1, tzinfo=UTC), "read_requested": datetime.now(UTC)}
    firebase.firestore_client().document("nx-ocpi-requests/north").set(request)
    delivered(stack, CDRS)
    details = get_task_details(CDRS)
    assert details.value["memory"]["reads"].keys() == {"north"}
    assert details.value["memory"]["set_aside"] == memory["set_aside"]

    demo_data.seed(datetime.now(UTC))
    token = sign_in(stack, "operator@example.com")
    answer = call(stack, {"task_name": CDRS, "details": True}, token).json["result"]
    assert (answer["version"], answer["details"]) == (details.version, details.value)


@pytest.mark.usefixtures("clean_firestore")
def test_only_operators_may_read_cdrs(stack: Addresses) -> None:
    """Viewers may read the locations."""
    delivered(stack, LOCATIONS)
    demo_data.seed(datetime.now(UTC))
    token = sign_in(stack, "viewer@example.com")
    assert call(stack, {"task_name": LOCATIONS}, token).status == 200
    assert call(stack, {"task_name": CDRS}, token).json["error"]["status"] == "PERMISSION_DENIED"


def run_cdrs(operators: tuple[Operator, ...], run: TaskRun) -> Any:
    """The deployed function's task, for these operators."""
    last = partial(iter_task_data, CDRS)
    return charge_cdrs.collect(operators, last, run, now=datetime.now(UTC), months=13, limits=FAST)


def run_locations(operators: tuple[Operator, ...], run: TaskRun) -> Any:
    """The deployed function's task, for these operators."""
    return charge_locations.collect(operators, partial(iter_task_data, LOCATIONS), run, limits=FAST)


@pytest.mark.usefixtures("clean_firestore")
def test_a_second_run_requests_only_new_records(stack: Addresses) -> None:
    """The stored result stays the same except for new records."""
    operators = parse(secret(stack.ocpi))

    def task(run: TaskRun) -> Any:
        return run_cdrs(operators, run)

    assert execute_task("test", CDRS, task).status == "completed"
    first, records = published(CDRS)["summary"], get_task_data(CDRS)
    assert execute_task("test", CDRS, task).status == "completed"
    second = published(CDRS)["summary"]
    assert list(iter_task_data(CDRS)) == records
    assert (second["totals"], second["count"]) == (first["totals"], first["count"])
    assert sum(each["records"] for each in second["this_run"]["operators"]) < first["count"] / 10


@pytest.mark.usefixtures("clean_firestore")
def test_records_of_failing_operators_are_kept(stack: Addresses) -> None:
    """If one fails, its records stay. If all fail, the run fails with the reason and the result stays."""
    with hostile(serving(location())) as server:
        operators = (server.operator(), *parse(secret(stack.ocpi)))
        assert execute_task("test", LOCATIONS, partial(run_locations, operators)).status == "completed"
        before = list(iter_task_data(LOCATIONS))

        server.lists = lambda asked: asked.envelope({"status_code": 3000, "status_message": "out of order"})
        assert execute_task("test", LOCATIONS, partial(run_locations, operators)).status == "completed"
        assert list(iter_task_data(LOCATIONS)) == before
        summary = get_task_result(LOCATIONS).summary or {}
        assert (summary["operators_failed"], summary["kept_of_failed"]) == (1, 1)

        failed = execute_task("test", LOCATIONS, partial(run_locations, (server.operator(),)))
    assert failed.status == "failed"
    assert "hostile: /locations: OCPI status 3000: out of order" in (failed.error or "")
    assert list(iter_task_data(LOCATIONS)) == before


@pytest.mark.usefixtures("clean_firestore")
def test_a_run_over_several_legs_publishes_what_a_run_with_one_does(stack: Addresses) -> None:
    """Each page has a leg, the merge has the last one; result and details are the same, byte for byte."""
    clock, now = PassingClock(), datetime.now(UTC)

    def lists(request: HttpRequest) -> None:
        clock.ahead += UNIT_SECONDS
        page = int(request.query.get("page", 0))
        links = {"Link": f'</cdrs?page={page + 1}>; rel="next"'} if page < 3 else {}
        request.list([cdr(id=f"{page}-{n}") for n in range(20)] + [cdr(id=page)], **links)

    with hostile(lists) as server:
        operators = (server.operator(), *parse(secret(stack.ocpi)))

        def task(run: TaskRun) -> Any:
            return charge_cdrs.collect(operators, list, run, now=now, months=13, limits=FAST)

        long = LongRun(task, clock, save_in="storage", deadline_seconds=12 * 3_600)
        assert long.deliver_tick().status == "waiting"
        outcomes = long.deliver_all()
        assert len(server.list_requests()) == 4
        over_legs = stored(CDRS)
        assert execute_task("test", CDRS, task, {"save_in": "storage"}).status == "completed"
        assert over_legs == stored(CDRS)
    assert len(outcomes) >= 3
    assert outcomes == ["waiting"] * (len(outcomes) - 1) + ["completed"]
    assert published(CDRS)["count"] > 1_000


@pytest.mark.usefixtures("clean_firestore")
def test_no_token_is_stored_or_logged(stack: Addresses, capsys: pytest.CaptureFixture[str]) -> None:
    """Status, history and log name a wrong secret by its variable."""
    wrong = json.dumps([{"name": "north", "url": "no URL", "token": "s3cret-of-north"}])
    outcome = execute_task("test", LOCATIONS, lambda run: run_locations(parse(wrong), run))
    assert outcome.status == "failed"
    client = firebase.firestore_client()
    stored = [client.document("nx-tasks", LOCATIONS).get().to_dict()]
    stored += [each.to_dict() for each in client.collection("nx-tasks", LOCATIONS, "nx-runs").stream()]
    for text in (str(stored), capsys.readouterr().out):
        assert "NX_OCPI_OPERATORS has an invalid URL for north" in text
        assert "s3cret" not in text
    assert stack.ocpi
