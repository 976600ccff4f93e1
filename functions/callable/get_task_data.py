"""Serves the last good result of a task to the apps that ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.callables import callable_function, fields_of, signed_in, task_name_of
from shared import tasks

if TYPE_CHECKING:
    from firebase_functions.https_fn import CallableRequest


@callable_function(memory=512)
def get_task_data(request: CallableRequest[Any]) -> Any:
    """Return a task's last good result (contract: "`get_task_data`").

    Args:
        request: `{task_name}`, from a caller who is signed in.

    Returns:
        The data; `[]` where there is none.

    Raises:
        HttpsError: unauthenticated; invalid-argument, naming the tasks there are; unavailable.
    """
    signed_in(request)
    return tasks.get_task_data(task_name_of(fields_of(request, ("task_name",))["task_name"]))
