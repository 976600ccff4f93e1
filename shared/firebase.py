"""Clients of Firebase and Google Cloud, created at first use and then shared by all threads.

Importing this module creates none: discovery imports every function without credentials, and gunicorn forks
after the import, which gRPC channels do not survive.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import quote

from msgspec import Struct

from shared import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import firebase_admin
    import grpc
    import requests
    from google.cloud.firestore import Client
    from google.cloud.storage import Bucket

Made = TypeVar("Made")

_FIRESTORE = "firestore.googleapis.com:443"
_FIRESTORE_SCOPES = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/datastore",
)
#: Any message size, because Firestore has limits of its own; a connection that died is noticed in 30 s.
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
)

_lock = threading.RLock()  # creating one client may need another
_made: dict[str, object] = {}


def app() -> firebase_admin.App:
    """Return the Firebase app that checks callers' tokens."""

    def make() -> firebase_admin.App:
        import firebase_admin  # noqa: PLC0415  (a scheduled function checks no tokens)

        return firebase_admin.initialize_app(options={"projectId": settings.project_id()})

    return _once("app", make)


class FirestoreWire(Struct, frozen=True):
    """A gRPC channel to Firestore, for calls without the client library.

    Attributes:
        channel: Has the credentials.
        database: `projects/…/databases/…`.
        metadata: The headers of each call.
    """

    channel: grpc.Channel
    database: str
    metadata: tuple[tuple[str, str], ...]


def firestore_wire() -> FirestoreWire:
    """Return the channel for calls whose messages are built without the client library."""

    def make() -> FirestoreWire:
        import grpc  # noqa: PLC0415  (discovery needs no client)
        from google.api_core import grpc_helpers  # noqa: PLC0415

        database = f"projects/{settings.project_id()}/databases/{settings.database_id()}"
        metadata = (
            ("google-cloud-resource-prefix", database),
            ("x-goog-request-params", f"database={quote(database, safe='')}"),
        )
        emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
        if emulator:
            channel = grpc.insecure_channel(emulator, options=_CHANNEL_OPTIONS)
            # With this token the emulator lets a call past the rules, as IAM does in the cloud.
            return FirestoreWire(channel, database, (*metadata, ("authorization", "Bearer owner")))
        channel = grpc_helpers.create_channel(
            _FIRESTORE, default_scopes=_FIRESTORE_SCOPES, options=_CHANNEL_OPTIONS
        )
        return FirestoreWire(channel, database, metadata)

    return _once("wire", make)


def firestore_client() -> Client:
    """Return the Firestore client."""

    def make() -> Client:
        from google.cloud.firestore import Client  # noqa: PLC0415  (discovery needs no client)

        return Client(project=settings.project_id(), database=settings.database_id())

    return _once("firestore", make)


class StorageWire(Struct, frozen=True):
    """An HTTP session to read objects with, without the Storage client.

    Attributes:
        session: Has the credentials; none for an emulator.
        origin: Scheme and host of the server.
        bucket: Name of the bucket that keeps large results.
    """

    session: requests.Session
    origin: str
    bucket: str


def storage_wire() -> StorageWire:
    """Return the session to read objects with."""

    def make() -> StorageWire:
        emulator = settings.storage_emulator()
        session = _session("devstorage.read_only", emulator=emulator is not None)
        return StorageWire(session, emulator or "https://storage.googleapis.com", settings.bucket_name())

    return _once("storage wire", make)


class SchedulerWire(Struct, frozen=True):
    """An HTTP session for Cloud Scheduler, whose client takes longer to load.

    Attributes:
        session: Has the credentials; none for an emulator.
        jobs: URL of a job without the job's name.
    """

    session: requests.Session
    jobs: str


def scheduler_wire() -> SchedulerWire:
    """Return the session for the jobs of Cloud Scheduler."""

    def make() -> SchedulerWire:
        url = settings.scheduler_url()
        jobs = f"{url}/v1/projects/{settings.project_id()}/locations/{settings.region()}/jobs/"
        return SchedulerWire(_session("cloud-platform", emulator=not url.startswith("https://")), jobs)

    return _once("scheduler wire", make)


class TasksWire(Struct, frozen=True):
    """An HTTP session for Cloud Tasks, whose client takes longer to load.

    Attributes:
        session: Has the credentials; none for an emulator.
        url: URL of the API, to which the name of a resource is appended.
        location: `projects/…/locations/…`, which contains the queues.
    """

    session: requests.Session
    url: str
    location: str


def tasks_wire() -> TasksWire:
    """Return the session for the queues of Cloud Tasks."""

    def make() -> TasksWire:
        url = settings.tasks_url()
        location = f"projects/{settings.project_id()}/locations/{settings.region()}"
        return TasksWire(_session("cloud-platform", emulator=not url.startswith("https://")), url, location)

    return _once("tasks wire", make)


def _session(scope: str, *, emulator: bool) -> requests.Session:
    """Return a session with the credentials for a scope; without any for an emulator."""
    import google.auth  # noqa: PLC0415  (most functions need none of these services)
    import requests  # noqa: PLC0415
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415

    if emulator:
        session = requests.Session()
    else:
        credentials, _ = google.auth.default(scopes=[f"https://www.googleapis.com/auth/{scope}"])
        session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    # Without this, requests sends the credentials of ~/.netrc instead.
    session.auth = lambda request: request
    return session


def bucket() -> Bucket:
    """Return the bucket that keeps large results, without a call to the server."""

    def make() -> Bucket:
        # Otherwise the client requests the bucket's location for traces that are not collected here, in a
        # thread of its own and with a permission that nothing else needs.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        from google.cloud.storage import Client  # noqa: PLC0415  (only large results need Storage)

        return Client(project=settings.project_id()).bucket(settings.bucket_name())

    return _once("bucket", make)


def _once(name: str, make: Callable[[], Made]) -> Made:
    made = _made.get(name)
    if made is None:
        with _lock:
            made = _made.get(name)
            if made is None:
                settings.check_emulators()
                made = _made[name] = make()
    return cast("Made", made)
