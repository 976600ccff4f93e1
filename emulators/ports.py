"""The local stack's ports, which are read from firebase.json and checked before anything starts."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from emulators.errors import StackError

HOST = "127.0.0.1"
#: Parts that firebase.json does not know: the variable for the port, and its default.
OWN_PORTS = {
    "scheduler": ("NX_SCHEDULER_PORT", 8123),
    "twilio": ("NX_TWILIO_PORT", 8124),
    "ocpi": ("NX_OCPI_PORT", 8125),
}

_PARTS = ("auth", "functions", "firestore", "storage", "hosting", "hub", "logging", "eventarc", "tasks")


def read_ports(root: Path, environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Return the port of each part: the emulators, firebase-tools' own services, and OWN_PORTS.

    Args:
        root: The project's folder, with firebase.json.
        environment: Contains the variables of OWN_PORTS.
    """
    configured = json.loads((root / "firebase.json").read_text("utf-8"))["emulators"]
    ports = {part: int(configured[part]["port"]) for part in _PARTS}
    return ports | {part: _own_port(*own, environment) for part, own in OWN_PORTS.items()}


def _own_port(variable: str, default: int, environment: Mapping[str, str]) -> int:
    chosen = environment.get(variable) or str(default)
    if not chosen.isascii() or not chosen.isdigit() or not 0 < int(chosen) < 65536:
        raise StackError(f"{variable} must be a port from 1 to 65535, got {chosen}.")
    return int(chosen)


def check_free(ports: Mapping[str, int]) -> None:
    """Check that each part can listen on its port.

    Args:
        ports: Port by part, from read_ports.

    Raises:
        StackError: Ports are in use; the text lists each with its part and the process that holds it.
    """
    taken = [
        f"Port {port} for {part} is in use. {_holder(port)}"
        for part, port in ports.items()
        if not is_free(port)
    ]
    if taken:
        own = ", ".join(f"{part}: {variable}" for part, (variable, _) in OWN_PORTS.items())
        advice = f"Stop the other program, or choose another port in firebase.json ({own})."
        raise StackError("\n".join([*taken, advice]))


def is_free(port: int) -> bool:
    """Return whether no process listens on the port."""
    with socket.socket() as probe:
        # Servers set this, too: a connection in TIME_WAIT does not block the port, but a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    try:
        sockets = psutil.net_connections("tcp")
        holder = next(s.pid for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr[1:] == (port,))
        if holder:
            return f"It is held by process {holder}: {' '.join(psutil.Process(holder).cmdline())[:200]}"
    except (psutil.Error, StopIteration):  # macOS shows other processes' sockets only to root
        pass
    return "The process that holds it is not visible; it may belong to another user."
