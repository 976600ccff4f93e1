"""Where this deployment runs and what it is called, read from the environment.

Firebase sets most of it on a deployed function, the local stack sets all of it. This module
reads nothing at import, so that discovery and tests need no environment.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

#: Calls that a caller has in a minute on an instance: five a second, for a page with many readers
#: on it, or a service that asks for all tasks again and again.
CALLS_PER_MINUTE = 300

#: An origin as browsers send it: small letters, no path, no port that goes without saying.
_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)"
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)


class SettingMissing(RuntimeError):
    """A setting that the product can't do without is absent; the text names the variable."""


class SettingInvalid(RuntimeError):
    """A setting has a value that means nothing; the text names the variable and what it may be."""


def project_id() -> str:
    """Return the Google Cloud project's id.

    Raises:
        SettingMissing: neither variable of Google's nor Firebase's configuration names one.
    """
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCLOUD_PROJECT")
    project = project or _firebase_config().get("projectId")
    if not project:
        raise SettingMissing("no project: set GOOGLE_CLOUD_PROJECT to the Google Cloud project's id")
    return project


def bucket_name() -> str:
    """Return the name of the bucket that keeps large results: NX_TASKS_BUCKET, else the project's default.

    Raises:
        SettingMissing: NX_TASKS_BUCKET is unset and Firebase's configuration names no bucket.
    """
    bucket = os.environ.get("NX_TASKS_BUCKET") or _firebase_config().get("storageBucket")
    if not bucket:
        raise SettingMissing("no bucket: set NX_TASKS_BUCKET to the Cloud Storage bucket that keeps results")
    return bucket


def storage_emulator() -> str | None:
    """Return the base URL of a Storage emulator, as Google's own clients find it, or None in the cloud."""
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if not host or in_cloud():
        return None
    return host if "://" in host else f"http://{host}"


def in_cloud() -> bool:
    """Tell whether this process is an instance of Cloud Run.

    Cloud Run names a revision on every instance; the Functions emulator calls it "1". The
    answer rests on that and not on an emulator's variable, so that none of those, left in a
    deployment's settings, can switch anything off.
    """
    return os.environ.get("K_REVISION", "1") != "1"


def check_auth_emulator() -> None:
    """See that no Auth emulator is named in the cloud: firebase-admin would check no signature there.

    Raises:
        SettingInvalid: one is.
    """
    if in_cloud() and os.environ.get("FIREBASE_AUTH_EMULATOR_HOST"):
        raise SettingInvalid(
            "FIREBASE_AUTH_EMULATOR_HOST is set in the cloud: unset it, it lets everybody in"
        )


def app_check() -> bool:
    """Tell whether callers must show an App Check token: NX_TASKS_APP_CHECK, "on" unless it says "off".

    Raises:
        SettingInvalid: it says neither.
    """
    said = os.environ.get("NX_TASKS_APP_CHECK", "on")
    if said not in {"on", "off"}:
        raise SettingInvalid(f"NX_TASKS_APP_CHECK is {said!r}: set it to on or off")
    return said == "on"


#: Share of the instance's memory that results may take, where NX_TASKS_CACHE_MB does not say.
CACHE_SHARE = 0.25


def cache_bytes() -> int:
    """Return the bytes that an instance's results may take: NX_TASKS_CACHE_MB, else a quarter of its memory.

    Raises:
        SettingInvalid: it is no whole number of mebibytes from 0.
    """
    said = os.environ.get("NX_TASKS_CACHE_MB")
    if said is None:
        return int(memory_bytes() * CACHE_SHARE)
    if not said.isdecimal():
        raise SettingInvalid(
            f"NX_TASKS_CACHE_MB is {said!r}: set it to a whole number of mebibytes, 0 or more"
        )
    return int(said) * 1024 * 1024


def memory_bytes() -> int:
    """Return the memory that this instance has: its container's limit, else the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _MEMORY_LIMITS:
        try:
            with open(limit, encoding="ascii") as file:  # noqa: PTH123  (pathlib is not free to import)
                return min(int(file.read()), machine)
        except (OSError, ValueError):  # no such hierarchy here, or "max"
            continue
    return machine


#: Where control groups tell a container's limit, of version 2 and of version 1.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def cors_origins() -> frozenset[str] | None:
    """Return the origins whose pages may call: those in NX_TASKS_CORS_ORIGINS, none where it is empty.

    Returns:
        Origins as browsers send them; None where nothing is said: the project's own hosting.

    Raises:
        SettingInvalid: one of them is no origin that a browser would send.
    """
    said = os.environ.get("NX_TASKS_CORS_ORIGINS")
    if said is None:
        return None
    origins = [origin.strip() for origin in said.split(",")] if said.strip() else []
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise SettingInvalid(
                f"NX_TASKS_CORS_ORIGINS has {origin!r}: set it to origins as browsers send them, scheme and "
                'host[:port] in small letters, with commas between: "https://app.example.com"'
            )
    return frozenset(origins)


def calls_per_minute() -> int:
    """Return the calls a minute that a caller has on an instance: NX_TASKS_CALLS_PER_MINUTE; 0 is no limit.

    Raises:
        SettingInvalid: it is no such number.
    """
    said = os.environ.get("NX_TASKS_CALLS_PER_MINUTE", str(CALLS_PER_MINUTE))
    if not re.fullmatch("[0-9]{1,6}", said):
        raise SettingInvalid(
            f"NX_TASKS_CALLS_PER_MINUTE is {said!r}: set it to a whole number below a million, 0 for no limit"
        )
    return int(said)


#: Calendar months for which charge detail records are kept, where NX_CDR_MONTHS does not say.
CDR_MONTHS = 13


def cdr_months() -> int:
    """Return the calendar months, this one included, for which CDRs are kept: NX_CDR_MONTHS.

    Raises:
        SettingInvalid: it is no number from 1 to 120.
    """
    said = os.environ.get("NX_CDR_MONTHS", str(CDR_MONTHS))
    if not re.fullmatch("[0-9]{1,3}", said) or not 1 <= int(said) <= 120:
        raise SettingInvalid(f"NX_CDR_MONTHS is {said!r}: set it to a whole number of months from 1 to 120")
    return int(said)


#: Hours after which a silent device gets a reset SMS, where NX_SMS_OFFLINE_HOURS does not say.
SMS_OFFLINE_HOURS = 48
#: Reset SMS that a run sends at most, where NX_SMS_PER_RUN does not say.
SMS_PER_RUN = 50
#: Reset SMS that a device gets within 24 hours at most, where NX_SMS_PER_DEVICE_PER_DAY does not say.
SMS_PER_DEVICE_PER_DAY = 1

TWILIO_URL = "https://api.twilio.com"
#: The secrets' names; the functions that read them bind them to Secret Manager.
TWILIO_AUTH_TOKEN = "NX_TWILIO_AUTH_TOKEN"  # noqa: S105  (its name)
OCPI_OPERATORS = "NX_OCPI_OPERATORS"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class SmsLimits:
    """Who may get a reset SMS, and how many.

    Attributes:
        offline_hours: hours of silence before.
        per_run: of one run, at most.
        per_device_per_day: of one device within 24 hours, at most.
        regions: ISO 3166 codes of the countries whose numbers may get one; none where nothing is said.
    """

    offline_hours: int
    per_run: int
    per_device_per_day: int
    regions: frozenset[str]


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """Who sends. The token is in no representation of it."""

    url: str
    account_sid: str
    messaging_service_sid: str
    auth_token: str = field(repr=False)


def sms_dry_run() -> bool:
    """Tell whether reset SMS are only spoken of: NX_SMS_DRY_RUN, "on" unless it says "off".

    Raises:
        SettingInvalid: it says neither.
    """
    said = os.environ.get("NX_SMS_DRY_RUN", "on")
    if said not in {"on", "off"}:
        raise SettingInvalid(f"NX_SMS_DRY_RUN is {said!r}: set it to on or off")
    return said == "on"


def sms_limits() -> SmsLimits:
    """Return who may get a reset SMS, and how many: NX_SMS_OFFLINE_HOURS, NX_SMS_PER_RUN and their kin.

    Raises:
        SettingInvalid: one of them means nothing; it is named.
    """
    said = os.environ.get("NX_SMS_REGIONS", "")
    regions = frozenset(region.strip() for region in said.split(",")) if said.strip() else frozenset()
    if not all(re.fullmatch("[A-Z]{2}", region) for region in regions):
        raise SettingInvalid(
            f"NX_SMS_REGIONS is {said!r}: set it to ISO 3166 codes of countries with commas between: DE,US"
        )
    return SmsLimits(
        offline_hours=_whole("NX_SMS_OFFLINE_HOURS", SMS_OFFLINE_HOURS, 24, 8_760),
        per_run=_whole("NX_SMS_PER_RUN", SMS_PER_RUN, 0, 1_000),
        per_device_per_day=_whole("NX_SMS_PER_DEVICE_PER_DAY", SMS_PER_DEVICE_PER_DAY, 1, 24),
        regions=regions,
    )


def twilio_url() -> str:
    """Return the base URL of Twilio's API: NX_TWILIO_URL, for a stand-in, else Twilio's own.

    Raises:
        SettingInvalid: it is no https:// URL; on this machine, and outside the cloud, http:// will do.
    """
    said = os.environ.get("NX_TWILIO_URL", TWILIO_URL)
    url = urlsplit(said)
    local = url.scheme == "http" and url.hostname in _LOOPBACK and not in_cloud()
    bare = url.hostname and not (url.path.strip("/") or url.query or url.fragment or url.username)
    if not bare or not (url.scheme == "https" or local):
        raise SettingInvalid(f"NX_TWILIO_URL is {said!r}: unset it, or set it to https://HOST of a stand-in")
    return said.rstrip("/")


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
    if not sms_limits().regions:
        raise SettingMissing("no country may get an SMS: set NX_SMS_REGIONS, to DE,US say")
    return TwilioAccount(
        url,
        account_sid=_sid("NX_TWILIO_ACCOUNT_SID", "AC"),
        messaging_service_sid=_sid("NX_TWILIO_MESSAGING_SERVICE_SID", "MG"),
        auth_token=_auth_token(),
    )


def _auth_token() -> str:
    token = os.environ.get(TWILIO_AUTH_TOKEN, "").strip()  # secrets are often stored with a line's end
    if not token:
        raise SettingMissing(
            f"no {TWILIO_AUTH_TOKEN}: store it with `firebase functions:secrets:set {TWILIO_AUTH_TOKEN}`"
        )
    if not re.fullmatch("[!-~]+", token):
        raise SettingInvalid(f"{TWILIO_AUTH_TOKEN} is no token: store it anew, as Twilio's console shows it")
    return token


def _sid(name: str, prefix: str) -> str:
    said = os.environ.get(name)
    if not said:
        raise SettingMissing(f"no {name}: set it to the SID ({prefix}…) that Twilio's console shows")
    if not re.fullmatch(f"{prefix}[0-9a-f]{{32}}", said):
        raise SettingInvalid(f"{name} is no SID: set it to {prefix} and 32 hexadecimal digits")
    return said


def _whole(name: str, default: int, least: int, most: int) -> int:
    said = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,6}", said) or not least <= int(said) <= most:
        raise SettingInvalid(f"{name} is {said!r}: set it to a whole number from {least} to {most}")
    return int(said)


def _firebase_config() -> dict[str, str]:
    """Return what Firebase tells a function of its project; empty where there is none."""
    text = os.environ.get("FIREBASE_CONFIG", "")
    if not text.startswith("{"):  # it may also name a file, which deployed functions never use
        return {}
    config: dict[str, str] = json.loads(text)
    return config
