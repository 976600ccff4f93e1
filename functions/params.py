"""What `firebase deploy` asks for: secrets, and settings that nothing else can stand for.

Each is a parameter of firebase_functions: firebase-tools asks a person for what is missing, and
writes it down; where nobody can be asked, it ends and names it. It does the same with a parameter
that has a default, so that none is optional. What need not be set is no parameter, then, but
a plain variable of the same .env files; `settings.check` sees that it means something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firebase_functions.params import SecretParam, StringParam, TextInput

from shared import settings

if TYPE_CHECKING:
    from shared.settings import Setting


def secret(setting: Setting[Any]) -> SecretParam:
    """Return the parameter of a secret; it is bound to the functions that name it among their `secrets`."""
    return SecretParam(setting.name, description=_described(setting))


def ask_for(*needed: Setting[Any]) -> None:
    """Have a deployment ask for settings that it needs and lacks.

    Raises:
        SettingMissing: one is there, and empty: firebase-tools takes that for an answer.
    """
    for setting in needed:
        if setting.said() is None:
            pattern = rf"^(?=.*\S)(?:{setting.pattern})$"
            asked = TextInput(validation_regex=pattern, validation_error_message=_described(setting))
            StringParam(setting.name, description=_described(setting), input=asked)
        else:
            setting.required()


def _described(setting: Setting[Any]) -> str:
    return f"{setting.name}: {setting.meaning}. Set it to {setting.wanted}."


OCPI_OPERATORS = secret(settings.OCPI_OPERATORS)
