"""Settings come from the environment; what is missing is named."""

import pytest

from shared import settings

NAMES = (
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "FIREBASE_CONFIG",
    "NX_TASKS_BUCKET",
    "NX_TASKS_APP_CHECK",
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
