"""CORS: decides which web pages may read the responses of callables.

Only browsers enforce CORS. `functions.authorization` decides for all clients.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shared import settings

if TYPE_CHECKING:
    from flask import Request, Response

#: Seconds for which a browser may cache the response to a preflight request.
PREFLIGHT_SECONDS = 3600


class Origins:
    """The allowed origins.

    Args:
        configured: The allowed origins; None for the project's own hosting. The project is looked up on first
            use, because it may not be set during discovery.
    """

    def __init__(self, configured: frozenset[str] | None) -> None:
        self._origins = configured

    def add_headers(self, request: Request, response: Response) -> None:
        """Add CORS headers to a response if the request's origin is allowed.

        The caller adds `Vary: Origin`, which responses to other origins need too.
        """
        origin = request.environ.get("HTTP_ORIGIN")
        if origin is None or origin not in self._allowed():
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "POST"
            # All requested headers are allowed, because SDKs add headers of their own.
            requested = request.headers.get("Access-Control-Request-Headers", "")
            response.headers["Access-Control-Allow-Headers"] = requested
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)

    def _allowed(self) -> frozenset[str]:
        if self._origins is not None:
            return self._origins
        with suppress(settings.SettingMissing):  # Reading a result reports it.
            project = settings.project_id()
            self._origins = frozenset({f"https://{project}.web.app", f"https://{project}.firebaseapp.com"})
        return self._origins or frozenset()
