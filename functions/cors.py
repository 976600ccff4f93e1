"""Which web pages' scripts may read a callable's answers: CORS, as browsers enforce it.

CORS does not restrict clients other than browsers; `functions.authorization` does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shared import settings

if TYPE_CHECKING:
    from flask import Request, Response

#: Seconds for which a browser need not ask again.
PREFLIGHT_SECONDS = 3600


class Origins:
    """The origins that are let in.

    Args:
        said: these; None: the project's own hosting. That is looked up when it is first needed,
            as discovery may know no project.
    """

    def __init__(self, said: frozenset[str] | None) -> None:
        self._said = said

    def admit(self, request: Request, answer: Response) -> None:
        """Let the asking page read the answer if its origin is let in; say nothing to others.

        That answers vary by it is said where they are made.
        """
        origin = request.environ.get("HTTP_ORIGIN")
        if origin is None or origin not in self._allowed():
            return
        answer.headers["Access-Control-Allow-Origin"] = origin
        if request.method == "OPTIONS":
            answer.headers["Access-Control-Allow-Methods"] = "POST"
            # Whichever it asks for: SDKs come to send headers of their own.
            asked = request.headers.get("Access-Control-Request-Headers", "")
            answer.headers["Access-Control-Allow-Headers"] = asked
            answer.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)

    def _allowed(self) -> frozenset[str]:
        if self._said is not None:
            return self._said
        with suppress(settings.SettingMissing):  # told where the project is needed
            project = settings.project_id()
            self._said = frozenset({f"https://{project}.web.app", f"https://{project}.firebaseapp.com"})
        return self._said or frozenset()
