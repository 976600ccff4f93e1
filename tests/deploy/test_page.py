"""docs/deploy.md agrees with the code, and its commands exist."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import main
from deploy import costs
from deploy.access import addresses, commands
from deploy.page import PAGE, updated
from tests.deploy.deploying import ROOT, Deployment
from tests.deploy.google import BUCKET, PROJECT

TEXT = PAGE.read_text("utf-8")
SCRIPTS = [
    re.sub(r"^ {4}", "", block, flags=re.MULTILINE)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
]


def test_the_generated_parts_are_up_to_date() -> None:
    """`make docs` would only change the costs of additional tasks."""
    assert updated(TEXT, counted=costs.counted_in(TEXT)) == TEXT, (
        "docs/deploy.md is outdated: run `make docs`"
    )


def test_a_new_task_does_not_make_the_page_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The costs list their scheduled functions, so a changed schedule of one of them is found."""
    counted = costs.counted_in(TEXT)
    assert {"collect_devices_health", "watchdog"} <= set(counted)
    known = list(costs.scheduled())
    monkeypatch.setattr(costs, "scheduled", lambda: [*known, replace(known[0], name="my_task")])
    assert updated(TEXT, counted=counted) == TEXT
    assert "`my_task`" in updated(TEXT)
    monkeypatch.setattr(costs, "scheduled", lambda: [replace(known[0], ticks=1), *known[1:]])
    assert updated(TEXT, counted=counted) != TEXT


def test_the_page_enables_the_apis_of_a_deployment(deployment: Deployment) -> None:
    """Each API that firebase-tools requires is enabled beforehand."""
    asked = {
        request.path.rpartition("/")[2]
        for request in deployment.requests_to("GET", "serviceusage", "/services/")
    }
    assert asked
    assert asked - set(re.findall(r"[a-z]+\.googleapis\.com", SCRIPTS[0])) == set()


def test_the_page_enables_the_apis_of_its_commands() -> None:
    """These are the services that gcloud and curl call, except those that are always enabled."""
    enabled = set(re.findall(r"([a-z]+)\.googleapis\.com", SCRIPTS[0]))
    text = "\n".join([*SCRIPTS, *commands(PROJECT, BUCKET, main.__all__, addresses(PROJECT))])
    services = {"scheduler": "cloudscheduler", "recaptcha": "recaptchaenterprise", "tasks": "cloudtasks"}
    groups = set(re.findall(r"\bgcloud (?:alpha |beta )?([a-z]+)", text)) - {
        "auth",
        "billing",
        "projects",
        "services",
    }
    asked = {services.get(group, group) for group in groups} - {"components"}
    asked |= set(re.findall(r"https://([a-z]+)\.googleapis\.com", text))
    assert {"recaptchaenterprise", "iam", "firebaseappcheck"} <= asked <= enabled


def test_git_ignores_the_files_of_a_deployment(tmp_path: Path) -> None:
    """Settings, secrets and keys of a deployment cannot be committed."""
    script = "\n".join(SCRIPTS)
    written = re.findall(r"(?<![0-9&>])>\s*(?!/dev/)([\w./$-]+)", script)
    written += re.findall(r"--(?:data-file|cors-file)=(\S+)", script)
    files = sorted({name.replace("$PROJECT", PROJECT) for name in written})
    assert {"operators.json", "web/config.json", f".env.{PROJECT}"} <= set(files)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    checked = subprocess.run([*git, "check-ignore", *files], capture_output=True, text=True, check=False)
    assert checked.stdout.split() == files


def test_the_build_uses_the_app_check_key_of_a_deployment(tmp_path: Path) -> None:
    """The key is not written to a tracked file; without it, the page does not use App Check."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copytree(
        ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules", "dist", "config.json")
    )
    shutil.copy(ROOT / "web" / "public" / "config.json", tmp_path / "web" / "public")
    (tmp_path / "web" / "node_modules").symlink_to(ROOT / "web" / "node_modules")
    for key in ("", "a key"):
        if key:
            (tmp_path / "web" / "config.json").write_text(json.dumps({"appCheckSiteKey": key}), "utf-8")
        subprocess.run([tmp_path / ".ci" / "set-up", "build"], check=True, stdout=subprocess.DEVNULL)
        built = tmp_path / "web" / "dist" / "config.json"
        assert json.loads(built.read_text("utf-8")) == {"appCheckSiteKey": key}


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_the_commands_are_valid_shell_syntax(script: str) -> None:
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_the_files_and_commands_in_the_page_exist() -> None:
    """This includes links, files, make targets and commands of `python -m deploy`."""
    for link in re.findall(r"\]\((?!http)([^)#]+)", TEXT):
        assert (PAGE.parent / link).exists(), link
    for name in re.findall(r"`((?:deploy|bench|tests|functions|emulators)/[\w/.]+)`", TEXT):
        assert (ROOT / name).exists(), name
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", TEXT)) <= targets
    help_text = subprocess.run(
        [sys.executable, "-m", "deploy", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert all(command in help_text for command in re.findall(r"python -m deploy ([a-z-]+)", TEXT))


def test_costs_depend_on_schedules_and_prices() -> None:
    """Without reads only the tasks cost; longer runs and larger responses cost more."""
    rest = {cost.item: cost.dollars for cost in costs.monthly_costs()}
    assert len(list(costs.scheduled())) >= 5
    assert rest["Cloud Scheduler jobs"] == pytest.approx(0.10 * len(list(costs.scheduled())))
    longer = {cost.item: cost.dollars for cost in costs.monthly_costs(60)}
    assert longer["instance time"] == pytest.approx(rest["instance time"] * 60 / costs.RUN_SECONDS.value)
    assert costs.million_reads(1_000_000, 100) > costs.million_reads(1_000, 100)
    assert costs.million_reads(1_000, 0.01) > costs.million_reads(1_000, 100)
