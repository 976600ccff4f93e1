"""The Storage server is chosen."""

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


def test_the_official_emulator_is_preferred(tmp_path: Path) -> None:
    """If it is neither cached nor downloadable, fake-gcs-server is used."""
    assert choose(tmp_path, can_download=True) == "official"
    assert choose(tmp_path, can_download=False) == "fake-gcs"
    (tmp_path / "cloud-storage-rules-runtime-v1.1.3.jar").touch()
    assert choose(tmp_path, can_download=False, FIREBASE_EMULATORS_PATH=str(tmp_path)) == "official"


def test_the_variable_storage_has_precedence(tmp_path: Path) -> None:
    """STORAGE=fake-gcs is used although the official emulator could be downloaded."""
    assert choose(tmp_path, can_download=True, STORAGE="fake-gcs") == "fake-gcs"
    assert choose(tmp_path, can_download=True, STORAGE="official") == "official"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("official", "setup:emulators:storage"), ("minio", "must be official or fake-gcs")],
)
def test_an_unavailable_choice_is_an_error(tmp_path: Path, wanted: str, message: str) -> None:
    """The error states what to do."""
    with pytest.raises(StackError, match=message):
        choose(tmp_path, can_download=False, STORAGE=wanted)


def test_the_packaged_fake_gcs_server_runs() -> None:
    program = storage.fake_gcs_command("127.0.0.1:1")[0]
    assert (
        b"-backend" in subprocess.run([program, "-help"], capture_output=True, check=False, timeout=30).stderr
    )
