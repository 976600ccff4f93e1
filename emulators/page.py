"""The page on the local stack: whether it is built, its region, and its permission to call the emulators."""

import json
from pathlib import Path
from typing import Any

#: The last file that the page's build writes.
_BUILT = Path("web/dist/404.html")
#: The configuration that the served page reads.
_CONFIG = Path("web/dist/config.json")
_POLICY = "Content-Security-Policy"
_MAY_CALL = "connect-src 'self'"


def is_built(root: Path) -> bool:
    """Return whether the page is built in this project's folder."""
    return (root / _BUILT).exists()


def set_region(root: Path, region: str) -> None:
    """Write the functions' region to the built page's configuration.

    Args:
        root: The project's folder, with the built page.
        region: Region of the functions.
    """
    path = root / _CONFIG
    config = json.loads(path.read_text("utf-8"))
    if config.get("region") != region:
        changed = path.with_suffix(".new")
        changed.write_text(json.dumps({**config, "region": region}) + "\n", "utf-8")
        changed.replace(path)  # atomic, because the page may be served at this moment


def let_call(config: dict[str, Any], *emulators: str) -> None:
    """Add emulators to the page's content security policy.

    Args:
        config: The parsed firebase.json; it is changed.
        emulators: Names of the emulators that the page calls.
    """
    at = [config["emulators"][name] for name in emulators]
    origins = " ".join(f"http://{each['host']}:{each['port']}" for each in at)
    headers = [header for rule in config.get("hosting", {}).get("headers", []) for header in rule["headers"]]
    for header in headers:
        if header["key"] == _POLICY:
            header["value"] = header["value"].replace(_MAY_CALL, f"{_MAY_CALL} {origins}")
