"""What can be wrong with a schedule, a manifest or a request: raised where it is known, told in one place."""


class SchedulerError(Exception):
    """Any error of this package; its text tells the reader what to do."""


class ScheduleError(SchedulerError):
    """A schedule or time zone that Cloud Scheduler would not accept."""


class ManifestError(SchedulerError):
    """A manifest that cannot be read, or an endpoint that firebase-tools could not turn into a job."""


class RequestError(SchedulerError):
    """A request of a client that is answered with one of Google's error codes.

    Args:
        http_status: Status code of the answer.
        status: Name of the code, such as ``NOT_FOUND``.
        message: What was wrong, and what would be right.
    """

    def __init__(self, http_status: int, status: str, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.status = status
