"""The checks bite: a copy of the checkout with mistakes in it is deployed, and each check finds its own."""

from pathlib import Path

import pytest

from tests.deploy.deploying import copy_project, deploy
from tests.deploy.findings import findings
from tests.deploy.google import Google


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, f"{path.name} says no more {old!r}: have this test make its mistake another way"
    path.write_text(text.replace(old, new), "utf-8")


def schedule_gets_lost(project: Path) -> None:
    rewrite(
        project / "functions/scheduled_endpoint.py",
        "schedule=schedule, time_zone",
        'schedule="0 0 1 1 *", time_zone',
    )


def scheduled_function_is_public(project: Path) -> None:
    watchdog = project / "functions/scheduled/watchdog.py"
    rewrite(watchdog, "def watchdog(_", "def _watchdog(_")
    with watchdog.open("a", encoding="utf-8") as file:
        file.write(
            "\n\nfrom firebase_functions.https_fn import on_request\n\n\n"
            "@on_request(memory=512, timeout_sec=240)\n"
            "def watchdog(request):\n    return _watchdog(request)\n"
        )


def file_lies_about(project: Path) -> None:
    (project / "shared" / "notes.txt").write_text("to do", "utf-8")


def requirement_is_missing(project: Path) -> None:
    rewrite(project / "requirements.txt", "\nmsgspec==", "\nnothing-of-the-name==")


def rules_let_clients_in(project: Path) -> None:
    rewrite(project / "firestore.rules", "allow read, write: if false", "allow read: if request.auth != null")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the checks find in a deployment of all these mistakes."""
    project = copy_project(tmp_path_factory.mktemp("mistakes"))
    schedule_gets_lost(project)
    scheduled_function_is_public(project)
    file_lies_about(project)
    requirement_is_missing(project)
    rules_let_clients_in(project)
    return findings(deploy(project, Google(), "--force"))


def test_a_wrong_schedule_is_found(found: dict[str, list[str]]) -> None:
    """A schedule that gets changed on its way to Cloud Scheduler."""
    said = "collect_devices_health's job: schedule is '0 0 1 1 *', not '*/5 * * * *'"
    assert said in found["jobs_are_as_written"]


def test_a_public_scheduled_function_is_found(found: dict[str, list[str]]) -> None:
    """A function that Cloud Scheduler is to call, and that anybody may call; it has no job, too."""
    (said,) = found["only_callables_are_public"]
    assert said.startswith("watchdog: who may call is {'roles/run.invoker': {'allUsers'}}, not ")
    assert "watchdog: kind is 'HTTPS', not 'scheduled'" in found["functions_are_as_written"]
    (missing,) = (said for said in found["jobs_are_as_written"] if "schedule is" not in said)
    assert missing.endswith("firebase-schedule-watchdog-us-central1: there is no such job")


def test_an_extra_file_in_the_archive_is_found(found: dict[str, list[str]]) -> None:
    """A file that lies about, and that firebase.json does not keep at home; and files that are others."""
    assert sorted(found["archive_is_the_product"]) == [
        "functions/scheduled/watchdog.py: is another there",
        "functions/scheduled_endpoint.py: is another there",
        "requirements.txt: is another there",
        "shared/notes.txt: has no place in the archive",
    ]


def test_a_missing_requirement_is_found(found: dict[str, list[str]]) -> None:
    """A package that the product imports, and requirements.txt does not name."""
    assert found["requirements_are_complete"]
    assert all("imports msgspec" in said for said in found["requirements_are_complete"])


def test_rules_that_let_clients_in_are_found(found: dict[str, list[str]]) -> None:
    """Rules under which a signed-in client reads the database."""
    (said,) = found["clients_are_denied"]
    assert "allow read: if request.auth != null;" in said


def test_nothing_else_is_found(found: dict[str, list[str]]) -> None:
    """Checks that have nothing to do with these mistakes find nothing."""
    assert found.keys() == {
        "archive_is_the_product",
        "clients_are_denied",
        "functions_are_as_written",
        "jobs_are_as_written",
        "only_callables_are_public",
        "requirements_are_complete",
    }
