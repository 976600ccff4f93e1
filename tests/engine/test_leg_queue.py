"""Cloud Tasks are created in the emulator, which delivers them."""

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from emulators.environment import Addresses
from shared import firebase
from shared.firebase import TasksWire
from shared.tasks import TaskName
from shared.tasks.backends import leg_queue
from shared.tasks.backends.leg_queue import LegQueue, cloud_task_id
from shared.tasks.backends.scheduler import Jobs, JobTarget
from shared.tasks.clock import Clock
from shared.tasks.errors import LegQueueUnavailable, SchedulerUnavailable
from shared.tasks.protocol.effect_handler import EffectHandler
from shared.tasks.protocol.effects import DeliverLeg
from tests.support.cloud_tasks import receiving
from tests.support.world import TASK

SECONDS = 30.0


@dataclass(frozen=True)
class Receiver:
    """A function that fails its first delivery, and the deliveries that it received."""

    url: str
    deliveries: "queue.Queue[tuple[dict[str, str], Any]]"


@pytest.fixture
def receiver(stack: Addresses) -> Iterator[Receiver]:
    deliveries: queue.Queue[tuple[dict[str, str], Any]] = queue.Queue()
    statuses = iter([503])

    def receive(headers: dict[str, str], body: Any) -> int:
        deliveries.put((headers, body))
        return next(statuses, 200)

    with receiving(receive) as url:
        yield Receiver(f"{url}f", deliveries)


@pytest.fixture
def run_id(request: pytest.FixtureRequest) -> str:
    """A run whose Cloud Tasks no other test creates; the emulator remembers names."""
    return f"run of {request.node.name} {id(request)}"


def sent_to(legs: LegQueue, target: JobTarget, run_id: str, leg: int = 2, creation: int = 1) -> None:
    legs.deliver(TASK, run_id, leg, creation, target)


def test_a_leg_is_delivered_again_until_it_succeeds(receiver: Receiver, run_id: str) -> None:
    """As a POST with a JSON body, and headers of Cloud Tasks."""
    sent_to(LegQueue(firebase.tasks_wire), JobTarget(receiver.url), run_id)
    for retries in ("0", "1"):
        sent, body = receiver.deliveries.get(timeout=SECONDS)
        assert body == {"task_name": TASK.value, "run_id": run_id, "leg": 2}
        assert sent["content-type"] == "application/json"
        assert sent["x-cloudtasks-taskname"] == cloud_task_id(TASK, run_id, 2, 1)
        assert sent["x-cloudtasks-taskretrycount"] == retries


def test_a_leg_that_was_created_before_is_not_created_again(receiver: Receiver, run_id: str) -> None:
    """Its name is used up. Another creation delivers it."""
    legs, target = LegQueue(firebase.tasks_wire), JobTarget(receiver.url)
    for creation in (1, 1, 2):
        sent_to(legs, target, run_id, creation=creation)
    names = set()
    while cloud_task_id(TASK, run_id, 2, 2) not in names:
        headers, _ = receiver.deliveries.get(timeout=SECONDS)
        names.add(headers["x-cloudtasks-taskname"])
    assert names <= {cloud_task_id(TASK, run_id, 2, creation) for creation in (1, 2)}


def test_the_name_of_a_cloud_task_identifies_run_leg_and_creation() -> None:
    """It matches what Cloud Tasks allows. Two tasks may have runs with the same id, which is a time."""
    run = "2026-05-05T12:01:00Z"
    other = next(name for name in TaskName if name is not TASK)
    names = [
        cloud_task_id(TASK, run, 2, 1),
        cloud_task_id(TASK, run, 3, 1),
        cloud_task_id(TASK, run, 2, 2),
        cloud_task_id(other, run, 2, 1),
    ]
    assert len(set(names)) == 4
    assert all(len(name) <= 40 and name.replace("-", "").isalnum() for name in names)


class Recorded:
    """A session that records what is sent, and answers with one status."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.sent: list[tuple[str, Any]] = []

    def post(self, url: str, *, json: Any, timeout: float) -> Any:
        assert timeout <= leg_queue.CALL_SECONDS
        self.sent.append((url, json["task"]))
        return SimpleNamespace(status_code=self.status, text="the reason")


def in_cloud(session: Recorded) -> LegQueue:
    location = "projects/p/locations/l"
    return LegQueue(lambda: TasksWire(session, "https://cloudtasks.googleapis.com/v2/", location))  # type: ignore[arg-type]


@pytest.mark.parametrize("audience", [None, "https://f.example.com"])
def test_a_delivery_is_authenticated_as_that_of_the_job(audience: str | None) -> None:
    """Cloud Tasks makes the OIDC token. It waits for the response as long as it can."""
    session = Recorded(200)
    target = JobTarget("https://f.example.com/", "nx-tasks@p.iam.gserviceaccount.com", audience)
    sent_to(in_cloud(session), target, "r")
    url, created = session.sent[0]
    queue_name = "projects/p/locations/l/queues/nx-runs"
    assert url == f"https://cloudtasks.googleapis.com/v2/{queue_name}/tasks"
    assert created["name"] == f"{queue_name}/tasks/{cloud_task_id(TASK, 'r', 2, 1)}"
    assert created["dispatchDeadline"] == "1800s"
    token = {"serviceAccountEmail": target.invoker} | ({"audience": audience} if audience else {})
    assert created["httpRequest"]["oidcToken"] == token
    assert (created["httpRequest"]["url"], created["httpRequest"]["httpMethod"]) == (target.url, "POST")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (403, "has the service account roles/cloudtasks.enqueuer on the queue .* is the API enabled"),
        (404, "the queue does not exist; docs/deploy.md has the command that creates it"),
        (500, "answered 500 for projects/p/locations/l/queues/nx-runs"),
    ],
)
def test_a_refusal_is_an_error_with_advice(status: int, advice: str) -> None:
    """The text also contains the response."""
    with pytest.raises(LegQueueUnavailable, match=f"{advice}.*the reason"):
        sent_to(in_cloud(Recorded(status)), JobTarget("https://f.example.com/"), "r")


def test_a_missing_queue_is_an_error(stack: Addresses, run_id: str) -> None:
    """The emulator answers 404, as the service does."""
    wire = firebase.tasks_wire()
    elsewhere = TasksWire(wire.session, wire.url, "projects/demo-nx-tasks/locations/no-queue-here")
    with pytest.raises(LegQueueUnavailable, match="the queue does not exist"):
        sent_to(LegQueue(lambda: elsewhere), JobTarget("http://127.0.0.1:1/"), run_id)


def test_cloud_tasks_that_cannot_be_reached_is_an_error() -> None:
    nowhere = TasksWire(requests.Session(), "http://127.0.0.1:1/", "projects/p/locations/l")
    with pytest.raises(LegQueueUnavailable, match="Cloud Tasks did not answer"):
        sent_to(LegQueue(lambda: nowhere), JobTarget("https://f.example.com/"), "r")


class FixedJob:
    """A Cloud Scheduler whose job has this HTTP target."""

    def __init__(self, **target: Any) -> None:
        self.target = target

    def request(self, *_: object, **__: object) -> Any:
        return SimpleNamespace(status_code=200, json=lambda: {"httpTarget": self.target})


def jobs_with(**target: Any) -> Jobs:
    return Jobs(lambda: SimpleNamespace(session=FixedJob(**target), jobs=""))  # type: ignore[arg-type, return-value]


def test_the_target_of_a_job_has_its_url_and_identity() -> None:
    """The audience is optional. A job that calls no URL is an error."""
    token = {"serviceAccountEmail": "a@p.iam.gserviceaccount.com", "audience": "https://f"}
    assert jobs_with(uri="https://f/", oidcToken=token).read_target(TASK) == JobTarget(
        "https://f/", "a@p.iam.gserviceaccount.com", "https://f"
    )
    assert jobs_with(uri="http://f/").read_target(TASK) == JobTarget("http://f/")
    with pytest.raises(SchedulerUnavailable, match=f"deploy the function {TASK.value} again"):
        jobs_with().read_target(TASK)


def test_an_effect_handler_delivers_to_the_target_of_the_task(receiver: Receiver, run_id: str) -> None:
    """It needs jobs and a queue."""
    effect = DeliverLeg(run_id, leg=3, creation=4)
    clock, store, jobs = Clock(), SimpleNamespace(), jobs_with(uri=receiver.url)
    legs = LegQueue(firebase.tasks_wire)
    for lacking in ({}, {"jobs": jobs}, {"queue": legs}):
        with pytest.raises(TypeError, match="needs an effect handler with"):
            EffectHandler(TASK, clock, store, **lacking)(effect)  # type: ignore[arg-type]
    EffectHandler(TASK, clock, store, jobs=jobs, queue=legs)(effect)  # type: ignore[arg-type]
    _, body = receiver.deliveries.get(timeout=SECONDS)
    assert body == {"task_name": TASK.value, "run_id": run_id, "leg": 3}
