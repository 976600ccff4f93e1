"""Which telephone numbers a message may go to, and how they are shown."""

from __future__ import annotations

import unicodedata
from enum import Enum
from typing import TYPE_CHECKING

import phonenumbers

from shared.settings import SMS_REGIONS, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Collection


#: What `NX_SMS_REGIONS` calls the numbers of global networks (+882, +883 and others).
GLOBAL_NETWORKS = "001"
#: Digits of an E.164 number at most, the country calling code included.
_MAX_DIGITS = 15
#: The calling code of the North American plan, whose numbers all have one length.
_NORTH_AMERICA = 1


class BadNumber(Enum):
    """Why a message can't go to a number."""

    #: Not a telephone number in international form.
    malformed = "malformed"
    #: A telephone number of a country that is not allowed.
    foreign = "foreign"


def check_regions(regions: Collection[str]) -> None:
    """Check that each region is a country or `001`: "UK", for example, has no numbers.

    Args:
        regions: Value of NX_SMS_REGIONS.

    Raises:
        SettingInvalid: A region has no telephone numbers.
    """
    unknown = ", ".join(sorted(set(regions) - phonenumbers.SUPPORTED_REGIONS - {GLOBAL_NETWORKS}))
    if unknown:
        raise SettingInvalid(f"{SMS_REGIONS.name} must be {SMS_REGIONS.expected}, got {unknown}")


def checked_number(said: object, regions: Collection[str]) -> str | BadNumber:
    """Return a number in E.164 form, or why a message can't go there.

    SIM cards of machines have numbers that no numbering plan lists, many of them longer than a telephone's
    (+47 580…, +46 719…). Such a number is accepted when its calling code is that of an allowed region.

    Args:
        said: Number in a device's document; it must be in international form (+49…).
        regions: ISO 3166 codes of the allowed countries; `001` allows global networks.
    """
    if not isinstance(said, str):
        return BadNumber.malformed
    # Copied numbers carry invisible characters, such as U+202A, U+200E and U+FEFF.
    text = "".join(letter for letter in said if unicodedata.category(letter) != "Cf").strip()
    if not text.startswith("+"):
        return BadNumber.malformed
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return BadNumber.malformed
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if number.extension or not _is_possible(number) or len(written) > 1 + _MAX_DIGITS:
        return BadNumber.malformed
    # Countries that share a calling code are told apart only by numbers of their plans.
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
    """Return a number as logs may show it: enough to tell two apart, too little to call."""
    return f"{number[:2]}…{number[-2:]}"
