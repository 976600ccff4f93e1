"""Who may change what tasks do: operators, whose token was not revoked since, and who say why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError
from msgspec import Struct

from functions.authorization import OPERATOR, UNVERIFIED, Caller, caller_of
from functions.callable_endpoint import fields_of
from shared import firebase, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.tasks import TaskName


class Change(Struct, frozen=True):
    """A change that may be made.

    Attributes:
        caller: who makes it.
        task: of which task.
        by: who is recorded: the user's id, and the e-mail address if there is one.
        reason: why.
        sent: all that was sent.
    """

    caller: Caller
    task: TaskName
    by: str
    reason: str
    sent: dict[str, Any]


def change_of(request: CallableRequest[Any], *more: str) -> Change:
    """Return the change that is asked for.

    Args:
        request: `{task_name, reason}` and what more there is to say, all of it text.
        more: names of that.

    Raises:
        HttpsError: unauthenticated, also for a token that was revoked; permission-denied, for whoever
            is no operator; invalid-argument; unavailable, where nobody can say whether it was revoked.
    """
    caller = caller_of(request)
    if caller.role != OPERATOR:
        raise HttpsError(
            FunctionsErrorCode.PERMISSION_DENIED,
            "only operators change what tasks do; whoever administers users can make you one",
        )
    names = ("task_name", *more, "reason")
    sent = fields_of(request, names, **dict.fromkeys(names, (str,)))
    task = caller.task_to_look_at(sent["task_name"])
    claims: dict[str, Any] = (request.auth.token if request.auth else None) or {}
    _check_revoked(caller.uid, claims)
    return Change(caller, task, _who(caller.uid, claims), sent["reason"], sent)


def change_suspension(request: CallableRequest[Any], carry_out: Callable[..., bool]) -> dict[str, Any]:
    """Suspend or resume a task; return whether that made it so, and the task as it stands then.

    Args:
        request: as `change_of` takes it.
        carry_out: `suspend_task` or `resume_task`.

    Raises:
        HttpsError: as `change_of`.
        TaskError: as `carry_out`.
    """
    from functions import serializers  # noqa: PLC0415  (every function imports main.py)

    change = change_of(request)
    changed = carry_out(change.task, by=change.by, reason=change.reason)
    return {"changed": changed, "task": serializers.task_now(change.task, change.caller)}


def _who(uid: str, claims: Mapping[str, Any]) -> str:
    """Name a user by id and e-mail address, which `caller_of` has found verified; by id if there is none."""
    email = claims.get("email")
    return f"{email} ({uid})" if email and isinstance(email, str) else uid


def _check_revoked(uid: str, claims: Mapping[str, Any]) -> None:
    """See that the token, checked otherwise, is still good, and its user still an operator.

    The token of a user who was disabled, or signed out everywhere, is no longer good. A role that was
    taken away, and an address that was changed, stay in it for up to an hour. One lookup covers all of it.
    """
    from firebase_admin import auth  # noqa: PLC0415  (who only looks is not asked for)

    try:
        user = auth.get_user(uid, firebase.app())
    except auth.UserNotFoundError as error:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, "sign in again") from error
    except Exception as error:
        logger.error("token not checked for revocation", error=repr(error))
        raise HttpsError(
            FunctionsErrorCode.UNAVAILABLE, "whether your token is still good can't be told now; try again"
        ) from error
    issued = claims.get("iat")
    if user.disabled or not isinstance(issued, int) or issued * 1000 < user.tokens_valid_after_timestamp:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, "sign in again")
    if user.email and not user.email_verified:
        raise HttpsError(FunctionsErrorCode.PERMISSION_DENIED, UNVERIFIED)
    if (user.custom_claims or {}).get("role") != OPERATOR:
        raise HttpsError(FunctionsErrorCode.PERMISSION_DENIED, "you are no operator any more: sign in again")
