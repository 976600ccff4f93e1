"""The console's lines about failed deliveries."""

import subprocess
from pathlib import Path

import pytest

from emulators.deliveries import FailedDeliveries
from emulators.stack import ROOT

#: Dispatches one Cloud Task as the emulator does: twice to a function that fails, then to one that is gone.
DISPATCH = """
const http = require("node:http");
const { TaskQueue, TaskStatus } = require("firebase-tools/lib/emulator/taskQueue.js");

const retryConfig = { maxAttempts: 9, minBackoffSeconds: 0, maxBackoffSeconds: 0, maxDoublings: 1 };
const rateLimits = { maxConcurrentDispatches: 1, maxDispatchesPerSecond: 9 };
const queue = new TaskQueue("q", { retryConfig, rateLimits });
const counts = [];
const server = http.createServer((request, response) => {
  counts.push(request.headers["x-cloudtasks-taskpreviousresponse"] ?? null);
  response.writeHead(503).end();
});

async function attempt() {
  await queue.runTask(0);
  const { status } = queue.dispatches[0].metadata;
  queue.processDispatch();
  return status;
}

server.listen(0, "127.0.0.1", async () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  queue.enqueue({ name: "a/b", httpRequest: { url, headers: {}, body: { task_name: "sum_up", leg: 2 } } });
  queue.setTokens(9);
  queue.dispatchTasks();
  const statuses = [await attempt(), await attempt()];
  server.close();
  server.closeAllConnections();
  statuses.push(await attempt());
  console.log(JSON.stringify({ counts, retried: statuses.every((status) => status === TaskStatus.RETRY) }));
  process.exit();
});
"""


@pytest.mark.programs
def test_the_cloud_tasks_emulator_reports_failed_deliveries() -> None:
    """It sends the status of the last response, as without the report."""
    ran = subprocess.run(
        ["node", "--require", "./preload.cjs", "-e", DISPATCH],
        cwd=ROOT / "emulators",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert '{"counts":[null,"503"],"retried":true}' in ran.stdout, ran.stderr
    reported = [line for line in ran.stderr.splitlines() if line.startswith("Cloud Tasks: ")]
    assert reported == [
        "Cloud Tasks: leg 2 of sum_up, attempt 1: HTTP 503",
        "Cloud Tasks: leg 2 of sum_up, attempt 2: HTTP 503",
        "Cloud Tasks: leg 2 of sum_up, attempt 3: no response",
    ]


def test_failed_deliveries_are_found_in_the_logs(tmp_path: Path) -> None:
    """Those of Cloud Scheduler and of Cloud Tasks, once each, and none from before."""
    scheduler, emulators = tmp_path / "cloud-scheduler.log", tmp_path / "firebase-emulators.log"
    refused = "12:00:00 sum_up: tick 2026-11-30T12:00:00Z, attempt 1: HTTP 503 after 0.10 s; retry in 10 s"
    lost = "Cloud Tasks: leg 2 of sum_up, attempt 1: no response"
    for log in (scheduler, emulators):
        log.write_text(f"{refused}\n{lost}\n", "utf-8")
    with FailedDeliveries(tmp_path) as failed:
        assert list(failed.lines()) == []
        with scheduler.open("a", encoding="utf-8") as log:
            log.write(f"{refused}\n{refused.replace('503', '200')}\n")
        with emulators.open("a", encoding="utf-8") as log:
            log.write(f">  attempt 1: a line of a task\n{lost}\n")
        assert list(failed.lines()) == [refused, lost]
        assert list(failed.lines()) == []
