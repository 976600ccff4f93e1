"""Cloud Tasks in memory: names that are used once, and deliveries that come late, twice or never."""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from shared.tasks.protocol.effects import DeliverLeg


class CloudTask(NamedTuple):
    """The name of a Cloud Task."""

    run_id: str
    leg: int
    creation: int


class Delivery(Enum):
    """What Cloud Tasks does with a task. A name stays used in each state."""

    queued = "queued"
    """It will be delivered, for the first time or again."""
    out = "out"
    """A delivery has not been answered."""
    over = "over"
    """It was answered with success, or all retries are used up."""


#: The Cloud Tasks by name, in their order of creation.
Queue = tuple[tuple[CloudTask, Delivery], ...]


def created(queue: Queue, effect: DeliverLeg) -> Queue:
    """Return the queue after a call that creates a Cloud Task. A used name changes nothing."""
    name = CloudTask(effect.run_id, effect.leg, effect.creation)
    return queue if name in dict(queue) else (*queue, (name, Delivery.queued))


def changed(queue: Queue, name: CloudTask, delivery: Delivery) -> Queue:
    """Return the queue after what happened to a Cloud Task."""
    return tuple((each, delivery if each == name else state) for each, state in queue)


def in_state(queue: Queue, *states: Delivery) -> Iterator[CloudTask]:
    """Yield the Cloud Tasks that are in one of the states."""
    return (name for name, state in queue if state in states)
