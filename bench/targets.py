"""The targets of `make bench`: the only place where a limit, and why it is missed, is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a measured value should be.

    Attributes:
        limit: the largest allowed value, or the smallest if `at_least`.
        why_missed: Written by a person after a run that missed it: why, and what was tried.
            `docs/performance.md` shows it only if a run misses the target.
        at_least: whether the limit is a lower bound.
    """

    limit: float
    why_missed: str = ""
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"

    def is_met(self, value: float) -> bool:
        """Return whether a value is within the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


WARM_SIZES = ("1 KB", "100 KB", "1 MB", "10 MB")
HIT_SIZES = ("1 KB", "1 MB", "10 MB")

#: By the name of the measure.
TARGETS = {
    "warm 1 KB, gzip : no-op callable": Target(
        1.1,
        "The product parses the request, looks the result up in the cache and sets five headers. "
        "Bodies of known length are no longer counted, and short requests are not checked for depth.",
    ),
    **{f"warm {size}, gzip : no-op + same bytes from gunicorn": Target(1.2) for size in WARM_SIZES},
    "warm 10 MB, no gzip : Flask route, same bytes": Target(1.3),
    "answers per second, 16 connections, warm 1 MB, gzip : no-op": Target(
        0.8,
        "Most of the difference to a no-op is the time that gunicorn alone needs to send as many bytes. "
        "Bodies of up to 256 KiB are already sent in one piece.",
        at_least=True,
    ),
    **{
        f"cold read of 10 MB from Storage, {state}, less no-op : document read + download": Target(
            1.3,
            "The rest is Python code: the request, receiving the object in pieces so that a server "
            "that trickles data is detected, and the answer. Fetching the contract copy during the document "
            "read, and connecting to Storage early, gained nothing where servers and instance share cores.",
        )
        for state in ("after a small read", "first authenticated call")
    },
    "80 concurrent cold callers, 1 MB, from process start : one cold caller": Target(1.5),
    "80 concurrent cold callers, 1 MB, once it listens : one cold caller": Target(
        1.5,
        "One Python process answers one request at a time, and 80 concurrent no-ops alone take longer than "
        "one cold caller. The callers share one document read and one download, as the counts show.",
    ),
    "80 concurrent cold callers, 1 MB: document reads": Target(1),
    "80 concurrent cold callers, 1 MB: downloads": Target(1),
    "process start to first answer : hello-world with Firestore": Target(
        1.15,
        "Most of the difference is the import of this project's modules. Code that only runs need "
        "is imported by the first run, and the Storage client is never imported.",
    ),
    **{f"cache hit, get_task_result, {size}: µs above a lock and a dict": Target(5) for size in HIT_SIZES},
    "run, db, warm : bare calls": Target(
        1.0,
        "Both commits of a run also write the run record and check preconditions, which takes Firestore "
        "longer than the bare writes. A warm run reads nothing, and its writes bypass the client library's "
        "batch. Reusing the task's thread gained nothing that could be measured.",
    ),
    "run, storage, warm : bare calls": Target(
        1.5,
        "The bare calls upload one object. A run also checks the contract copy and replaces it, "
        "and these two requests together take longer than the upload.",
    ),
    "records per second, streamed : bare upload of their JSON": Target(0.4, at_least=True),
    "streamed and read back, resident, 1,000,000 : 100,000 records": Target(1.2),
    "hand-over to the next leg's work, idle queue : one Cloud Task": Target(1.5),
    "remembered step: round trips": Target(2),
    "cursor moved, no checkpoint due: µs": Target(5),
    "100 remembered steps : DBOS": Target(1.0),
    "resumed at step 100 : DBOS": Target(1.0),
}
#: Targets of measures that are taken only if DBOS_PYTHON names a Python that has DBOS.
OPTIONAL = {"100 remembered steps : DBOS", "resumed at step 100 : DBOS"}
