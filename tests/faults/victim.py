"""A process that runs one task and is killed on the way: `-m tests.faults.victim AT KIND SAVE_IN TICK`."""

import sys
from datetime import datetime

from tests.engine.world import TASK
from tests.faults.faulty import Fault, faulty_engine


def main(at: str, kind: str, save_in: str, tick: str) -> None:
    """Run the task once, the fault on its way."""
    engine, _ = faulty_engine(Fault(int(at), kind))
    options = {"save_in": save_in, "scheduled_for": datetime.fromisoformat(tick), "debug_logs": False}
    engine.execute_task("victim", TASK, lambda: ["hit"], options)


if __name__ == "__main__":
    main(*sys.argv[1:])
