"""The deployed functions, one file each: trigger, options, wiring."""

from __future__ import annotations

from firebase_functions.options import set_global_options

from shared import settings

#: Where all functions run. A literal: discovery and the local stack read it before any setting.
REGION = "us-central1"

set_global_options(region=REGION, max_instances=10, service_account=settings.service_account())

settings.check()  # here: a value that means nothing ends a deployment, and the start of an instance
