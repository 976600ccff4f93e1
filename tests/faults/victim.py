"""A process that runs one task and is killed on the way."""

from datetime import datetime

from tests.faults.faulty import Fault
from tests.faults.ways import WAYS, carry_out


def run_victim(way: str, fault: Fault, tick: datetime) -> None:
    """Run the task with the fault."""
    carry_out(WAYS[way], fault, tick)
