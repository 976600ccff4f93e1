"""Makes a summary fit: what is least needed goes first, and the summary says that it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes of JSON; a run takes 10,000 of it, and of a document's own count.
MAX_BYTES = 9_000


def fit(summary: dict[str, Any], shortened: Sequence[str], max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Return a summary that a run takes.

    Args:
        summary: what there is to say.
        shortened: names of its lists that may lose their last elements, the least needed list first.
        max_bytes: Bytes of JSON that it may have.

    Returns:
        The summary; where something was left out, `left_out` says how many elements of which list.
    """
    left_out = dict.fromkeys(shortened, 0)
    fitted = {**summary, "left_out": left_out}
    excess = _size(fitted) - max_bytes
    for name in shortened:
        kept = list(fitted[name])
        while kept and excess > 0:
            excess -= _size(kept.pop()) + 1  # the comma
            left_out[name] += 1
        fitted[name] = kept
    if any(left_out.values()):
        return fitted
    return summary


def _size(said: Any) -> int:
    return len(orjson.dumps(said))
