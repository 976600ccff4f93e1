"""`make soak`: ten minutes, or SOAK_SECONDS, of ticks, faults and readers; exit code 1 on any finding."""

import os
import secrets
import sys

from shared import firebase
from shared.tasks import TaskName
from tests.soak.soak import Soak
from tests.soak.verdict import final_state, findings, table


def show(line: str) -> None:
    print(line, flush=True)  # noqa: T201  (progress for the person who waits)


def main() -> int:
    """Soak and print the findings."""
    seconds = float(os.environ.get("SOAK_SECONDS") or 600)
    seed = int(os.environ.get("SOAK_SEED") or secrets.randbelow(1_000_000))
    show(f"Soaking for {seconds:g} s; SOAK_SEED={seed} repeats the choices.")
    record = Soak(seed, show).run(seconds=seconds)
    final = {task: final_state(firebase.firestore_client(), firebase.bucket(), task) for task in TaskName}
    found = findings(record, final)
    for line in table(record, final, found):
        show(line)
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
