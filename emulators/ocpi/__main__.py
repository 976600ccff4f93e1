"""``python -m emulators.ocpi``: the demo's charge point operators, until SIGTERM or Ctrl-C."""

import argparse
import datetime as dt
import signal
import sys
from typing import NoReturn

from emulators.ocpi.operators import secret
from emulators.ocpi.server import OcpiServer


def main() -> int:
    """Serves until a signal ends it; 0 then, 1 where it cannot start."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    parser = argparse.ArgumentParser(prog="python -m emulators.ocpi", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    options = parser.parse_args()
    try:
        server = OcpiServer((options.host, options.port), dt.datetime.now(dt.UTC))
    except OSError as error:
        sys.stderr.write(f"OCPI: cannot listen on {options.host}:{options.port}: {error.strerror or error}\n")
        return 1
    print(f"NX_OCPI_OPERATORS={secret(f'{options.host}:{server.port}')}", flush=True)
    server.serve_forever()
    return 0


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
