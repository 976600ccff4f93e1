"""Each check finds its mistake in the deployment of a faulty copy of the checkout."""

from pathlib import Path

import pytest

from tests.deploy.deploying import copy_project, deploy
from tests.deploy.findings import findings
from tests.deploy.google import Google


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, f"{path.name} no longer contains {old!r}; adapt this test's mistake"
    path.write_text(text.replace(old, new), "utf-8")


def change_a_schedule(project: Path) -> None:
    rewrite(
        project / "functions/scheduled_endpoint.py",
        "            schedule=schedule,\n",
        '            schedule="0 0 1 1 *",\n',
    )


def make_a_scheduled_function_public(project: Path) -> None:
    watchdog = project / "functions/scheduled/watchdog.py"
    rewrite(watchdog, "def watchdog(_", "def _watchdog(_")
    with watchdog.open("a", encoding="utf-8") as file:
        file.write(
            "\n\nfrom firebase_functions.https_fn import on_request\n\n\n"
            "@on_request(memory=512, timeout_sec=240)\n"
            "def watchdog(request):\n    return _watchdog(request)\n"
        )


def add_a_file(project: Path) -> None:
    (project / "shared" / "notes.txt").write_text("to do", "utf-8")


def remove_a_requirement(project: Path) -> None:
    rewrite(project / "requirements.txt", "\nmsgspec==", "\nnothing-of-the-name==")


def allow_clients_in_rules(project: Path) -> None:
    rewrite(project / "firestore.rules", "allow read, write: if false", "allow read: if request.auth != null")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The problems that the checks find in a deployment with all mistakes."""
    project = copy_project(tmp_path_factory.mktemp("mistakes"))
    change_a_schedule(project)
    make_a_scheduled_function_public(project)
    add_a_file(project)
    remove_a_requirement(project)
    allow_clients_in_rules(project)
    return findings(deploy(project, Google(), "--force"))


def test_a_wrong_schedule_is_found(found: dict[str, list[str]]) -> None:
    """The schedule in Cloud Scheduler differs from the spec."""
    expected = "collect_devices_health's job: schedule is '0 0 1 1 *', not '*/5 * * * *'"
    assert expected in found["jobs_are_as_written"]


def test_a_public_scheduled_function_is_found(found: dict[str, list[str]]) -> None:
    """A scheduled function can be called without authentication and has no job."""
    (problem,) = found["only_callables_are_public"]
    assert problem.startswith("watchdog: who may call is {'roles/run.invoker': {'allUsers'}}, not ")
    assert "watchdog: kind is 'HTTPS', not 'scheduled'" in found["functions_are_as_written"]
    (missing,) = (problem for problem in found["jobs_are_as_written"] if "schedule is" not in problem)
    assert missing.endswith("firebase-schedule-watchdog-us-central1: there is no such job")


def test_an_extra_file_in_the_archive_is_found(found: dict[str, list[str]]) -> None:
    """The archive has a file that firebase.json does not ignore, and changed files."""
    assert sorted(found["archive_is_the_product"]) == [
        "functions/scheduled/watchdog.py: differs in the archive",
        "functions/scheduled_endpoint.py: differs in the archive",
        "requirements.txt: differs in the archive",
        "shared/notes.txt: does not belong in the archive",
    ]


def test_a_missing_requirement_is_found(found: dict[str, list[str]]) -> None:
    """requirements.txt lacks a package that the product imports."""
    assert found["requirements_are_complete"]
    assert all("imports msgspec" in problem for problem in found["requirements_are_complete"])


def test_rules_that_allow_clients_are_found(found: dict[str, list[str]]) -> None:
    """The rules allow signed-in clients to read the database."""
    (problem,) = found["clients_are_denied"]
    assert "allow read: if request.auth != null;" in problem


def test_nothing_else_is_found(found: dict[str, list[str]]) -> None:
    """Checks without a mistake find no problem."""
    assert found.keys() == {
        "archive_is_the_product",
        "clients_are_denied",
        "functions_are_as_written",
        "jobs_are_as_written",
        "only_callables_are_public",
        "requirements_are_complete",
    }
