"""gunicorn as functions-framework sets it up, and nothing behind it: `python -m bench.bare PORT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions_framework._http.gunicorn import GunicornApplication

if TYPE_CHECKING:
    from collections.abc import Callable

#: The file whose bytes are answered.
BODY = "NX_BENCH_BODY"


def main(port: str) -> None:
    """Answer the same bytes to every request."""
    body = Path(os.environ[BODY]).read_bytes() if BODY in os.environ else b'{"result":null}'
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]

    def answer(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", headers)
        return [body]

    GunicornApplication(answer, "127.0.0.1", port, debug=False).run()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(*sys.argv[1:])
