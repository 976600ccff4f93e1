"""Which telephone numbers a message may go to, and how they are shown."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import phonenumbers

from shared.settings import SMS_REGIONS, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Collection


class BadNumber(Enum):
    """Why a message can't go to a number."""

    #: No telephone number, or none in international form.
    malformed = "malformed"
    #: A good number of a country that is not allowed.
    foreign = "foreign"


def check_regions(regions: Collection[str]) -> None:
    """See that each is a country: of "UK", say, no number is, and it would be foreign at home.

    Args:
        regions: what NX_SMS_REGIONS says.

    Raises:
        SettingInvalid: one is none.
    """
    unknown = ", ".join(sorted(set(regions) - phonenumbers.SUPPORTED_REGIONS))
    if unknown:
        raise SettingInvalid(
            f"{SMS_REGIONS.name} has {unknown}, which no number is of: set it to {SMS_REGIONS.wanted}"
        )


def checked_number(said: object, regions: Collection[str]) -> str | BadNumber:
    """Return a number in E.164 form, or why a message can't go there.

    Args:
        said: what a device's document has; only international form (+49…) is clear enough.
        regions: ISO 3166 codes of the countries that are allowed.
    """
    if not isinstance(said, str) or not said.strip().startswith("+"):
        return BadNumber.malformed
    try:
        number = phonenumbers.parse(said)
    except phonenumbers.NumberParseException:
        return BadNumber.malformed
    if not phonenumbers.is_valid_number(number) or number.extension:
        return BadNumber.malformed
    if phonenumbers.region_code_for_number(number) not in regions:
        return BadNumber.foreign
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def masked(number: str) -> str:
    """Return a number as logs may show it: enough to tell two apart, too little to call."""
    return f"{number[:2]}…{number[-2:]}"
