"""Settings come from the environment; what is missing is named."""

import pytest

from shared import settings

NAMES = (
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "FIREBASE_CONFIG",
    "NX_CDR_MONTHS",
    "NX_TASKS_BUCKET",
    "NX_TASKS_APP_CHECK",
    "NX_TASKS_CALLS_PER_MINUTE",
    "NX_TASKS_CORS_ORIGINS",
    "STORAGE_EMULATOR_HOST",
)


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_missing_setting_is_named() -> None:
    """Nothing is guessed: the error says which variable to set."""
    with pytest.raises(settings.SettingMissing, match="GOOGLE_CLOUD_PROJECT"):
        settings.project_id()
    with pytest.raises(settings.SettingMissing, match="NX_TASKS_BUCKET"):
        settings.bucket_name()


def test_firebase_tells_a_deployed_function_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Project and default bucket come with the deployment; a bucket of one's own wins."""
    monkeypatch.setenv("FIREBASE_CONFIG", '{"projectId": "p", "storageBucket": "p.appspot.com"}')
    assert (settings.project_id(), settings.bucket_name()) == ("p", "p.appspot.com")
    monkeypatch.setenv("NX_TASKS_BUCKET", "mine")
    assert settings.bucket_name() == "mine"


def test_app_check_is_on_unless_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting the setting never opens the door, and a misspelt one is an error."""
    assert settings.app_check()
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "off")
    assert not settings.app_check()
    monkeypatch.setenv("NX_TASKS_APP_CHECK", "false")
    with pytest.raises(settings.SettingInvalid, match="NX_TASKS_APP_CHECK is 'false': set it to on or off"):
        settings.app_check()


def test_origins_are_those_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset, the project's own hosting (None); empty, nobody."""
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
def test_what_no_browser_sends_is_no_origin(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    """The error names the variable and shows what is wanted; nobody is let in by mistake."""
    monkeypatch.setenv("NX_TASKS_CORS_ORIGINS", f"https://good.example.com,{origin}")
    with pytest.raises(settings.SettingInvalid, match=r"NX_TASKS_CORS_ORIGINS has .*: set it to origins"):
        settings.cors_origins()


def test_calls_have_a_limit_unless_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting the setting takes no limit away; 0 does."""
    assert settings.calls_per_minute() == settings.CALLS_PER_MINUTE == 300
    monkeypatch.setenv("NX_TASKS_CALLS_PER_MINUTE", "0")
    assert settings.calls_per_minute() == 0
    for said in ("", "-1", "1.5", "off", "1e3", "1000000", " 5", "٣"):
        monkeypatch.setenv("NX_TASKS_CALLS_PER_MINUTE", said)
        with pytest.raises(settings.SettingInvalid, match=r"NX_TASKS_CALLS_PER_MINUTE is .*: set it to a"):
            settings.calls_per_minute()


def test_cdrs_are_kept_for_so_many_months(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirteen, for a year and its anniversary; what is no number of months is an error that names it."""
    assert settings.cdr_months() == settings.CDR_MONTHS == 13
    monkeypatch.setenv("NX_CDR_MONTHS", "120")
    assert settings.cdr_months() == 120
    for said in ("", "0", "-1", "1.5", "121", "a year", "٣"):
        monkeypatch.setenv("NX_CDR_MONTHS", said)
        with pytest.raises(settings.SettingInvalid, match=r"NX_CDR_MONTHS is .*: set it to a whole number"):
            settings.cdr_months()


def test_the_cloud_has_no_auth_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named there, it would have every token believed: an error instead."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    monkeypatch.delenv("K_REVISION", raising=False)
    settings.check_auth_emulator()
    monkeypatch.setenv("K_REVISION", "get-task-data-00001-abc")
    with pytest.raises(settings.SettingInvalid, match="FIREBASE_AUTH_EMULATOR_HOST"):
        settings.check_auth_emulator()


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
