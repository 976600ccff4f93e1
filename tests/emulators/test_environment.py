"""The environment variables that point clients to the stack."""

import subprocess

import pytest

from emulators.environment import QUEUE, Addresses
from shared.tasks.backends import leg_queue


@pytest.mark.parametrize("server", ["official", "fake-gcs"])
def test_addresses_survive_the_environment(server: str) -> None:
    """A command reads the same addresses that the stack wrote."""
    addresses = Addresses("h:1", "h:2", "h:3", "h:4", "h:5", "h:9", "h:8", server, ocpi="h:6", twilio="h:7")
    assert Addresses.from_environment(addresses.to_environment({"HOME": "/h"})) == addresses


def test_the_queue_is_that_of_the_product() -> None:
    """The emulators import nothing of the product."""
    assert QUEUE == leg_queue.QUEUE


def test_a_command_cannot_reach_real_projects(addresses: Addresses) -> None:
    """The project is a demo project; the user's credentials and projects are not passed on."""
    real = {
        "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "GCLOUD_PROJECT": "real",
        "GOOGLE_CLOUD_PROJECT": "real",
        "FIREBASE_STORAGE_EMULATOR_HOST": "another:1",
    }
    environment = addresses.to_environment(real)
    assert environment.keys().isdisjoint({"GOOGLE_APPLICATION_CREDENTIALS", "FIREBASE_STORAGE_EMULATOR_HOST"})
    assert environment["GCLOUD_PROJECT"] == environment["GOOGLE_CLOUD_PROJECT"] == "demo-nx-tasks"


def test_the_stack_is_reached_without_a_proxy(addresses: Addresses) -> None:
    """Loopback is added to the existing exceptions in both spellings of the variable."""
    environment = addresses.to_environment({"HTTP_PROXY": "http://proxy", "NO_PROXY": "intranet"})
    assert environment["NO_PROXY"] == environment["no_proxy"] == "intranet,127.0.0.1,localhost,::1"


def test_a_shell_can_read_the_variables(addresses: Addresses) -> None:
    """They are quoted and lack the marker of the stack's own processes, which end with the stack."""
    written = addresses.exports()
    printed = subprocess.run(
        ["bash", "-c", f"{written}\nenv -0"], check=True, capture_output=True, text=True, env={}
    )
    read = dict(line.split("=", 1) for line in printed.stdout.split("\0") if "=" in line)
    wanted = addresses.to_environment({})
    assert {name: read.get(name) for name in wanted} == wanted
