"""What each firmware takes for "reset yourself", in an SMS: commands, which are sent as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def reset_text(firmware: str | None, texts: Mapping[str, str]) -> str | None:
    """Return the text that resets a device with this firmware; None where nobody says which does.

    Args:
        firmware: its version, where it is known.
        texts: by the beginning of a version; the longest that fits counts, the empty one fits any.
    """
    fitting = [version for version in texts if (firmware or "").startswith(version)]
    return texts[max(fitting, key=len)] if fitting else None
