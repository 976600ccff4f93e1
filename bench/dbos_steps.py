"""The same steps in DBOS with SQLite: `python dbos_steps.py DATABASE STEPS` prints milliseconds as JSON.

It imports nothing of this project, so that the Python that has DBOS need not have the project's packages.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from dbos import DBOS, SetWorkflowID

#: Workflows that are run and resumed.
ROUNDS = 9


def main(database: str, steps: int) -> None:
    """Run workflows, resume each at its last step, and print how long the steps took."""
    config: Any = {
        "name": "bench",
        "system_database_url": f"sqlite:///{database}",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    taken: list[float] = []

    @DBOS.step()
    def step(number: int) -> dict[str, int]:
        return {"step": number}

    @DBOS.workflow()
    def workflow() -> None:
        began = time.perf_counter()
        for number in range(steps):
            step(number)
        taken.append((time.perf_counter() - began) * 1000)

    DBOS.launch()
    try:
        for number in range(ROUNDS):
            with SetWorkflowID(str(number)):
                workflow()
        first, taken[:] = list(taken), []
        for number in range(ROUNDS):
            DBOS.fork_workflow(str(number), steps).get_result()
    finally:
        DBOS.destroy()
    json.dump({"steps": first, "resumed": taken}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
