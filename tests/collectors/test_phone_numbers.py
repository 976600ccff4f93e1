"""Which numbers a message may go to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.collectors.phone_numbers import BadNumber, check_regions, checked_number, masked
from shared.settings import SettingInvalid

REGIONS = frozenset({"DE", "US"})


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("+12025550123", "+12025550123"),
        (" +1 (202) 555-0123 ", "+12025550123"),
        ("+49 1511 2345678", "+4915112345678"),
    ],
)
def test_a_good_number_is_put_in_one_form(said: str, number: str) -> None:
    """Spaces and brackets are a person's; Twilio gets E.164."""
    assert checked_number(said, REGIONS) == number


@pytest.mark.parametrize(
    "said",
    [
        None,
        12025550123,
        "",
        "+",
        "12025550123",
        "015112345678",
        "0049 1511 2345678",
        "+15550000001",
        "+1202555012",
        "+120255501234",
        "+1 202 555 0123 ext. 5",
        "tracker-1",
        "+999123456789",
    ],
)
def test_what_is_no_international_number_is_malformed(said: object) -> None:
    """A number without its country could be anybody's."""
    assert checked_number(said, REGIONS) is BadNumber.malformed


@pytest.mark.parametrize("said", ["+33612345678", "+14165550123", "+447911123456"])
def test_a_number_of_another_country_is_foreign(said: str) -> None:
    """Countries that share a code, too: Canada's +1 is not the United States'."""
    assert checked_number(said, REGIONS) is BadNumber.foreign
    assert checked_number("+12025550123", frozenset()) is BadNumber.foreign


@given(st.one_of(st.text(), st.text("+0123456789 ()-;,ext")))
def test_no_text_fails_the_check(said: str) -> None:
    """Whatever a device's document has: a number of an allowed country, or a reason."""
    checked = checked_number(said, REGIONS)
    assert isinstance(checked, BadNumber) or checked.startswith(("+1", "+49"))


def test_a_masked_number_calls_nobody() -> None:
    """Its ends show, so that two can be told apart."""
    assert masked("+12025550123") == "+1…23"


def test_a_country_that_is_none_is_named() -> None:
    """Nobody notices otherwise: its numbers would be foreign."""
    check_regions({"DE", "GB", "US"})
    check_regions(())
    with pytest.raises(
        SettingInvalid, match="NX_SMS_REGIONS has UK, XX, which no number is of: set it to ISO"
    ):
        check_regions({"XX", "US", "UK"})
