"""``python -m emulators.twilio``: the local Twilio in the foreground, until SIGTERM or Ctrl-C."""

import sys

from emulators.serving import serve
from emulators.twilio.server import SHOWN_AT, TwilioServer

if __name__ == "__main__":
    sys.exit(
        serve(
            "Twilio",
            "emulators.twilio",
            TwilioServer,
            lambda server: f"Twilio: {server.url}; what was sent: {server.url}{SHOWN_AT}",
        )
    )
