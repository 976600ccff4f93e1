"""Checks that a caller may change tasks: an operator with a valid token, who gives a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError
from msgspec import Struct

from functions.authorization import OPERATOR, UNVERIFIED, Caller, caller_of
from functions.requests import CancelRun, ChangeTask, SuspendTask, parse
from shared import firebase, logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.tasks import TaskName

#: Error message if the user was disabled or deleted, or the token was revoked.
SIGN_IN_AGAIN = "your sign-in is no longer valid; sign in again"

Sent = TypeVar("Sent", ChangeTask, SuspendTask, CancelRun)


class Change(Struct, Generic[Sent], frozen=True):
    """An allowed change.

    Attributes:
        caller: The operator.
        task: The task to change.
        by: Name of the operator for the records, from e-mail address and user id.
        reason: The operator's reason.
        sent: The request.
    """

    caller: Caller
    task: TaskName
    by: str
    reason: str
    sent: Sent


def check_change(request: CallableRequest[Any], kind: type[Sent]) -> Change[Sent]:
    """Check that the caller may make the requested change.

    Args:
        request: The call, from an operator.
        kind: The struct that the request must match.

    Raises:
        HttpsError: unauthenticated, also for a revoked token; permission-denied for a caller who is not an
            operator; invalid-argument; unavailable if revocation could not be checked.
    """
    caller = caller_of(request)
    if caller.role != OPERATOR:
        raise HttpsError(
            FunctionsErrorCode.PERMISSION_DENIED,
            "Only operators can change tasks. Ask an administrator of the project for the operator role.",
        )
    sent = parse(request, kind)
    task = caller.viewable_task(sent.task_name)
    claims: dict[str, Any] = (request.auth.token if request.auth else None) or {}
    _check_revoked(caller.uid, claims)
    return Change(caller, task, _operator_name(caller.uid, claims), sent.reason, sent)


def _operator_name(uid: str, claims: Mapping[str, object]) -> str:
    """Name a user by id, and by the e-mail address if there is one, which `caller_of` has found verified."""
    email = claims.get("email")
    return f"{email} ({uid})" if email and isinstance(email, str) else uid


def _check_revoked(uid: str, claims: Mapping[str, object]) -> None:
    """Check that a valid token was not revoked, and that its user is still an operator.

    Disabling a user, or signing out everywhere, revokes the token. A removed role and a changed address stay
    in the token for up to an hour. One lookup of the user covers all of these.
    """
    from firebase_admin import auth  # noqa: PLC0415  (callables that only read do not need it)

    try:
        user = auth.get_user(uid, firebase.app())
    except auth.UserNotFoundError as error:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, SIGN_IN_AGAIN) from error
    except Exception as error:
        logger.error("token not checked for revocation", error=repr(error))
        raise HttpsError(
            FunctionsErrorCode.UNAVAILABLE, "Could not check whether your sign-in was revoked. Try again."
        ) from error
    issued = claims.get("iat")
    if user.disabled or not isinstance(issued, int) or issued * 1000 < user.tokens_valid_after_timestamp:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, SIGN_IN_AGAIN)
    if user.email and not user.email_verified:
        raise HttpsError(FunctionsErrorCode.PERMISSION_DENIED, UNVERIFIED)
    if (user.custom_claims or {}).get("role") != OPERATOR:
        raise HttpsError(
            FunctionsErrorCode.PERMISSION_DENIED, "You no longer have the operator role. Sign in again."
        )
