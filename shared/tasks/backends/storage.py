"""Result objects in the bucket: written, read, copied, and signed for readers of the contract.

An attempt's own object is written once and never changed. The contract's path has a copy of the last good
result, for readers that know only the contract.
"""

from __future__ import annotations

import io
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import google_crc32c
from google.api_core import exceptions as google_errors

from shared import firebase, settings
from shared.tasks.backends import uploads
from shared.tasks.backends.downloads import Downloads
from shared.tasks.errors import ObjectGone, ResultNotKept
from shared.tasks.results import gzipped
from shared.tasks.results.stream import crc32c_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from google.cloud.storage import Blob, Bucket

    from shared.firebase import StorageWire
    from shared.tasks.backends.uploads import Bounds, CallBounds
    from shared.tasks.results.stream import StoredStream

    _Result = TypeVar("_Result")

#: Time until a signed URL expires (docs/contract.md, "keep_task_data_in_storage"): the longest of V4.
#: A URL that IAM signed is guaranteed for 12 hours only, because Google rotates the keys.
SIGNED_URL_LIFE = timedelta(days=7)
#: Key of the version in an object's own metadata.
VERSION_KEY = "nx-version"
_CACHE_CONTROL = "private, no-store"
#: Bytes of a streamed object that one call sends, and that are repeated if it fails.
CHUNK_BYTES = 4 << 20
#: Seconds for the last call of a streamed object when its timeout has almost passed.
_LAST_CALL_SECONDS = 1.0


class Objects:
    """Reads and writes objects of the results' bucket. Safe to share between threads.

    Every method takes a timeout in seconds for its calls with their repetitions, which back off with jitter;
    at most, and by default, `total_seconds`. What Storage refuses raises
    google.api_core.exceptions.GoogleAPIError.

    Args:
        bucket: Returns the bucket; called at the first request.
        wire: Returns the session to read objects with; called at the first read.
        call_seconds: How long one try of a call waits for its connection, and for each response.
        total_seconds: Longest duration of a call with its repetitions.
    """

    def __init__(
        self,
        bucket: Callable[[], Bucket],
        wire: Callable[[], StorageWire] = firebase.storage_wire,
        *,
        call_seconds: float = 30.0,
        total_seconds: float = 120.0,
    ) -> None:
        self._bucket = bucket
        downloads = Downloads(wire, call_seconds=call_seconds, total_seconds=total_seconds)
        #: Reads an object: `Downloads.read`.
        self.read = downloads.read
        #: Reads an object as a stream: `Downloads.open`.
        self.open = downloads.open
        self._call_seconds = call_seconds
        self._total_seconds = total_seconds

    def write(
        self,
        path: str,
        encoded: bytes,
        *,
        version: str | None = None,
        once: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Store JSON under a path, compressed as one gzip member; return the number of stored bytes.

        Args:
            path: The object's path.
            encoded: The JSON, UTF-8.
            version: Stored in the object's metadata, if given.
            once: Whether only this caller writes to the path. An object that exists is then its own, sent
                before a response was lost.
            timeout: Seconds.
        """
        stored = gzipped.member(gzipped.compress(encoded))
        self._upload(self._new_blob(path, version), stored, once=once, timeout=timeout)
        return len(stored)

    def write_part(self, path: str, content: bytes, *, timeout: float | None = None) -> None:
        """Store bytes unchanged under a path that only this caller writes to; `read` and `open` return them.

        An object that exists is the caller's own, sent before a response was lost.
        """
        blob = self._bucket().blob(path)
        blob.content_type = "application/octet-stream"
        blob.cache_control = _CACHE_CONTROL
        self._upload(blob, content, once=True, timeout=timeout)

    def _upload(self, blob: Blob, stored: bytes, *, once: bool, timeout: float | None) -> None:
        condition = {"if_generation_match": 0} if once else {}
        bounds = self._bounds_until(timeout)
        try:
            blob.upload_from_string(stored, content_type=blob.content_type, **bounds(), **condition)
        except google_errors.PreconditionFailed:
            if not once:
                raise
        else:
            if blob.size != len(stored):
                crc32c = crc32c_text(google_crc32c.value(stored))
                uploads.replace_partial(blob, io.BytesIO(stored), crc32c=crc32c, bounds=bounds)

    def write_stream(self, path: str, stream: StoredStream, *, version: str, timeout: float) -> None:
        """Store a stream piece by piece; the object exists once all of it is stored.

        A server that stores a piece as if it were the whole object gets all of it in one request instead.

        Args:
            path: The object's path, which only this caller writes to.
            stream: The bytes to store, produced while they are read.
            version: Stored in the object's metadata.
            timeout: Longest duration of the whole upload, in seconds.

        Raises:
            Exception: What the stream raised.
            google.api_core.exceptions.GoogleAPIError: Storage refused it.
            ResultNotKept: The temporary directory cannot hold what must be sent in one request.
        """
        deadline = time.monotonic() + timeout

        def bounds() -> CallBounds:
            return self._bounds(max(deadline - time.monotonic(), _LAST_CALL_SECONDS))

        def repeated(call: Callable[[], _Result]) -> Callable[[], _Result]:
            """Bound each piece and its repetitions, not only the first one's."""
            return bounds()["retry"](call)

        blob = self._new_blob(path, version, chunk_bytes=CHUNK_BYTES)
        try:
            blob.upload_from_file(
                stream,
                content_type=blob.content_type,
                if_generation_match=0,
                timeout=bounds()["timeout"],
                retry=repeated,
            )
        except Exception as error:
            # Perhaps only the last response was lost, or the one to a piece that the server took for the
            # whole object and does not accept again.
            refused = stream.failure is None and isinstance(error, google_errors.ClientError)
            if not (stream.ended or refused) or not uploads.is_stored(blob, stream.crc32c, bounds):
                raise
        if not stream.ended:
            uploads.log_partial(blob, stream.tell())
            self._write_rest(path, stream, version, bounds)

    def _write_rest(self, path: str, stream: StoredStream, version: str, bounds: Bounds) -> None:
        """Store a stream in one request: the bytes that the server has already, and the rest."""
        with uploads.temporary_file() as file:
            download = self.open(path, timeout=bounds()["timeout"])
            if download is None:
                raise ResultNotKept(f"the first {stream.tell()} bytes of the result are gone from {path}")
            uploads.append(file, download)
            # Remove the partial object now, so that no failure from here on leaves it behind.
            self.remove(path, timeout=bounds()["timeout"])
            uploads.append(file, iter(lambda: stream.read(CHUNK_BYTES), b""))
            blob = self._new_blob(path, version)
            uploads.upload_whole(blob, file, crc32c=stream.crc32c, generation=0, bounds=bounds)

    def _new_blob(self, path: str, version: str | None, *, chunk_bytes: int | None = None) -> Blob:
        blob = self._bucket().blob(path, chunk_size=chunk_bytes)
        blob.content_type = "application/json"
        blob.content_encoding = "gzip"
        blob.cache_control = _CACHE_CONTROL
        if version is not None:
            blob.metadata = {VERSION_KEY: version}
        return blob

    def sign_url(self, path: str, life: timedelta = SIGNED_URL_LIFE) -> str:
        """Return a URL that reads the object without credentials; by default it expires after seven days.

        On Cloud Run there is no private key, so the IAM API signs. Google rotates its keys and guarantees
        such a URL for 12 hours only. An emulator cannot sign; its plain URL reads the object without a
        signature. Only this method knows the difference.

        Raises:
            ResultNotKept: There are no credentials, or IAM refused to sign.
        """
        emulator = settings.storage_emulator()
        if emulator is not None:
            bucket = quote(self._bucket().name, safe="")
            return f"{emulator}/download/storage/v1/b/{bucket}/o/{quote(path, safe='')}?alt=media"
        try:
            return self._sign(path, life)
        except Exception as error:
            raise ResultNotKept(
                f"no URL could be signed ({type(error).__name__}): the function's service account needs "
                "the role nxTasksSigner on itself; docs/deploy.md has the command that grants it"
            ) from error

    def _sign(self, path: str, life: timedelta) -> str:
        import google.auth  # noqa: PLC0415  (only a large result is ever signed)
        from google.auth import iam  # noqa: PLC0415
        from google.auth.transport.requests import Request  # noqa: PLC0415
        from google.oauth2.service_account import Credentials  # noqa: PLC0415

        request = partial(Request(), timeout=self._call_seconds)  # the library's own timeout is two minutes
        caller: Any
        caller, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        caller.refresh(request)
        email = caller.service_account_email
        # The signer repeats a request that fails with a 5xx. The credentials only sign.
        signer = iam.Signer(request, caller, email)  # type: ignore[no-untyped-call]
        credentials = Credentials(signer, email, token_uri="")  # type: ignore[no-untyped-call]
        blob = self._bucket().blob(path)
        url: str = blob.generate_signed_url(
            version="v4", expiration=life, method="GET", credentials=credentials
        )
        return url

    def remove(self, path: str, *, timeout: float | None = None) -> None:
        """Remove an object. A missing object is not an error."""
        try:
            self._bucket().blob(path).delete(**self._bounds(timeout))
        except google_errors.NotFound:
            return

    def list_folder(self, folder: str, *, timeout: float | None = None) -> list[tuple[str, datetime]]:
        """Return path and time of creation of each object below a folder."""
        bucket = self._bucket()
        fields = "items(name,timeCreated),nextPageToken"
        found = bucket.client.list_blobs(bucket, prefix=folder, fields=fields, **self._bounds(timeout))
        return [(blob.name, blob.time_created) for blob in found if blob.name and blob.time_created]

    def read_metadata(self, path: str, *, timeout: float | None = None) -> tuple[int, str | None]:
        """Return an object's generation (0 if it does not exist) and the version in its metadata."""
        blob = self._bucket().get_blob(path, **self._bounds(timeout))
        if blob is None:
            return 0, None
        return int(blob.generation or 0), (blob.metadata or {}).get(VERSION_KEY)

    def copy(self, source: str, target: str, *, generation: int, timeout: float | None = None) -> bool:
        """Copy an object, content and metadata, if the target still has that generation.

        The server copies if it can. Otherwise, as with the official emulator (501), the stored bytes pass
        through this process.

        Returns:
            Whether it was copied; False if the target has changed.

        Raises:
            google.api_core.exceptions.NotFound: The source does not exist.
        """
        bucket = self._bucket()
        bounds = self._bounds_until(timeout)
        source_blob, target_blob = bucket.blob(source), bucket.blob(target)
        try:
            token = None
            while True:
                token, _, _ = target_blob.rewrite(
                    source_blob, token=token, if_generation_match=generation, **bounds()
                )
                if token is None:
                    return True
        except google_errors.PreconditionFailed:  # another copy, or this one if its response was lost
            return False
        except google_errors.MethodNotImplemented:
            return self._copy_through(source_blob, target_blob, generation, bounds)

    def _copy_through(self, source: Blob, target: Blob, generation: int, bounds: Bounds) -> bool:
        source.reload(**bounds())
        target.content_type = source.content_type
        target.content_encoding = source.content_encoding
        target.cache_control = source.cache_control
        target.metadata = source.metadata
        download = self.open(source.name, timeout=bounds()["timeout"])
        if download is None:
            raise ObjectGone(source.name)
        with uploads.temporary_file() as file:
            uploads.append(file, download)
            size = file.tell()
            try:
                target.upload_from_file(
                    file,
                    rewind=True,
                    size=size,
                    content_type=target.content_type,
                    if_generation_match=generation,
                    **bounds(),
                )
            except google_errors.PreconditionFailed:
                return False
            if target.size != size:
                uploads.replace_partial(target, file, crc32c=source.crc32c, bounds=bounds)
        return True

    def _bounds_until(self, timeout: float | None) -> Bounds:
        """Return what bounds each of several calls by the time left for all of them."""
        deadline = time.monotonic() + (self._total_seconds if timeout is None else timeout)

        def bounds() -> CallBounds:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no time left for a call to Storage")
            return self._bounds(left)

        return bounds

    def _bounds(self, timeout: float | None) -> CallBounds:
        """Bound a call's tries and their repetition, so that the last try ends in time, too."""
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415  (with Storage itself)

        total = self._total_seconds if timeout is None else min(timeout, self._total_seconds)
        one = min(self._call_seconds, total / 2)
        return {"timeout": one, "retry": DEFAULT_RETRY.with_timeout(total - one)}
