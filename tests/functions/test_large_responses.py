"""Large answers of `get_task_data` as it is served in production, read by real clients."""

import base64
import gzip
import http.client
import json
import os
import random
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cli.callables import Caller
from cli.target import Target
from shared import firebase
from shared.tasks import TaskName, execute_task
from tests.functions.conftest import Serve
from tests.functions.issuer import Issuer
from tests.functions.production import ROOT

FETCH = Path(__file__).with_name("fetch.mjs")
LIMIT = 32 * 1024 * 1024
MiB = 1024 * 1024


def noise(size: int) -> str:
    """Text that compresses to three quarters of it."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


@pytest.fixture(scope="module")
def address(results: dict[TaskName, list[str]], serve: Serve) -> str:
    return serve()


@pytest.fixture(scope="module")
def token(issuer: Issuer) -> str:
    return issuer.id_token(role="operator")


def publish(task: TaskName, value: Any) -> None:
    assert execute_task("test", task, lambda: value, {"save_in": "storage"}).status == "completed"


def ask(address: str, token: str, task: TaskName, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """An answer as it comes over the wire."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers}
        connection.request("POST", "/", json.dumps({"data": {"task_name": task, "if_version": None}}), sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_javascript_reads_a_large_answer_whole(address: str, token: str) -> None:
    """Its fetch and its zlib, which know one member of gzip alone."""
    task = TaskName.collect_devices_health
    records = [{"id": number, "ü": noise(500)} for number in range(4000)]
    publish(task, records)
    body = json.dumps({"data": {"task_name": task, "if_version": None}})
    told = subprocess.run(
        ["node", FETCH, f"http://{address}/", token, body], check=True, capture_output=True, timeout=60
    )
    seen = json.loads(told.stdout)
    assert (seen["encoding"], seen["same"]) == ("gzip", True)
    assert seen["result"]["data"] == records


def test_a_result_above_cloud_run_s_limit_is_handed_to_storage(address: str, token: str, log: Path) -> None:
    """33 MiB compressed: the answer is small and quick, and its URL works without credentials."""
    task = TaskName.collect_charge_cdrs
    result = [noise(44 * MiB)]
    publish(task, result)
    before = firebase.firestore_client().document(f"nx-tasks/{task}").get().to_dict()
    status, _, body = ask(address, token, task, **{"Accept-Encoding": "gzip"})
    told = json.loads(body)["error"]
    assert (status, told["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert told["details"]["expires_in_seconds"] == 900
    with urllib.request.urlopen(told["details"]["url"], timeout=60) as found:
        stored = found.read()
    assert len(stored) > LIMIT
    assert json.loads(gzip.decompress(stored) if stored.startswith(b"\x1f\x8b") else stored) == result
    assert firebase.firestore_client().document(f"nx-tasks/{task}").get().to_dict() == before
    assert told["details"]["url"] not in log.read_text("utf-8")
    assert "X-Goog-" not in log.read_text("utf-8")


def test_the_command_line_follows_to_storage(
    address: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives the result as any other, without its credentials going there."""
    task = TaskName.send_reset_sms
    result = [noise(44 * MiB)]
    publish(task, result)
    monkeypatch.setenv("NX_ID_TOKEN", token)
    came: list[int] = []
    caller = Caller(Target("some-project", f"http://{address}", "", ""))
    with caller.open_data(task, lambda done, _total: came.append(done)) as read:
        assert json.load(read) == result
    assert came[-1] > LIMIT


def test_40_mib_that_compress_well_are_an_answer_for_those_who_take_that(address: str, token: str) -> None:
    """Others are handed to Storage."""
    task = TaskName.collect_charge_locations
    publish(task, ["x" * (40 * MiB)])
    status, headers, body = ask(address, token, task, **{"Accept-Encoding": "gzip"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(body) == int(headers["content-length"]) < MiB
    assert json.loads(gzip.decompress(body))["result"]["data"] == ["x" * (40 * MiB)]
    status, _, body = ask(address, token, task)
    assert (status, json.loads(body)["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


#: Serves the results of all tasks again and again; tells what it held, and what its memory grew by.
READS = """
from shared import settings
from shared.tasks import TaskName
from shared.tasks import _engine as engine, get_task_result
from tests.memory import peak_bytes as peak

at_first = peak()

held, peaks = 0, []
for number in range(30):
    for task in TaskName:
        payload = get_task_result(task).payload
        assert payload.size > 10_000_000
        payload.gzip_around(b"{", b"}")
        if number % 3 == 0:
            payload.json
        held = max(held, engine.cache.held)
        del payload
    peaks.append(peak())
print(settings.cache_bytes(), held, peaks[2] - at_first, peaks[-1] - at_first)
"""


@pytest.mark.usefixtures("results")
def test_the_memory_of_an_instance_that_serves_many_large_results_is_bounded() -> None:
    """Four of 10 MB, where there is room for one or two: they come and go, and nothing stays behind."""
    for number, task in enumerate(TaskName):
        publish(task, [noise(14_000_000 + number)])
    told = subprocess.run(
        [sys.executable, "-c", READS],
        env={**os.environ, "NX_TASKS_CACHE_MB": "30"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    bound, held, early, late = map(int, told.stdout.split())
    assert bound == 30 * MiB
    assert 10_000_000 < held <= bound
    assert late - early < 40_000_000  # 100 downloads of 10 MB later
    assert late < bound + 100_000_000  # and what one download and one decompression take
