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
        ("\u202a+12025550123\u202c", "+12025550123"),
        ("\ufeff+49\u200e1511\u200b2345678", "+4915112345678"),
        ("+15550000001", "+15550000001"),
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


@pytest.mark.parametrize(
    ("said", "region"),
    [
        ("+47 580 001 234 567", "NO"),
        ("+46 719 123 456 789", "SE"),
        ("+32 77 1234 5678 90", "BE"),
        ("+27 87 123 4567 890", "ZA"),
        ("+34 590 123 456 789", "ES"),
        ("+882 16 123 4567", "001"),
        ("+883 510 001 234 567", "001"),
    ],
)
def test_a_number_of_a_machine_is_accepted_by_its_calling_code(said: str, region: str) -> None:
    """Numbering plans do not list the numbers of machines' SIM cards and of global networks."""
    check_regions({region})
    assert checked_number(said, {region}) == "+" + "".join(filter(str.isdigit, said))
    assert checked_number(said, REGIONS) is BadNumber.foreign


def test_a_number_is_at_most_fifteen_digits() -> None:
    """That is all that E.164 allows, also to machines."""
    assert checked_number("+47580001234567" + "8" * 2, {"NO"}) is BadNumber.malformed


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
    with pytest.raises(SettingInvalid, match=r"^NX_SMS_REGIONS must be .*, got UK, XX$"):
        check_regions({"XX", "US", "UK"})
