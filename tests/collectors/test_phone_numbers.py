"""Which numbers a message may go to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.collectors.phone_numbers import BadNumber, check_regions, checked_number, masked
from shared.settings import SettingInvalid

REGIONS = frozenset({"DE", "US"})


@pytest.mark.parametrize(
    ("phone", "number"),
    [
        ("+12025550123", "+12025550123"),
        (" +1 (202) 555-0123 ", "+12025550123"),
        ("+49 1511 2345678", "+4915112345678"),
        ("\u202a+12025550123\u202c", "+12025550123"),
        ("\ufeff+49\u200e1511\u200b2345678", "+4915112345678"),
        ("+15550000001", "+15550000001"),
    ],
)
def test_a_valid_number_is_normalised(phone: str, number: str) -> None:
    """People write spaces and brackets; Twilio gets E.164."""
    assert checked_number(phone, REGIONS) == number


@pytest.mark.parametrize(
    "phone",
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
def test_a_number_without_a_country_is_malformed(phone: object) -> None:
    """It could belong to any country."""
    assert checked_number(phone, REGIONS) is BadNumber.malformed


@pytest.mark.parametrize(
    ("phone", "region"),
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
def test_a_number_of_a_machine_is_accepted_by_its_calling_code(phone: str, region: str) -> None:
    """Numbering plans do not list the numbers of machines' SIM cards and of global networks."""
    check_regions({region})
    assert checked_number(phone, {region}) == "+" + "".join(filter(str.isdigit, phone))
    assert checked_number(phone, REGIONS) is BadNumber.foreign


def test_a_number_is_at_most_fifteen_digits() -> None:
    """E.164 allows no more, even for machines."""
    assert checked_number("+47580001234567" + "8" * 2, {"NO"}) is BadNumber.malformed


@pytest.mark.parametrize("phone", ["+33612345678", "+14165550123", "+447911123456"])
def test_a_number_of_another_country_is_foreign(phone: str) -> None:
    """Also of a country that shares its code, such as Canada and the United States."""
    assert checked_number(phone, REGIONS) is BadNumber.foreign
    assert checked_number("+12025550123", frozenset()) is BadNumber.foreign


@given(st.one_of(st.text(), st.text("+0123456789 ()-;,ext")))
def test_any_text_can_be_checked(phone: str) -> None:
    """The result is a number of an allowed country or a reason."""
    checked = checked_number(phone, REGIONS)
    assert isinstance(checked, BadNumber) or checked.startswith(("+1", "+49"))


def test_a_masked_number_cannot_be_called() -> None:
    """Its first and last digits stay, so that two numbers can be distinguished."""
    assert masked("+12025550123") == "+1…23"


def test_the_error_for_an_unknown_country_names_it() -> None:
    """Otherwise its numbers would be foreign without a warning."""
    check_regions({"DE", "GB", "US"})
    check_regions(())
    with pytest.raises(SettingInvalid, match=r"^NX_SMS_REGIONS must be .*, got UK, XX$"):
        check_regions({"XX", "US", "UK"})
