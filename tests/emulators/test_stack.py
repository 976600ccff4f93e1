"""The stack starts and ends from the command line in a separate project."""

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from emulators import demo_data, ports
from emulators.loopback import request
from emulators.stack import ROOT

if TYPE_CHECKING:
    from conftest import Launched, Project

pytestmark = pytest.mark.firebase

ASK_EACH_PART = """
import json, os, sys
from emulators.environment import Addresses
from emulators.loopback import request
at = Addresses.from_environment()
urls = {
    "auth": f"http://{at.auth}/",
    "firestore": f"http://{at.firestore}/",
    "bucket": f"http://{at.storage}/storage/v1/b/{os.environ['NX_TASKS_BUCKET']}/o",
    "scheduler": at.jobs_url,
}
answers = {name: request(url)[0] for name, url in urls.items()}
url = f"{at.callables_url}/get_task_data"
answers["callable"] = request(url, method="POST", body={"data": 5}, timeout_seconds=30)
print(json.dumps({"answers": answers, "environment": dict(os.environ)}))
sys.exit(7)
"""
DELIVER_LEGS = """
import sys
from types import SimpleNamespace
from google.cloud import firestore
from emulators.loopback import request
from shared import firebase
from shared.tasks.backends.leg_queue import LegQueue, cloud_task_id
from shared.tasks.backends.scheduler import Jobs
from tests.waiting import wait_for

task = SimpleNamespace(value="no_task")
received = firestore.Client().document("legs/received")

def deliver(leg):
    target = Jobs(firebase.scheduler_wire).read_target(task)
    LegQueue(firebase.tasks_wire).deliver(task, "r", leg, 1, target)
    wait_for("the delivery", lambda: (received.get().to_dict() or {}) == {
        "body": {"task_name": "no_task", "run_id": "r", "leg": leg}, "name": cloud_task_id(task, "r", leg, 1)
    })
    return target.url.rpartition("/")[2]

print(deliver(2))
for change in ("disable", "enable"):  # the triggers get other names
    status, _ = request(f"http://{sys.argv[1]}/functions/{change}BackgroundTriggers", method="PUT", body={})
    assert status == 200, status
print(deliver(3))
"""
STAY = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit())
print("here", flush=True)
signal.pause()
"""


def assert_all_ended(launched: "Launched", project: "Project") -> None:
    assert launched.live_groups() == set()
    ports.check_free(project.ports)


def java_of(project: "Project") -> psutil.Process:
    port = str(project.ports["firestore"])
    # With this argument the command line of a process that has just ended is None, not an error.
    processes = psutil.process_iter(["cmdline"])
    return next(p for p in processes if {"--websocket_port", port} <= {*(p.info["cmdline"] or ())})


def test_exec_runs_a_command_on_the_stack_and_returns_its_exit_code(project: "Project") -> None:
    """Each part responds and ends, also with a space and an umlaut in the path and another locale."""
    foreign = {"LANG": "de_DE", "LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"}
    credentials = {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json", "HTTP_PROXY": "http://127.0.0.1:1"}
    launched = project.exec(ASK_EACH_PART, PYTHONPATH=str(project.folder), **foreign, **credentials)
    assert launched.wait() == 7, launched.err
    found = json.loads(launched.out)
    assert found["answers"] == {
        "auth": 200,
        "firestore": 200,
        "bucket": 200,
        "scheduler": 200,
        "callable": [200, {"result": [5]}],
    }
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in found["environment"]
    assert "fake-gcs-server" in launched.err
    assert "Traceback" not in launched.err
    assert_all_ended(launched, project)


def test_cloud_tasks_delivers_legs_to_a_scheduled_function(project: "Project") -> None:
    """Its URL is that of its job, which follows the names of triggers."""
    hub = f"127.0.0.1:{project.ports['hub']}"
    launched = project.exec(DELIVER_LEGS, hub, PYTHONPATH=f"{project.folder}:{ROOT}")
    assert launched.wait(180) == 0, launched.err
    before, after = (int(line.removeprefix("us-central1-no_task-")) for line in launched.out.split())
    assert before < after
    assert re.search(r"Cloud Tasks +127\.0\.0\.1:\d+ +official emulator; queue nx-runs", launched.err)
    assert_all_ended(launched, project)


def test_the_next_start_ends_the_processes_of_a_killed_stack(project: "Project") -> None:
    """The next start then works."""
    killed = project.exec(STAY)
    killed.wait_for(lambda: "here" in killed.out)
    refused = project.exec("")
    assert refused.wait() == 1
    assert f"already running (process {killed.process.pid})" in refused.err
    assert f"`kill {killed.process.pid}`" in refused.err

    killed.process.kill()
    killed.wait()
    assert len(killed.live_groups()) >= 4  # the command, the emulators, Java, Cloud Scheduler
    following = project.exec("print('there')")
    assert following.wait() == 0, following.err
    assert "Ended the processes of a killed stack." in following.err
    assert following.out.strip() == "there"
    assert_all_ended(killed, project)
    assert_all_ended(following, project)


def test_ctrl_c_ends_the_command_first_and_then_everything(project: "Project") -> None:
    """The command receives Ctrl-C while the emulators still respond; then all processes end."""
    code = """
import os, sys, time
from emulators.environment import Addresses
from emulators.loopback import request
at = Addresses.from_environment()
called, _ = request(f"{at.callables_url}/get_task_data", method="POST", body={"data": 5}, timeout_seconds=30)
print("called", called, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("status", request(f"http://{at.firestore}/")[0])
"""
    launched = project.exec(code, PYTHONPATH=str(project.folder))
    launched.wait_for(lambda: "called 200" in launched.out)
    launched.process.send_signal(signal.SIGINT)
    launched.process.send_signal(signal.SIGINT)  # a second Ctrl-C
    assert launched.wait(20) == 128 + signal.SIGINT
    assert launched.err.index("Stopping …") < launched.err.index("Stopped.")
    assert "status 200" in launched.out
    assert "Traceback" not in launched.err
    assert_all_ended(launched, project)


def test_up_shows_the_table_and_then_a_line_for_each_run(project: "Project") -> None:
    """`make run` prints a row per task and a line per run, and Ctrl-C ends it with exit code 130."""
    launched = project.launch("up")
    launched.wait_for(lambda: "Ready after" in launched.err)
    assert sign_in(project, "operator@example.com") == 200
    launched.wait_for(lambda: "Ctrl-C stops the stack" in launched.out)
    table, _, _ = launched.out.partition("\nUsers:")
    assert " ".join(table.splitlines()[-1].split()) == (
        'tick completed 1.23 s database 39.5 kB {"task_name": "tick"}'
    )
    assert "no_task" not in launched.out

    def runs() -> list[str]:
        return [" ".join(line.split()[1:]) for line in launched.out.splitlines() if re.match(r"\d\d:", line)]

    assert runs() == []
    job = "projects/demo-nx-tasks/locations/us-central1/jobs/firebase-schedule-tick-us-central1"
    url = f"http://127.0.0.1:{project.ports['scheduler']}/v1/{job}:run"
    for _ in range(2):
        assert request(url, method="POST", body={})[0] == 200
    launched.wait_for(lambda: len(runs()) >= 2)
    launched.process.send_signal(signal.SIGINT)
    assert launched.wait(20) == 128 + signal.SIGINT
    assert runs() == ["tick completed 1.23 s database 39.5 kB"] * 2
    assert "Traceback" not in launched.out + launched.err
    assert_all_ended(launched, project)


def sign_in(project: "Project", email: str) -> int:
    """Sign a demo user in at the Auth emulator; return the HTTP status."""
    url = f"http://127.0.0.1:{project.ports['auth']}/identitytoolkit.googleapis.com/v1"
    credentials = {"email": email, "password": demo_data.PASSWORD, "returnSecureToken": True}
    return request(f"{url}/accounts:signInWithPassword?key=any", method="POST", body=credentials)[0]


def is_worker(process: dict[str, Any], project: "Project") -> bool:
    return process["cwd"] == str(project.folder) and "functions-framework" in str(process["cmdline"])


def test_changed_code_is_used_from_the_next_run(project: "Project") -> None:
    """The process that has run the task before ends with the old code."""
    main = project.folder / "main.py"
    before = main.read_text("utf-8")
    job = "projects/demo-nx-tasks/locations/us-central1/jobs/firebase-schedule-tick-us-central1"
    url = f"http://127.0.0.1:{project.ports['scheduler']}/v1/{job}:run"
    launched = project.launch("up")
    launched.wait_for(lambda: "Ctrl-C stops the stack" in launched.out)

    def workers() -> list[psutil.Process]:
        running = psutil.process_iter(["cmdline", "cwd"])
        return [each for each in running if is_worker(each.info, project)]

    assert workers()
    try:
        main.write_text(before.replace('"duration_ms": 1234', '"duration_ms": 5678'), "utf-8")
        log = project.folder / ".stack/logs/firebase-emulators.log"
        launched.wait_for(lambda: log.read_text("utf-8").count("Loaded functions definitions") == 2)
        launched.wait_for(lambda: not workers())
        assert request(url, method="POST", body={})[0] == 200
        launched.wait_for(lambda: "5.68 s" in launched.out)
    finally:
        main.write_text(before, "utf-8")
    launched.process.send_signal(signal.SIGINT)
    assert launched.wait(20) == 128 + signal.SIGINT
    assert_all_ended(launched, project)


def test_an_error_in_changed_code_is_shown(project: "Project") -> None:
    """The console of `make run` also reports when the code can be loaded again."""
    main = project.folder / "main.py"
    before = main.read_text("utf-8")
    launched = project.launch("up")
    launched.wait_for(lambda: "Ctrl-C stops the stack" in launched.out)
    try:
        main.write_text(f"{before}\n\ndef broken(:\n", "utf-8")
        launched.wait_for(lambda: "others cannot start" in launched.out)
        assert f'  |   File "{main}", line {len(before.splitlines()) + 3}' in launched.out
        assert "  | SyntaxError: invalid syntax" in launched.out
        emulators = project.folder / ".stack/logs/firebase-emulators.log"
        launched.wait_for(lambda: "Failed to load function" in emulators.read_text("utf-8"))
        assert "can be loaded again" not in launched.out
    finally:
        main.write_text(before, "utf-8")
    launched.wait_for(lambda: "The code can be loaded again." in launched.out)
    launched.process.send_signal(signal.SIGINT)
    assert launched.wait(20) == 128 + signal.SIGINT
    assert_all_ended(launched, project)


def test_the_death_of_a_part_ends_the_stack(project: "Project") -> None:
    """When the Firestore emulator dies, the stack shows the end of its log and fails."""
    launched = project.exec(STAY)
    launched.wait_for(lambda: "here" in launched.out)
    java_of(project).send_signal(signal.SIGABRT)
    assert launched.wait(30) == 1
    assert "Firestore ended unexpectedly" in launched.err
    assert "firebase-emulators.log" in launched.err
    assert "Traceback" not in launched.err
    assert_all_ended(launched, project)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGHUP])
def test_a_start_can_be_interrupted(project: "Project", signal_number: signal.Signals) -> None:
    """SIGTERM and SIGHUP end a stack during its start."""
    debug_log = project.folder / ".stack/logs/firestore-debug.log"
    debug_log.unlink(missing_ok=True)
    launched = project.exec("print('never')")
    launched.wait_for(debug_log.exists)
    launched.process.send_signal(signal_number)
    assert launched.wait(20) == 128 + signal_number
    assert launched.out == ""
    assert_all_ended(launched, project)


def test_functions_that_cannot_be_loaded_end_the_start(project: "Project") -> None:
    """The error is shown and all processes end, whether discovery or the emulator raises it."""
    main = project.folder / "main.py"
    before = main.read_text("utf-8")
    try:
        for broken in (
            "import no_such_module",
            "import os\nassert 'FUNCTIONS_EMULATOR' not in os.environ, 'here'",
        ):
            main.write_text(f"{broken}\n{before}", "utf-8")
            launched = project.exec("print('never')")
            assert launched.wait() == 1
            assert "cannot" in launched.err
            assert "no_such_module" in launched.err or "Failed to load" in launched.err
            assert launched.out == ""
            assert_all_ended(launched, project)
    finally:
        main.write_text(before, "utf-8")


def test_a_command_that_does_not_exist_is_an_error(project: "Project") -> None:
    """The error names the command before anything starts."""
    launched = project.launch("exec", "--", "no-such-command")
    assert launched.wait() == 2
    assert "command not found: no-such-command" in launched.err
    assert_all_ended(launched, project)
