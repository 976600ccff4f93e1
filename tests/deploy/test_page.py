"""docs/deploy.md says what the code says, and its commands are there."""

import re
import subprocess
import sys

import pytest

from deploy import costs
from deploy.page import PAGE, written
from tests.deploy.deploying import ROOT, Deployment

TEXT = PAGE.read_text("utf-8")
SCRIPTS = [
    re.sub(r"^ {4}", "", block, flags=re.MULTILINE)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
]


def test_its_generated_parts_are_what_the_code_says() -> None:
    """`make docs` would change nothing."""
    assert written(TEXT) == TEXT, "run `make docs`"


def test_it_enables_what_a_deployment_asks_for(deployment: Deployment) -> None:
    """Each API that firebase-tools wants enabled is enabled before."""
    asked = {
        request.path.rpartition("/")[2] for request in deployment.asked("GET", "serviceusage", "/services/")
    }
    assert asked
    assert asked - set(re.findall(r"[a-z]+\.googleapis\.com", SCRIPTS[0])) == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_its_commands_can_be_read_by_a_shell(script: str) -> None:
    """No quote or bracket is missing."""
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_files_and_commands_that_it_names_are_there() -> None:
    """Links, files of this project, targets of make and commands of `python -m deploy`."""
    for link in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (PAGE.parent / link).exists(), link
    for name in re.findall(r"`((?:deploy|bench|tests|functions|emulators)/[\w/.]+)`", TEXT):
        assert (ROOT / name).exists(), name
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", TEXT)) <= targets
    help_text = subprocess.run(
        [sys.executable, "-m", "deploy", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert all(command in help_text for command in re.findall(r"python -m deploy ([a-z-]+)", TEXT))


def test_costs_follow_from_schedules_and_prices() -> None:
    """At rest it is the tasks that cost; a longer run costs more, a larger answer too."""
    rest = {cost.what: cost.dollars for cost in costs.at_rest()}
    assert len(list(costs.scheduled())) >= 5
    assert rest["jobs of Cloud Scheduler"] == pytest.approx(0.10 * len(list(costs.scheduled())))
    longer = {cost.what: cost.dollars for cost in costs.at_rest(60)}
    assert longer["instances at work"] == pytest.approx(
        rest["instances at work"] * 60 / costs.RUN_SECONDS.value
    )
    assert costs.million_reads(1_000_000, 100) > costs.million_reads(1_000, 100)
    assert costs.million_reads(1_000, 0.01) > costs.million_reads(1_000, 100)
