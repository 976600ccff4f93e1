"""Choosing the Storage server."""

import subprocess
from pathlib import Path

import pytest

from emulators import storage
from emulators.errors import StackError
from emulators.stack import ROOT


def choose(home: Path, *, can_download: bool, **environment: str) -> str:
    def download(_emulator: str, *, needed: bool) -> bool:
        assert needed == (environment.get("STORAGE") == "official")
        return can_download

    return storage.choose_storage(ROOT, {"HOME": str(home)} | environment, download)


def test_the_official_emulator_is_taken_where_it_can_be_had(tmp_path: Path) -> None:
    """Cached or downloadable, the official emulator plays Storage; else fake-gcs-server does."""
    assert choose(tmp_path, can_download=True) == "official"
    assert choose(tmp_path, can_download=False) == "fake-gcs"
    (tmp_path / "cloud-storage-rules-runtime-v1.1.3.jar").touch()
    assert choose(tmp_path, can_download=False, FIREBASE_EMULATORS_PATH=str(tmp_path)) == "official"


def test_storage_chooses(tmp_path: Path) -> None:
    """STORAGE=fake-gcs wins over what could be downloaded."""
    assert choose(tmp_path, can_download=True, STORAGE="fake-gcs") == "fake-gcs"
    assert choose(tmp_path, can_download=True, STORAGE="official") == "official"


@pytest.mark.parametrize(
    ("wanted", "says"), [("official", "setup:emulators:storage"), ("minio", "must be official or fake-gcs")]
)
def test_a_choice_that_cannot_be_had_is_an_error(tmp_path: Path, wanted: str, says: str) -> None:
    """STORAGE=official without a JAR, or an unknown server, gives an error that states what to do."""
    with pytest.raises(StackError, match=says):
        choose(tmp_path, can_download=False, STORAGE=wanted)


def test_fake_gcs_server_is_in_its_package() -> None:
    """The program that the package brings runs here."""
    program = storage.fake_gcs_command("127.0.0.1:1")[0]
    assert (
        b"-backend" in subprocess.run([program, "-help"], capture_output=True, check=False, timeout=30).stderr
    )
