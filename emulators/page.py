"""The page on the local stack: whether it is built, and that it may call the emulators."""

import json
from pathlib import Path
from typing import Any

#: What the page's build ends with.
_BUILT = Path("web/dist/index.html")
#: What the page reads where it is served.
_CONFIG = Path("web/dist/config.json")
_POLICY = "Content-Security-Policy"
_MAY_CALL = "connect-src 'self'"


def is_built(root: Path) -> bool:
    """Whether there is a page to serve in this project's folder."""
    return (root / _BUILT).exists()


def set_region(root: Path, region: str) -> None:
    """Write into the built page's configuration where the functions are that it calls.

    Args:
        root: The project's folder, with the page's build.
        region: Of the functions.
    """
    path = root / _CONFIG
    config = json.loads(path.read_text("utf-8"))
    if config.get("region") != region:
        changed = path.with_suffix(".new")
        changed.write_text(json.dumps({**config, "region": region}) + "\n", "utf-8")
        changed.replace(path)  # at once: it may be served meanwhile


def let_call(config: dict[str, Any], *emulators: str) -> None:
    """Let the page's policy, strict for a deployment, admit emulators.

    Args:
        config: firebase.json, as it is read; is changed.
        emulators: Those that the page calls.
    """
    at = [config["emulators"][name] for name in emulators]
    origins = " ".join(f"http://{each['host']}:{each['port']}" for each in at)
    headers = [header for rule in config.get("hosting", {}).get("headers", []) for header in rule["headers"]]
    for header in headers:
        if header["key"] == _POLICY:
            header["value"] = header["value"].replace(_MAY_CALL, f"{_MAY_CALL} {origins}")
