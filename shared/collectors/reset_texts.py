"""The SMS text that resets a device, by its firmware."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def reset_text(firmware: str | None, texts: Mapping[str, str]) -> str | None:
    """Return the text that resets a device with this firmware; None if none is set.

    Args:
        firmware: Version of the firmware; None if it is not known.
        texts: Text by the beginning of a version. The longest match counts, and the empty one matches all.
    """
    matches = [version for version in texts if (firmware or "").startswith(version)]
    return texts[max(matches, key=len)] if matches else None
