"""What resets which firmware."""

import pytest

from shared.collectors.reset_texts import DEFAULT_TEXT, TEXT_BY_FIRMWARE, reset_text


@pytest.mark.parametrize(
    ("firmware", "text"),
    [
        ("4.0.7", "RESET"),
        ("4.1.7", "#RESET#"),
        ("5.12.0", "CMD:REBOOT"),
        ("40.1", DEFAULT_TEXT),
        ("", DEFAULT_TEXT),
        (None, DEFAULT_TEXT),
    ],
)
def test_the_longest_version_that_fits_counts(firmware: str | None, text: str) -> None:
    """One that is unknown gets the default."""
    assert reset_text(firmware) == text


def test_texts_are_plain_and_short() -> None:
    """One SMS of ASCII each, which nothing on the way replaces."""
    for text in (DEFAULT_TEXT, *TEXT_BY_FIRMWARE.values()):
        assert text.isascii()
        assert 0 < len(text) <= 160
