"""Ports are read from firebase.json, and a port in use is a clear error."""

import json
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from emulators import ports
from emulators.errors import StackError
from emulators.stack import ROOT

if TYPE_CHECKING:
    from conftest import Project


def test_ports_are_those_of_firebase_json() -> None:
    """The ports of this project's own servers come from environment variables."""
    configured = json.loads((ROOT / "firebase.json").read_text("utf-8"))["emulators"]
    firebase = {name: part["port"] for name, part in configured.items() if name in ports._PARTS}
    own = {part: default for part, (_, default) in ports.OWN_PORTS.items()}
    assert ports.read_ports(ROOT, {}) == firebase | own
    moved = {variable: str(9876 + place) for place, (variable, _) in enumerate(ports.OWN_PORTS.values())}
    assert ports.read_ports(ROOT, moved) == firebase | dict(zip(own, range(9876, 9999), strict=False))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_error_for_a_port_in_use_names_part_and_process(host: str) -> None:
    """It also names the port."""
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StackError) as error:
            ports.check_free({"firestore": port})
    assert f"Port {port} for firestore is in use" in str(error.value)
    assert f"process {os.getpid()}: " in str(error.value)
    assert "pytest" in str(error.value)


def test_a_port_is_free_after_its_server_ended() -> None:
    """Lingering connections do not block the port."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = server.accept()
        accepted.close()  # The side that closes first lingers.
        server.close()
    ports.check_free({"auth": port})


def test_a_start_on_a_port_in_use_fails_without_a_stack_trace(project: "Project") -> None:
    """`exec` prints the error and returns exit code 1 before anything starts."""
    with socket.create_server(("127.0.0.1", project.ports["functions"])):
        launched = project.exec("print('never')")
        assert launched.wait() == 1
    assert f"Port {project.ports['functions']} for functions is in use" in launched.err
    assert "Traceback" not in launched.err
    assert launched.out == ""
    assert launched.live_groups() == set()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
