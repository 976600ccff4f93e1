"""Starts the local stack once per session, after the tests that do not use it."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from emulators.environment import PROJECT, Addresses
from emulators.errors import StackError
from emulators.loopback import request as ask
from emulators.stack import running
from shared import firebase
from tests.reliability import Reliability
from tests.support.world import World

TESTS = Path(__file__).parent
#: Folders whose tests are marked `users`. `make test` runs them on a second stack.
USERS = ("cli", "client", "web")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`, which `make test-full` uses for slow tests, and `--shuffle`, which changes the order."""
    parser.addoption("--full", action="store_true", help="also run the tests marked full")
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the modules in the random order of this seed"
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.getoption("--shuffle")
    return None if seed is None else f"modules in random order: --shuffle {seed}"


def pytest_configure(config: pytest.Config) -> None:
    # The speed of examples depends on the machine's load, so it must not fail a test.
    settings.register_profile("no_deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("no_deadline")
    # Under `nohup` and in background jobs these are ignored. Programs that tests start inherit that, but no
    # handler.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
    config.pluginmanager.register(Reliability(config), "reliability")


@pytest.hookimpl(tryfirst=True)  # before -m selects by mark
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        full = [item for item in items if item.get_closest_marker("full") is not None]
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker("stack")
            if folder in USERS:
                item.add_marker("users")
        elif folder == "deploy":
            item.add_marker("firebase")
        elif folder == "model":
            item.add_marker("model")
    seed = config.getoption("--shuffle")
    if seed is not None:  # The tests of a module keep their order.
        modules = sorted({item.path for item in items})
        random.Random(seed).shuffle(modules)
        items.sort(key=lambda item: modules.index(item.path))
    # firebase-tools and the stack look for free ports in the same range, so firebase-tools runs first.
    items.sort(key=lambda item: [item.get_closest_marker(mark) is not None for mark in ("stack", "firebase")])


@pytest.fixture(scope="session")
def stack() -> Iterator[Addresses]:
    """The addresses of the stack: that of `emulators exec`, or one that this session starts."""
    if "FIRESTORE_EMULATOR_HOST" in os.environ:
        yield Addresses.from_environment()
        return
    try:
        with running() as started, pytest.MonkeyPatch.context() as patch:
            for name in os.environ.keys() - started.environment.keys():
                patch.delenv(name)
            for name, value in started.environment.items():
                patch.setenv(name, value)
            yield started.addresses
    except StackError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def clear_firestore(stack: Addresses) -> Callable[[], None]:
    """A function that empties Firestore, for fixtures with a wider scope than one test."""
    documents = (
        f"http://{stack.firestore}/emulator/v1/projects/{PROJECT}/databases/{stack.database}/documents"
    )

    def clear() -> None:
        status, answer = ask(documents, method="DELETE", timeout_seconds=30)
        assert status == 200, answer

    return clear


@pytest.fixture
def clean_firestore(stack: Addresses, clear_firestore: Callable[[], None]) -> Addresses:
    """The stack, with an empty Firestore."""
    clear_firestore()
    return stack


@pytest.fixture
def world(clean_firestore: Addresses) -> World:
    """An empty database and an empty bucket."""
    bucket = firebase.bucket()
    for blob in bucket.client.list_blobs(bucket):
        blob.delete()
    return World(firebase.firestore_client(), bucket)
