"""How the callables serve: App Check, CORS origins, rate limit, cache size and threads."""

from __future__ import annotations

import re

from shared.settings.declared import Setting, parse_switch, whole_number
from shared.settings.platform import memory_bytes

#: An origin as browsers send it: lower case, no path, no default port.
_ORIGIN = re.compile(
    r"(?!http://.*:80$|https://.*:443$)"
    r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)
#: Share of the instance's memory that an uncompressed legacy object may have. Serving one takes several times
#: as much for a moment: it is decompressed, and compressed again for responses, beside the cached results.
LEGACY_SHARE = 0.125
#: Share of the instance's memory for cached results if NX_TASKS_CACHE_MB is not set.
CACHE_SHARE = 0.25


def _parse_origins(text: str) -> frozenset[str]:
    origins = [origin.strip() for origin in text.split(",")] if text.strip() else []
    if not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError(text)
    return frozenset(origins)


APP_CHECK = Setting(
    name="NX_TASKS_APP_CHECK",
    meaning="whether callers must send an App Check token",
    expected="on or off",
    parse=parse_switch,
    affects="every callable",
    default="on",
)
CORS_ORIGINS = Setting(
    name="NX_TASKS_CORS_ORIGINS",
    meaning="origins whose pages may call; empty for none",
    expected="a comma-separated list of origins as browsers send them, scheme and host[:port] in lower case, "
    "such as `https://app.example.com`",
    parse=_parse_origins,
    affects="every callable",
    default_text="the project's own hosting, `https://YOUR-PROJECT.web.app` and `….firebaseapp.com`",
)
CALLS_PER_MINUTE = Setting(
    name="NX_TASKS_CALLS_PER_MINUTE",
    meaning="calls per minute of each user on each instance, then `resource-exhausted`; 0: no limit",
    expected="a whole number below a million, 0 for no limit",
    parse=whole_number(0, 999_999),
    affects="every callable",
    default="300",  # five per second: enough for a page with many readers, or a service that polls
)
CACHE_MB = Setting(
    name="NX_TASKS_CACHE_MB",
    meaning="mebibytes of memory for the cached results of an instance; 0: no cache",
    expected="a whole number of mebibytes, 0 or more",
    parse=whole_number(0, 999_999),
    affects="every function",
    default_text="a quarter of its memory",
)
THREADS = Setting(
    name="THREADS",
    meaning="threads that serve an instance's requests",
    expected="a whole number from 1 to 1000",
    parse=whole_number(1, 1_000),
    affects="every function",
    default_text="80, the concurrency, for callables; 4 per core for the others",
)


def app_check() -> bool:
    """Return whether callers must send an App Check token.

    Raises:
        SettingInvalid: NX_TASKS_APP_CHECK is neither "on" nor "off".
    """
    return APP_CHECK.required()


def cors_origins() -> frozenset[str] | None:
    """Return the origins whose pages may call, as browsers send them.

    Returns:
        None if NX_TASKS_CORS_ORIGINS is not set, which allows the project's own hosting.

    Raises:
        SettingInvalid: NX_TASKS_CORS_ORIGINS has an origin that browsers do not send.
    """
    return CORS_ORIGINS.value()


def calls_per_minute() -> int:
    """Return the calls per minute that a caller may make on an instance; 0 for no limit.

    Raises:
        SettingInvalid: NX_TASKS_CALLS_PER_MINUTE is not a whole number below a million.
    """
    return CALLS_PER_MINUTE.required()


def cache_bytes() -> int:
    """Return the bytes of memory for an instance's cached results.

    Raises:
        SettingInvalid: NX_TASKS_CACHE_MB is not a whole number of mebibytes, 0 or more.
    """
    megabytes = CACHE_MB.value()
    return int(memory_bytes() * CACHE_SHARE) if megabytes is None else megabytes * 1024 * 1024


def max_legacy_bytes() -> int:
    """Return the largest legacy object that a callable serves, in bytes of uncompressed JSON."""
    return int(memory_bytes() * LEGACY_SHARE)
