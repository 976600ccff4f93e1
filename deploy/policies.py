"""What Cloud Monitoring gets: alert policies, log-based metrics and a dashboard, in gcloud's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("alerts")
METRICS = Path(__file__).with_name("metrics")
DASHBOARD = Path(__file__).with_name("dashboard.json")


def policies() -> dict[str, Any]:
    """Return the policies, by file name."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def metrics() -> dict[str, Any]:
    """Return the log-based metrics, by name, which is that of their file."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(METRICS.glob("*.json"))}


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return found
