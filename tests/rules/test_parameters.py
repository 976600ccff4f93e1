"""What a deployment asks for and what it refuses, by firebase-tools' own code. No stack is needed for it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import main
from shared import settings

ROOT = Path(__file__).resolve().parents[2]
RESOLVER = Path(__file__).with_name("asked_for.mjs")
#: Prints the functions' manifest as firebase-tools is given it.
MANIFEST = """
from firebase_functions.private import serving
print(serving.functions_as_yaml(serving.get_functions()))
"""
#: The same with an optional parameter.
OPTIONAL = (
    f"from firebase_functions.params import StringParam; StringParam('NX_OPTIONAL', default='x')\n{MANIFEST}"
)
#: What it takes to send SMS, beside the secret.
SENDING = {
    "NX_SMS_DRY_RUN": "off",
    "NX_SMS_REGIONS": "DE, US",
    "NX_SMS_TEXTS": '{"": "RESET"}',
    "NX_TWILIO_ACCOUNT_SID": f"AC{'0' * 32}",
    "NX_TWILIO_MESSAGING_SERVICE_SID": f"MG{'a' * 32}",
}
#: For each setting something that means nothing; whatever is not blank is the name of a bucket.
NONSENSE = {
    setting.name: "three words here"
    for setting in settings.SETTINGS
    if not setting.secret and setting is not settings.BUCKET
}


def discovered(said: dict[str, str], code: str = MANIFEST) -> subprocess.CompletedProcess[str]:
    """The functions as firebase-tools discovers them, with what the .env files say."""
    names = {setting.name for setting in settings.SETTINGS}
    bare = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=bare | said,
        capture_output=True,
        check=False,
        text=True,
    )


def deployed(said: dict[str, str], code: str = MANIFEST) -> Any:
    """What becomes of a deployment of these in which nobody can be asked: its secrets, and its error."""
    manifest = discovered(said, code)
    assert manifest.returncode == 0, manifest.stderr
    command = ["node", RESOLVER, json.dumps(said)]
    resolved = subprocess.run(command, input=manifest.stdout, capture_output=True, check=True, text=True)
    return json.loads(resolved.stdout.splitlines()[-1])


def test_a_deployment_needs_no_setting_but_the_operators() -> None:
    """Without any .env file, with nobody to ask, and without an account at Twilio."""
    assert deployed({}) == {"secrets": ["NX_OCPI_OPERATORS"], "error": None}


def test_a_deployment_that_sends_needs_an_account() -> None:
    """What is missing is named; once it is there, so is the deployment."""
    secrets = ["NX_OCPI_OPERATORS", "NX_TWILIO_AUTH_TOKEN"]
    assert deployed(SENDING) == {"secrets": secrets, "error": None}
    told = deployed({"NX_SMS_DRY_RUN": "off"})
    assert told["secrets"] == secrets
    missing = "NX_SMS_REGIONS, NX_SMS_TEXTS, NX_TWILIO_ACCOUNT_SID, NX_TWILIO_MESSAGING_SERVICE_SID"
    assert f"have no value for the following environment variables: {missing}" in told["error"]


def test_what_a_person_is_asked_for_is_checked_as_it_is_answered() -> None:
    """The prompt's pattern takes what the setting takes, and nothing empty."""
    manifest = discovered({"NX_SMS_DRY_RUN": "off"}).stdout
    patterns = re.findall(r"validationRegex: (.+)", manifest)
    assert len(patterns) == 4
    for name, pattern in zip(list(SENDING)[1:], patterns, strict=True):
        assert re.search(pattern.strip("'"), SENDING[name])
        for wrong in ("", " ", "x", f"{SENDING[name]}x"):
            assert not re.search(pattern.strip("'"), wrong)


def test_firebase_tools_knows_no_optional_parameter() -> None:
    """With a default or not, a parameter must be in a .env file: why settings with a default are none."""
    assert "NX_OPTIONAL" in deployed({}, OPTIONAL)["error"]
    assert deployed({"NX_OPTIONAL": "y"}, OPTIONAL)["error"] is None


def test_whatever_means_nothing_is_seen_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting but the secrets: the error names the variable and says what it may be."""
    settings.check()
    for name, value in NONSENSE.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(settings.SettingInvalid, match=f"{name} must be .*, got "):
                settings.check()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            {"NX_CDR_MONTHS": "a year"},
            "SettingInvalid: NX_CDR_MONTHS must be a whole number of months from 1 to 120, got 'a year'",
        ),
        (
            {"NX_TASKS_CACHE_MB": "half"},
            "SettingInvalid: NX_TASKS_CACHE_MB must be a whole number of mebibytes, 0 or more, got 'half'",
        ),
        (
            {**SENDING, "NX_SMS_REGIONS": " "},
            "SettingMissing: NX_SMS_REGIONS is not set; set it to a comma-separated list of ISO 3166",
        ),
    ],
)
def test_a_deployment_ends_at_a_setting_that_means_nothing(said: dict[str, str], error: str) -> None:
    """As main.py is imported: by firebase-tools before anything is uploaded, and by an instance."""
    failed = discovered(said)
    assert failed.returncode != 0
    assert error in failed.stderr


def test_every_setting_is_declared_and_described() -> None:
    """No other variable of this project's is in the product, and docs/deploy.md names each setting."""
    product = "\n".join(
        path.read_text("utf-8")
        for folder in ("functions", "shared")
        for path in (ROOT / folder).rglob("*.py")
    )
    declared = {setting.name for setting in settings.SETTINGS}
    assert set(re.findall(r"\bNX_(?:CDR|OCPI|SMS|TASKS|TWILIO)_[A-Z_]+\b", product)) == declared - {"THREADS"}
    assert len(declared) == len(settings.SETTINGS)
    told = {name for setting in settings.SETTINGS for name in setting.affects.split(", ")}
    assert told <= {"every function", "every callable", *main.__all__}
    in_all = {setting.name for setting in settings.SETTINGS if setting.affects == "every callable"}
    read = re.findall(
        r"settings\.(\w+)\(\)", (ROOT / "functions" / "callable_endpoint.py").read_text("utf-8")
    )
    assert in_all == declared & {f"NX_TASKS_{name.upper()}" for name in read}
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    assert [name for name in declared if f"`{name}`" not in page] == []
