"""Large responses of `get_task_data` as served in production, read by real clients."""

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

import pytest

from cli.callables import Caller
from cli.target import Target
from shared import firebase
from shared.tasks import TaskName
from tests.functions.conftest import Serve
from tests.functions.issuer import Issuer
from tests.functions.production import ROOT
from tests.support.instances import publish

FETCH = Path(__file__).with_name("fetch.mjs")
LIMIT = 32 * 1024 * 1024
MiB = 1024 * 1024


def noise(size: int) -> str:
    """Text that compresses to three quarters of its size."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


@pytest.fixture(scope="module")
def address(results: dict[TaskName, list[str]], serve: Serve) -> str:
    return serve()


@pytest.fixture(scope="module")
def token(issuer: Issuer) -> str:
    return issuer.id_token(role="operator")


def post(address: str, token: str, task: TaskName, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and raw body of a response."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers}
        connection.request("POST", "/", json.dumps({"data": {"task_name": task, "if_version": None}}), sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_javascript_reads_a_large_response(address: str, token: str) -> None:
    """With its fetch and its zlib, which read only the first member of a gzip."""
    task = TaskName.collect_devices_health
    records = [{"id": number, "ü": noise(500)} for number in range(4000)]
    publish(task, records, "storage")
    body = json.dumps({"data": {"task_name": task, "if_version": None}})
    process = subprocess.run(
        ["node", FETCH, f"http://{address}/", token, body], check=True, capture_output=True, timeout=60
    )
    received = json.loads(process.stdout)
    assert (received["encoding"], received["same"]) == ("gzip", True)
    assert received["result"]["data"] == records


def test_a_result_above_the_limit_of_cloud_run_is_replaced_by_a_url(
    address: str, token: str, log: Path
) -> None:
    """33 MiB compressed: the response is small and quick, and its URL needs no credentials."""
    task = TaskName.collect_charge_cdrs
    result = [noise(44 * MiB)]
    publish(task, result, "storage")
    before = firebase.firestore_client().document(f"nx-tasks/{task}").get().to_dict()
    status, _, body = post(address, token, task, **{"Accept-Encoding": "gzip"})
    error = json.loads(body)["error"]
    assert (status, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"]["expires_in_seconds"] == 900
    with urllib.request.urlopen(error["details"]["url"], timeout=60) as found:
        stored = found.read()
    assert len(stored) > LIMIT
    assert json.loads(gzip.decompress(stored) if stored.startswith(b"\x1f\x8b") else stored) == result
    assert firebase.firestore_client().document(f"nx-tasks/{task}").get().to_dict() == before
    assert error["details"]["url"] not in log.read_text("utf-8")
    assert "X-Goog-" not in log.read_text("utf-8")


def test_the_command_line_reads_from_the_url(
    address: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without sending its credentials there."""
    task = TaskName.send_reset_sms
    result = [noise(44 * MiB)]
    publish(task, result, "storage")
    monkeypatch.setenv("NX_ID_TOKEN", token)
    came: list[int] = []
    caller = Caller(Target("some-project", f"http://{address}", "", ""))
    with caller.open_data(task, lambda done, _total: came.append(done)) as read:
        assert json.load(read) == result
    assert came[-1] > LIMIT


def test_40_compressible_mib_are_returned_to_clients_with_gzip(address: str, token: str) -> None:
    """Other clients get a URL."""
    task = TaskName.collect_charge_locations
    publish(task, ["x" * (40 * MiB)], "storage")
    status, headers, body = post(address, token, task, **{"Accept-Encoding": "gzip"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(body) == int(headers["content-length"]) < MiB
    assert json.loads(gzip.decompress(body))["result"]["data"] == ["x" * (40 * MiB)]
    status, _, body = post(address, token, task)
    assert (status, json.loads(body)["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


#: Serves the results of all tasks repeatedly; prints the cached bytes and the growth of the memory.
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
        held = max(held, engine.cache.held_bytes)
        del payload
    peaks.append(peak())
print(settings.cache_bytes(), held, peaks[2] - at_first, peaks[-1] - at_first)
"""


@pytest.mark.usefixtures("results")
def test_the_memory_of_an_instance_that_serves_many_large_results_is_bounded() -> None:
    """Four of 10 MB with room for one or two are cached and evicted without a leak."""
    for number, task in enumerate(TaskName):
        publish(task, [noise(14_000_000 + number)], "storage")
    process = subprocess.run(
        [sys.executable, "-c", READS],
        env={**os.environ, "NX_TASKS_CACHE_MB": "30"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    bound, held, early, late = map(int, process.stdout.split())
    assert bound == 30 * MiB
    assert 10_000_000 < held <= bound
    assert late - early < 40_000_000  # after 100 downloads of 10 MB
    assert late < bound + 100_000_000  # plus one download and one decompression
