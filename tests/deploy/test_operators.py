"""The commands that request something of the next run for one operator, on the real Firestore emulator."""

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
    """What a command prints."""
    command = [sys.executable, "-m", "deploy", *words]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def requested(*words: str, stack: Addresses) -> Requests:
    """What the next run finds once a command was printed and run."""
    said = printed(*words, FIRESTORE_EMULATOR_HOST=stack.firestore)
    assert said.returncode == 0, said.stderr
    subprocess.run(["bash", "-e"], input=said.stdout, text=True, check=True, timeout=60)
    return Requests(find_requests(firebase.firestore_client()), Memory())


def test_the_next_run_finds_what_a_command_requested(clean_firestore: Addresses) -> None:
    """Both requests of one operator, each carried out once, and none of another's."""
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


def test_a_request_that_means_nothing_is_ignored(
    clean_firestore: Addresses, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stops no run; the log has it."""
    firebase.firestore_client().document("nx-ocpi-requests/north").set({"read_from": "yesterday"})
    assert find_requests(firebase.firestore_client()) == {}
    assert "request for an operator ignored" in capsys.readouterr().out


def test_a_command_asks_for_its_token_when_it_runs() -> None:
    """It goes to the database of the project's settings, and holds no secret."""
    said = printed("drop-operator", PROJECT, "north", FIRESTORE_EMULATOR_HOST="").stdout
    assert 'Bearer $(gcloud auth print-access-token)"' in said
    assert f"https://firestore.googleapis.com/v1/projects/{PROJECT}/databases/(default)/documents/" in said


@pytest.mark.parametrize(("operator", "first"), [("a/b", "2026-03-01"), ("a", "yesterday")])
def test_a_request_with_a_wrong_word_is_refused(operator: str, first: str) -> None:
    """Before anything is printed that a shell would run."""
    said = printed("read-operator", PROJECT, operator, "--from", first)
    assert (said.returncode, said.stdout) == (2, "")
    assert repr(operator if operator != "a" else first) in said.stderr
