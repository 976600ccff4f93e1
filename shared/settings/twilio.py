"""The Twilio account that sends SMS, or its stand-in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shared.settings.declared import Setting, SettingInvalid
from shared.settings.platform import in_cloud
from shared.settings.sms import SMS_REGIONS, SMS_TEXTS

#: Base URL of Twilio's own library.
TWILIO_API = "https://api.twilio.com"
_AFFECTS = "send_reset_sms"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def _parse_url(text: str) -> str:
    """Parse a URL that the token may be sent to: https://, or http:// on this machine outside the cloud."""
    url = urlsplit(text)
    local = url.scheme == "http" and url.hostname in _LOOPBACK and not in_cloud()
    bare = url.hostname and not (url.path.strip("/") or url.query or url.fragment or url.username)
    if not bare or not (url.scheme == "https" or local):
        raise ValueError(text)
    return text.rstrip("/")


def _parse_token(text: str) -> str:
    token = text.strip()  # Secrets are often stored with a trailing newline.
    if not re.fullmatch("[!-~]+", token):
        raise ValueError(text)
    return token


TWILIO_ACCOUNT_SID = Setting(
    name="NX_TWILIO_ACCOUNT_SID",
    meaning="the Twilio account that sends; required if SMS are sent",
    expected="the SID in Twilio's console, AC and 32 hexadecimal digits",
    parse=str,
    pattern="AC[0-9a-f]{32}",
    affects=_AFFECTS,
    is_shown=False,  # An auth token may have been set by mistake.
)
TWILIO_MESSAGING_SERVICE_SID = Setting(
    name="NX_TWILIO_MESSAGING_SERVICE_SID",
    meaning="its messaging service; required if SMS are sent",
    expected="the SID in Twilio's console, MG and 32 hexadecimal digits",
    parse=str,
    pattern="MG[0-9a-f]{32}",
    affects=_AFFECTS,
    is_shown=False,
)
TWILIO_AUTH_TOKEN = Setting(
    name="NX_TWILIO_AUTH_TOKEN",
    meaning="its auth token; required if SMS are sent",
    expected="the token in Twilio's console",
    parse=_parse_token,
    affects=_AFFECTS,
    secret=True,
)
TWILIO_URL = Setting(
    name="NX_TWILIO_URL",
    meaning="base URL of Twilio's API, or of a stand-in",
    expected="`https://HOST` of a stand-in, or not set",
    parse=_parse_url,
    affects=_AFFECTS,
    default=TWILIO_API,
    default_text="Twilio",
)


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """The account that sends SMS. Its `repr` leaves out the token.

    Attributes:
        url: Base URL of Twilio's API, or of a stand-in.
        account_sid: SID of the account, "AC…".
        messaging_service_sid: SID of the messaging service, "MG…".
        auth_token: The account's secret.
    """

    url: str
    account_sid: str
    messaging_service_sid: str
    auth_token: str = field(repr=False)


def twilio_url() -> str:
    """Return the base URL of Twilio's API, or of a stand-in.

    Raises:
        SettingInvalid: NX_TWILIO_URL is not an https:// URL, nor an http:// URL of this machine outside the
            cloud.
    """
    return TWILIO_URL.required()


def twilio_account() -> TwilioAccount:
    """Return the account that sends SMS. A dry run needs none.

    Raises:
        SettingMissing: A variable that sending requires is not set; the text names it.
        SettingInvalid: A variable is invalid, or real messages would be sent from outside the cloud.
    """
    url = twilio_url()
    if not in_cloud() and urlsplit(url).hostname not in _LOOPBACK:
        raise SettingInvalid(
            "NX_SMS_DRY_RUN must be on outside the cloud, got off; set it to on, or NX_TWILIO_URL to a "
            "stand-in on this machine"
        )
    SMS_REGIONS.required()
    SMS_TEXTS.required()
    return TwilioAccount(
        url,
        account_sid=TWILIO_ACCOUNT_SID.required(),
        messaging_service_sid=TWILIO_MESSAGING_SERVICE_SID.required(),
        auth_token=TWILIO_AUTH_TOKEN.required(),
    )
