"""Whom the OCPI tasks ask, and how long charge detail records are kept."""

from __future__ import annotations

from shared.settings.declared import Setting, whole

#: Read by `shared.collectors.ocpi.operators`, which knows what an operator is.
OCPI_OPERATORS = Setting(
    name="NX_OCPI_OPERATORS",
    meaning="the charge point operators that are asked, with their tokens",
    wanted='`[{"name": "north", "url": "https://ocpi.example.com/versions", "token": "…"}]`',
    parse=str,
    counts_in="collect_charge_locations, collect_charge_cdrs",
    secret=True,
)
CDR_MONTHS = Setting(
    name="NX_CDR_MONTHS",
    meaning="calendar months for which charge detail records are kept, this one included",
    wanted="a whole number of months from 1 to 120",
    parse=whole(1, 120),
    counts_in="collect_charge_cdrs",
    default="13",  # a year and its anniversary
)


def cdr_months() -> int:
    """Return the calendar months, this one included, for which CDRs are kept.

    Raises:
        SettingInvalid: NX_CDR_MONTHS is no number from 1 to 120.
    """
    return CDR_MONTHS.required()
