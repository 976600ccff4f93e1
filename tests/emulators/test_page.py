"""The page on the local stack."""

import json
from pathlib import Path

from emulators import page
from emulators.stack import ROOT


def test_the_local_page_may_call_only_the_emulators_besides() -> None:
    """Its policy is the deployed one with three additional origins."""
    config = json.loads((ROOT / "firebase.json").read_text("utf-8"))
    deployed = json.dumps(config["hosting"])
    page.let_call(config, "auth", "functions", "storage")
    origins = " ".join(
        f"http://127.0.0.1:{config['emulators'][name]['port']}" for name in ("auth", "functions", "storage")
    )
    local = json.dumps(config["hosting"])
    assert local.count(origins) == 1
    assert local.replace(f" {origins}", "") == deployed


def test_a_missing_build_of_the_page_is_detected(tmp_path: Path) -> None:
    """The last file of the build shows whether the page is built."""
    assert not page.is_built(tmp_path)
    (tmp_path / "web/dist").mkdir(parents=True)
    (tmp_path / "web/dist/404.html").touch()
    assert page.is_built(tmp_path)
