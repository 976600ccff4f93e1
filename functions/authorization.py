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

#: The role that may change tasks. Errors list the names of all tasks for it.
OPERATOR = "operator"
#: Roles that may see the status of all tasks. Each TaskSpec lists the roles that may read its result.
ONLOOKERS = frozenset({OPERATOR, "viewer"})

#: Error message for a caller whose claims are not honoured.
UNVERIFIED = "your e-mail address is not verified; sign in with a link that is sent to it"

_NAMES = frozenset(TaskName)


class Caller(Struct, frozen=True):
    """A signed-in user.

    Attributes:
        uid: the user's id.
        role: the custom claim `role`; None where there is none, or it is no text.
        tasks: names in the custom claim `tasks`; empty where it is no list.
    """

    uid: str
    role: str | None = None
    tasks: frozenset[str] = frozenset()

    @classmethod
    def of(cls, uid: str, claims: Mapping[str, Any]) -> Caller:
        """Return the caller that these claims tell of, whatever they are."""
        role, listed = claims.get("role"), claims.get("tasks")
        return cls(
            uid,
            role if isinstance(role, str) else None,
            frozenset(name for name in listed if isinstance(name, str))
            if isinstance(listed, list)
            else frozenset(),
        )

    def may_read(self, task: TaskName) -> bool:
        """Tell whether the role is one of the task's, or the claim `tasks` names it."""
        return self.role in spec_of(task).roles or task.value in self.tasks

    @property
    def is_onlooker(self) -> bool:
        """Whether it is a person who looks after tasks, by role, and no app that was given some."""
        return self.role in ONLOOKERS

    def may_look(self, task: TaskName) -> bool:
        """Tell whether this caller may see how the task does: its status and its history."""
        return self.is_onlooker or task.value in self.tasks

    def tasks_to_look_at(self) -> tuple[TaskName, ...]:
        """Return the tasks that this caller may see, in the order of their names.

        Raises:
            HttpsError: permission-denied, where there are none.
        """
        names = tuple(task for task in sorted(TaskName) if self.may_look(task))
        if not names:
            raise HttpsError(
                FunctionsErrorCode.PERMISSION_DENIED,
                "You do not have access to any task. Ask an administrator of the project.",
            )
        return names

    def task_to_look_at(self, name: object) -> TaskName:
        """Return the task of that name, which this caller may see; errors as `task_named`."""
        return self._named(name, self.may_look)

    def task_named(self, name: object) -> TaskName:
        """Return the task of that name, which this caller may read.

        Raises:
            HttpsError: permission-denied, the same whether there is no such task or it is not
                for this caller. An operator is told with invalid-argument which names there are.
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
    """Return the caller, whose claims count.

    Raises:
        HttpsError: unauthenticated, if nobody is signed in; permission-denied, if the caller's e-mail
            address is not verified.
    """
    if request.auth is None:
        raise HttpsError(FunctionsErrorCode.UNAUTHENTICATED, "not signed in; sign in first")
    claims = request.auth.token or {}
    if not _claims_count(claims):
        raise HttpsError(FunctionsErrorCode.PERMISSION_DENIED, UNVERIFIED)
    return Caller.of(request.auth.uid or "", claims)


def _claims_count(claims: Mapping[str, Any]) -> bool:
    """Tell whether this account is certainly the one that an administrator meant to give claims to.

    Anybody can sign up with a password and another person's address, so an address must be verified.
    An account without an address cannot be made in another person's name, so a custom token or a phone
    number is enough. The token of an e-mail sign-in lacks the address only if its user removed it.
    """
    if claims.get("email"):
        return claims.get("email_verified") is True
    firebase = claims.get("firebase")
    return not isinstance(firebase, dict) or firebase.get("sign_in_provider") != "password"
