"""The deployed functions, one file each: trigger, options and wiring."""

from __future__ import annotations

from firebase_functions.options import set_global_options

from shared import settings

set_global_options(region=settings.region(), max_instances=10, service_account=settings.service_account())

settings.check()  # At import: an invalid value ends a deployment, and the start of an instance.
