"""Settings of a deployment, as firebase-tools' own code asks for and refuses them; needs no stack."""

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

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[2]
RESOLVER = Path(__file__).with_name("resolved_parameters.mjs")
#: Prints the functions' manifest as firebase-tools receives it.
MANIFEST = """
from firebase_functions.private import serving
print(serving.functions_as_yaml(serving.get_functions()))
"""
#: The same with an optional parameter.
OPTIONAL = (
    f"from firebase_functions.params import StringParam; StringParam('NX_OPTIONAL', default='x')\n{MANIFEST}"
)
#: The settings that sending SMS requires besides the secret.
SENDING = {
    "NX_SMS_DRY_RUN": "off",
    "NX_SMS_REGIONS": "DE, US",
    "NX_SMS_TEXTS": '{"": "RESET"}',
    "NX_TWILIO_ACCOUNT_SID": f"AC{'0' * 32}",
    "NX_TWILIO_MESSAGING_SERVICE_SID": f"MG{'a' * 32}",
}
#: Values in the .env files of each deployment, and the code that prints its manifest.
DEPLOYMENTS: dict[str, tuple[dict[str, str], str]] = {
    "without settings": ({}, MANIFEST),
    "with an account": (SENDING, MANIFEST),
    "without an account": ({"NX_SMS_DRY_RUN": "off"}, MANIFEST),
    "without a default's value": ({}, OPTIONAL),
    "with a default's value": ({"NX_OPTIONAL": "y"}, OPTIONAL),
}
#: An invalid value for each setting; for the bucket's name any text is valid.
NONSENSE = {
    setting.name: "three words here"
    for setting in settings.SETTINGS
    if not setting.secret and setting is not settings.BUCKET
}


def discovered(values: dict[str, str], code: str = MANIFEST) -> subprocess.CompletedProcess[str]:
    """Run firebase-tools' discovery of the functions with these values in the .env files."""
    names = {setting.name for setting in settings.SETTINGS}
    bare = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=bare | values,
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.fixture(scope="module")
def manifests() -> dict[str, str]:
    """The manifest of each deployment."""
    found = {name: discovered(values, code) for name, (values, code) in DEPLOYMENTS.items()}
    for each in found.values():
        assert each.returncode == 0, each.stderr
    return {name: each.stdout for name, each in found.items()}


@pytest.fixture(scope="module")
def deployed(manifests: dict[str, str]) -> dict[str, Any]:
    """The secrets and the error of each non-interactive deployment, from one start of firebase-tools."""
    asked = [{"manifest": manifests[name], "values": values} for name, (values, _) in DEPLOYMENTS.items()]
    command = ["node", RESOLVER]
    resolved = subprocess.run(command, input=json.dumps(asked), capture_output=True, check=True, text=True)
    return dict(zip(DEPLOYMENTS, json.loads(resolved.stdout.splitlines()[-1]), strict=True))


def test_a_deployment_needs_no_setting_but_the_operators(deployed: dict[str, Any]) -> None:
    """Without .env files, prompts, and a Twilio account."""
    assert deployed["without settings"] == {"secrets": ["NX_OCPI_OPERATORS"], "error": None}


def test_a_deployment_that_sends_sms_needs_an_account(deployed: dict[str, Any]) -> None:
    """The error names the missing settings."""
    secrets = ["NX_OCPI_OPERATORS", "NX_TWILIO_AUTH_TOKEN"]
    assert deployed["with an account"] == {"secrets": secrets, "error": None}
    deployment = deployed["without an account"]
    assert deployment["secrets"] == secrets
    missing = "NX_SMS_REGIONS, NX_SMS_TEXTS, NX_TWILIO_ACCOUNT_SID, NX_TWILIO_MESSAGING_SERVICE_SID"
    assert f"have no value for the following environment variables: {missing}" in deployment["error"]


def test_the_pattern_of_a_prompt_accepts_only_valid_values(manifests: dict[str, str]) -> None:
    patterns = re.findall(r"validationRegex: (.+)", manifests["without an account"])
    assert len(patterns) == 4
    for name, pattern in zip(list(SENDING)[1:], patterns, strict=True):
        assert re.search(pattern.strip("'"), SENDING[name])
        for wrong in ("", " ", "x", f"{SENDING[name]}x"):
            assert not re.search(pattern.strip("'"), wrong)


def test_firebase_tools_requires_a_value_for_every_parameter(deployed: dict[str, Any]) -> None:
    """Also for one with a default; therefore settings with a default are not declared as parameters."""
    assert "NX_OPTIONAL" in deployed["without a default's value"]["error"]
    assert deployed["with a default's value"]["error"] is None


def test_an_invalid_setting_is_reported_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every setting but the secrets, the error names the variable and the valid values."""
    settings.check()
    for name, value in NONSENSE.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(settings.SettingInvalid, match=f"{name} must be .*, got "):
                settings.check()


@pytest.mark.parametrize(
    ("values", "error"),
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
def test_a_deployment_fails_at_an_invalid_setting(values: dict[str, str], error: str) -> None:
    """When main.py is imported, by firebase-tools before the upload and by an instance."""
    failed = discovered(values)
    assert failed.returncode != 0
    assert error in failed.stderr


def test_every_setting_is_declared_and_documented() -> None:
    """The product reads no other variable, and docs/deploy.md names each setting."""
    product = "\n".join(
        path.read_text("utf-8")
        for folder in ("functions", "shared")
        for path in (ROOT / folder).rglob("*.py")
    )
    declared = {setting.name for setting in settings.SETTINGS}
    assert set(re.findall(r"\bNX_(?:CDR|OCPI|SMS|TASKS|TWILIO)_[A-Z_]+\b", product)) == declared - {"THREADS"}
    assert len(declared) == len(settings.SETTINGS)
    affected = {name for setting in settings.SETTINGS for name in setting.affects.split(", ")}
    assert affected <= {"every function", "every callable", *main.__all__}
    in_all = {setting.name for setting in settings.SETTINGS if setting.affects == "every callable"}
    read = re.findall(
        r"settings\.(\w+)\(\)", (ROOT / "functions" / "callable_endpoint.py").read_text("utf-8")
    )
    assert in_all == declared & {f"NX_TASKS_{name.upper()}" for name in read}
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    assert [name for name in declared if f"`{name}`" not in page] == []
