"""The deployed functions, by name. Each is defined in a file of its own in `functions/`."""

from functions.callable.cancel_run import cancel_run
from functions.callable.get_run import get_run
from functions.callable.get_task_data import get_task_data
from functions.callable.list_runs import list_runs
from functions.callable.list_tasks import list_tasks
from functions.callable.list_timeline import list_timeline
from functions.callable.resume_task import resume_task
from functions.callable.run_task import run_task
from functions.callable.suspend_task import suspend_task
from functions.scheduled.collect_charge_cdrs import collect_charge_cdrs
from functions.scheduled.collect_charge_locations import collect_charge_locations
from functions.scheduled.collect_devices_health import collect_devices_health
from functions.scheduled.send_reset_sms import send_reset_sms
from functions.scheduled.watchdog import watchdog

__all__ = [
    "cancel_run",
    "collect_charge_cdrs",
    "collect_charge_locations",
    "collect_devices_health",
    "get_run",
    "get_task_data",
    "list_runs",
    "list_tasks",
    "list_timeline",
    "resume_task",
    "run_task",
    "send_reset_sms",
    "suspend_task",
    "watchdog",
]
