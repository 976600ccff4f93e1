"""The explored configurations of long runs: deliveries of a tick, of its legs, and what may meet them."""

from tests.model.long_runs import SHORT, continuation, tick
from tests.model.processes import (
    OWN,
    REQUESTED,
    canceller,
    delivery,
    legacy_writer,
    operator,
    requester,
    watchdog,
)
from tests.model.states import Bounds, Configuration

FAIL = ("leave", "fail")
EXTEND = ("leave", "extend")
#: All that a task may do with a record.
ANY = ("leave", "keep", "yield")
#: A task with a step, whose failed checkpoint it ignores; later checkpoints are tried again at once.
CARELESS = ("leave", "keep", "step", "careless", "patient")
WITH_STEP = ("leave", "step")

#: Processes and bounds that `make test` explores, by name.
SMALL_LEGS: dict[str, Configuration] = {
    "three legs, two faults": ((tick("a", "t1"), continuation("c1"), continuation("c2")), Bounds(1, 2)),
    "three legs, a fault and a death": (
        (tick("a", "t1"), continuation("c1"), continuation("c2"), continuation("c3")),
        Bounds(1, 1, 1),
    ),
    "three legs, delivered twice": (
        (tick("a", "t1"), continuation("c1"), continuation("c2"), continuation("c3")),
        Bounds(1, repeats=2),
    ),
    "three legs, a torn read": (
        (tick("a", "t1"), continuation("c1"), continuation("c2")),
        Bounds(1, 1, torn=1),
    ),
    "three legs, watched": ((tick("a", "t1"), continuation("c1"), continuation("c2"), watchdog()), Bounds(1)),
    "two legs, watched, a fault": ((tick("a", "t1"), continuation("c1"), watchdog()), Bounds(1, 1)),
    "two legs, a delivery given up": (
        (tick("a", "t1"), continuation("c1"), watchdog()),
        Bounds(1, given_up=1),
    ),
    "a first leg, watched": (
        (tick("a", "t1", ("fail",)), tick("a", "t2", ("fail",)), continuation("c1"), watchdog()),
        Bounds(1),
    ),
    "a first leg, delivered twice, a torn read": ((tick("a", "t1"), tick("a", "t2")), Bounds(1, 1, torn=1)),
    "a tick with legs, delivered twice, a death": (
        (tick("a", "t1"), tick("a", "t2"), continuation("c1")),
        Bounds(1, 0, 1),
    ),
    "a tick with legs, delivered twice, a fault": (
        (tick("a", "t1"), tick("a", "t2"), continuation("c1"), continuation("c2")),
        Bounds(0, 1),
    ),
    "a tick with legs, delivered twice, a torn read": (
        (tick("a", "t1"), tick("a", "t2"), continuation("c1")),
        Bounds(1, torn=1),
    ),
    "legs with checkpoints": ((tick("a", "t1", ANY), continuation("c1", ANY)), Bounds(1, 1)),
    "legs with late checkpoints": (
        (tick("a", "t1", CARELESS), continuation("c1", WITH_STEP)),
        Bounds(1, 1),
    ),
    "a first leg with a step, delivered twice": (
        (tick("a", "t1", WITH_STEP), tick("a", "t2", WITH_STEP)),
        Bounds(1, 1),
    ),
    "a leg fails": (
        (tick("a", "t1", FAIL), tick("a", "t2"), continuation("c1", FAIL), continuation("c2")),
        Bounds(1),
    ),
    "a long run is cancelled": (
        (tick("a", "t1"), continuation("c1"), canceller("a")),
        Bounds(1, 0, 1),
    ),
    "a long run is cancelled, a fault": ((tick("a", "t1"), continuation("c1"), canceller("a")), Bounds(0, 1)),
    "a long run is cancelled, a torn read": (
        (tick("a", "t1"), continuation("c1"), canceller("a")),
        Bounds(0, torn=1),
    ),
    "a long run is suspended": (
        (tick("a", "t1"), continuation("c1"), operator("suspend"), operator("resume")),
        Bounds(0, 1),
    ),
    "a long run and another tick": (
        (tick("a", "t1"), continuation("c1"), delivery("b", "t2")),
        Bounds(1, 0, 1),
    ),
    "a long run at its deadline": (
        (tick("a", "t1", options=SHORT), tick("a", "t2", options=SHORT), continuation("c1", options=SHORT)),
        Bounds(1),
    ),
    "a long run at its deadline, and another tick": (
        (tick("a", "t1", options=SHORT), continuation("c1", options=SHORT), delivery("b", "t2")),
        Bounds(1),
    ),
    "a long run is requested, a death": (
        (
            requester("p"),
            tick(f"{OWN}-t1", "t1", after=("request by p",)),
            tick(f"{OWN}-t2", "t2", after=("request by p",)),
            continuation("c1"),
        ),
        Bounds(1, 0, 1),
    ),
    "a requested long run is cancelled": (
        (
            requester("p"),
            tick(f"{OWN}-t1", "t1", after=("request by p",)),
            continuation("c1"),
            canceller(REQUESTED),
        ),
        Bounds(0, 1),
    ),
    "a long run is replaced by the legacy writer": (
        (tick("a", "t1"), legacy_writer("o1", after=("a/t1",)), tick("a", "t2"), continuation("c1")),
        Bounds(1),
    ),
}

#: Further configurations that `make test-full` explores.
LARGE_LEGS: dict[str, Configuration] = {
    "three legs, faults and a death": (
        (tick("a", "t1"), continuation("c1"), continuation("c2"), continuation("c3")),
        Bounds(1, 2, 1),
    ),
    "three legs, watched, a death": (
        (tick("a", "t1"), continuation("c1"), continuation("c2"), watchdog()),
        Bounds(1, 0, 1),
    ),
    "a first leg fails, watched": (
        (tick("a", "t1"), tick("a", "t2", ("fail",)), continuation("c1"), watchdog()),
        Bounds(1),
    ),
    "a long run is cancelled, three legs": (
        (tick("a", "t1"), continuation("c1"), continuation("c2"), canceller("a")),
        Bounds(1, 1),
    ),
    "a long run is suspended, three legs": (
        (tick("a", "t1"), continuation("c1"), continuation("c2"), operator("suspend"), operator("resume")),
        Bounds(0, 1),
    ),
    "a long run at its deadline, watched, and another tick": (
        (
            tick("a", "t1", options=SHORT),
            continuation("c1", options=SHORT),
            delivery("b", "t2"),
            watchdog(),
        ),
        Bounds(1),
    ),
    "a long run at its deadline, a fault": (
        (tick("a", "t1", options=SHORT), tick("a", "t2", options=SHORT), continuation("c1", options=SHORT)),
        Bounds(1, 1),
    ),
    "legs with a step, delivered twice": (
        (tick("a", "t1", WITH_STEP), tick("a", "t2", WITH_STEP), continuation("c1")),
        Bounds(1, 1),
    ),
    "legs with late checkpoints, two faults": (
        (tick("a", "t1", CARELESS), continuation("c1", WITH_STEP)),
        Bounds(1, 2),
    ),
    "a long run is cancelled, a fault and a torn read": (
        (tick("a", "t1"), continuation("c1"), canceller("a")),
        Bounds(1, 1, torn=1),
    ),
    "legs extend their leases": (
        (tick("a", "t1", EXTEND), tick("a", "t2"), continuation("c1", EXTEND)),
        Bounds(1, 1),
    ),
    "legs extend their leases, watched": (
        (tick("a", "t1"), continuation("c1", EXTEND), continuation("c2"), watchdog()),
        Bounds(1),
    ),
    "two long runs, a death": (
        (
            tick("a", "t1"),
            continuation("c1"),
            tick("b", "t2"),
            continuation("c2"),
        ),
        Bounds(1, 0, 1),
    ),
}
