"""What each firmware takes for "reset yourself", in an SMS.

The texts are commands: they are sent as they stand, with nothing added, and are plain ASCII so that
no part of the way has anything to replace.
"""

from __future__ import annotations

#: Text by the beginning of the firmware's version; the longest that fits counts.
TEXT_BY_FIRMWARE = {
    "4.0.": "RESET",
    "4.": "#RESET#",
    "5.": "CMD:REBOOT",
}
#: For a firmware that is unknown or not reported.
DEFAULT_TEXT = "#RESET#"


def reset_text(firmware: str | None) -> str:
    """Return the text that resets a device with this firmware."""
    fitting = [version for version in TEXT_BY_FIRMWARE if (firmware or "").startswith(version)]
    return TEXT_BY_FIRMWARE[max(fitting, key=len)] if fitting else DEFAULT_TEXT
