"""Parameters that `firebase deploy` asks for: secrets, and settings without a default.

firebase-tools asks a person for a parameter that is not set and stores the answer; without a terminal it ends
with an error that names the parameter. It also asks for parameters that have a default, so no parameter is
optional. Optional settings are therefore plain variables of the same .env files, which `settings.check`
checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.params import SecretParam, StringParam, TextInput

from shared import settings

if TYPE_CHECKING:
    from shared.settings import Setting


def secret(setting: Setting[Any]) -> SecretParam:
    """Return the parameter of a secret, for the option `secrets` of the functions that read it."""
    return SecretParam(setting.name, description=_description(setting))


def ask_for(*required: Setting[Any]) -> None:
    """Have a deployment ask for required settings that are not set.

    Raises:
        SettingMissing: A setting is set but empty, which firebase-tools accepts as an answer.
    """
    for setting in required:
        if setting.text() is None:
            pattern = rf"^(?=.*\S)(?:{setting.pattern})$"
            answer = TextInput(validation_regex=pattern, validation_error_message=_description(setting))
            StringParam(setting.name, description=_description(setting), input=answer)
        else:
            setting.required()


def _description(setting: Setting[Any]) -> str:
    return f"{setting.name}: {setting.meaning}. Set it to {setting.expected}."


OCPI_OPERATORS = secret(settings.OCPI_OPERATORS)
