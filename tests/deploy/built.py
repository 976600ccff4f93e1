"""Builds a source archive: unpacks it, installs its requirements, and starts its functions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Imports every module of a folder and prints each failure on a line.
IMPORT_ALL = """
import importlib, pathlib, sys
sys.path.insert(0, ".")
for path in sorted(pathlib.Path(".").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: {error}")
"""


@dataclass(frozen=True, slots=True)
class Built:
    """An image's contents.

    Attributes:
        source: The folder with main.py.
        environment: The virtual environment with requirements.txt alone.
    """

    source: Path
    environment: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process, without those of the checkout."""
        path = f"{self.environment / 'bin'}:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.source)}

    def missing(self) -> list[str]:
        """Return the modules of the archive that cannot be imported, with the reasons."""
        done = subprocess.run(
            [self.environment / "bin" / "python", "-c", IMPORT_ALL],
            cwd=self.source,
            env={**self.variables, "GOOGLE_CLOUD_PROJECT": "demo-nx-tasks"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    @contextmanager
    def serving(self, function: str, settings: Mapping[str, str], log: Path) -> Iterator[str]:
        """Serve a function as the build's entry point does, for the duration of a with block.

        Args:
            function: Its name.
            settings: Its settings.
            log: File for its output.

        Returns:
            The address as host:port.
        """
        framework = self.environment / "bin" / "functions-framework"
        with served(
            function,
            lambda port: [framework, f"--target={function}", f"--port={port}"],
            cwd=self.source,
            env={**settings, **self.variables, "FUNCTION_TARGET": function},
            log=log,
        ) as address:
            yield address


def build(archive: Mapping[str, bytes], folder: Path) -> Built:
    """Unpack an archive into a folder's `source`, and install its requirements in the folder."""
    built = Built(folder / "source", folder / "environment")
    for name, content in archive.items():
        (built.source / name).parent.mkdir(parents=True, exist_ok=True)
        (built.source / name).write_bytes(content)
    _install(built)
    return built


def _install(built: Built) -> None:
    """Install with uv, which has a cache, or with pip if uv cannot reach pip's registry."""
    uv = Path(sys.executable).with_name("uv")
    requirements = built.source / "requirements.txt"
    made = [
        [uv, "venv", "--quiet", "--python", sys.executable, built.environment],
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--python",
            built.environment,
            "-r",
            requirements,
        ],
    ]
    if all(subprocess.run(command, check=False).returncode == 0 for command in made):
        return
    shutil.rmtree(built.environment, ignore_errors=True)
    python = built.environment / "bin" / "python"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--require-hashes"]
    subprocess.run([sys.executable, "-m", "venv", built.environment], check=True)
    subprocess.run([*pip, "-r", requirements], check=True)
