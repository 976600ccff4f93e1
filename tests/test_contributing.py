"""CONTRIBUTING shows where each thing is, and shows what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_each_module_of_the_engine_is_shown() -> None:
    """Whoever looks for one finds it in the table, and nothing that is gone."""
    table = (
        (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("Inside the engine:")[2].partition("\n\n|")[2]
    )
    rows = [line.partition("|")[2].partition("|")[0] for line in table.partition("\n\n")[0].splitlines()]
    shown = sorted(name for row in rows for name in re.findall("`(.+?)`", row))
    modules = (ROOT / "shared/tasks").glob("*.py")
    assert shown == sorted(module.stem for module in modules if module.stem != "__init__")
