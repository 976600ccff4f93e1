"""A function as Cloud Run serves it: functions-framework and gunicorn, in a process of its own.

`python -m tests.functions.production KEYS FUNCTION PORT`: KEYS is where Google's public keys are published
here. The one thing that is turned aside is the way to those; libraries and product do what they do there.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import serving

ROOT = Path(__file__).resolve().parents[2]
#: What leads to the Auth emulator, and what a test sets itself.
LEFT_OUT = ("FIREBASE_AUTH_EMULATOR_HOST", "NX_TASKS_CORS_ORIGINS", "THREADS")


@contextmanager
def served(function: str, keys: str, log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve a function for the time of a with block.

    Args:
        function: its name.
        keys: where an issuer's keys are published.
        log: file that takes what it prints.
        environment: what is set beside, or instead of, this process's environment.

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
    """Serve until somebody ends it."""
    from firebase_admin import _token_gen, app_check  # noqa: PLC0415 - a second, which only the server needs
    from functions_framework._cli import _cli  # noqa: PLC0415

    _token_gen.ID_TOKEN_CERT_URI = f"{keys}/certificates"
    app_check._AppCheckService._JWKS_URL = f"{keys}/keys"
    _cli(["--target", function, "--host", "127.0.0.1", "--port", port])


if __name__ == "__main__":
    main(*sys.argv[1:])
