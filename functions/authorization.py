"""Decides which tasks a caller may read, from the claims of a verified ID token alone.

Callables check here before they read anything. Administrators of the project set the claims.
A claim of an unexpected shape grants nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.https_fn import CallableRequest, FunctionsErrorCode, HttpsError
from msgspec import Struct

from functions.requests import shown
from shared.tasks import TaskName, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The role that may change tasks. Its errors list the names of all tasks.
OPERATOR = "operator"
#: Roles that may see the status of all tasks. Each TaskSpec lists the roles that may read its result.
ROLES = frozenset({OPERATOR, "viewer"})

#: Error message for a caller without a verified e-mail address, which makes the claims void.
UNVERIFIED = "your e-mail address is not verified; sign in with a link that is sent to it"

_NAMES = frozenset(TaskName)


class Caller(Struct, frozen=True):
    """A signed-in user.

    Attributes:
        uid: Id of the user.
        role: The custom claim `role`; None if it is missing or not text.
        tasks: Names in the custom claim `tasks`; empty if it is missing or not a list.
    """

    uid: str
    role: str | None = None
    tasks: frozenset[str] = frozenset()

    @classmethod
    def from_claims(cls, uid: str, claims: Mapping[str, object]) -> Caller:
        """Return the caller with these claims; malformed ones are ignored."""
        role, listed = claims.get("role"), claims.get("tasks")
        return cls(
            uid,
            role if isinstance(role, str) else None,
            frozenset(name for name in listed if isinstance(name, str))
            if isinstance(listed, list)
            else frozenset(),
        )

    def may_read(self, task: TaskName) -> bool:
        """Return whether the caller may read the task's result, by role or by the claim `tasks`."""
        return self.role in spec_of(task).roles or task.value in self.tasks

    @property
    def has_role(self) -> bool:
        """Whether the caller is an operator or a viewer, and not an app with access to some tasks."""
        return self.role in ROLES

    def may_view(self, task: TaskName) -> bool:
        """Return whether the caller may see the task's status and run history."""
        return self.has_role or task.value in self.tasks

    def viewable_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks that the caller may see the status of, ordered by name.

        Raises:
            HttpsError: permission-denied if there are none.
        """
        names = tuple(task for task in sorted(TaskName) if self.may_view(task))
        if not names:
            raise HttpsError(
                FunctionsErrorCode.PERMISSION_DENIED,
                "You do not have access to any task. Ask an administrator of the project.",
            )
        return names

    def viewable_task(self, name: object) -> TaskName:
        """Return the task of this name if the caller may see its status.

        Raises the errors of `readable_task`.
        """
        return self._named(name, self.may_view)

    def readable_task(self, name: object) -> TaskName:
        """Return the task of this name if the caller may read its result.

        Raises:
            HttpsError: permission-denied, both for an unknown task and for one that the caller may not read.
                An operator gets invalid-argument for an unknown task, with the names of all tasks.
        """
        return self._named(name, self.may_read)

    def _named(self, name: object, may: Callable[[TaskName], bool]) -> TaskName:
        task = TaskName(name) if isinstance(name, str) and name in _NAMES else None
        if task is None and self.role == OPERATOR:
            names = ", ".join(sorted(TaskName))
            raise HttpsError(
                FunctionsErrorCode.INVALID_ARGUMENT, f"task_name must be one of {names}, got {shown(name)}"
            )
        if task is None or not may(task):
            raise HttpsError(
                FunctionsErrorCode.PERMISSION_DENIED,
                "You do not have access to this task. Ask an administrator of the project.",
            )
        return task


def caller_of(request: CallableRequest[Any]) -> Caller:
    """Return the caller of a request.

    Raises:
        HttpsError: unauthenticated if the request has no valid ID token; permission-denied if the user's
            e-mail address is not verified.
    """
    if request.auth is None:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, "not signed in; sign in first")
    claims = request.auth.token or {}
    if not _is_verified(claims):
        raise HttpsError(FunctionsErrorCode.PERMISSION_DENIED, UNVERIFIED)
    return Caller.from_claims(request.auth.uid or "", claims)


def _is_verified(claims: Mapping[str, object]) -> bool:
    """Return whether an administrator can have given claims to this account, and not to an impostor's.

    Anyone can sign up with a password and another person's address, so an address must be verified. An
    account without an address cannot imitate another person, so a custom token or a phone number is enough.
    The token of an e-mail sign-in lacks the address only if the user removed it.
    """
    if claims.get("email"):
        return claims.get("email_verified") is True
    firebase = claims.get("firebase")
    return not isinstance(firebase, dict) or firebase.get("sign_in_provider") != "password"
