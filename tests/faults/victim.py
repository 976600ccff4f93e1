"""A process that runs one task and is killed on the way: `-m tests.faults.victim AT KIND WAY TICK`."""

import sys
from datetime import datetime

from tests.faults.faulty import Fault
from tests.faults.ways import WAYS, carry_out


def main(at: str, kind: str, way: str, tick: str) -> None:
    """Run the task with the fault."""
    carry_out(WAYS[way], Fault(int(at), kind), datetime.fromisoformat(tick))


if __name__ == "__main__":
    main(*sys.argv[1:])
