"""`python -m emulators.ocpi` runs the demo's charge point operators until SIGTERM or Ctrl-C."""

import datetime as dt
import sys

from emulators.ocpi.operators import secret
from emulators.ocpi.server import OcpiServer
from emulators.serving import serve

if __name__ == "__main__":
    sys.exit(
        serve(
            "OCPI",
            "emulators.ocpi",
            lambda address: OcpiServer(address, dt.datetime.now(dt.UTC)),
            lambda server: f"NX_OCPI_OPERATORS={secret(server.url.removeprefix('http://'))}",
        )
    )
