"""The commands that set a request for one operator's next run, on the real Firestore emulator."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from emulators.environment import PROJECT, Addresses
from shared import firebase
from shared.collectors.ocpi.memory import Memory
from shared.collectors.ocpi.requests import Requests, find_requests
from tests.deploy.deploying import ROOT

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def printed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The output of a command."""
    command = [sys.executable, "-m", "deploy", *words]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def requested(*words: str, stack: Addresses) -> Requests:
    """The requests that the next run finds after a printed command was run."""
    output = printed(*words, FIRESTORE_EMULATOR_HOST=stack.firestore)
    assert output.returncode == 0, output.stderr
    subprocess.run(["bash", "-e"], input=output.stdout, text=True, check=True, timeout=60)
    return Requests(find_requests(firebase.firestore_client()), Memory())


def test_the_next_run_finds_the_request_of_a_command(clean_firestore: Addresses) -> None:
    """Each request of one operator is found once; other operators have none."""
    assert find_requests(firebase.firestore_client()) == {}
    found = requested("read-operator", PROJECT, "north", "--from", "2026-03-01", stack=clean_firestore)
    assert (found.read_from("north"), found.read_from("south"), found.drops) == (MARCH, None, frozenset())
    found = requested("drop-operator", PROJECT, "north", stack=clean_firestore)
    assert (found.read_from("north"), found.drops) == (MARCH, {"north"})
    done = Memory(**found.ended(set()))
    later = Requests(find_requests(firebase.firestore_client()), done)
    assert (later.read_from("north"), later.drops) == (None, frozenset())
    found = requested("read-operator", PROJECT, "north", "--from", "2026-03-01", stack=clean_firestore)
    assert Requests(find_requests(firebase.firestore_client()), done).read_from("north") == MARCH


def test_an_invalid_request_is_ignored(
    clean_firestore: Addresses, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run continues, and the request is logged."""
    firebase.firestore_client().document("nx-ocpi-requests/north").set({"read_from": "yesterday"})
    assert find_requests(firebase.firestore_client()) == {}
    assert "request for an operator ignored" in capsys.readouterr().out


def test_a_command_gets_its_token_at_run_time() -> None:
    """The command uses the configured database and contains no secret."""
    output = printed("drop-operator", PROJECT, "north", FIRESTORE_EMULATOR_HOST="").stdout
    assert 'Bearer $(gcloud auth print-access-token)"' in output
    assert f"https://firestore.googleapis.com/v1/projects/{PROJECT}/databases/(default)/documents/" in output


@pytest.mark.parametrize(("operator", "first"), [("a/b", "2026-03-01"), ("a", "yesterday")])
def test_an_invalid_argument_is_refused(operator: str, first: str) -> None:
    """Nothing is printed that a shell could run."""
    output = printed("read-operator", PROJECT, operator, "--from", first)
    assert (output.returncode, output.stdout) == (2, "")
    assert repr(operator if operator != "a" else first) in output.stderr
