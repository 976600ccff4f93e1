"""Jobs, created from functions' endpoints as firebase-tools creates them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from emulators.scheduler.errors import ManifestError

#: Limits of an attempt deadline, in seconds: firebase-tools raises or lowers a function's timeout to them.
MIN_ATTEMPT_DEADLINE_SECONDS = 180
MAX_ATTEMPT_DEADLINE_SECONDS = 1800
#: Cloud Scheduler's highest retry count.
MAX_RETRIES = 5


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """When a failed attempt is repeated; defaults are the service's."""

    #: Retries after the first attempt.
    retry_count: int = 0
    #: Time after the first attempt during which retries continue beyond the count; zero for no such time.
    max_retry_duration: timedelta = timedelta()
    min_backoff: timedelta = timedelta(seconds=5)
    max_backoff: timedelta = timedelta(hours=1)
    max_doublings: int = 5

    def allows(self, attempts: int, elapsed: timedelta) -> bool:
        """Return whether a failed attempt is repeated: until both limits are reached, as documented.

        Args:
            attempts: Number of attempts made, including the first.
            elapsed: Time since the first attempt started.
        """
        return attempts <= self.retry_count or elapsed < self.max_retry_duration

    def backoff(self, attempts: int) -> timedelta:
        """Return the pause after this many attempts: it doubles, then grows linearly, up to the maximum."""
        doublings = min(attempts - 1, self.max_doublings)
        steps = max(attempts - 1 - self.max_doublings, 0) + 1
        longest_step = self.max_backoff // self.min_backoff if self.min_backoff else 0
        return min(self.min_backoff * min((1 << doublings) * steps, longest_step + 1), self.max_backoff)

    def longest_execution(self, attempt_deadline: timedelta) -> timedelta:
        """Return the longest time from the start of the first attempt to the end of the last one.

        Args:
            attempt_deadline: Longest time that an attempt takes.
        """
        pauses = [self.backoff(attempts) for attempts in range(1, self.retry_count + 1)]
        counted = sum(pauses, attempt_deadline * (self.retry_count + 1))
        if not self.max_retry_duration:
            return counted
        # An attempt that fails at the end of this time is repeated once more.
        return max(counted, self.max_retry_duration + self.max_backoff + attempt_deadline)


@dataclass(frozen=True, slots=True)
class Job:
    """One scheduled function in one region."""

    project: str
    region: str
    function: str
    schedule: str
    time_zone: str = "UTC"
    attempt_deadline: timedelta = timedelta(seconds=MIN_ATTEMPT_DEADLINE_SECONDS)
    retry: RetryConfig = field(default_factory=RetryConfig)

    @property
    def id(self) -> str:
        """Short name, sent to the function as `X-CloudScheduler-JobName`."""
        return f"firebase-schedule-{self.function}-{self.region}"

    @property
    def name(self) -> str:
        """Resource name."""
        return f"projects/{self.project}/locations/{self.region}/jobs/{self.id}"


def jobs_from_endpoint(project: str, location: str, function: str, endpoint: Mapping[str, Any]) -> list[Job]:
    """Return the jobs of an entry in functions.yaml: one per region, none without a `scheduleTrigger`.

    Args:
        project: Project id.
        location: Region of an endpoint that specifies none.
        function: Name of the function, which is the entry's key.
        endpoint: The entry.

    Raises:
        ManifestError: A field has a value that a deployment would refuse; the text names the field.
    """
    trigger = endpoint.get("scheduleTrigger")
    if trigger is None:
        return []
    where = f"function {function}: scheduleTrigger"
    if not isinstance(trigger, Mapping):
        raise ManifestError(f"{where} must be an object")
    if endpoint.get("platform", "gcfv2") != "gcfv2":
        raise ManifestError(f"function {function}: platform must be gcfv2 (Cloud Functions 2nd gen)")
    timeout = _whole(endpoint, "timeoutSeconds", f"function {function}", MIN_ATTEMPT_DEADLINE_SECONDS)
    deadline = max(min(timeout, MAX_ATTEMPT_DEADLINE_SECONDS), MIN_ATTEMPT_DEADLINE_SECONDS)
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
    if retry.retry_count > MAX_RETRIES:
        raise ManifestError(f"{where}.retryCount must be at most {MAX_RETRIES}, got {retry.retry_count}")
    if retry.min_backoff > retry.max_backoff:
        raise ManifestError(f"{where}.minBackoffSeconds must not exceed maxBackoffSeconds")
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
    if type(value) is not int or not 0 <= value <= 10**6:  # excludes bool, and params, which must be resolved
        raise ManifestError(f"{where}.{key} must be a whole number from 0 to 1000000, got {value!r}")
    return value
