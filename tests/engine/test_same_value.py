"""A value is equal from the warm cache, from Firestore and from Storage (lesson 18)."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.tasks import TaskEngine
from tests.support.world import TASK, World

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=15,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=values.filter(lambda value: value is not None))
def test_a_value_is_read_back_equal_on_every_path(world: World, value: Any) -> None:
    """Every reader gets the value that the task returned, types included."""
    warm = TaskEngine()
    for save_in in ("db", "storage"):
        warm.execute_task("s", TASK, lambda: value, {"save_in": save_in, "debug_logs": False})
        for engine in (warm, TaskEngine()):
            assert same(engine.get_task_data(TASK), value)


def same(one: Any, other: Any) -> bool:
    """Whether values and all nested types are equal; 1, 1.0 and True differ."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
