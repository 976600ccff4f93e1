"""The checks bite: a copy of the checkout with one mistake in it is deployed, and the mistake is found."""

from pathlib import Path

from tests.deploy.conftest import Changed
from tests.deploy.findings import findings


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, f"{path.name} says no more {old!r}: have this test make its mistake another way"
    path.write_text(text.replace(old, new), "utf-8")


def only(found: dict[str, list[str]], check: str) -> str:
    """The findings of one check, which is the only one that finds something."""
    assert list(found) == [check], found
    return "\n".join(found[check])


def test_a_wrong_schedule_is_found(changed: Changed) -> None:
    """A schedule that gets changed on its way to Cloud Scheduler."""

    def mistake(project: Path) -> None:
        rewrite(
            project / "functions/delivery.py",
            "schedule=schedule, time_zone",
            'schedule="0 0 1 1 *", time_zone',
        )

    said = only(without_archive(findings(changed(mistake))), "jobs_are_as_written")
    assert "collect_devices_health's job: schedule is '0 0 1 1 *', not '*/5 * * * *'" in said


def test_a_public_scheduled_function_is_found(changed: Changed) -> None:
    """A function that Cloud Scheduler calls, and that anybody else may call."""

    def mistake(project: Path) -> None:
        rewrite(project / "functions/scheduled/watchdog.py", "def watchdog(_", "def _watchdog(_")
        with (project / "functions/scheduled/watchdog.py").open("a", encoding="utf-8") as file:
            file.write(
                "\n\nfrom firebase_functions.https_fn import on_request\n\n\n"
                "@on_request(memory=512, timeout_sec=240)\n"
                "def watchdog(request):\n    return _watchdog(request)\n"
            )

    found = without_archive(findings(changed(mistake)))
    assert found.keys() == {"functions_are_as_written", "jobs_are_as_written", "only_callables_are_public"}
    (said,) = found["only_callables_are_public"]
    assert said.startswith("watchdog: who may call is {'roles/run.invoker': {'allUsers'}}, not ")


def test_an_extra_file_in_the_archive_is_found(changed: Changed) -> None:
    """A file that lies about, and that firebase.json does not keep at home."""

    def mistake(project: Path) -> None:
        (project / "shared" / "notes.txt").write_text("to do", "utf-8")

    said = only(findings(changed(mistake)), "archive_is_the_product")
    assert said == "shared/notes.txt: has no place in the archive"


def test_a_missing_requirement_is_found(changed: Changed) -> None:
    """A package that the product imports, and requirements.txt does not name."""

    def mistake(project: Path) -> None:
        rewrite(project / "requirements.txt", "\nmsgspec==", "\nnothing-of-the-name==")

    found = without_archive(findings(changed(mistake)))
    assert "imports msgspec, which requirements.txt lacks" in only(found, "requirements_are_complete")


def test_rules_that_let_clients_in_are_found(changed: Changed) -> None:
    """Rules under which a signed-in client reads the database."""

    def mistake(project: Path) -> None:
        rewrite(
            project / "firestore.rules", "allow read, write: if false", "allow read: if request.auth != null"
        )

    assert "allow read: if request.auth != null" in only(findings(changed(mistake)), "clients_are_denied")


def without_archive(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Leave out that a file which a test changed is another in the archive: it is."""
    texts = [
        text for text in found.get("archive_is_the_product", ()) if not text.endswith(": is another there")
    ]
    return {name: said for name, said in {**found, "archive_is_the_product": texts}.items() if said}
