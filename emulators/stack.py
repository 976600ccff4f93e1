"""Starts the local stack's parts in order, waits until they are ready, and ends all of them.

The commands and the tests' fixture use it. Clients find the parts only through the environment.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from emulators import firestore, functions, page, ports, processes, storage
from emulators.downloads import Downloads
from emulators.environment import BUCKET, PROJECT, QUEUE, Addresses, region_and_database
from emulators.errors import StackError
from emulators.interruption import ignore_signals, interruptible
from emulators.loopback import request
from emulators.ocpi.server import READY_AT as OCPI_READY_AT
from emulators.twilio.server import SHOWN_AT as TWILIO_MESSAGES

ROOT = Path(__file__).resolve().parents[1]
#: Longest wait for a part, in seconds; long enough for a first start on a slow machine.
READY_SECONDS = 120.0
#: Seconds after which a running download is reported; an impossible one fails sooner.
SLOW_SECONDS = 5.0

#: Options of the Firestore emulator's Java. A stack lives for minutes, in which its optimizing compiler and
#: its parallel collector take more CPU time than they save.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

#: The queue of long runs: as in a deployment, but with short pauses between two deliveries.
QUEUE_CONFIG = {"retryConfig": {"maxAttempts": 100, "minBackoffSeconds": 0.5, "maxBackoffSeconds": 5}}


def report(line: str) -> None:
    """Print a line to standard error; standard output belongs to the command that runs on the stack."""
    print(line, file=sys.stderr, flush=True)


class Stack:
    """The stack's parts, their addresses, and the environment with which clients use them."""

    def __init__(self, root: Path, stack_id: str) -> None:
        self._root = root
        self._work = root / ".stack"
        self._ports = ports.read_ports(root)
        self._hosting = f"{ports.HOST}:{self._ports['hosting']}"
        self._has_page = page.is_built(root)
        if not self._has_page:
            del self._ports["hosting"]
        self._parts: list[processes.Part] = []
        #: Environment of programs that use the stack and are ended with it.
        self.environment = processes.mark(os.environ, stack_id)
        self.addresses: Addresses
        self._ready = False

    def start(self, *, paused: bool, demo_data: bool) -> None:
        """Start all parts and wait until each responds.

        Args:
            paused: Whether Cloud Scheduler runs jobs only on request instead of on schedule.
            demo_data: Whether to create the demo devices and users.

        Raises:
            StackError: A part is not available, or cannot be started or loaded.
        """
        began = time.monotonic()
        ports.check_free(self._ports)
        java, java_origin = firestore.find_java(os.environ)
        downloads = Downloads(self._work, self._download)
        jar, jar_origin = firestore.find_emulator(self._root, self._work, os.environ, downloads)
        if "firestore" in downloads.failed:
            report(f"Firestore: the download failed; using the emulator {jar_origin}.")
        server = storage.choose_storage(self._root, os.environ, downloads)
        if "storage" in downloads.failed:
            report("Storage: the download failed; using fake-gcs-server.")
        parts = ("auth", "firestore", "functions", "ocpi", "scheduler", "storage", "tasks", "twilio")
        at = {part: f"{ports.HOST}:{self._ports[part]}" for part in parts}
        settings = region_and_database(self._root, os.environ)
        self.addresses = Addresses(
            **at,
            hosting=self._hosting,
            storage_server=server,
            region=settings["NX_TASKS_REGION"],
            database=settings["NX_TASKS_DATABASE"],
        )
        self.environment = self.addresses.to_environment(self.environment)

        report(f"Starting the local stack (project {PROJECT}; {java_origin}) …")
        if self._has_page:
            page.set_region(self._root, self.addresses.region)
        manifest = self._discover()
        if server == storage.FAKE_GCS:
            self._start("fake-gcs-server", storage.fake_gcs_command(at["storage"]), cwd=self._root)
        self._start_ocpi()
        self._start_twilio()
        self._start_emulators(java, jar, with_storage=server == storage.OFFICIAL)
        self._wait_for_emulators(functions.names_in(manifest))
        self._start_scheduler(manifest, paused=paused)
        if demo_data:
            self._write_demo_data()
        self._ready = True
        (self._work / "env").write_text(self.addresses.exports(), "utf-8")
        report(f"Ready after {time.monotonic() - began:.1f} s:")
        self._report_addresses(jar_origin)

    def check(self) -> None:
        """Check that every part is running.

        Raises:
            StackError: A part has ended; the text names it.
        """
        for part in self._parts:
            part.check()
        # firebase-tools keeps running when its Firestore's Java is killed.
        for name, port in self._ports.items():
            if self._ready and ports.is_free(port):
                raise StackError(f"{name.title()} ended unexpectedly.\n{self._ends_of_logs()}")

    def reap(self) -> None:
        """Collect the exit codes of the ended parts."""
        for part in self._parts:
            # The parts have ended, but a signal during `poll` can leave a Popen that reports no exit code.
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(1)

    def _start(self, name: str, command: Sequence[str | Path], *, cwd: Path, **added: str) -> processes.Part:
        # The cloud's locale for all parts, so that paths and logs do not depend on the user's.
        environment = {**self.environment, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8", **added}
        log = self._work / f"logs/{name.lower().replace(' ', '-')}.log"
        self._parts.append(part := processes.start(name, command, environment=environment, cwd=cwd, log=log))
        return part

    def _run(self, name: str, command: Sequence[str | Path], *, if_slow: str = "") -> processes.Part:
        part = self._start(name, command, cwd=self._root)
        try:
            part.process.wait(SLOW_SECONDS)
        except subprocess.TimeoutExpired:
            if if_slow:
                report(if_slow)
            part.process.wait()
        self._parts.remove(part)
        return part

    def _discover(self) -> Path:
        manifest = self._root / functions.MANIFEST
        part = self._run("Discovery", [sys.executable, "-m", "emulators.discovery", manifest])
        if part.process.returncode:
            raise StackError(f"The functions in main.py cannot be loaded.\n{processes.log_end(part.log)}")
        return manifest

    def _download(self, emulator: str) -> bool:
        command: list[str | Path] = [self._firebase(), f"setup:emulators:{emulator}"]
        slow = f"Downloading the {emulator.title()} emulator (once) …"
        part = self._run(f"Download {emulator}", command, if_slow=slow)
        return part.process.returncode == 0

    def _firebase(self) -> Path:
        firebase = self._root / "emulators/node_modules/.bin/firebase"
        if not firebase.exists():
            raise StackError("firebase-tools is not installed; run `make run`, which installs it.")
        return firebase

    def _start_emulators(self, java: Path, jar: Path | None, *, with_storage: bool) -> None:
        config = functions.write_config(self._root, with_storage=with_storage)
        only = "auth,functions,firestore" + ",storage" * with_storage + ",hosting" * self._has_page
        options = ("--config", config, "--project", PROJECT, "--only", only)
        added = {} if jar is None else {"FIRESTORE_EMULATOR_BINARY_PATH": str(jar)}
        # The Storage emulator keeps its objects in the temporary folder and empties it at its start, so that
        # each stack on this machine needs one of its own.
        temporary = self._work / "tmp"
        temporary.mkdir(exist_ok=True)
        path = os.environ.get("PATH", os.defpath)
        # Only if the PATH has another Java or none: the folder may also contain another Node.js.
        if shutil.which("java", path=path) != str(java / "java"):
            path = f"{java}{os.pathsep}{path}"
        self._start(
            "Firebase emulators",
            [
                "node",
                "--require",
                self._root / "emulators/preload.cjs",
                self._firebase(),
                "emulators:start",
                *options,
            ],
            cwd=self._work / "logs",  # firebase-tools writes its debug logs here
            PATH=path,
            TMPDIR=str(temporary),
            # The machine's own options take precedence; Java refuses to start with two collectors.
            JAVA_TOOL_OPTIONS=os.environ.get("JAVA_TOOL_OPTIONS", JAVA_OPTIONS),
            FUNCTIONS_DISCOVERY_TIMEOUT="60",
            NO_UPDATE_NOTIFIER="1",
            **added,
        )

    def _wait_for_emulators(self, names: set[str]) -> None:
        at, emulators = self.addresses, self._parts[-1]
        self._wait("Firestore", lambda: request(f"http://{at.firestore}/")[0] == 200)
        self._wait("Auth", lambda: request(f"http://{at.auth}/")[0] == 200)
        self._wait("Storage", lambda: storage.create_bucket(at.storage_server, at.storage, PROJECT, BUCKET))
        self._wait("Tasks", lambda: request(at.queue_url, method="POST", body=QUEUE_CONFIG)[0] == 200)
        self._wait("OCPI", lambda: request(f"http://{at.ocpi}{OCPI_READY_AT}")[0] == 200)
        self._wait("Twilio", lambda: request(f"http://{at.twilio}{TWILIO_MESSAGES}")[0] == 200)
        if self._has_page:
            self._wait("Hosting", lambda: request(f"http://{at.hosting}/config.json")[0] == 200)
        self._wait("Functions", lambda: functions.are_loaded(at.functions, names, emulators))

    def _start_ocpi(self) -> None:
        port = str(self._ports["ocpi"])
        self._start("OCPI", [sys.executable, "-m", "emulators.ocpi", "--port", port], cwd=self._root)

    def _start_twilio(self) -> None:
        port = str(self._ports["twilio"])
        self._start("Twilio", [sys.executable, "-m", "emulators.twilio", "--port", port], cwd=self._root)

    def _start_scheduler(self, manifest: Path, *, paused: bool) -> None:
        options = {
            "--port": str(self._ports["scheduler"]),
            "--project": PROJECT,
            "--manifest": str(manifest),
            "--functions-url": f"http://{self.addresses.functions}",
        }
        flat = [word for option in options.items() for word in option] + ["--paused"] * paused
        self._start("Cloud Scheduler", [sys.executable, "-m", "emulators.scheduler", *flat], cwd=self._root)
        self._wait("Cloud Scheduler", lambda: request(self.addresses.jobs_url)[0] == 200)

    def _write_demo_data(self) -> None:
        part = self._run("Demo data", [sys.executable, "-m", "emulators.demo_data"])
        if part.process.returncode:
            raise StackError(f"The demo data cannot be written.\n{processes.log_end(part.log)}")

    def _wait(self, what: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(
                    f"{what} did not respond within {READY_SECONDS:.0f} s.\n{self._ends_of_logs()}"
                )
            time.sleep(0.1)

    def _ends_of_logs(self) -> str:
        return "\n".join(processes.log_end(part.log) for part in self._parts)

    def _report_addresses(self, jar_origin: str) -> None:
        at, official = self.addresses, "official emulator"
        report(f"  Auth             {at.auth:<16} {official}")
        report(f"  Functions        {at.functions:<16} {official}")
        report(f"  Firestore        {at.firestore:<16} {official}, {jar_origin}")
        server = official if at.storage_server == storage.OFFICIAL else "fake-gcs-server"
        report(f"  Storage          {at.storage:<16} {server}")
        report(f"  Cloud Tasks      {at.tasks:<16} {official}; queue {QUEUE}")
        served = official if self._has_page else "not built; run make page"
        report(f"  Page             {at.hosting if self._has_page else '-':<16} {served}")
        report(f"  Cloud Scheduler  {at.scheduler:<16} this project's own")
        report(f"  OCPI             {at.ocpi:<16} this project's own; two charge point operators")
        report(f"  Twilio           {at.twilio:<16} this project's own; delivers no messages")
        report(f"  Logs             {self._work / 'logs'}")


@contextmanager
def running(*, paused: bool = True, demo_data: bool = False, root: Path = ROOT) -> Iterator[Stack]:
    """Run the local stack during a with block; afterwards none of its processes is left.

    Args:
        paused: Whether Cloud Scheduler runs jobs only on request instead of on schedule.
        demo_data: Whether the demo devices and users exist when the stack is ready.
        root: The project's folder.

    Yields:
        The stack, with all parts responding.

    Raises:
        StackError: The stack cannot start, or a process cannot be ended.
        Interrupted: A signal asked the program to end.
    """
    (root / ".stack/logs").mkdir(parents=True, exist_ok=True)
    with interruptible(), _only_one(root / ".stack/lock") as stack_id:
        stack = Stack(root, stack_id)
        try:
            stack.start(paused=paused, demo_data=demo_data)
            yield stack
        finally:
            ignore_signals()
            processes.end(stack_id)
            stack.reap()


@contextmanager
def _only_one(path: Path) -> Iterator[str]:
    """Lock the folder for one stack, yield its id, and end the processes of a killed stack."""
    with path.open("a+", encoding="utf-8") as lock:
        lock.seek(0)
        holder, _, earlier = lock.read().partition(" ")
        try:
            # The system releases the lock when this process ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"The local stack is already running (process {holder}). "
                f"Stop it first, with Ctrl-C in its terminal or `kill {holder}`."
            ) from None
        if earlier and processes.end(earlier):
            report("Ended the processes of a killed stack.")
        stack_id = uuid.uuid4().hex
        lock.truncate(0)
        lock.write(f"{os.getpid()} {stack_id}")
        lock.flush()
        yield stack_id
        lock.truncate(0)
