"""`python -m emulators.twilio` runs the local Twilio until SIGTERM or Ctrl-C."""

import sys

from emulators.serving import serve
from emulators.twilio.server import SHOWN_AT, TwilioServer

if __name__ == "__main__":
    sys.exit(
        serve(
            "Twilio",
            "emulators.twilio",
            TwilioServer,
            lambda server: f"Twilio: {server.url}; messages: {server.url}{SHOWN_AT}",
        )
    )
