"""What a run of an OCPI task must not change between its legs. The first leg remembers it in a step."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  (msgspec reads the annotations)
from typing import TYPE_CHECKING

import msgspec

from shared.collectors.ocpi.memory import Memory  # noqa: TC001
from shared.collectors.ocpi.operators import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Name of the step.
STEP = "inputs"


class ListedOperator(msgspec.Struct):
    """An operator of the setting, without its addresses and secrets.

    Attributes:
        name, parties: As in `Operator`.
    """

    name: str
    parties: tuple[str, ...]


class Inputs(msgspec.Struct, kw_only=True):
    """The inputs of a run.

    Attributes:
        now: Time at which the run began, UTC.
        operators: The operators of the setting.
        memory: Memory of the last run.
        reserved_seconds: Seconds at the end of the run in which no operator is read.
    """

    now: datetime
    operators: list[ListedOperator]
    memory: Memory
    reserved_seconds: float

    def operators_in(self, setting: Sequence[Operator]) -> list[Operator]:
        """Return the operators of the run, each with its present address and token.

        Operators that were added to the setting since are left out, so that the next run reads them. One that
        was removed has no URL.

        Args:
            setting: The operators of the present setting.
        """
        present = {each.name: each for each in setting}
        return [
            msgspec.structs.replace(
                present.get(listed.name) or Operator(name=listed.name, url="", token=""),
                parties=listed.parties,
            )
            for listed in self.operators
        ]


def listed(operators: Sequence[Operator]) -> list[ListedOperator]:
    """Return the operators of a setting for `Inputs`."""
    return [ListedOperator(each.name, each.parties) for each in operators]
