"""Processes that a fault kills.

They are forked from a process that has loaded the engine, because loading it takes longer than a run.
"""

import multiprocessing
import signal
from collections.abc import Callable

#: Modules that the victims need. Loading them creates no client and no thread, so that forking is safe.
_LOADED = ["tests.faults.victim", "tests.faults.legs", "tests.faults.sms_victim"]
_TIMEOUT_SECONDS = 120.0


def check_killed(work: Callable[..., object], *arguments: object) -> None:
    """Call a function in a process of its own, and check that a fault kills the process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    victim = context.Process(target=work, args=arguments)
    victim.start()
    victim.join(_TIMEOUT_SECONDS)
    code = victim.exitcode
    victim.kill()
    assert code == -signal.SIGKILL, f"the victim ended with {code}; its traceback is in the standard error"
