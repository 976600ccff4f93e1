"""Who may change what tasks do: operators, whose token was not revoked since, and who say why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError
from msgspec import Struct

from functions.callables import fields_of
from functions.callers import OPERATOR, Caller, caller_of
from shared import firebase, logger

if TYPE_CHECKING:
    from shared.tasks import TaskName


class Change(Struct, frozen=True):
    """A change that may be made.

    Attributes:
        caller: who makes it.
        task: of which task.
        by: who is recorded: the e-mail address, where the token has one.
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
    _check_revoked(request, caller.uid)
    claims = request.auth.token if request.auth else {}
    email = claims.get("email")
    return Change(
        caller, task, email if isinstance(email, str) and email else caller.uid, sent["reason"], sent
    )


def _check_revoked(request: CallableRequest[Any], uid: str) -> None:
    """See that the token is still good, and its user still an operator.

    The token of a user who was disabled, or signed out everywhere, is good no more. A role that was
    taken away stays in it for an hour.
    """
    from firebase_admin import auth  # noqa: PLC0415  (who only looks is not asked for)

    token = request.raw_request.headers.get("Authorization", "").partition(" ")[2]
    try:
        auth.verify_id_token(token, firebase.app(), check_revoked=True)
        claims = auth.get_user(uid, firebase.app()).custom_claims or {}
    except (auth.InvalidIdTokenError, auth.UserDisabledError, auth.UserNotFoundError) as error:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, "sign in again") from error
    except Exception as error:
        logger.error("token not checked for revocation", error=repr(error))
        raise HttpsError(
            FunctionsErrorCode.UNAVAILABLE, "whether your token is still good can't be told now; try again"
        ) from error
    if claims.get("role") != OPERATOR:
        raise HttpsError(FunctionsErrorCode.PERMISSION_DENIED, "you are no operator any more: sign in again")
