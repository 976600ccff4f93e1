"""Every deployed function, by name; `functions/` has them."""

from functions.callable.get_task_data import get_task_data
from functions.scheduled.collect_charge_cdrs import collect_charge_cdrs
from functions.scheduled.collect_charge_locations import collect_charge_locations
from functions.scheduled.collect_devices_health import collect_devices_health
from functions.scheduled.send_reset_sms import send_reset_sms
from functions.scheduled.watchdog import watchdog

__all__ = [
    "collect_charge_cdrs",
    "collect_charge_locations",
    "collect_devices_health",
    "get_task_data",
    "send_reset_sms",
    "watchdog",
]
