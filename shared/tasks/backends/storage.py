"""Results in the bucket: written and read, whole or as a stream, signed for readers of the contract.

An attempt's own object is written once and never changed. The contract's path has a copy of
the last good result, for readers that know only the contract.
"""

from __future__ import annotations

import io
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
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
    from shared.tasks.results.stream import ResultStream

#: How long until a signed URL expires (docs/contract.md, "keep_task_data_in_storage"): V4's longest.
#: A URL that IAM signed is guaranteed for 12 hours only, because Google rotates the keys.
SIGNED_URL_LIFE = timedelta(days=7)
#: What `version` is called in an object's own metadata.
VERSION_KEY = "nx-version"
#: Bytes of a streamed object that one call sends: what is repeated where it fails.
CHUNK_BYTES = 4 << 20
#: Seconds of a streamed object's last call where the bound is all but over.
_LAST_CALL_SECONDS = 1.0


class Objects:
    """Reads and writes objects of the results' bucket. Safe to share between threads.

    Args:
        bucket: gives the bucket; asked at the first call, not before.
        wire: gives the session that objects are read with; asked at the first read.
        call_seconds: bound on one try of a call: on the wait for its connection, and for each answer.
        total_seconds: bound on a call with its repetitions, which back off with jitter.
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
        #: Read an object: `Downloads.read`.
        self.read = downloads.read
        #: Read an object as a stream: `Downloads.open`.
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
        """Store JSON under a path, compressed as one gzip member.

        Args:
            path: the object's path.
            encoded: the JSON, UTF-8.
            version: kept in the object's metadata, where given.
            once: the path is this caller's alone: an object found there is its own, sent before
                an answer was lost.
            timeout: bound on the call with its repetitions.

        Returns:
            The stored bytes.

        Raises:
            google.api_core.exceptions.GoogleAPIError: Storage did not take it.
        """
        stored = gzipped.member(gzipped.compress(encoded))
        blob = self._new(path, version)
        condition = {"if_generation_match": 0} if once else {}
        bounds = self._bounds_until(timeout)
        try:
            blob.upload_from_string(stored, content_type="application/json", **bounds(), **condition)
        except google_errors.PreconditionFailed:
            if not once:
                raise
        else:
            if blob.size != len(stored):
                crc32c = crc32c_text(google_crc32c.value(stored))
                uploads.replace_partial(blob, io.BytesIO(stored), crc32c=crc32c, bounds=bounds)
        return len(stored)

    def write_stream(self, path: str, stream: ResultStream, *, version: str, timeout: float) -> None:
        """Store what a stream gives, piece by piece; there is an object once all of it is there.

        A server that stores a piece as if it were the whole object gets all of it in one request instead.

        Args:
            path: the object's path, this caller's alone.
            stream: the bytes as they are to be stored, made while they are read.
            version: kept in the object's metadata.
            timeout: bound on the whole. A call that fails is repeated as other calls are.

        Raises:
            Exception: what the stream raised.
            google.api_core.exceptions.GoogleAPIError: Storage did not take it.
            ResultNotKept: the temporary directory cannot hold what has to go in one request.
        """
        until = time.monotonic() + timeout

        def bounds() -> dict[str, Any]:
            return self._bounds(max(until - time.monotonic(), _LAST_CALL_SECONDS))

        def repeated(call: Callable[[], Any]) -> Any:
            """Bound each piece and its repetitions, and not only the first one's."""
            return bounds()["retry"](call)

        blob = self._new(path, version, chunk_bytes=CHUNK_BYTES)
        try:
            blob.upload_from_file(
                stream,
                content_type="application/json",
                if_generation_match=0,
                timeout=bounds()["timeout"],
                retry=repeated,
            )
        except Exception as error:
            # What was lost may be the last answer, or one to a piece that the server took for the whole:
            # it refuses to take that again.
            refused = stream.failure is None and isinstance(error, google_errors.ClientError)
            if not (stream.ended or refused) or not uploads.is_stored(blob, stream.crc32c, bounds):
                raise
        if not stream.ended:
            uploads.tell_partial(blob, stream.tell())
            self._write_rest(path, stream, version, bounds)

    def _write_rest(
        self, path: str, stream: ResultStream, version: str, bounds: Callable[[], dict[str, Any]]
    ) -> None:
        """Store a stream in one request: what the server has of it already, and the rest."""
        with uploads.temporary_file() as file:
            download = self.open(path, timeout=bounds()["timeout"])
            if download is None:
                raise ResultNotKept(f"the first {stream.tell()} bytes of the result are gone from {path}")
            uploads.append(file, download)
            # A failure or the end of this process from here on leaves no part of a result behind.
            self.remove(path, timeout=bounds()["timeout"])
            uploads.append(file, iter(lambda: stream.read(CHUNK_BYTES), b""))
            blob = self._new(path, version)
            uploads.upload_whole(blob, file, crc32c=stream.crc32c, generation=0, bounds=bounds)

    def _new(self, path: str, version: str | None, *, chunk_bytes: int | None = None) -> Blob:
        blob = self._bucket().blob(path, chunk_size=chunk_bytes)
        blob.content_encoding = "gzip"
        blob.cache_control = "private, no-store"
        if version is not None:
            blob.metadata = {VERSION_KEY: version}
        return blob

    def signed_url(self, path: str, life: timedelta = SIGNED_URL_LIFE) -> str:
        """Return a URL that reads the object without credentials; by default it expires after seven days.

        On Cloud Run there is no private key: the IAM API signs. Google rotates its keys and guarantees
        such a URL for 12 hours only. An emulator can't sign; its plain URL reads the object without a
        signature. This is the one place that knows the difference.

        Raises:
            ResultNotKept: no credentials, or IAM refused to sign.
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

        request = partial(Request(), timeout=self._call_seconds)  # theirs is two minutes
        caller: Any
        caller, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        caller.refresh(request)
        email = caller.service_account_email
        asks: Any = iam.Signer(request, caller, email)  # type: ignore[no-untyped-call]  # and again, of a 5xx
        signer: Any = Credentials(asks, email, token_uri="")  # type: ignore[no-untyped-call]  # signs, no more
        url: str = (
            self._bucket()
            .blob(path)
            .generate_signed_url(version="v4", expiration=life, method="GET", credentials=signer)
        )
        return url

    def remove(self, path: str, *, timeout: float | None = None) -> None:
        """Remove an object; one that is gone already is no error."""
        try:
            self._bucket().blob(path).delete(**self._bounds(timeout))
        except google_errors.NotFound:
            return

    def listed(self, folder: str, *, timeout: float | None = None) -> list[tuple[str, datetime]]:
        """Return path and time of creation of each object below a folder."""
        bucket = self._bucket()
        fields = "items(name,timeCreated),nextPageToken"
        found = bucket.client.list_blobs(bucket, prefix=folder, fields=fields, **self._bounds(timeout))
        return [(blob.name, blob.time_created) for blob in found if blob.name and blob.time_created]

    def metadata(self, path: str, *, timeout: float | None = None) -> tuple[int, str | None]:
        """Return an object's generation (0 where there is none) and the version in its metadata."""
        blob = self._bucket().get_blob(path, **self._bounds(timeout))
        if blob is None:
            return 0, None
        return int(blob.generation or 0), (blob.metadata or {}).get(VERSION_KEY)

    def copy(self, source: str, target: str, *, generation: int, timeout: float | None = None) -> bool:
        """Copy an object, content and metadata, if the target still has that generation.

        The server copies where it can; where it can't (the official emulator answers 501), the
        stored bytes pass through here.

        Returns:
            Whether it was copied; False where the target has changed.

        Raises:
            google.api_core.exceptions.GoogleAPIError: Storage did not do it; NotFound where the
                source is gone.
        """
        bucket = self._bucket()
        bounds = self._bounds_until(timeout)
        original, copied = bucket.blob(source), bucket.blob(target)
        try:
            token = None
            while True:
                token, _, _ = copied.rewrite(
                    original, token=token, if_generation_match=generation, **bounds()
                )
                if token is None:
                    return True
        except google_errors.PreconditionFailed:  # another's, or this one's own whose answer was lost
            return False
        except google_errors.MethodNotImplemented:
            return self._copy_through(original, copied, generation, bounds)

    def _copy_through(
        self, original: Blob, copied: Blob, generation: int, bounds: Callable[[], dict[str, Any]]
    ) -> bool:
        original.reload(**bounds())
        copied.content_encoding = original.content_encoding
        copied.cache_control = original.cache_control
        copied.metadata = original.metadata
        download = self.open(original.name, timeout=bounds()["timeout"])
        if download is None:
            raise ObjectGone(original.name)
        with uploads.temporary_file() as file:
            uploads.append(file, download)
            size = file.tell()
            try:
                copied.upload_from_file(
                    file,
                    rewind=True,
                    size=size,
                    content_type=original.content_type,
                    if_generation_match=generation,
                    **bounds(),
                )
            except google_errors.PreconditionFailed:
                return False
            if copied.size != size:
                uploads.replace_partial(copied, file, crc32c=original.crc32c, bounds=bounds)
        return True

    def _bounds_until(self, timeout: float | None) -> Callable[[], dict[str, Any]]:
        """Return what bounds each of several calls by what is left for all of them."""
        over = time.monotonic() + (self._total_seconds if timeout is None else timeout)

        def bounds() -> dict[str, Any]:
            left = over - time.monotonic()
            if left <= 0:
                raise TimeoutError("no time left for a call to Storage")
            return self._bounds(left)

        return bounds

    def _bounds(self, timeout: float | None) -> dict[str, Any]:
        """Bound a call's tries and their repetition, so that the last try ends in time, too."""
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415  (with Storage itself)

        total = self._total_seconds if timeout is None else min(timeout, self._total_seconds)
        one = min(self._call_seconds, total / 2)
        return {"timeout": one, "retry": DEFAULT_RETRY.with_timeout(total - one)}
