"""The contract's names, letter by letter."""

import pytest

from shared.tasks import TaskName, TaskStatus, UnknownTask, get_task_data
from shared.tasks.contract import contract_object, parse_task_name, run_object


def test_task_names_are_the_contracts() -> None:
    """The contract's four task names and their wire values are there; others may join them."""
    assert {name.name: name.value for name in TaskName}.items() >= {
        ("send_reset_sms", "send_reset_sms"),
        ("collect_devices_health", "collect_devices_health"),
        ("collect_charge_locations", "collect_charge_locations"),
        ("collect_charge_cdrs", "collect_charge_cdrs"),
    }


def test_statuses_are_the_contracts_old_spelling_included() -> None:
    """The wire says "suspeneded"; the code may say it right."""
    assert {status.value for status in TaskStatus} == {"running", "completed", "failed", "suspeneded"}
    assert TaskStatus.suspended is TaskStatus.suspeneded


def test_the_object_of_a_task_is_the_contracts_path() -> None:
    """`tasks_data/{task_name}.json`, and each attempt's own object below it."""
    assert contract_object(TaskName.collect_charge_cdrs) == "tasks_data/collect_charge_cdrs.json"
    assert run_object(TaskName.collect_charge_cdrs, "r", "t") == "tasks_data/collect_charge_cdrs/r.t.json"


@pytest.mark.parametrize(
    "name", ["nope", "", "../x", "a/b", "nx-settings", None, 3, "collect_charge_cdrs ", "\ud800"]
)
def test_an_unknown_task_is_refused_with_the_names_there_are(name: object) -> None:
    """No path is ever built from a name that is none."""
    with pytest.raises(UnknownTask) as refused:
        parse_task_name(name)
    assert all(known.value in str(refused.value) for known in TaskName)
    with pytest.raises(UnknownTask):
        get_task_data(name)  # type: ignore[arg-type]
