"""gunicorn as functions-framework sets it up, without an application: `python -m bench.bare PORT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions_framework._http.gunicorn import GunicornApplication

from bench.serving import BODY

if TYPE_CHECKING:
    from collections.abc import Callable


def main(port: str) -> None:
    """Answer every request with the same bytes."""
    body = Path(os.environ[BODY]).read_bytes() if BODY in os.environ else b'{"result":null}'
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]

    def answer(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", headers)
        return [body]

    GunicornApplication(answer, "127.0.0.1", port, debug=False).run()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(*sys.argv[1:])
