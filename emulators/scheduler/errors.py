"""Errors in a schedule, a manifest or a request."""


class SchedulerError(Exception):
    """Base class of this package's errors."""


class ScheduleError(SchedulerError):
    """A schedule or time zone that Cloud Scheduler would not accept."""


class ManifestError(SchedulerError):
    """A manifest that cannot be read, or an endpoint from which firebase-tools could not create a job."""


class RequestError(SchedulerError):
    """A client's request that is answered with one of Google's error codes.

    Args:
        http_status: HTTP status of the response.
        status: Name of the error code, such as `NOT_FOUND`.
        message: What is wrong, and what is accepted.
    """

    def __init__(self, http_status: int, status: str, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.status = status
