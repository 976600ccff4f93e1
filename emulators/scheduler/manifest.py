"""The file that lists the scheduled functions; it is read at the start and after each change."""

import json
from pathlib import Path

from emulators.scheduler.errors import ManifestError
from emulators.scheduler.job import Job, jobs_from_endpoint


class Manifest:
    """A JSON file `{"project", "location", "endpoints": {name: entry of functions.yaml}}`.

    Args:
        path: The file.
        project: Expected project id.
    """

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._project = project
        self._read_signature: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Return whether the file has changed since the last read. A missing file counts as one change."""
        return self._signature() != self._read_signature

    def read(self) -> list[Job]:
        """Return the jobs in the file.

        Raises:
            ManifestError: The file cannot be read, is not valid, or is of another project.
        """
        # Before reading, so that a write in between counts as a change.
        self._read_signature = self._signature()
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ManifestError(f"{self._path} is not a readable JSON file: {error}") from error
        if not isinstance(content, dict) or not isinstance(content.get("endpoints"), dict):
            raise ManifestError(f'{self._path} must be an object with "endpoints"')
        if content.get("project", self._project) != self._project:
            raise ManifestError(f"{self._path} is of project {content['project']!r}, not {self._project!r}")
        location = content.get("location", "us-central1")
        jobs: list[Job] = []
        for function, endpoint in content["endpoints"].items():
            if not isinstance(endpoint, dict):
                raise ManifestError(f"{self._path}: endpoint {function} must be an object")
            jobs += jobs_from_endpoint(self._project, location, function, endpoint)
        return jobs

    def _signature(self) -> tuple[int, ...]:
        try:
            stat = self._path.stat()
        except OSError:
            return ()
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
