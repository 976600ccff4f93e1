"""What is known of a job before it runs: made from a function's endpoint as firebase-tools makes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from emulators.scheduler.errors import ManifestError

#: firebase-tools' limits of an attempt deadline, seconds: a function's timeout beyond them is moved to them.
SHORTEST_ATTEMPT_DEADLINE = 180
LONGEST_ATTEMPT_DEADLINE = 1800
#: Cloud Scheduler's highest retry count.
MOST_RETRIES = 5


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """When a failed attempt is made again; defaults are the service's."""

    #: Retries after the first attempt.
    retry_count: int = 0
    #: Retries go on for this long after the first attempt, whatever the count; zero: the count alone decides.
    max_retry_duration: timedelta = timedelta()
    min_backoff: timedelta = timedelta(seconds=5)
    max_backoff: timedelta = timedelta(hours=1)
    max_doublings: int = 5

    def allows(self, attempts: int, elapsed: timedelta) -> bool:
        """Whether a failed attempt is followed by another: until both limits are reached, as documented.

        Args:
            attempts: Attempts made so far, the first included.
            elapsed: Time since the first attempt started.
        """
        return attempts <= self.retry_count or elapsed < self.max_retry_duration

    def backoff(self, attempts: int) -> timedelta:
        """The wait after this many attempts: doubles, then grows by the last step, up to the longest."""
        doublings = min(attempts - 1, self.max_doublings)
        steps = max(attempts - 1 - self.max_doublings, 0) + 1
        longest_step = self.max_backoff // self.min_backoff if self.min_backoff else 0
        return min(self.min_backoff * min((1 << doublings) * steps, longest_step + 1), self.max_backoff)


@dataclass(frozen=True, slots=True)
class Job:
    """One scheduled function in one region."""

    project: str
    region: str
    function: str
    schedule: str
    time_zone: str = "UTC"
    attempt_deadline: timedelta = timedelta(seconds=SHORTEST_ATTEMPT_DEADLINE)
    retry: RetryConfig = field(default_factory=RetryConfig)

    @property
    def id(self) -> str:
        """Short name; what the function gets as ``X-CloudScheduler-JobName``."""
        return f"firebase-schedule-{self.function}-{self.region}"

    @property
    def name(self) -> str:
        """Resource name."""
        return f"projects/{self.project}/locations/{self.region}/jobs/{self.id}"


def jobs_from_endpoint(project: str, location: str, function: str, endpoint: Mapping[str, Any]) -> list[Job]:
    """The jobs of one entry of functions.yaml: one a region, none where it has no ``scheduleTrigger``.

    Args:
        project: Project id.
        location: Region of an endpoint that names none.
        function: Name of the function, the entry's key.
        endpoint: The entry.

    Raises:
        ManifestError: A field is not of a form that a deployment would take; the text names it.
    """
    trigger = endpoint.get("scheduleTrigger")
    if trigger is None:
        return []
    where = f"function {function}: scheduleTrigger"
    if not isinstance(trigger, Mapping):
        raise ManifestError(f"{where} must be an object")
    if endpoint.get("platform", "gcfv2") != "gcfv2":
        raise ManifestError(f"function {function}: platform must be gcfv2 (Cloud Functions 2nd gen)")
    timeout = _whole(endpoint, "timeoutSeconds", f"function {function}", SHORTEST_ATTEMPT_DEADLINE)
    deadline = max(min(timeout, LONGEST_ATTEMPT_DEADLINE), SHORTEST_ATTEMPT_DEADLINE)
    regions = endpoint.get("region") or [location]
    if not isinstance(regions, list) or not all(isinstance(region, str) and region for region in regions):
        raise ManifestError(f"function {function}: region must be a list of names")
    return [
        Job(
            project=project,
            region=region,
            function=function,
            schedule=_text(trigger, "schedule", where),
            time_zone=_text(trigger, "timeZone", where, default="UTC"),
            attempt_deadline=timedelta(seconds=deadline),
            retry=_retry_config(trigger.get("retryConfig") or {}, f"{where}.retryConfig"),
        )
        for region in regions
    ]


def _retry_config(config: object, where: str) -> RetryConfig:
    if not isinstance(config, Mapping):
        raise ManifestError(f"{where} must be an object")
    service = RetryConfig()

    def seconds(key: str, default: timedelta) -> timedelta:
        return timedelta(seconds=_whole(config, key, where, default // timedelta(seconds=1)))

    retry = RetryConfig(
        retry_count=_whole(config, "retryCount", where, service.retry_count),
        max_retry_duration=seconds("maxRetrySeconds", service.max_retry_duration),
        min_backoff=seconds("minBackoffSeconds", service.min_backoff),
        max_backoff=seconds("maxBackoffSeconds", service.max_backoff),
        max_doublings=_whole(config, "maxDoublings", where, service.max_doublings),
    )
    if retry.retry_count > MOST_RETRIES:
        raise ManifestError(
            f"{where}.retryCount is {retry.retry_count}: Cloud Scheduler allows {MOST_RETRIES} at most"
        )
    if retry.min_backoff > retry.max_backoff:
        raise ManifestError(f"{where}.minBackoffSeconds is more than maxBackoffSeconds")
    return retry


def _text(values: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = values.get(key) or default
    if not isinstance(value, str):
        raise ManifestError(f"{where}.{key} must be a string")
    return value


def _whole(values: Mapping[str, Any], key: str, where: str, default: int) -> int:
    value = values.get(key)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value <= 10**6:  # a bool is an int, too; params must be resolved
        raise ManifestError(f"{where}.{key} must be a whole number from 0 to 1000000, not {value!r}")
    return value
