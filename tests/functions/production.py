"""A function as Cloud Run serves it, with functions-framework and gunicorn in their own process.

`python -m tests.functions.production KEYS FUNCTION PORT` verifies tokens with the public keys at KEYS
instead of Google's. Libraries and product are otherwise unchanged.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import serving

ROOT = Path(__file__).resolve().parents[2]
#: Variables that point to the Auth emulator, and those that a test sets itself.
LEFT_OUT = ("FIREBASE_AUTH_EMULATOR_HOST", "NX_TASKS_CORS_ORIGINS", "THREADS")


@contextmanager
def served(function: str, keys: str, log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve a function for the duration of a with block.

    Args:
        function: Its name.
        keys: Address where an issuer's keys are published.
        log: File for its output.
        environment: Variables that add to or replace those of this process.

    Returns:
        Its host and port.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    module = "tests.functions.production"
    with serving.served(
        function,
        lambda port: [sys.executable, "-m", module, keys, function, str(port)],
        cwd=ROOT,
        env={**inherited, **environment},
        log=log,
    ) as address:
        yield address


def main(keys: str, function: str, port: str) -> None:
    """Serve until the process is terminated."""
    from firebase_admin import _token_gen, app_check  # noqa: PLC0415 - a second, which only the server needs
    from functions_framework._cli import _cli  # noqa: PLC0415

    _token_gen.ID_TOKEN_CERT_URI = f"{keys}/certificates"
    app_check._AppCheckService._JWKS_URL = f"{keys}/keys"
    _cli(["--target", function, "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    main(*sys.argv[1:])
