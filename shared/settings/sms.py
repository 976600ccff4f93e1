"""Who may get a reset SMS, how many, what it says, and whether any is sent at all."""

from __future__ import annotations

import json
import re

from msgspec import Struct

from shared.settings.declared import Setting, switch, whole

_COUNTS_IN = "send_reset_sms"
#: What takes the room of two letters in an SMS; 160 fit.
_OF_TWO_SEPTETS = r"[]{}\^|~"


def _regions(said: str) -> frozenset[str]:
    return frozenset(said.replace(" ", "").split(",")) - {""}


def _texts(said: str) -> dict[str, str]:
    texts = json.loads(said)
    if not isinstance(texts, dict) or not texts or not all(map(_is_text, texts.values())):
        raise ValueError(said)
    return texts


def _is_text(said: object) -> bool:
    """Tell whether it is one SMS of ASCII that GSM has too: nothing on the way replaces any of it."""
    if not isinstance(said, str) or not re.fullmatch("[!-_a-~]([ -_a-~]*[!-_a-~])?", said):
        return False
    return len(said) + sum(map(said.count, _OF_TWO_SEPTETS)) <= 160


SMS_DRY_RUN = Setting(
    name="NX_SMS_DRY_RUN",
    meaning="`on`: reset SMS are only told in log and summary; `off`: they are sent. Outside the cloud, "
    "`off` needs a stand-in on the same machine",
    wanted="on or off",
    parse=switch,
    counts_in=_COUNTS_IN,
    default="on",
)
SMS_REGIONS = Setting(
    name="NX_SMS_REGIONS",
    meaning="countries whose numbers may get a reset SMS; needed once any is sent",
    wanted="ISO 3166 codes of countries with commas between, `001` for global networks (+882, +883): `DE,US`",
    parse=_regions,
    pattern=" *(([A-Z]{2}|001) *(, *([A-Z]{2}|001) *)*)?",
    counts_in=_COUNTS_IN,
    default_told="none",
)
SMS_TEXTS = Setting(
    name="NX_SMS_TEXTS",
    meaning="what resets which firmware: a text for each beginning of a version, of which the longest that "
    "fits counts, and the empty one fits any; needed once any is sent",
    wanted="""JSON: `{"4.": "#RESET#", "": "RESET"}`, each text one SMS of plain ASCII""",
    parse=_texts,
    pattern=r"\s*\{.*\}\s*",
    counts_in=_COUNTS_IN,
    default_told="none",
    shown=False,  # a command may hold a device's password
)
SMS_OFFLINE_HOURS = Setting(
    name="NX_SMS_OFFLINE_HOURS",
    meaning="hours of silence after which a device gets one",
    wanted="a whole number from 24 to 8760",
    parse=whole(24, 8_760),
    counts_in=_COUNTS_IN,
    default="48",
)
SMS_PER_RUN = Setting(
    name="NX_SMS_PER_RUN",
    meaning="reset SMS that a run sends at most",
    wanted="a whole number from 0 to 1000",
    parse=whole(0, 1_000),
    counts_in=_COUNTS_IN,
    default="50",
)
SMS_PER_DEVICE_PER_DAY = Setting(
    name="NX_SMS_PER_DEVICE_PER_DAY",
    meaning="reset SMS that a device gets within 24 hours at most",
    wanted="a whole number from 1 to 24",
    parse=whole(1, 24),
    counts_in=_COUNTS_IN,
    default="1",
)


class SmsLimits(Struct, frozen=True):
    """Who may get a reset SMS, and how many.

    Attributes:
        offline_hours: hours of silence before.
        per_run: of one run, at most.
        per_device_per_day: of one device within 24 hours, at most.
        regions: ISO 3166 codes of the countries whose numbers may get one, and `001` for global networks.
    """

    offline_hours: int
    per_run: int
    per_device_per_day: int
    regions: frozenset[str]


def sms_dry_run() -> bool:
    """Tell whether reset SMS are only spoken of.

    Raises:
        SettingInvalid: NX_SMS_DRY_RUN says neither "on" nor "off".
    """
    return SMS_DRY_RUN.required()


def sms_limits() -> SmsLimits:
    """Return who may get a reset SMS, and how many.

    Raises:
        SettingInvalid: one of the settings means nothing; it is named.
    """
    return SmsLimits(
        offline_hours=SMS_OFFLINE_HOURS.required(),
        per_run=SMS_PER_RUN.required(),
        per_device_per_day=SMS_PER_DEVICE_PER_DAY.required(),
        regions=SMS_REGIONS.value() or frozenset(),
    )


def sms_texts() -> dict[str, str]:
    """Return what resets which firmware, by the beginning of its version; nothing where nothing is said.

    Raises:
        SettingInvalid: NX_SMS_TEXTS is no such table.
    """
    return SMS_TEXTS.value() or {}
