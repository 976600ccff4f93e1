"""`python -m emulators.scheduler` runs the local Cloud Scheduler until SIGTERM or Ctrl-C."""

import argparse
import contextlib
import os
import sys
import threading
import time
from pathlib import Path

from emulators.scheduler.clock import SystemClock
from emulators.scheduler.dispatch import HttpDispatcher, zulu
from emulators.scheduler.engine import Scheduler
from emulators.scheduler.errors import SchedulerError
from emulators.scheduler.manifest import Manifest
from emulators.scheduler.server import SchedulerServer
from emulators.serving import address_parser, end_at_signals, failed

#: Seconds between two checks for due ticks. Polling also works after the machine has slept.
POLL_SECONDS = 0.2


def main() -> int:
    """Serve until a signal ends the process; return 0, or 1 if the server cannot start."""
    end_at_signals()
    options = _options()
    try:
        manifest = Manifest(options.manifest, options.project)
        dispatcher = HttpDispatcher(options.functions_url)
        scheduler = Scheduler(SystemClock(), dispatcher, log, paused=options.paused)
        scheduler.load(manifest.read())
        server = SchedulerServer((options.host, options.port), scheduler, options.project, dispatcher.uri)
    except OSError as error:
        return failed(
            "Cloud Scheduler", f"cannot listen on {options.host}:{options.port}: {error.strerror or error}"
        )
    except (SchedulerError, ValueError, OverflowError) as error:
        return failed("Cloud Scheduler", str(error))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fire = "run only on request" if options.paused else "run on schedule"
    log(f"Cloud Scheduler: http://{options.host}:{server.port}; jobs, which {fire}:")
    _log_jobs(scheduler)
    run_jobs(scheduler, manifest)
    return 0


def log(line: str) -> None:
    """Write a line to standard output without a buffer, whose lock a thread could hold at exit."""
    with contextlib.suppress(OSError):  # jobs continue if the output is closed
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


def run_jobs(scheduler: Scheduler, manifest: Manifest) -> None:
    """Send due attempts, and reload the manifest when it changes, until the process ends."""
    while True:
        if manifest.changed():
            _reload(scheduler, manifest)
        scheduler.advance()
        time.sleep(POLL_SECONDS)


def _reload(scheduler: Scheduler, manifest: Manifest) -> None:
    try:
        scheduler.load(manifest.read())
    except SchedulerError as error:
        log(f"the manifest changed but is not valid; the jobs stay the same: {error}")
    else:
        log("the manifest changed; jobs:")
        _log_jobs(scheduler)


def _log_jobs(scheduler: Scheduler) -> None:
    for entry in scheduler.jobs():
        job = entry.job
        log(f'  {job.id}: "{job.schedule}" {job.time_zone}, next tick {zulu(entry.next_tick)}')


def _options() -> argparse.Namespace:
    parser = address_parser("emulators.scheduler", str(__doc__))
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON file with the functions' endpoints"
    )
    parser.add_argument(
        "--functions-url", required=True, help="URL of the Functions emulator, http://HOST:PORT"
    )
    parser.add_argument("--project", required=True, help="project id")
    parser.add_argument(
        "--paused",
        action="store_true",
        help="run jobs only on request (jobs.run); their state is still ENABLED",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
