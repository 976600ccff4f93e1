"""``python -m emulators.twilio``: the local Twilio in the foreground, until SIGTERM or Ctrl-C."""

import argparse
import signal
import sys
from typing import NoReturn

from emulators.twilio.server import SHOWN_AT, TwilioServer


def main() -> int:
    """Serves until a signal ends it; 0 then, 1 where it cannot start."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    parser = argparse.ArgumentParser(prog="python -m emulators.twilio", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one")
    port = parser.parse_args().port
    try:
        server = TwilioServer(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"Twilio: cannot listen on 127.0.0.1:{port}: {error}\n")
        return 1
    print(f"Twilio: {server.url}; what was sent: {server.url}{SHOWN_AT}", flush=True)
    server.serve_forever()
    return 0


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
