"""The file that says which functions are scheduled: read at the start, and again whenever it changes."""

import json
from pathlib import Path

from emulators.scheduler.errors import ManifestError
from emulators.scheduler.job import Job, jobs_from_endpoint


class Manifest:
    """A JSON file ``{"project", "location", "endpoints": {name: entry of functions.yaml}}``.

    Args:
        path: The file.
        project: Project id; a manifest of another project is an error.
    """

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._project = project
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether the file is another than the one read last; one that is away counts as a change once."""
        return self._signature() != self._seen

    def read(self) -> list[Job]:
        """The jobs of the file.

        Raises:
            ManifestError: It cannot be read or is not of the form; the text says where.
        """
        self._seen = self._signature()  # before reading, so that a write in between is seen as a change
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
