"""Clients of Firebase and Google Cloud, each made at its first use and then kept.

Nothing is made at import: discovery imports every function without credentials, and
gunicorn forks after the import, which gRPC channels don't outlive.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct

from shared import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import firebase_admin
    import requests
    from google.cloud.firestore import Client
    from google.cloud.storage import Bucket

_lock = threading.RLock()  # making one client may need another
_made: dict[str, Any] = {}


def app() -> firebase_admin.App:
    """Return the Firebase app that checks callers' tokens."""

    def make() -> Any:
        import firebase_admin  # noqa: PLC0415  (a scheduled function checks no tokens)

        return firebase_admin.initialize_app(options={"projectId": settings.project_id()})

    return _once("app", make)


class FirestoreWire(Struct, frozen=True):
    """What a caller needs to speak to Firestore over gRPC itself.

    Attributes:
        channel: the client library's own channel, credentials and keep-alive included.
        database: `projects/…/databases/…`.
        metadata: the headers that each call carries.
    """

    channel: Any
    database: str
    metadata: tuple[tuple[str, str], ...]


def firestore_wire() -> FirestoreWire:
    """Return the client's channel, for calls whose messages are made by hand."""

    def make() -> FirestoreWire:
        client = firestore_client()
        database = client._database_string  # noqa: SLF001  (no public name carries it)
        return FirestoreWire(
            channel=client._firestore_api.transport.grpc_channel,  # noqa: SLF001  (the one way to it)
            database=database,
            metadata=(
                *client._rpc_metadata,  # noqa: SLF001  (it knows what an emulator wants)
                ("x-goog-request-params", f"database={quote(database, safe='')}"),
            ),
        )

    wire: FirestoreWire = _once("wire", make)
    return wire


def firestore_client() -> Client:
    """Return the Firestore client; its channel is shared by all threads."""

    def make() -> Any:
        from google.cloud.firestore import Client  # noqa: PLC0415  (discovery needs no client)

        return Client(project=settings.project_id(), database=settings.database_id())

    client: Client = _once("firestore", make)
    return client


class StorageWire(Struct, frozen=True):
    """What a caller needs to read objects over HTTP itself.

    Attributes:
        session: of `requests`, with credentials where there are any.
        origin: scheme and host of the server.
        bucket: the name of the bucket that keeps large results.
    """

    session: requests.Session
    origin: str
    bucket: str


def storage_wire() -> StorageWire:
    """Return a session to read objects with, without the Storage client."""

    def make() -> StorageWire:
        import google.auth  # noqa: PLC0415  (only large results need Storage)
        import requests  # noqa: PLC0415
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415

        emulator = settings.storage_emulator()
        if emulator is not None:
            return StorageWire(_isolated(requests.Session()), emulator, settings.bucket_name())
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
        return StorageWire(
            _isolated(AuthorizedSession(credentials)),  # type: ignore[no-untyped-call]
            "https://storage.googleapis.com",
            settings.bucket_name(),
        )

    wire: StorageWire = _once("storage wire", make)
    return wire


class SchedulerWire(Struct, frozen=True):
    """What a caller needs to speak to Cloud Scheduler over HTTP itself: its client takes longer to load.

    Attributes:
        session: of `requests`, with credentials where there are any.
        jobs: what precedes a job's name in its address.
    """

    session: requests.Session
    jobs: str


def scheduler_wire() -> SchedulerWire:
    """Return a session for the jobs of Cloud Scheduler."""

    def make() -> SchedulerWire:
        import google.auth  # noqa: PLC0415  (only who changes what tasks do needs the jobs)
        import requests  # noqa: PLC0415
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415

        url = settings.scheduler_url()
        jobs = f"{url}/v1/projects/{settings.project_id()}/locations/{settings.region()}/jobs/"
        if not url.startswith("https://"):
            return SchedulerWire(_isolated(requests.Session()), jobs)
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        return SchedulerWire(_isolated(AuthorizedSession(credentials)), jobs)  # type: ignore[no-untyped-call]

    wire: SchedulerWire = _once("scheduler wire", make)
    return wire


def _isolated(session: requests.Session) -> requests.Session:
    """Return the session without the credentials of ~/.netrc, which requests prefers to its own."""
    session.auth = lambda request: request
    return session


def bucket() -> Bucket:
    """Return the bucket that keeps large results; asks the server nothing."""

    def make() -> Any:
        # Else the client asks for the bucket's place in a thread of its own, for traces that nobody
        # collects here, with a permission that nothing else needs.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        from google.cloud.storage import Client  # noqa: PLC0415  (only large results need Storage)

        return Client(project=settings.project_id()).bucket(settings.bucket_name())

    return _once("bucket", make)


def _once(name: str, make: Callable[[], Any]) -> Any:
    made = _made.get(name)
    if made is None:
        with _lock:
            made = _made.get(name)
            if made is None:
                settings.check_emulators()
                made = _made[name] = make()
    return made
