"""The text that resets a device depends on its firmware."""

import pytest

from shared.collectors.reset_texts import reset_text

TEXTS = {"4.0.": "RESET", "4.": "#RESET#", "5.": "CMD:REBOOT"}


@pytest.mark.parametrize(
    ("firmware", "text"),
    [
        ("4.0.7", "RESET"),
        ("4.1.7", "#RESET#"),
        ("5.12.0", "CMD:REBOOT"),
        ("40.1", None),
        ("", None),
        (None, None),
    ],
)
def test_the_longest_matching_version_counts(firmware: str | None, text: str | None) -> None:
    """An unknown version gets the text of the empty prefix, if there is one."""
    assert reset_text(firmware, TEXTS) == text
    assert reset_text(firmware, {**TEXTS, "": "any"}) == (text or "any")
    assert reset_text(firmware, {}) is None
