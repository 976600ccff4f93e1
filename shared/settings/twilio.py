"""Who sends: an account at Twilio, or at what stands in for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shared.settings.declared import Setting, SettingInvalid
from shared.settings.platform import in_cloud
from shared.settings.sms import SMS_REGIONS, SMS_TEXTS

#: Where Twilio's own library asks.
TWILIO_API = "https://api.twilio.com"
_COUNTS_IN = "send_reset_sms"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def _base_url(said: str) -> str:
    """Parse a URL that a token may be sent to: https://, and on this machine outside the cloud http://."""
    url = urlsplit(said)
    local = url.scheme == "http" and url.hostname in _LOOPBACK and not in_cloud()
    bare = url.hostname and not (url.path.strip("/") or url.query or url.fragment or url.username)
    if not bare or not (url.scheme == "https" or local):
        raise ValueError(said)
    return said.rstrip("/")


def _token(said: str) -> str:
    token = said.strip()  # secrets are often stored with a line's end
    if not re.fullmatch("[!-~]+", token):
        raise ValueError(said)
    return token


TWILIO_ACCOUNT_SID = Setting(
    name="NX_TWILIO_ACCOUNT_SID",
    meaning="the Twilio account that sends; needed once any SMS is sent",
    wanted="the SID that Twilio's console shows, AC and 32 hexadecimal digits",
    parse=str,
    pattern="AC[0-9a-f]{32}",
    counts_in=_COUNTS_IN,
    shown=False,  # a token may have been put in its place
)
TWILIO_MESSAGING_SERVICE_SID = Setting(
    name="NX_TWILIO_MESSAGING_SERVICE_SID",
    meaning="its messaging service; needed once any SMS is sent",
    wanted="the SID that Twilio's console shows, MG and 32 hexadecimal digits",
    parse=str,
    pattern="MG[0-9a-f]{32}",
    counts_in=_COUNTS_IN,
    shown=False,
)
TWILIO_AUTH_TOKEN = Setting(
    name="NX_TWILIO_AUTH_TOKEN",
    meaning="its auth token; needed once any SMS is sent",
    wanted="the token that Twilio's console shows",
    parse=_token,
    counts_in=_COUNTS_IN,
    secret=True,
)
TWILIO_URL = Setting(
    name="NX_TWILIO_URL",
    meaning="what stands in for Twilio",
    wanted="`https://HOST` of a stand-in, or unset it",
    parse=_base_url,
    counts_in=_COUNTS_IN,
    default=TWILIO_API,
    default_told="Twilio",
)


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """Who sends. The token is in no representation of it."""

    url: str
    account_sid: str
    messaging_service_sid: str
    auth_token: str = field(repr=False)


def twilio_url() -> str:
    """Return the base URL of Twilio's API, or of what stands in for it.

    Raises:
        SettingInvalid: NX_TWILIO_URL is no https:// URL; on this machine, outside the cloud, http:// will do.
    """
    return TWILIO_URL.required()


def twilio_account() -> TwilioAccount:
    """Return what it takes to send. Asked for only where NX_SMS_DRY_RUN is off.

    Raises:
        SettingMissing: a variable is absent; it is named.
        SettingInvalid: one means nothing, or real messages would go out from outside the cloud.
    """
    url = twilio_url()
    if not in_cloud() and urlsplit(url).hostname not in _LOOPBACK:
        raise SettingInvalid(
            "NX_SMS_DRY_RUN is off outside the cloud: set it to on, or NX_TWILIO_URL to a stand-in "
            "on this machine"
        )
    SMS_REGIONS.required()
    SMS_TEXTS.required()
    return TwilioAccount(
        url,
        account_sid=TWILIO_ACCOUNT_SID.required(),
        messaging_service_sid=TWILIO_MESSAGING_SERVICE_SID.required(),
        auth_token=TWILIO_AUTH_TOKEN.required(),
    )
