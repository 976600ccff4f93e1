"""The ports of the local stack: read from firebase.json, and checked before anything starts."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from emulators.errors import StackError

HOST = "127.0.0.1"
#: Cloud Scheduler is no Firebase emulator: firebase.json has no place for it. NX_SCHEDULER_PORT moves it.
SCHEDULER_PORT = 8123

_PARTS = ("auth", "functions", "firestore", "storage", "hub", "logging", "eventarc", "tasks")


def read_ports(root: Path, environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Port by part: auth, functions, firestore, storage, hub, logging, scheduler.

    Args:
        root: The project's folder, with firebase.json.
        environment: Where NX_SCHEDULER_PORT is read.
    """
    configured = json.loads((root / "firebase.json").read_text("utf-8"))["emulators"]
    ports = {part: int(configured[part]["port"]) for part in _PARTS}
    chosen = environment.get("NX_SCHEDULER_PORT") or str(SCHEDULER_PORT)
    if not chosen.isascii() or not chosen.isdigit() or not 0 < int(chosen) < 65536:
        raise StackError(f"NX_SCHEDULER_PORT={chosen} is no port. Choose a number from 1 to 65535.")
    return ports | {"scheduler": int(chosen)}


def check_free(ports: Mapping[str, int]) -> None:
    """Make sure that each part can listen.

    Args:
        ports: Port by part, from read_ports.

    Raises:
        StackError: Ports are taken; names each, the part that wants it and who holds it.
    """
    taken = [
        f"Port {port} is in use, and {part} needs it. {_holder(port)}"
        for part, port in ports.items()
        if not is_free(port)
    ]
    if taken:
        advice = (
            "End that program, or choose another port in firebase.json (for scheduler: NX_SCHEDULER_PORT)."
        )
        raise StackError("\n".join([*taken, advice]))


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        # As servers do it: a connection that lingers after its server is no hindrance, a listener is.
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
    except (psutil.Error, StopIteration):  # macOS shows other processes' sockets to root alone
        pass
    return "Who holds it cannot be seen from here: another user's process, perhaps."
