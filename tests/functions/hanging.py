"""A scheduled function whose task hangs while a file exists; `functions-framework` serves it for tests."""

import os
import threading
from pathlib import Path
from typing import Any

from functions import scheduled_endpoint
from functions.scheduled_endpoint import scheduled_task
from shared.tasks import TaskName, TaskOutcome, TaskRun, TaskSpec, execute_task
from tests.waiting import wait_for, wait_until_in

#: The task hangs while this file exists. As soon as it hangs, the file contains its process id.
HANGS = Path(os.environ["HANGS"])
#: Deliveries whose run does not start get no response while this file exists; they write to it.
WAITS = HANGS.with_name("waits")
SPEC = TaskSpec(
    TaskName.send_reset_sms, schedule="0 0 1 1 *", deadline_seconds=float(os.environ["DEADLINE_SECONDS"])
)


def _waiting(*delivered: Any) -> TaskOutcome:
    outcome = execute_task(*delivered)
    if outcome.status == "busy" and WAITS.exists():
        WAITS.write_text(outcome.status, "utf-8")
        wait_for("the file to be removed", lambda: not WAITS.exists(), seconds=120)
    return outcome


scheduled_endpoint.execute_task = _waiting


def _hang(caller: int) -> None:
    """Hang, and write the file as soon as the calling thread waits for this one."""
    wait_until_in("join", caller)
    HANGS.write_text(str(os.getpid()), "utf-8")
    threading.Event().wait()


@scheduled_task(SPEC)
def send_reset_sms(run: TaskRun) -> list[int]:
    """Hang, or return the process id."""
    run.progress(57, 100)
    if HANGS.exists():
        # Not a daemon thread, because an orderly exit of the process would wait for it.
        hangs = threading.Thread(target=_hang, args=[threading.get_ident()])
        hangs.start()
        hangs.join()
    return [os.getpid()]
