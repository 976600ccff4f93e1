"""Shortens a summary to the size that a run accepts, and adds how much was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes of JSON. A run accepts 10,000, also in Firestore's own measure.
MAX_BYTES = 9_000


def fit(summary: dict[str, Any], shortened: Sequence[str], max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return a summary that is short enough.

    Args:
        summary: The summary in full.
        shortened: Names of the lists that may lose their last elements, the least important list first.
        max_bytes: Maximum size in bytes of JSON.

    Returns:
        The summary. If elements were removed, its field `left_out` has their number by list.
    """
    left_out = dict.fromkeys(shortened, 0)
    fitted = {**summary, "left_out": left_out}
    excess = _size(fitted) - max_bytes
    for name in shortened:
        kept = list(fitted[name])
        while kept and excess > 0:
            excess -= _size(kept.pop()) + 1  # and the comma
            left_out[name] += 1
        fitted[name] = kept
    if any(left_out.values()):
        return fitted
    return summary


def _size(value: object) -> int:
    return len(orjson.dumps(value))
