"""Settings, read from environment variables.

Firebase sets some variables on a deployed function; the others come from the deployment's `.env` files and
from Secret Manager. The local stack sets all of them. Importing reads nothing. Each setting that a person may
set is declared once, as a `Setting` of `SETTINGS`, in the module of its topic.
"""

from __future__ import annotations

from typing import Any

from shared.settings.accounts import (
    OPERATOR_ACCOUNT,
    READER_ACCOUNT,
    SERVICE_ACCOUNT,
    operator_account,
    reader_account,
    service_account,
)
from shared.settings.charging import CDR_MONTHS, OCPI_OPERATORS, cdr_months
from shared.settings.declared import Setting, SettingInvalid, SettingMissing
from shared.settings.platform import (
    BUCKET,
    DATABASE,
    REGION,
    bucket_name,
    check_emulators,
    database_id,
    in_cloud,
    leg_seconds,
    memory_bytes,
    project_id,
    region,
    scheduler_url,
    storage_emulator,
    tasks_url,
)
from shared.settings.serving import (
    APP_CHECK,
    CACHE_MB,
    CALLS_PER_MINUTE,
    CORS_ORIGINS,
    THREADS,
    app_check,
    cache_bytes,
    calls_per_minute,
    cors_origins,
    max_legacy_bytes,
)
from shared.settings.sms import (
    SMS_DRY_RUN,
    SMS_OFFLINE_HOURS,
    SMS_PER_DEVICE_PER_DAY,
    SMS_PER_RUN,
    SMS_REGIONS,
    SMS_TEXTS,
    SmsLimits,
    sms_dry_run,
    sms_limits,
    sms_texts,
)
from shared.settings.twilio import (
    TWILIO_ACCOUNT_SID,
    TWILIO_API,
    TWILIO_AUTH_TOKEN,
    TWILIO_MESSAGING_SERVICE_SID,
    TWILIO_URL,
    TwilioAccount,
    twilio_account,
    twilio_url,
)

#: All settings, in the order of docs/deploy.md.
SETTINGS: tuple[Setting[Any], ...] = (
    REGION,
    DATABASE,
    BUCKET,
    SERVICE_ACCOUNT,
    READER_ACCOUNT,
    OPERATOR_ACCOUNT,
    APP_CHECK,
    CORS_ORIGINS,
    CALLS_PER_MINUTE,
    CACHE_MB,
    THREADS,
    OCPI_OPERATORS,
    CDR_MONTHS,
    SMS_DRY_RUN,
    SMS_REGIONS,
    SMS_TEXTS,
    SMS_OFFLINE_HOURS,
    SMS_PER_RUN,
    SMS_PER_DEVICE_PER_DAY,
    TWILIO_ACCOUNT_SID,
    TWILIO_MESSAGING_SERVICE_SID,
    TWILIO_AUTH_TOKEN,
    TWILIO_URL,
)


def check() -> None:
    """Check all settings except secrets, and that no variable of the local stack is set in the cloud.

    A secret is checked by the run that reads it.

    Raises:
        SettingInvalid: A value is invalid, or must not be set here; the text names the variable.
    """
    check_emulators()
    leg_seconds()
    for setting in SETTINGS:
        if not setting.secret:
            setting.value()


__all__ = [
    "APP_CHECK",
    "BUCKET",
    "CACHE_MB",
    "CALLS_PER_MINUTE",
    "CDR_MONTHS",
    "CORS_ORIGINS",
    "DATABASE",
    "OCPI_OPERATORS",
    "OPERATOR_ACCOUNT",
    "READER_ACCOUNT",
    "REGION",
    "SERVICE_ACCOUNT",
    "SETTINGS",
    "SMS_DRY_RUN",
    "SMS_OFFLINE_HOURS",
    "SMS_PER_DEVICE_PER_DAY",
    "SMS_PER_RUN",
    "SMS_REGIONS",
    "SMS_TEXTS",
    "THREADS",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_API",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_MESSAGING_SERVICE_SID",
    "TWILIO_URL",
    "Setting",
    "SettingInvalid",
    "SettingMissing",
    "SmsLimits",
    "TwilioAccount",
    "app_check",
    "bucket_name",
    "cache_bytes",
    "calls_per_minute",
    "cdr_months",
    "check",
    "check_emulators",
    "cors_origins",
    "database_id",
    "in_cloud",
    "leg_seconds",
    "max_legacy_bytes",
    "memory_bytes",
    "operator_account",
    "project_id",
    "reader_account",
    "region",
    "scheduler_url",
    "service_account",
    "sms_dry_run",
    "sms_limits",
    "sms_texts",
    "storage_emulator",
    "tasks_url",
    "twilio_account",
    "twilio_url",
]
