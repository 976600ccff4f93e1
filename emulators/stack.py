"""The local stack: what is started in which order, what "ready" means, and that everything ends.

Called by the commands and by the tests' fixture. Clients find the parts through the environment alone.
"""

import fcntl
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from emulators import firestore, functions, page, ports, processes, storage
from emulators.downloads import Downloads
from emulators.environment import BUCKET, PROJECT, Addresses, places_of_stack
from emulators.errors import StackError
from emulators.interruption import interruptible, pass_over_signals
from emulators.loopback import request
from emulators.ocpi.server import READY_AT as OCPI_READY_AT
from emulators.twilio.server import SHOWN_AT as TWILIO_MESSAGES

ROOT = Path(__file__).resolve().parents[1]
#: Long enough for a first start on a slow machine: a part that dies is noticed at once.
READY_SECONDS = 120.0
#: How long a person is left without a word; a download that is impossible ends before.
SLOW_SECONDS = 5.0


def tell(line: str) -> None:
    """Tell the person at the console. Standard output is left to the command that runs on the stack."""
    print(line, file=sys.stderr, flush=True)


class Stack:
    """A stack that is started: where its parts answer, and the environment that leads clients to them."""

    def __init__(self, root: Path, stack_id: str) -> None:
        self._root = root
        self._work = root / ".stack"
        self._ports = ports.read_ports(root)
        self._hosting = f"{ports.HOST}:{self._ports['hosting']}"
        self._has_page = page.is_built(root)
        if not self._has_page:
            del self._ports["hosting"]
        self._parts: list[processes.Part] = []
        #: What is started with it uses the stack, and is ended with it.
        self.environment = processes.mark(os.environ, stack_id)
        self.addresses: Addresses
        self._ready = False

    def start(self, *, paused: bool) -> None:
        """Start all parts and wait until each answers.

        Args:
            paused: Whether Cloud Scheduler runs a job only when told to, instead of firing on schedule.

        Raises:
            StackError: A part cannot be had, started or loaded.
        """
        began = time.monotonic()
        ports.check_free(self._ports)
        java, java_origin = firestore.find_java(os.environ)
        downloads = Downloads(self._work, self._download)
        jar, jar_origin = firestore.find_emulator(self._root, self._work, os.environ, downloads)
        if "firestore" in downloads.failed:
            tell(f"Firestore: no download possible here; using the emulator {jar_origin}.")
        server = storage.choose_storage(self._root, os.environ, downloads)
        if "storage" in downloads.failed:
            tell("Storage: no download possible here; using fake-gcs-server.")
        parts = ("auth", "firestore", "functions", "ocpi", "scheduler", "storage", "twilio")
        at = {part: f"{ports.HOST}:{self._ports[part]}" for part in parts}
        places = places_of_stack(self._root, os.environ)
        self.addresses = Addresses(
            **at,
            hosting=self._hosting,
            storage_server=server,
            region=places["NX_TASKS_REGION"],
            database=places["NX_TASKS_DATABASE"],
        )
        self.environment = self.addresses.to_environment(self.environment)

        tell(f"Starting the local stack (project {PROJECT}; {java_origin}) …")
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
        self._ready = True
        (self._work / "env").write_text(self.addresses.exports(), "utf-8")
        tell(f"Ready after {time.monotonic() - began:.1f} s:")
        self._tell_addresses(jar_origin)

    def check(self) -> None:
        """See that every part still runs.

        Raises:
            StackError: One has ended; names it.
        """
        for part in self._parts:
            part.check()
        # firebase-tools goes on when the Java of its Firestore is killed.
        for name, port in self._ports.items():
            if self._ready and ports.is_free(port):
                raise StackError(f"{name.title()} ended unexpectedly.\n{self._ends_of_logs()}")

    def reap(self) -> None:
        """Take note that the parts have ended."""
        for part in self._parts:
            # They are gone. A signal may have hit while one was asked, which leaves it unanswerable.
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(1)

    def _start(self, name: str, command: Sequence[str | Path], *, cwd: Path, **added: str) -> processes.Part:
        # One locale for all parts, the cloud's: paths and logs must not depend on the person's.
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
                tell(if_slow)
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
        slow = f"Downloading the {emulator.title()} emulator, once …"
        part = self._run(f"Download {emulator}", command, if_slow=slow)
        return part.process.returncode == 0

    def _firebase(self) -> Path:
        firebase = self._root / "emulators/node_modules/.bin/firebase"
        if not firebase.exists():
            raise StackError("firebase-tools is not installed. `make run` installs it.")
        return firebase

    def _start_emulators(self, java: Path, jar: Path | None, *, with_storage: bool) -> None:
        config = functions.write_config(self._root, with_storage=with_storage)
        only = "auth,functions,firestore" + ",storage" * with_storage + ",hosting" * self._has_page
        options = ("--config", config, "--project", PROJECT, "--only", only)
        added = {} if jar is None else {"FIRESTORE_EMULATOR_BINARY_PATH": str(jar)}
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
            cwd=self._work / "logs",  # where it leaves its debug logs
            PATH=f"{java}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            FUNCTIONS_DISCOVERY_TIMEOUT="60",
            NO_UPDATE_NOTIFIER="1",
            **added,
        )

    def _wait_for_emulators(self, names: set[str]) -> None:
        at, emulators = self.addresses, self._parts[-1]
        self._wait("Firestore", lambda: request(f"http://{at.firestore}/")[0] == 200)
        self._wait("Auth", lambda: request(f"http://{at.auth}/")[0] == 200)
        self._wait("Storage", lambda: storage.create_bucket(at.storage_server, at.storage, PROJECT, BUCKET))
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

    def _wait(self, what: str, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not answers():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{what} does not answer.\n{self._ends_of_logs()}")
            time.sleep(0.1)

    def _ends_of_logs(self) -> str:
        return "\n".join(processes.log_end(part.log) for part in self._parts)

    def _tell_addresses(self, jar_origin: str) -> None:
        at, official = self.addresses, "official emulator"
        tell(f"  Auth             {at.auth:<16} {official}")
        tell(f"  Functions        {at.functions:<16} {official}")
        tell(f"  Firestore        {at.firestore:<16} {official}, {jar_origin}")
        server = official if at.storage_server == storage.OFFICIAL else "fake-gcs-server"
        tell(f"  Storage          {at.storage:<16} {server}")
        served = official if self._has_page else "not served: make page builds it"
        tell(f"  Page             {at.hosting if self._has_page else '-':<16} {served}")
        tell(f"  Cloud Scheduler  {at.scheduler:<16} this project's own")
        tell(f"  OCPI             {at.ocpi:<16} this project's own; two charge point operators")
        tell(f"  Twilio           {at.twilio:<16} this project's own; sends to nobody")
        tell(f"  Logs             {self._work / 'logs'}")


@contextmanager
def running(*, paused: bool = True, root: Path = ROOT) -> Iterator[Stack]:
    """Have the local stack for the time of a with block. However that ends, no process is left.

    Args:
        paused: Whether Cloud Scheduler runs a job only when told to, instead of firing on schedule.
        root: The project's folder.

    Yields:
        The stack, each of its parts answering.

    Raises:
        StackError: It cannot start, or a process cannot be ended.
        Interrupted: A signal asked for the end.
    """
    (root / ".stack/logs").mkdir(parents=True, exist_ok=True)
    with interruptible(), _only_one(root / ".stack/lock") as stack_id:
        stack = Stack(root, stack_id)
        try:
            stack.start(paused=paused)
            yield stack
        finally:
            pass_over_signals()
            processes.end(stack_id)
            stack.reap()


@contextmanager
def _only_one(path: Path) -> Iterator[str]:
    """Hold the folder for one stack, whose id it gives, and end what a killed stack has left behind."""
    with path.open("a+", encoding="utf-8") as lock:
        lock.seek(0)
        holder, _, earlier = lock.read().partition(" ")
        try:
            # The system takes it away when this process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"The local stack is running already: process {holder}. End that first."
            ) from None
        if earlier and processes.end(earlier):
            tell("Ended what a killed stack had left behind.")
        stack_id = uuid.uuid4().hex
        lock.truncate(0)
        lock.write(f"{os.getpid()} {stack_id}")
        lock.flush()
        yield stack_id
        lock.truncate(0)
