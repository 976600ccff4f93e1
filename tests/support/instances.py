"""Instances in this process whose calls to Firestore and Storage are counted."""

from typing import Any

import grpc

from shared import firebase
from shared.firebase import FirestoreWire, StorageWire
from shared.tasks import TaskEngine, TaskName
from shared.tasks.backends.firestore import Store
from shared.tasks.backends.storage import Objects
from tests.support.counting import CountedSession, Counter
from tests.support.world import HandClock


def intercepted(interceptor: Any, channel: grpc.Channel | None = None) -> FirestoreWire:
    """Return a wire to Firestore whose calls pass through an interceptor.

    Args:
        interceptor: Of gRPC.
        channel: A channel other than that of this process.
    """
    wire = firebase.firestore_wire()
    channel = grpc.intercept_channel(channel or wire.channel, interceptor)
    return FirestoreWire(channel, wire.database, wire.metadata)


class CountedInstance:
    """An instance's engine on a clock set by hand; `firestore` and `storage` count its calls.

    Args:
        channel: To Firestore; that of this process by default.
        storage: URL of Storage; the stack's by default.
        call_seconds: Longest duration of one call. Long by default, so that a busy machine repeats none.
    """

    def __init__(
        self,
        channel: grpc.Channel | None = None,
        storage: str | None = None,
        *,
        call_seconds: float = 30.0,
    ) -> None:
        self.firestore, self.storage = Counter(), CountedSession()
        near = firebase.storage_wire()
        wire = intercepted(self.firestore, channel)
        reads = StorageWire(self.storage, storage or near.origin, near.bucket)
        self.clock = HandClock()
        self.engine = TaskEngine(
            Store(lambda: wire, call_seconds=call_seconds),
            Objects(
                firebase.bucket, lambda: reads, call_seconds=call_seconds, total_seconds=2 * call_seconds
            ),
            clock=self.clock,
        )


def publish(task: TaskName, value: Any, save_in: str = "db") -> None:
    """Run a task on another instance."""
    assert TaskEngine().execute_task("s", task, lambda: value, {"save_in": save_in}).status == "completed"
