"""Clients of the cloud: what each sends with its requests. No test here connects to a server."""

import threading
from concurrent import futures

import google.auth
import grpc
import pytest
from google.api_core import grpc_helpers
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.transport.requests import AuthorizedSession

from shared import firebase

READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only"


@pytest.fixture(autouse=True)
def scopes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """An instance without clients; the scopes of the credentials that it requests."""
    requested: list[list[str]] = []

    def default(scopes: list[str] | None = None, **_: object) -> tuple[Credentials, str]:
        requested.append(list(scopes or []))
        return AnonymousCredentials(), "p"

    for service in ("FIRESTORE", "STORAGE", "CLOUD_SCHEDULER", "CLOUD_TASKS"):
        monkeypatch.delenv(f"{service}_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("NX_TASKS_DATABASE", "nx-data")
    monkeypatch.setenv("NX_TASKS_BUCKET", "b")
    monkeypatch.setattr(firebase, "_made", {})
    monkeypatch.setattr(google.auth, "default", default)
    return requested


def test_firestore_is_called_over_tls_with_default_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel's host and scopes, and the headers that route a call to the database."""
    created: list[tuple[str, object]] = []
    create = grpc_helpers.create_channel

    def create_channel(target: str, **options: object) -> grpc.Channel:
        created.append((target, options["default_scopes"]))
        return create(target, credentials=AnonymousCredentials(), **options)

    monkeypatch.setattr(grpc_helpers, "create_channel", create_channel)
    wire = firebase.firestore_wire()
    wire.channel.close()
    scopes = [f"https://www.googleapis.com/auth/{scope}" for scope in ("cloud-platform", "datastore")]
    assert created == [("firestore.googleapis.com:443", tuple(scopes))]
    assert wire.database == "projects/p/databases/nx-data"
    assert dict(wire.metadata) == {
        "google-cloud-resource-prefix": "projects/p/databases/nx-data",
        "x-goog-request-params": "database=projects%2Fp%2Fdatabases%2Fnx-data",
    }


def test_an_emulator_gets_no_credentials(monkeypatch: pytest.MonkeyPatch, scopes: list[list[str]]) -> None:
    """It accepts the token of its owner instead."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    wire = firebase.firestore_wire()
    wire.channel.close()
    assert ("authorization", "Bearer owner") in wire.metadata
    assert scopes == []


def test_objects_are_read_with_a_scope_that_only_reads(scopes: list[list[str]]) -> None:
    """The credentials of ~/.netrc do not replace it."""
    wire = firebase.storage_wire()
    assert (wire.origin, wire.bucket, scopes) == ("https://storage.googleapis.com", "b", [[READ_ONLY]])
    assert isinstance(wire.session, AuthorizedSession)
    assert callable(wire.session.auth)


def test_cloud_tasks_are_created_in_the_region_of_the_functions(scopes: list[list[str]]) -> None:
    """With default credentials, and over TLS."""
    wire = firebase.tasks_wire()
    assert (wire.url, wire.location) == (
        "https://cloudtasks.googleapis.com/v2/",
        "projects/p/locations/us-central1",
    )
    assert isinstance(wire.session, AuthorizedSession)
    assert scopes == [["https://www.googleapis.com/auth/cloud-platform"]]


def test_threads_share_one_client() -> None:
    """Two that ask at the same time get the same one."""
    start = threading.Barrier(8, timeout=60)

    def make(_: int) -> object:
        start.wait()
        return firebase.storage_wire()

    with futures.ThreadPoolExecutor(8) as pool:
        assert len({id(wire) for wire in pool.map(make, range(8))}) == 1
