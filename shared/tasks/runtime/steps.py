"""The steps of a run: how their functions are called, and how their values are remembered."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncIterator, Iterator
from datetime import date
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct

from shared.tasks.documents.checkpoints import SavedStep
from shared.tasks.errors import ResultNotKept, ResultNotStorable
from shared.tasks.runtime.checkpoint_limits import MAX_STEP_BYTES
from shared.tasks.runtime.cursors import encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shared.tasks.contract import Json

_COMPARED = str | bytes | date | None


def call_step(
    name: str, function: Callable[..., Json], args: tuple[object, ...], kwargs: dict[str, object]
) -> Json:
    """Call a step's function.

    Raises:
        ResultNotStorable: It returned a coroutine or a generator instead of a value.
    """
    value = function(*args, **kwargs)
    advice = ""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # or Python would warn that it was never awaited
        name_of = getattr(function, "__name__", "")
        called = name_of if name_of.isidentifier() else "fetch"
        advice = (
            f"pass an ordinary function, such as lambda: asyncio.run({called}()), and in an async task "
            "call the step in a thread: await asyncio.to_thread(run.step, …)"
        )
    elif isinstance(value, AsyncIterator):
        advice = "pass an ordinary function that returns a list of what it yields"
    elif isinstance(value, Iterator):
        advice = "return a list of what it yields; for many records, use run.cursor"
    if advice:
        raise ResultNotStorable(
            f"the value of step {name!r} is not JSON: its function returned {_kind_of(value)}; {advice}"
        )
    return value


class StepCall(Struct, frozen=True):
    """What an attempt called a step with.

    Attributes:
        owner: Returns the object that was called, or whose method was; None if it no longer exists, or for a
            function.
        digest: A number that differs between calls with other arguments, or of another function.
    """

    owner: Callable[[], object]
    digest: int

    @classmethod
    def of(
        cls, function: Callable[..., Json], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> StepCall:
        """Return the call.

        Texts, numbers and times are compared, and not objects that may change, except for the identity of the
        object that is called, or whose method is. A lambda counts as another one if a variable that it uses
        has another value, as in a loop.
        """
        while isinstance(function, functools.partial):
            args, kwargs, function = (*function.args, *args), {**function.keywords, **kwargs}, function.func
        used: list[object] = []
        if getattr(function, "__name__", "") == "<lambda>":
            used = [*(function.__defaults__ or ()), *map(_content_of, function.__closure__ or ())]
        name = (getattr(function, "__module__", None), getattr(function, "__qualname__", type(function)))
        is_named = hasattr(function, "__qualname__")
        owner = getattr(function, "__self__", None) if is_named else function
        named = [(key, _compared(value)) for key, value in sorted(kwargs.items())]
        digest = hash((name, *map(_compared, args), *named, *map(_compared, used)))
        return cls(_reference_to(owner), digest)

    def is_same(self, other: StepCall) -> bool:
        """Return whether another call is the same one."""
        return self.owner() is other.owner() and self.digest == other.digest


def _reference_to(owner: object) -> Callable[[], object]:
    """Return what returns an object, and keeps it only if it has no weak references."""
    try:
        return weakref.ref(owner)
    except TypeError:
        return lambda: owner


def step_with(name: str, value: Json, upload: Callable[[bytes], str]) -> SavedStep:
    """Return a step with its value, which is uploaded if it is large."""
    encoded = encode_value(value, f"step {name!r}")
    if len(encoded) > MAX_STEP_BYTES:
        return SavedStep(name, path=upload(encoded))
    return SavedStep(name, encoded.decode())


def value_of(step: SavedStep, open_object: Callable[[str], Iterable[bytes] | None]) -> Json:
    """Return the value of a step; raise ResultNotKept if its object is missing."""
    if step.value is not None:
        return orjson.loads(step.value)
    stored = open_object(step.path or "")
    if stored is None:
        raise ResultNotKept(
            f"the value of step {step.name!r} is missing at {step.path}; a new run must start"
        )
    return orjson.loads(b"".join(stored))


def _compared(value: object) -> object:
    if isinstance(value, int | float):  # Python gives -1 and -2 the same hash, but not their texts
        return (type(value), hex(value) if isinstance(value, int) else float.hex(value))
    return (type(value), value if isinstance(value, _COMPARED) else None)


def _content_of(cell: object) -> object:
    try:
        return cell.cell_contents  # type: ignore[attr-defined]
    except ValueError:  # the variable has no value yet
        return None


def _kind_of(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name.startswith("a") else f"a {name}"
