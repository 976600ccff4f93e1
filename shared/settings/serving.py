"""How the callables serve: whom, how often, and from how much memory."""

from __future__ import annotations

import re

from shared.settings.declared import Setting, switch, whole
from shared.settings.platform import memory_bytes

#: An origin as browsers send it: small letters, no path, no port that goes without saying.
_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)"
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)
#: Share of the instance's memory that an object of others may have uncompressed. Several times
#: that is taken for a moment: to unpack it, to pack it for answers, beside what is remembered.
FOREIGN_SHARE = 0.125
#: Share of the instance's memory that results may take, where NX_TASKS_CACHE_MB does not say.
CACHE_SHARE = 0.25


def _origins(said: str) -> frozenset[str]:
    origins = [origin.strip() for origin in said.split(",")] if said.strip() else []
    if not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError(said)
    return frozenset(origins)


APP_CHECK = Setting(
    name="NX_TASKS_APP_CHECK",
    meaning="whether callers must show an App Check token",
    wanted="on or off",
    parse=switch,
    counts_in="every callable",
    default="on",
)
CORS_ORIGINS = Setting(
    name="NX_TASKS_CORS_ORIGINS",
    meaning="origins whose pages may call; empty: none",
    wanted="origins as browsers send them, scheme and host[:port] in small letters, with commas between: "
    "`https://app.example.com`",
    parse=_origins,
    counts_in="every callable",
    default_told="the project's own hosting, `https://YOUR-PROJECT.web.app` and `….firebaseapp.com`",
)
CALLS_PER_MINUTE = Setting(
    name="NX_TASKS_CALLS_PER_MINUTE",
    meaning="calls that each user has in a minute on each instance, then `resource-exhausted`; 0: no limit",
    wanted="a whole number below a million, 0 for no limit",
    parse=whole(0, 999_999),
    counts_in="every callable",
    default="300",  # five a second: a page with many readers on it, or a service that asks again and again
)
CACHE_MB = Setting(
    name="NX_TASKS_CACHE_MB",
    meaning="mebibytes that an instance's remembered results may take; 0: none are kept",
    wanted="a whole number of mebibytes, 0 or more",
    parse=whole(0, 999_999),
    counts_in="every function",
    default_told="a quarter of its memory",
)
THREADS = Setting(
    name="THREADS",
    meaning="threads that serve an instance's requests",
    wanted="a whole number from 1 to 1000",
    parse=whole(1, 1_000),
    counts_in="every function",
    default_told="a callable's concurrency, 80; 4 a core for the others",
)


def app_check() -> bool:
    """Tell whether callers must show an App Check token.

    Raises:
        SettingInvalid: NX_TASKS_APP_CHECK says neither "on" nor "off".
    """
    return APP_CHECK.required()


def cors_origins() -> frozenset[str] | None:
    """Return the origins whose pages may call, as browsers send them.

    Returns:
        None where nothing is said: the project's own hosting.

    Raises:
        SettingInvalid: NX_TASKS_CORS_ORIGINS has one that no browser would send.
    """
    return CORS_ORIGINS.value()


def calls_per_minute() -> int:
    """Return the calls a minute that a caller has on an instance; 0 is no limit.

    Raises:
        SettingInvalid: NX_TASKS_CALLS_PER_MINUTE is no such number.
    """
    return CALLS_PER_MINUTE.required()


def cache_bytes() -> int:
    """Return the bytes that an instance's results may take.

    Raises:
        SettingInvalid: NX_TASKS_CACHE_MB is no whole number of mebibytes from 0.
    """
    said = CACHE_MB.value()
    return int(memory_bytes() * CACHE_SHARE) if said is None else said * 1024 * 1024


def foreign_bytes() -> int:
    """Return the bytes of JSON that an object of others may have for a callable to serve it."""
    return int(memory_bytes() * FOREIGN_SHARE)
