"""Alert policies: one file per policy in `deploy/alerts/`, in gcloud's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("alerts")


def policies() -> dict[str, Any]:
    """Return the policies, by file name."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
