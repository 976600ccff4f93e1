"""Reset SMS: which devices may get one, how many, with which text, and whether any is sent."""

from __future__ import annotations

import json
import re

from msgspec import Struct

from shared.settings.declared import Setting, parse_switch, whole_number

_AFFECTS = "send_reset_sms"
#: Characters that take two of the 160 places in an SMS.
_TWO_SEPTETS = r"[]{}\^|~"


def _parse_regions(text: str) -> frozenset[str]:
    return frozenset(text.replace(" ", "").split(",")) - {""}


def _parse_texts(text: str) -> dict[str, str]:
    texts = json.loads(text)
    if not isinstance(texts, dict) or not texts or not all(map(_is_sms, texts.values())):
        raise ValueError(text)
    return texts


def _is_sms(text: object) -> bool:
    """Return whether a text is one SMS of ASCII characters that GSM has too, so that none is replaced."""
    if not isinstance(text, str) or not re.fullmatch("[!-_a-~]([ -_a-~]*[!-_a-~])?", text):
        return False
    return len(text) + sum(map(text.count, _TWO_SEPTETS)) <= 160


SMS_DRY_RUN = Setting(
    name="NX_SMS_DRY_RUN",
    meaning="`on`: reset SMS only appear in log and summary; `off`: they are sent. Outside the cloud, `off` "
    "needs a stand-in for Twilio on the same machine",
    expected="on or off",
    parse=parse_switch,
    affects=_AFFECTS,
    default="on",
)
SMS_REGIONS = Setting(
    name="NX_SMS_REGIONS",
    meaning="countries whose numbers may get a reset SMS; required if SMS are sent",
    expected="a comma-separated list of ISO 3166 country codes, `001` for global networks (+882, +883), "
    "such as `DE,US`",
    parse=_parse_regions,
    pattern=" *(([A-Z]{2}|001) *(, *([A-Z]{2}|001) *)*)?",
    affects=_AFFECTS,
    default_text="none",
)
SMS_TEXTS = Setting(
    name="NX_SMS_TEXTS",
    meaning="the text that resets each firmware, by the beginning of its version; the longest match counts, "
    "and the empty one matches all; required if SMS are sent",
    expected="""JSON such as `{"4.": "#RESET#", "": "RESET"}`, each text one SMS of plain ASCII""",
    parse=_parse_texts,
    pattern=r"\s*\{.*\}\s*",
    affects=_AFFECTS,
    default_text="none",
    is_shown=False,  # a command may hold a device's password
)
SMS_OFFLINE_HOURS = Setting(
    name="NX_SMS_OFFLINE_HOURS",
    meaning="hours of silence after which a device gets a reset SMS",
    expected="a whole number from 24 to 8760",
    parse=whole_number(24, 8_760),
    affects=_AFFECTS,
    default="48",
)
SMS_PER_RUN = Setting(
    name="NX_SMS_PER_RUN",
    meaning="maximum number of reset SMS per run",
    expected="a whole number from 0 to 1000",
    parse=whole_number(0, 1_000),
    affects=_AFFECTS,
    default="50",
)
SMS_PER_DEVICE_PER_DAY = Setting(
    name="NX_SMS_PER_DEVICE_PER_DAY",
    meaning="maximum number of reset SMS per device within 24 hours",
    expected="a whole number from 1 to 24",
    parse=whole_number(1, 24),
    affects=_AFFECTS,
    default="1",
)


class SmsLimits(Struct, frozen=True):
    """Limits on reset SMS.

    Attributes:
        offline_hours: Hours of silence after which a device gets a message.
        per_run: Maximum number of messages per run.
        per_device_per_day: Maximum number of messages per device within 24 hours.
        regions: ISO 3166 codes of the countries whose numbers may get one; `001` for global networks.
    """

    offline_hours: int
    per_run: int
    per_device_per_day: int
    regions: frozenset[str]


def sms_dry_run() -> bool:
    """Return whether reset SMS are only logged and not sent.

    Raises:
        SettingInvalid: NX_SMS_DRY_RUN is neither "on" nor "off".
    """
    return SMS_DRY_RUN.required()


def sms_limits() -> SmsLimits:
    """Return the limits on reset SMS.

    Raises:
        SettingInvalid: One of the settings is invalid; the text names it.
    """
    return SmsLimits(
        offline_hours=SMS_OFFLINE_HOURS.required(),
        per_run=SMS_PER_RUN.required(),
        per_device_per_day=SMS_PER_DEVICE_PER_DAY.required(),
        regions=SMS_REGIONS.value() or frozenset(),
    )


def sms_texts() -> dict[str, str]:
    """Return the reset text by the beginning of a firmware's version; empty if NX_SMS_TEXTS is not set.

    Raises:
        SettingInvalid: NX_SMS_TEXTS is not a JSON object of such texts.
    """
    return SMS_TEXTS.value() or {}
