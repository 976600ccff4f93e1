"""The local Cloud Scheduler creates jobs from endpoints as a deployment does."""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emulators.scheduler.errors import ManifestError
from emulators.scheduler.job import RetryConfig, jobs_from_endpoint
from emulators.scheduler.manifest import Manifest
from emulators.scheduler.server import SchedulerServer
from tests.emulators.scheduler_doubles import PROJECT, REGION, Bench, write_manifest

ROOT = Path(__file__).parents[2]
#: Prints the job that firebase-tools creates for each endpoint on stdin.
FIREBASE_TOOLS = """
const { jobFromEndpoint } = require("firebase-tools/lib/gcp/cloudscheduler");
const endpoints = JSON.parse(require("fs").readFileSync(0));
const jobs = endpoints.map((e) => jobFromEndpoint(e, e.region, "1"));
Promise.all(jobs).then((made) => console.log(JSON.stringify(made)));
"""

TRIGGERS: list[dict[str, Any]] = [
    {"scheduleTrigger": {"schedule": "* * * * *", "retryConfig": {}}},
    {"scheduleTrigger": {"schedule": "every 5 minutes", "timeZone": "Asia/Kolkata"}, "timeoutSeconds": 540},
    {"scheduleTrigger": {"schedule": "* * * * *"}, "timeoutSeconds": 60},
    {"scheduleTrigger": {"schedule": "* * * * *", "retryConfig": {"maxRetrySeconds": 10**6}}},
    {"scheduleTrigger": {"schedule": "* * * * *"}, "timeoutSeconds": 3600},
    {
        "scheduleTrigger": {
            "schedule": "0 9 * * 1",
            "retryConfig": {
                "retryCount": 3,
                "maxRetrySeconds": 600,
                "minBackoffSeconds": 7,
                "maxBackoffSeconds": 70,
                "maxDoublings": 2,
            },
        }
    },
]


@pytest.mark.skipif(shutil.which("node") is None, reason="asks firebase-tools, which needs Node")
def test_a_job_equals_that_of_firebase_tools() -> None:
    """Name, schedule, time zone, deadline and retries are those that firebase-tools derives."""
    common = {"platform": "gcfv2", "id": "f", "project": PROJECT, "uri": "http://f", "serviceAccount": "s@p"}
    deployed = json.loads(
        subprocess.run(
            ["node", "-e", FIREBASE_TOOLS],
            input=json.dumps([{**common, "region": REGION, **trigger} for trigger in TRIGGERS]),
            cwd=ROOT / "emulators",
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    for trigger, expected in zip(TRIGGERS, deployed, strict=True):
        [job] = jobs_from_endpoint(PROJECT, "elsewhere", "f", {"region": [REGION], **trigger})
        bench = Bench()
        bench.scheduler.load([job])
        with SchedulerServer(("127.0.0.1", 0), bench.scheduler, PROJECT, lambda _: "http://f") as server:
            resource = server.resource(bench.scheduler.get(job.name))
        del expected["httpTarget"]["oidcToken"]  # The local functions do not check tokens.
        for key, value in expected.items():
            # The service adds the defaults of fields that firebase-tools omits.
            filled = {**resource[key], **value} if isinstance(value, dict) else value
            assert resource[key] == filled


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ({"scheduleTrigger": {}}, "function f: scheduleTrigger.schedule must be a string"),
        ({"scheduleTrigger": {"schedule": 5}}, "scheduleTrigger.schedule must be a string"),
        ({"scheduleTrigger": "* * * * *"}, "scheduleTrigger must be an object"),
        ({"scheduleTrigger": {"schedule": "* * * * *"}, "platform": "gcfv1"}, "platform must be gcfv2"),
        ({"scheduleTrigger": {"schedule": "* * * * *"}, "region": "us-central1"}, "region must be a list"),
        (
            {"scheduleTrigger": {"schedule": "* * * * *"}, "timeoutSeconds": "{{ params.T }}"},
            "timeoutSeconds",
        ),
        (
            {"scheduleTrigger": {"schedule": "* * * * *", "retryConfig": {"retryCount": 6}}},
            "must be at most 5",
        ),
        ({"scheduleTrigger": {"schedule": "* * * * *", "retryConfig": {"retryCount": True}}}, "retryCount"),
        (
            {"scheduleTrigger": {"schedule": "* * * * *", "retryConfig": {"maxBackoffSeconds": 1}}},
            "minBackoff",
        ),
    ],
)
def test_the_error_for_an_invalid_endpoint_names_the_field(endpoint: dict[str, Any], complaint: str) -> None:
    """The error also names the function."""
    with pytest.raises(ManifestError, match="function f") as caught:
        jobs_from_endpoint(PROJECT, REGION, "f", endpoint)
    assert complaint in str(caught.value)


def test_scheduled_functions_have_one_job_per_region() -> None:
    """A callable has no job; a function without a region has one in the manifest's region."""
    schedule = {"scheduleTrigger": {"schedule": "* * * * *"}}
    assert jobs_from_endpoint(PROJECT, REGION, "f", {"callableTrigger": {}}) == []
    both = jobs_from_endpoint(PROJECT, REGION, "f", {**schedule, "region": ["europe-west1", "asia-east1"]})
    assert [job.region for job in both] == ["europe-west1", "asia-east1"]
    assert jobs_from_endpoint(PROJECT, REGION, "f", schedule)[0].id == f"firebase-schedule-f-{REGION}"


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        # The example in the service's reference.
        (
            RetryConfig(8, timedelta(), timedelta(seconds=10), timedelta(seconds=300), 3),
            [10, 20, 40, 80, 160, 240, 300, 300],
        ),
        (RetryConfig(5), [5, 10, 20, 40, 80]),
        (RetryConfig(5, max_doublings=0), [5, 10, 15, 20, 25]),
        (RetryConfig(5, max_doublings=10**6), [5, 10, 20, 40, 80]),
        (RetryConfig(5, min_backoff=timedelta()), [0, 0, 0, 0]),
    ],
)
def test_back_off_doubles_then_grows_linearly_then_stays(retry: RetryConfig, expected: list[int]) -> None:
    """The intervals are those in the service's reference."""
    assert [retry.backoff(n).total_seconds() for n in range(1, len(expected) + 1)] == expected
    assert retry.backoff(10_000) <= retry.max_backoff


@pytest.mark.parametrize(
    ("count", "seconds", "attempts", "elapsed", "again"),
    [
        (0, 0, 1, 0, False),
        (2, 0, 2, 10**6, True),
        (2, 0, 3, 1, False),
        (0, 60, 9, 59, True),
        (0, 60, 9, 60, False),
        (2, 60, 2, 3600, True),
        (2, 60, 9, 59, True),
        (2, 60, 3, 60, False),
    ],
)
def test_retries_end_when_both_limits_are_reached(
    *, count: int, seconds: int, attempts: int, elapsed: int, again: bool
) -> None:
    """A single limit also ends the retries."""
    retry = RetryConfig(count, timedelta(seconds=seconds))
    assert retry.allows(attempts, timedelta(seconds=elapsed)) is again


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not a readable JSON file"),
        ("{", "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file"),
        ("[]", 'must be an object with "endpoints"'),
        ('{"endpoints": []}', 'must be an object with "endpoints"'),
        ('{"endpoints": {"f": 1}}', "endpoint f must be an object"),
        ('{"project": "other", "endpoints": {}}', "'other'"),
        ('{"location": 1, "endpoints": {"f": {"scheduleTrigger": {"schedule": "* * * * *"}}}}', "region"),
    ],
)
def test_an_invalid_manifest_is_an_error_with_the_cause(tmp_path: Path, content: str, complaint: str) -> None:
    """The error names the file or the function."""
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(ManifestError) as caught:
        Manifest(path, PROJECT).read()
    assert complaint in str(caught.value)


def test_a_manifest_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    """A removed file counts as a change, too."""
    path = tmp_path / "manifest.json"
    write_manifest(path, f="* * * * *")
    manifest = Manifest(path, PROJECT)
    assert [job.function for job in manifest.read()] == ["f"]
    assert not manifest.changed()
    write_manifest(path, f="* * * * *", g="* * * * *")
    assert manifest.changed()
    assert [job.function for job in manifest.read()] == ["f", "g"]
    path.unlink()
    assert manifest.changed()
    with pytest.raises(ManifestError, match="not a readable"):
        manifest.read()
    assert not manifest.changed()
