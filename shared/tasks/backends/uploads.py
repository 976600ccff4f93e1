"""Stores an object with a single request, for servers that do not accept it in pieces.

A large object is normally uploaded in pieces, which bounds the memory and what a failed call repeats. Not
every server waits for the last piece: Firebase's Storage emulator stores the first one as if it were the
whole object. A single request works on any server.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, TypedDict

import requests
from google.api_core import exceptions as google_errors

from shared import logger
from shared.tasks.errors import ResultNotKept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.api_core.retry import Retry
    from google.cloud.storage import Blob

    #: Returns the arguments that bound a call that begins now.
    Bounds = Callable[[], "CallBounds"]


class CallBounds(TypedDict):
    """Arguments of the client library that bound a call."""

    timeout: float
    retry: Retry


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """Open a file without a name, which disappears at the end of the block or with the process."""
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (closed below)
    except OSError as error:
        raise _no_room(error) from error
    try:
        yield file
    finally:
        with suppress(OSError):  # closing writes again what a full disk did not accept
            file.close()


def append(file: IO[bytes], pieces: Iterable[bytes]) -> None:
    """Write pieces to a temporary file; raises ResultNotKept if the file cannot be written."""
    for piece in pieces:
        try:
            file.write(piece)
            file.flush()
        except OSError as error:
            raise _no_room(error) from error


def log_partial(blob: Blob, stored_bytes: int) -> None:
    """Log that the server stored a piece of an upload as if it were the whole object."""
    logger.info("upload repeated in one request", object=blob.name, stored_bytes=stored_bytes)


def replace_partial(blob: Blob, file: IO[bytes], *, crc32c: str, bounds: Bounds) -> None:
    """Replace an object if the server stored only a piece of it; remove it if that fails.

    The arguments and errors are those of `upload_whole`. The blob is as the server described it after the
    upload, and its generation is the one that is replaced.
    """
    log_partial(blob, blob.size or 0)
    try:
        upload_whole(blob, file, crc32c=crc32c, generation=int(blob.generation or 0), bounds=bounds)
    except BaseException:
        with suppress(Exception):  # the error that matters is the upload's
            blob.delete(**bounds())
        raise


def upload_whole(blob: Blob, file: IO[bytes], *, crc32c: str, generation: int, bounds: Bounds) -> None:
    """Store a file's bytes with a single PUT; a try that fails is repeated from the first byte.

    The file is read while it is sent. The client library would hold all of it in memory for one request.

    Args:
        blob: The object, with its content type and metadata.
        file: The bytes.
        crc32c: Their checksum, as Storage writes it.
        generation: The object's current generation; 0 if it does not exist.
        bounds: Bounds the calls.

    Raises:
        google.api_core.exceptions.GoogleAPIError: Storage refused the object, or its generation is another.
        requests.RequestException: Storage did not answer.
        ResultNotKept: Storage stored other bytes than were sent.
    """

    def send() -> None:
        timeout = bounds()["timeout"]
        url = blob.create_resumable_upload_session(
            content_type=blob.content_type,
            size=file.seek(0, os.SEEK_END),
            if_generation_match=generation,
            timeout=timeout,
            retry=None,
        )
        file.seek(0)
        # The URL is its own credential. `auth` keeps requests from adding the credentials of ~/.netrc.
        response = requests.put(
            url,
            data=file,
            headers={"Content-Type": blob.content_type},
            timeout=timeout,
            auth=lambda request: request,
        )
        if response.status_code != requests.codes.ok:
            raise google_errors.from_http_response(response)  # type: ignore[no-untyped-call]
        if response.json().get("crc32c") != crc32c:
            blob.delete(**bounds())
            raise ResultNotKept(f"Storage stored other bytes than were sent to {blob.name}")

    try:
        bounds()["retry"](send)()
    except Exception:
        if not is_stored(blob, crc32c, bounds):
            raise


def is_stored(blob: Blob, crc32c: str, bounds: Bounds) -> bool:
    """Return whether the object has these bytes although the response to its upload was lost."""
    try:
        found = blob.bucket.get_blob(blob.name, **bounds())
    except Exception:  # noqa: BLE001  (the upload's own error names the cause)
        return False
    return found is not None and found.crc32c == crc32c


def _no_room(error: OSError) -> ResultNotKept:
    return ResultNotKept(
        f"the temporary directory {tempfile.gettempdir()} cannot hold the result ({error}); "
        "free space there, or set TMPDIR to another directory"
    )
