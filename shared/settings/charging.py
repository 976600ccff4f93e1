"""The charge point operators, and how long charge detail records (CDRs) are kept."""

from __future__ import annotations

from shared.settings.declared import Setting, whole_number

#: Parsed by `shared.collectors.ocpi.operators`, which defines the fields of an operator.
OCPI_OPERATORS = Setting(
    name="NX_OCPI_OPERATORS",
    meaning="the charge point operators to read from, with their tokens",
    expected='`[{"name": "north", "url": "https://ocpi.example.com/versions", "token": "…"}]`',
    parse=str,
    affects="collect_charge_locations, collect_charge_cdrs",
    secret=True,
)
CDR_MONTHS = Setting(
    name="NX_CDR_MONTHS",
    meaning="calendar months for which charge detail records are kept, including the current one",
    expected="a whole number of months from 1 to 120",
    parse=whole_number(1, 120),
    affects="collect_charge_cdrs",
    default="13",  # a full year, for comparison with the same month of the last one
)


def cdr_months() -> int:
    """Return the calendar months for which CDRs are kept, including the current one.

    Raises:
        SettingInvalid: NX_CDR_MONTHS is not a whole number from 1 to 120.
    """
    return CDR_MONTHS.required()
