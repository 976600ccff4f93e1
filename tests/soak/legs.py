"""The long run of the soak: its task, and where Cloud Tasks delivers its legs."""

import json
import random
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from shared.tasks import TaskName, TaskRun
from shared.tasks.options import Continuation

#: The task whose runs are long. Most of its ticks find it held, and are skipped.
LONG = TaskName.collect_charge_locations
#: Legs of a run, and units of work in each.
LEGS, UNITS = 25, 2
UNIT_SECONDS = (0.02, 0.1)
#: Seconds after which a leg would end by itself, and for a whole run.
LEG_SECONDS, DEADLINE_SECONDS = 30.0, 600.0
#: What happens to a delivery: every third one kills its process. After a death at work, the next delivery
#: waits for the end of the lease, so it is the rarest.
FATES = {"returns": 0.667, "dies": 0.033, "dies handing over": 0.15, "dies handed over": 0.15}


def fate(dice: random.Random) -> str:
    """Return how a delivery ends."""
    return dice.choices(list(FATES), list(FATES.values()))[0]


def work(
    run: TaskRun, records: list[dict[str, Any]], report: Callable[..., None], die: Callable[[], None] | None
) -> Iterator[dict[str, Any]]:
    """Yield the records, one for each unit of work, and end each leg after a few units.

    Args:
        run: The run.
        records: All of them.
        report: Receives the leg and the position at which it begins.
        die: Kills the process in the middle of the leg; None to let it live.
    """
    cursor = run.cursor("units", 0)
    report("leg", run.run_id, run.leg, cursor.value)
    while cursor.value < len(records):
        time.sleep(random.uniform(*UNIT_SECONDS))  # stands for work
        yield records[cursor.value]
        if die is not None and cursor.value % UNITS:
            die()
        if (cursor.value + 1) % UNITS == 0:
            run.checkpoints.end_leg()  # at the next move, as after SIGTERM
        cursor.advance(cursor.value + 1)


class Receiver:
    """The URL of the task's function.

    Args:
        deliver: Carries out a leg; returns whether it is acknowledged.
    """

    def __init__(self, deliver: Callable[[Continuation], bool]) -> None:
        class Function(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200 if deliver(Continuation(body["run_id"], body["leg"])) else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Function)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        """Receive nothing more."""
        self._server.shutdown()
        self._server.server_close()
