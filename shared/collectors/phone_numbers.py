"""Checks which telephone numbers a message may be sent to, and masks numbers for logs."""

from __future__ import annotations

import unicodedata
from enum import Enum
from typing import TYPE_CHECKING

import phonenumbers

from shared.settings import SMS_REGIONS, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Collection


#: Value in `NX_SMS_REGIONS` for the numbers of global networks (+882, +883 and others).
GLOBAL_NETWORKS = "001"
#: Digits of the longest E.164 number, including the country calling code.
_MAX_DIGITS = 15
#: Calling code of the North American plan, whose numbers all have the same length.
_NORTH_AMERICA = 1


class BadNumber(Enum):
    """Why a message cannot be sent to a number."""

    #: Not a telephone number in international form.
    malformed = "malformed"
    #: A telephone number of a country that is not allowed.
    foreign = "foreign"


def check_regions(regions: Collection[str]) -> None:
    """Check that each region has telephone numbers, which "UK", for example, has not.

    Args:
        regions: Value of NX_SMS_REGIONS.

    Raises:
        SettingInvalid: A region has no telephone numbers.
    """
    unknown = ", ".join(sorted(set(regions) - phonenumbers.SUPPORTED_REGIONS - {GLOBAL_NETWORKS}))
    if unknown:
        raise SettingInvalid(f"{SMS_REGIONS.name} must be {SMS_REGIONS.expected}, got {unknown}")


def checked_number(phone: object, regions: Collection[str]) -> str | BadNumber:
    """Return a number in E.164 form, or why a message cannot be sent to it.

    SIM cards of machines have numbers that no numbering plan lists, many of them longer than those of
    telephones (+47 580…, +46 719…). Such a number is accepted when its calling code is that of an allowed
    region.

    Args:
        phone: Value in a device's document. A number must be in international form (+49…).
        regions: ISO 3166 codes of the allowed countries; `001` allows global networks.
    """
    if not isinstance(phone, str):
        return BadNumber.malformed
    # Copied numbers contain invisible characters, such as U+202A, U+200E and U+FEFF.
    text = "".join(letter for letter in phone if unicodedata.category(letter) != "Cf").strip()
    if not text.startswith("+"):
        return BadNumber.malformed
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return BadNumber.malformed
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if number.extension or not _is_possible(number) or len(written) > 1 + _MAX_DIGITS:
        return BadNumber.malformed
    # Countries with one calling code can be distinguished only by numbers that their plans list.
    region = phonenumbers.region_code_for_number(number)
    code = number.country_code or 0
    candidates = [region] if region else phonenumbers.region_codes_for_country_code(code)
    return written if set(candidates) & set(regions) else BadNumber.foreign


def _is_possible(number: phonenumbers.PhoneNumber) -> bool:
    possible = phonenumbers.is_possible_number_with_reason(number)
    too_long = possible == phonenumbers.ValidationResult.TOO_LONG
    is_machine = too_long and number.country_code != _NORTH_AMERICA
    return is_machine or possible == phonenumbers.ValidationResult.IS_POSSIBLE


def masked(number: str) -> str:
    """Return a number for logs: enough to distinguish two numbers, too little to call one."""
    return f"{number[:2]}…{number[-2:]}"
