"""The explored configurations: concurrent processes, and the bounds of what may happen to them."""

from tests.model.positions import EPOCH
from tests.model.processes import (
    AT_REQUEST,
    OLD_TICK,
    REQUESTED,
    canceller,
    contract_reader,
    delivery,
    forced,
    instance,
    job_keeper,
    job_operator,
    legacy_writer,
    operator,
    reader,
    requester,
    resumer,
    watchdog,
)
from tests.model.states import Bounds, Configuration

ALL = ("complete", "fail", "extend")
END = ("complete", "fail")
#: Possible actions of a task whose run may be cancelled.
CANCELLED = ("complete", "fail", "extend", "progress")

#: Processes and bounds that `make test` explores, by name.
SMALL: dict[str, Configuration] = {
    "one run, watched": ((delivery("a", "t1", "storage", ALL), watchdog()), Bounds(1, 1, 1, 0, 1)),
    "one tick delivered twice, a death": ((delivery("a", "t1"), delivery("a", "t2")), Bounds(1, 0, 1, 0, 1)),
    "one tick delivered twice, a fault": ((delivery("a", "t1"), delivery("a", "t2")), Bounds(1, 1)),
    "two ticks": ((delivery("a", "t1", "storage"), delivery("b", "t2", "storage")), Bounds(1)),
    "two ticks, a fault": ((delivery("a", "t1", "storage"), delivery("b", "t2")), Bounds(1, 1)),
    "one run, two faults": ((delivery("a", "t1", "storage", ALL),), Bounds(1, 2)),
    "two ticks, a torn read": (
        (delivery("a", "t1", "storage"), delivery("b", "t2")),
        Bounds(1, 1, 0, 0, 1),
    ),
    "one tick delivered twice, progress and a torn read": (
        (delivery("a", "t1", may=("complete", "progress twice")), delivery("a", "t2")),
        Bounds(1, 1, 0, 0, 1),
    ),
    "one run, watched, progress and a torn read": (
        (delivery("a", "t1", may=("complete", "progress twice")), watchdog()),
        Bounds(1, 1, 0, 0, 1),
    ),
    "two ticks, watched": ((delivery("a", "t1"), delivery("b", "t2"), watchdog()), Bounds(1)),
    "suspended and resumed": ((delivery("a", "t1"), operator("suspend"), operator("resume")), Bounds(0, 1)),
    "suspended until a time": (
        (delivery("a", "t1"), operator("suspend until a time"), watchdog()),
        Bounds(1, 0, 1),
    ),
    "suspended until a time, and again": (
        (operator("suspend until a time"), operator("suspend"), watchdog()),
        Bounds(1, 1),
    ),
    "suspended until a time, with the job": (
        (job_operator("suspend until a time"), resumer()),
        Bounds(1, 1, 1),
    ),
    "suspended until a time and again, with the job": (
        (job_operator("suspend until a time"), job_operator("suspend"), resumer()),
        Bounds(0),
    ),
    "suspended and resumed, with the job": (
        (delivery("a", "t1"), job_operator("suspend"), job_operator("resume")),
        Bounds(0),
    ),
    "suspended and resumed, a death": (
        (job_operator("suspend"), job_operator("resume"), job_keeper()),
        Bounds(0, 0, 1),
    ),
    "suspended, a fault and a death": ((job_operator("suspend"), job_keeper()), Bounds(0, 1, 1)),
    "suspended and resumed, a fault and a death": (
        (job_operator("suspend"), job_operator("resume")),
        Bounds(0, 1, 1),
    ),
    "a run is cancelled": (
        (delivery("a", "t1", "storage", CANCELLED), canceller("a"), reader(reads=2)),
        Bounds(0, 1),
    ),
    "a run is cancelled, a torn read": (
        (delivery("a", "t1", may=CANCELLED), canceller("a")),
        Bounds(0, 0, 0, 0, 1),
    ),
    "a dead run followed by a legacy run is cancelled": (
        (delivery("a", "t1"), legacy_writer("o1", after=("a/t1",)), canceller("a")),
        Bounds(0, 0, 1),
    ),
    "one of two ticks is cancelled": (
        (delivery("a", "t1", may=CANCELLED), delivery("b", "t2"), canceller("a")),
        Bounds(1),
    ),
    "a cancelled tick is delivered again": (
        (delivery("a", "t1"), delivery("a", "t2"), canceller("a")),
        Bounds(1, 0, 1),
    ),
    "a failed tick is cancelled": (
        (delivery("a", "t1", may=("fail",)), delivery("a", "t2"), canceller("a")),
        Bounds(0, 1),
    ),
    "a warm instance, cancelled": (
        (instance(("a", "t1"), ("b", "t2")), canceller("a"), canceller("b")),
        Bounds(0, 1),
    ),
    "a run is requested": (
        (requester("p"), forced("t1", "t2", after=("request by p",), may=END)),
        Bounds(1, 1),
    ),
    "a run is requested, a death": (
        (requester("p"), forced("t1", after=("request by p",)), forced("t2", after=("request by p",))),
        Bounds(1, 0, 1),
    ),
    "a run is requested, a torn read": (
        (requester("p"), forced("t1", after=("request by p",)), forced("t2", after=("request by p",))),
        Bounds(0, 0, 0, 0, 1),
    ),
    "two people request a run": (
        (
            requester("p"),
            requester("q"),
            forced("t1", after=("request by p", "request by q")),
            forced("t2", after=("request by p", "request by q")),
        ),
        Bounds(0, 1),
    ),
    "a run is requested when another has failed": (
        (
            requester("p"),
            forced("t1", "t2", after=("request by p",), may=END, schedule_time=AT_REQUEST),
            requester("q", after=("request by p",)),
            forced("t3", after=("request by q",)),
        ),
        Bounds(1),
    ),
    "a run is requested beside an old tick": (
        (
            requester("p"),
            instance(("old", "t1"), ("old", "t2"), schedule_time=OLD_TICK),
            forced("t3", after=("request by p",)),
        ),
        Bounds(0),
    ),
    "a run is requested shortly before a tick": (
        (
            requester("p"),
            delivery("a", "t1", schedule_time=EPOCH, after=("request by p",)),
            delivery("a", "t2", schedule_time=EPOCH, after=("request by p",)),
            delivery("a", "t3", schedule_time=EPOCH, after=("a/t1", "a/t2")),
        ),
        Bounds(0, 1),
    ),
    "a requested run is cancelled": (
        (
            requester("p"),
            forced("t1", "t2", after=("request by p",), may=END),
            canceller(REQUESTED),
        ),
        Bounds(0, 1),
    ),
    "a warm instance answers a request": (
        (forced("t1", "t2", "t3"), requester("p")),
        Bounds(1),
    ),
    "TTL": ((delivery("a", "t1", "storage"), delivery("b", "t2", "db", ("fail",))), Bounds(1, 1, 0, 1)),
    "a warm instance": (
        (instance(("a", "t1"), ("b", "t2"), may=END), delivery("b", "t3")),
        Bounds(1, 1),
    ),
    "a warm instance, suspended and resumed": (
        (instance(("a", "t1"), ("b", "t2")), operator("suspend"), operator("resume")),
        Bounds(0),
    ),
    "read while tasks run": (
        (delivery("a", "t1", "storage"), delivery("b", "t2", "storage", END), reader(reads=2)),
        Bounds(0),
    ),
    "read while old results are removed": (
        (
            delivery("a", "t1", "storage"),
            delivery("b", "t2", after=("a/t1",)),
            reader(),
            watchdog(),
        ),
        Bounds(1),
    ),
    "read while old results and their copy are replaced": (
        (
            delivery("a", "t1", "storage"),
            delivery("b", "t2", "storage", after=("a/t1",)),
            reader(),
            watchdog(),
        ),
        Bounds(1),
    ),
    "read while a task returns no result": (
        (delivery("a", "t1", "storage"), delivery("b", "t2", "none"), reader(reads=2)),
        Bounds(0),
    ),
    "the legacy writer alone": (
        (
            legacy_writer("o1", "storage"),
            legacy_writer("o2", "storage", END, ("legacy o1",)),
            reader(reads=2),
        ),
        Bounds(1, 0, 1),
    ),
    "handed over from the legacy writer": (
        (
            legacy_writer("o1", "storage"),
            delivery("a", "t1", "storage", END, ("legacy o1",)),
            reader(reads=2),
            contract_reader(),
        ),
        Bounds(0, 0, 1),
    ),
    "handed over to the legacy writer": (
        (
            delivery("a", "t1", "storage"),
            legacy_writer("o1", "storage", after=("a/t1",)),
            reader(),
            watchdog(),
        ),
        Bounds(0),
    ),
    "handed over to the legacy writer and back": (
        (
            delivery("a", "t1"),
            legacy_writer("o1", after=("a/t1",)),
            delivery("a", "t2", after=("legacy o1",)),
            watchdog(),
        ),
        Bounds(1, 0, 1),
    ),
}

#: Further configurations that `make test-full` explores.
LARGE: dict[str, Configuration] = {
    "one tick three times": (
        (delivery("a", "t1"), delivery("a", "t2"), delivery("a", "t3")),
        Bounds(1, 1, 1),
    ),
    "two ticks, faults and deaths": (
        (delivery("a", "t1", "storage", ALL), delivery("b", "t2", "storage")),
        Bounds(1, 1, 1, 0, 1),
    ),
    "two ticks, watched, a death": ((delivery("a", "t1"), delivery("b", "t2"), watchdog()), Bounds(2, 0, 1)),
    "one tick twice, watched, a fault": (
        (delivery("a", "t1"), delivery("a", "t2"), watchdog()),
        Bounds(1, 1),
    ),
    "suspended, resumed and repaired, a fault and a death": (
        (job_operator("suspend"), job_operator("resume"), job_keeper()),
        Bounds(0, 1, 1),
    ),
    "a cancelled run, watched": (
        (delivery("a", "t1", "storage", CANCELLED), delivery("a", "t2"), canceller("a"), watchdog()),
        Bounds(1),
    ),
    "a failed tick is cancelled, beside another": (
        (delivery("a", "t1", may=END), delivery("a", "t2"), delivery("b", "t3"), canceller("a")),
        Bounds(1, 0, 1),
    ),
    "suspended until a time, again and resumed": (
        (operator("suspend until a time"), operator("suspend"), operator("resume"), watchdog()),
        Bounds(1, 1),
    ),
    "suspended until a time and again, with the job, a death": (
        (job_operator("suspend until a time"), job_operator("suspend"), resumer()),
        Bounds(0, 0, 1),
    ),
    "cancelled and suspended": (
        (delivery("a", "t1", may=CANCELLED), delivery("b", "t2"), canceller("a"), operator("suspend")),
        Bounds(1),
    ),
    "cancelled and suspended, a fault": (
        (delivery("a", "t1", may=CANCELLED), delivery("b", "t2"), canceller("a"), operator("suspend")),
        Bounds(0, 1),
    ),
    "suspended while running": (
        (delivery("a", "t1"), delivery("b", "t2"), operator("suspend"), watchdog()),
        Bounds(1),
    ),
    "a warm instance, faults and deaths": (
        (instance(("a", "t1"), ("b", "t2"), may=END), delivery("b", "t3")),
        Bounds(1, 1, 1),
    ),
    "a warm instance, watched": (
        (instance(("a", "t1"), ("a", "t2"), may=END), delivery("b", "t3"), watchdog()),
        Bounds(1),
    ),
    "read while results are stored and removed": (
        (
            delivery("a", "t1", "storage"),
            delivery("b", "t2", "storage", after=("a/t1",)),
            reader(),
            watchdog(),
        ),
        Bounds(1),
    ),
    "handed over from the legacy writer, read by both, watched": (
        (
            legacy_writer("o1", "storage"),
            delivery("a", "t1", "storage", END, ("legacy o1",)),
            reader(),
            contract_reader(),
            watchdog(),
        ),
        Bounds(0),
    ),
    "handed over to the legacy writer and back, read": (
        (
            delivery("a", "t1", "storage"),
            legacy_writer("o1", "storage", after=("a/t1",)),
            delivery("b", "t2", after=("legacy o1",)),
            reader(),
            watchdog(),
        ),
        Bounds(1),
    ),
    "handed over from the legacy writer and back, read": (
        (
            legacy_writer("o1", "storage"),
            delivery("a", "t1", "storage", after=("legacy o1",)),
            legacy_writer("o2", "storage", after=("a/t1",)),
            reader(),
            contract_reader(),
        ),
        Bounds(0, 0, 1),
    ),
}
