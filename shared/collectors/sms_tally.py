"""Counts the outcomes of a run of `send_reset_sms`, for its summary."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shared.collectors.ocpi.summary import fit

#: Devices per kind that the summary names, and the characters of a name.
MAX_NAMED, MAX_NAME_LENGTH = 10, 40

#: Kinds of outcomes, in the order of a message's way.
KINDS = (
    "already",  # The device has a message for this silence, in any state.
    "seen_again",  # The device has reported since the health result, or no longer exists.
    "malformed",  # The device has no valid telephone number.
    "foreign",  # The device has a number of a country that is not allowed.
    "no_text",  # No text is set for the device's firmware.
    "held_back",  # The device has had its messages of the day.
    "would_send",  # In a dry run.
    "sent",
    "failed",  # Refused by Twilio.
    "open",  # No response shows whether it was sent; the next run looks it up.
    "unknown",  # Looked up and not found at Twilio.
    "delivered",  # Sent by an earlier run, and arrived.
    "undelivered",  # Sent by an earlier run, and did not arrive.
    "delivery_unknown",  # Sent by an earlier run; the network did not report whether it arrived.
)
#: Kinds of which the summary names devices: those that got a message, or get none for a reason to look at.
NAMED = tuple(kind for kind in KINDS if kind not in {"already", "seen_again", "delivered"})


class Tally:
    """Counts the outcomes of a run, and names devices."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._named: dict[str, list[str]] = {kind: [] for kind in NAMED}

    def add(self, kind: str, device: str) -> None:
        """Count an outcome.

        Args:
            kind: One of `KINDS`.
            device: Id of the device.
        """
        self._counts[kind] += 1
        if kind in self._named and len(self._named[kind]) < MAX_NAMED:
            self._named[kind].append(device[:MAX_NAME_LENGTH])

    def to_summary(self) -> dict[str, Any]:
        """Return all counts, and as many named devices as a summary can hold."""
        counts = {kind: self._counts[kind] for kind in KINDS}
        named = {kind: devices for kind, devices in self._named.items() if devices}
        return counts | {"devices": fit(named, tuple(named))}
