"""Settings come from the environment; errors name the variable."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared import firebase, settings

NAMES = (
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "FIREBASE_CONFIG",
    "NX_CDR_MONTHS",
    "NX_LEG_SECONDS",
    "NX_TASKS_BUCKET",
    "NX_TASKS_APP_CHECK",
    "NX_TASKS_CALLS_PER_MINUTE",
    "NX_TASKS_CORS_ORIGINS",
    "NX_TASKS_DATABASE",
    "NX_TASKS_OPERATOR_ACCOUNT",
    "NX_TASKS_READER_ACCOUNT",
    "NX_TASKS_REGION",
    "NX_TASKS_SERVICE_ACCOUNT",
    "NX_SMS_DRY_RUN",
    "NX_SMS_OFFLINE_HOURS",
    "NX_SMS_PER_DEVICE_PER_DAY",
    "NX_SMS_PER_RUN",
    "NX_SMS_REGIONS",
    "NX_SMS_TEXTS",
    "NX_TWILIO_ACCOUNT_SID",
    "NX_TWILIO_AUTH_TOKEN",
    "NX_TWILIO_MESSAGING_SERVICE_SID",
    "NX_TWILIO_URL",
    "STORAGE_EMULATOR_HOST",
)
#: The settings that sending in the cloud requires.
SENDING = {
    "K_REVISION": "send-reset-sms-00001-abc",
    "NX_SMS_REGIONS": "DE,US",
    "NX_SMS_TEXTS": '{"": "RESET"}',
    "NX_TWILIO_ACCOUNT_SID": f"AC{'0' * 32}",
    "NX_TWILIO_AUTH_TOKEN": "secret-of-this-test",
    "NX_TWILIO_MESSAGING_SERVICE_SID": f"MG{'a' * 32}",
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_missing_setting_is_named() -> None:
    """The error states which variable to set."""
    with pytest.raises(settings.SettingMissing, match="GOOGLE_CLOUD_PROJECT"):
        settings.project_id()
    with pytest.raises(settings.SettingMissing, match="NX_TASKS_BUCKET"):
        settings.bucket_name()


def test_firebase_gives_a_deployed_function_project_and_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come with the deployment; a bucket in the settings takes precedence."""
    monkeypatch.setenv("FIREBASE_CONFIG", '{"projectId": "p", "storageBucket": "p.appspot.com"}')
    assert (settings.project_id(), settings.bucket_name()) == ("p", "p.appspot.com")
    monkeypatch.setenv("NX_TASKS_BUCKET", "mine")
    assert settings.bucket_name() == "mine"


def test_region_and_database_are_settings_with_googles_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that cannot be a region or a database ends a deployment; the error contains it."""
    assert (settings.region(), settings.database_id()) == ("us-central1", "(default)")
    monkeypatch.setenv("NX_TASKS_REGION", "northamerica-northeast1")
    monkeypatch.setenv("NX_TASKS_DATABASE", "nx-data")
    settings.check()
    assert (settings.region(), settings.database_id()) == ("northamerica-northeast1", "nx-data")
    for name, wrong in [
        ("NX_TASKS_REGION", ""),
        ("NX_TASKS_REGION", "Europe"),
        ("NX_TASKS_REGION", "europe-west1-b"),
        ("NX_TASKS_DATABASE", ""),
        ("NX_TASKS_DATABASE", "default)"),
        ("NX_TASKS_DATABASE", "projects/p/databases/d"),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(name, wrong)
            with pytest.raises(
                settings.SettingInvalid, match=f"^{name} must be .*, got {re.escape(repr(wrong))}$"
            ):
                settings.check()


def test_app_check_is_on_unless_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing setting never switches it off, and a misspelt one is an error."""
    assert settings.app_check()
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")
    assert not settings.app_check()
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "false")
    with pytest.raises(settings.SettingInvalid, match="NX_TASKS_APP_CHECK must be on or off, got 'false'"):
        settings.app_check()


def test_allowed_origins_are_those_in_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset: the project's own hosting (None). Empty: no origin."""
    assert settings.cors_origins() is None
    monkeypatch.setenv("NX_TASKS_CORS_ORIGINS", " ")
    assert settings.cors_origins() == frozenset()
    said = ["https://app.example.com", "http://localhost:5000", "http://127.0.0.1:8080", "http://[::1]:5000"]
    monkeypatch.setenv("NX_TASKS_CORS_ORIGINS", ", ".join(said))
    assert settings.cors_origins() == frozenset(said)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*.example.com",
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/page",
        "https://App.example.com",
        "https://app.example.com:443",
        "http://localhost:80",
        "https://u:p@app.example.com",
        "https://",
        "ftp://app.example.com",
        "null",
        "https://app.example.com,",
        "https://a.example.com https://b.example.com",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    """The error names the variable and shows an example."""
    monkeypatch.setenv("NX_TASKS_CORS_ORIGINS", f"https://good.example.com,{origin}")
    with pytest.raises(settings.SettingInvalid, match=r"NX_TASKS_CORS_ORIGINS must be .* origins .*, got "):
        settings.cors_origins()


def test_calls_have_a_limit_unless_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing setting keeps the limit; 0 removes it."""
    assert settings.calls_per_minute() == 300
    monkeypatch.setenv("NX_TASKS_CALLS_PER_MINUTE", "0")
    assert settings.calls_per_minute() == 0
    for said in ("", "-1", "1.5", "off", "1e3", "1000000", " 5", "٣"):
        monkeypatch.setenv("NX_TASKS_CALLS_PER_MINUTE", said)
        with pytest.raises(
            settings.SettingInvalid, match=r"NX_TASKS_CALLS_PER_MINUTE must be a whole .*, got "
        ):
            settings.calls_per_minute()


def test_cdrs_are_kept_for_the_months_in_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """13 by default, for a year and its anniversary; the error for another value contains it."""
    assert settings.cdr_months() == 13
    monkeypatch.setenv("NX_CDR_MONTHS", "120")
    assert settings.cdr_months() == 120
    for said in ("", "0", "-1", "1.5", "121", "a year", "٣"):
        monkeypatch.setenv("NX_CDR_MONTHS", said)
        with pytest.raises(settings.SettingInvalid, match=r"NX_CDR_MONTHS must be a whole number .*, got "):
            settings.cdr_months()


def test_legs_are_shorter_on_the_local_stack_if_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloud Tasks limits how long a leg may be."""
    assert settings.leg_seconds() == 1500
    for text, seconds in (("", 1500), ("0.5", 0.5), ("90", 90), ("1500", 1500)):
        monkeypatch.setenv("NX_LEG_SECONDS", text)
        assert settings.leg_seconds() == seconds
    for wrong in ("0", "-1", "1500.1", "inf", "nan", "1,500", "25m"):
        monkeypatch.setenv("NX_LEG_SECONDS", wrong)
        with pytest.raises(settings.SettingInvalid, match=f"NX_LEG_SECONDS must be .*, got '{wrong}'"):
            settings.check()


#: Variables of the local stack.
EMULATORS = (
    "API_ENDPOINT_OVERRIDE",
    "CLOUD_SCHEDULER_EMULATOR_HOST",
    "CLOUD_TASKS_EMULATOR_HOST",
    "FIREBASE_AUTH_EMULATOR_HOST",
    "FIREBASE_DATABASE_EMULATOR_HOST",
    "FIREBASE_STORAGE_EMULATOR_HOST",
    "FIRESTORE_EMULATOR_HOST",
    "NX_LEG_SECONDS",
    "PUBSUB_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
)
CLIENTS = (
    "app",
    "firestore_client",
    "firestore_wire",
    "storage_wire",
    "bucket",
    "scheduler_wire",
    "tasks_wire",
)


def local_value(name: str) -> str:
    return "60" if name == "NX_LEG_SECONDS" else "127.0.0.1:1"


@pytest.fixture
def emulator_in_cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One emulator's variable on an instance of Cloud Run that has no client yet."""
    for name in EMULATORS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "GOOGLE_CLOUD_PROJECT": "p",
        "NX_TASKS_BUCKET": "b",
        "K_REVISION": "f-00001-abc",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(request.param, local_value(request.param))
    monkeypatch.setattr(firebase, "_made", {})
    return str(request.param)


@pytest.mark.parametrize("emulator_in_cloud", EMULATORS, indirect=True)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_cloud_makes_no_client_of_an_emulator(emulator_in_cloud: str, client: str) -> None:
    """No client is made for any emulator's variable: tokens and requests go only to Google."""
    with pytest.raises(settings.SettingInvalid, match=f"^{emulator_in_cloud} must not be set in the cloud"):
        getattr(firebase, client)()
    assert not firebase._made


@pytest.mark.parametrize("emulator_in_cloud", EMULATORS, indirect=True)
def test_an_instance_with_an_emulators_variable_does_not_start(
    emulator_in_cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check runs as functions are imported; outside the cloud, or empty, the variable is fine."""
    with pytest.raises(settings.SettingInvalid, match=emulator_in_cloud):
        settings.check()
    monkeypatch.setenv(emulator_in_cloud, "")
    settings.check()
    monkeypatch.setenv(emulator_in_cloud, local_value(emulator_in_cloud))
    monkeypatch.setenv("K_REVISION", "1")
    settings.check()


@pytest.mark.parametrize("emulator_in_cloud", ["FIRESTORE_EMULATOR_HOST"], indirect=True)
@pytest.mark.usefixtures("emulator_in_cloud")
def test_functions_are_not_loaded_with_an_emulators_variable() -> None:
    """Cloud Run then keeps the last revision; the log names the variable."""
    root = Path(__file__).resolve().parents[2]
    loaded = subprocess.run(
        [sys.executable, "-c", "import main"], cwd=root, capture_output=True, text=True, check=False
    )
    assert loaded.returncode != 0
    assert "SettingInvalid: FIRESTORE_EMULATOR_HOST must not be set in the cloud" in loaded.stderr


@pytest.mark.parametrize(("revision", "cloud"), [(None, False), ("1", False), ("health-00003-xyz", True)])
def test_only_cloud_run_is_the_cloud(
    monkeypatch: pytest.MonkeyPatch, revision: str | None, cloud: bool
) -> None:
    """The Functions emulator calls its revision "1"; no emulator's variable makes the cloud local."""
    monkeypatch.setenv("FUNCTIONS_EMULATOR", "true")
    monkeypatch.delenv("K_REVISION", raising=False)
    if revision is not None:
        monkeypatch.setenv("K_REVISION", revision)
    assert settings.in_cloud() is cloud


def test_sending_is_a_dry_run_unless_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the cloud as well: a missing setting sends nothing, and a misspelt one is an error."""
    monkeypatch.setenv("K_REVISION", "send-reset-sms-00001-abc")
    assert settings.sms_dry_run()
    monkeypatch.setenv("NX_SMS_DRY_RUN", "off")
    assert not settings.sms_dry_run()
    monkeypatch.setenv("NX_SMS_DRY_RUN", "no")
    with pytest.raises(settings.SettingInvalid, match="NX_SMS_DRY_RUN must be on or off, got 'no'"):
        settings.sms_dry_run()


def test_messages_have_limits_unless_others_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a country no message is sent; the error for an invalid value contains it."""
    assert settings.sms_limits() == settings.SmsLimits(48, 50, 1, frozenset())
    monkeypatch.setenv("NX_SMS_REGIONS", "DE, US")
    assert settings.sms_limits().regions == {"DE", "US"}
    for name, said in [
        ("NX_SMS_REGIONS", "Germany"),
        ("NX_SMS_REGIONS", "DE,"),
        ("NX_SMS_OFFLINE_HOURS", "23"),
        ("NX_SMS_PER_RUN", "-1"),
        ("NX_SMS_PER_RUN", "1001"),
        ("NX_SMS_PER_DEVICE_PER_DAY", "0"),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(name, said)
            with pytest.raises(settings.SettingInvalid, match=f"{name} must be .*, got '{said}'"):
                settings.sms_limits()


@pytest.mark.parametrize(
    "said",
    [
        "", "RESET", "[]", "{}", '["RESET"]', '{"4.": 1}', '{"4.": ""}', '{"4.": " RESET"}', '{"4.": "RÜCK"}',
        '{"4.": "RE\\nSET"}', '{"4.": "RESET\\n"}', '{"4.": {"": "x"}}', '{"4.": "RESET"',
        '{"4.": "`"}', json.dumps({"4.": "x" * 161}), json.dumps({"4.": "x" * 159 + "~"}),
    ],
)  # fmt: skip
def test_an_invalid_table_of_texts_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """Each text is one SMS of plain ASCII; a command may hold a password, which no error shows."""
    assert settings.sms_texts() == {}
    longest = "y" * 158 + "~"
    monkeypatch.setenv("NX_SMS_TEXTS", json.dumps({"4.0.": "RE SET", "": "#", "5.": longest}))
    assert settings.sms_texts() == {"4.0.": "RE SET", "": "#", "5.": longest}
    monkeypatch.setenv("NX_SMS_TEXTS", said)
    with pytest.raises(settings.SettingInvalid, match=r"NX_SMS_TEXTS must be JSON .* that is not shown$"):
        settings.sms_texts()


def test_twilio_is_twilio_unless_a_stand_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the clear it is on this machine, and never in the cloud: the token goes with each request."""
    assert settings.twilio_url() == "https://api.twilio.com"
    for said in ("http://127.0.0.1:8124", "http://localhost:8124", "https://twilio.example.com"):
        monkeypatch.setenv("NX_TWILIO_URL", said)
        assert settings.twilio_url() == said
    for said in ("http://twilio.example.com", "https://", "ftp://x", "https://h/path", "https://u:p@h", ""):
        monkeypatch.setenv("NX_TWILIO_URL", said)
        with pytest.raises(settings.SettingInvalid, match="NX_TWILIO_URL"):
            settings.twilio_url()
    monkeypatch.setenv("K_REVISION", "send-reset-sms-00001-abc")
    monkeypatch.setenv("NX_TWILIO_URL", "http://127.0.0.1:8124")
    with pytest.raises(settings.SettingInvalid, match="NX_TWILIO_URL"):
        settings.twilio_url()


def test_what_it_takes_to_send_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable that is missing or means nothing is; the token shows in no error and no repr."""
    for name, value in SENDING.items():
        monkeypatch.setenv(name, value)
    account = settings.twilio_account()
    assert account.auth_token == "secret-of-this-test"
    assert "secret-of-this-test" not in repr(account)
    for name in SENDING.keys() - {"K_REVISION"}:
        with monkeypatch.context() as patch:
            patch.delenv(name)
            with pytest.raises(settings.SettingMissing, match=name):
                settings.twilio_account()
            patch.setenv(name, "two words")
            with pytest.raises(settings.SettingInvalid, match=name) as error:
                settings.twilio_account()
            assert name == "NX_SMS_REGIONS" or "two words" not in str(error.value)


def test_nothing_real_is_sent_from_outside_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off on a person's machine, the dry run needs a stand-in there."""
    for name, value in SENDING.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("K_REVISION")
    with pytest.raises(settings.SettingInvalid, match="NX_SMS_DRY_RUN must be on outside the cloud"):
        settings.twilio_account()
    monkeypatch.setenv("NX_TWILIO_URL", "http://127.0.0.1:8124")
    assert settings.twilio_account().url == "http://127.0.0.1:8124"


@pytest.mark.parametrize(
    "name", ["NX_TASKS_SERVICE_ACCOUNT", "NX_TASKS_READER_ACCOUNT", "NX_TASKS_OPERATOR_ACCOUNT"]
)
def test_a_service_account_is_named_in_full(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """firebase-tools completes "name@" for the function, but not for the job that must call as it."""
    said = {
        "NX_TASKS_SERVICE_ACCOUNT": settings.service_account,
        "NX_TASKS_READER_ACCOUNT": settings.reader_account,
        "NX_TASKS_OPERATOR_ACCOUNT": settings.operator_account,
    }[name]
    assert said() is None
    monkeypatch.setenv(name, "nx-tasks@p.iam.gserviceaccount.com")
    assert said() == "nx-tasks@p.iam.gserviceaccount.com"
    for wrong in ("nx-tasks@", "nx-tasks", "somebody@example.com", "default"):
        monkeypatch.setenv(name, wrong)
        with pytest.raises(settings.SettingInvalid, match=name):
            said()
