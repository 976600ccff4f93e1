"""``python -m emulators.scheduler``: the local Cloud Scheduler in the foreground, until SIGTERM or Ctrl-C."""

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

#: How late a tick may be: looked for again and again, so that a machine that slept has it at once.
LOOK_AGAIN_SECONDS = 0.2


def main() -> int:
    """Serves until a signal ends it; 0 then, 1 where it cannot start."""
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
    fire = "only jobs.run fires them" if options.paused else "they fire on schedule"
    log(f"Cloud Scheduler: http://{options.host}:{server.port}, the jobs ({fire}):")
    _tell(scheduler)
    _keep_going(scheduler, manifest)
    return 0


def log(line: str) -> None:
    """Writes a line to stdout at once, without a buffer whose lock a thread could hold at the end."""
    with contextlib.suppress(OSError):  # if the reader is gone, the schedules continue
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


def _keep_going(scheduler: Scheduler, manifest: Manifest) -> None:
    while True:
        if manifest.changed():
            _reload(scheduler, manifest)
        scheduler.advance()
        time.sleep(LOOK_AGAIN_SECONDS)


def _reload(scheduler: Scheduler, manifest: Manifest) -> None:
    try:
        scheduler.load(manifest.read())
    except SchedulerError as error:
        log(f"the manifest changed and cannot be used, the old jobs stay: {error}")
    else:
        log("the manifest changed; the jobs now:")
        _tell(scheduler)


def _tell(scheduler: Scheduler) -> None:
    for entry in scheduler.jobs():
        job = entry.job
        log(f'  {job.id}: "{job.schedule}" {job.time_zone}, next tick {zulu(entry.next_tick)}')


def _options() -> argparse.Namespace:
    parser = address_parser("emulators.scheduler", str(__doc__))
    parser.add_argument(
        "--manifest", type=Path, required=True, help="JSON file with the functions' endpoints"
    )
    parser.add_argument("--functions-url", required=True, help="the Functions emulator, http://HOST:PORT")
    parser.add_argument("--project", required=True, help="project id")
    parser.add_argument(
        "--paused",
        action="store_true",
        help="schedules are off: jobs are ENABLED, but only jobs.run sends them",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
