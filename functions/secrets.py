"""Secrets that more than one function reads. Each is bound to those functions alone, by their `secrets`."""

from firebase_functions.params import SecretParam

from shared import settings

OCPI_OPERATORS = SecretParam(
    settings.OCPI_OPERATORS,
    description='Charge point operators, a JSON list of {"name", "url" (of /versions), "token"}.',
)
