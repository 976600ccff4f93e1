"""The contract's names, letter by letter."""

import pytest

from shared.tasks import TaskName, TaskStatus, UnknownTask, get_task_data
from shared.tasks.contract import contract_object, parse_task_name, run_object


def test_task_names_contain_those_of_the_contract() -> None:
    """All four with their wire values; other tasks may be added."""
    assert {name.name: name.value for name in TaskName}.items() >= {
        ("send_reset_sms", "send_reset_sms"),
        ("collect_devices_health", "collect_devices_health"),
        ("collect_charge_locations", "collect_charge_locations"),
        ("collect_charge_cdrs", "collect_charge_cdrs"),
    }


def test_statuses_are_those_of_the_contract() -> None:
    """The wire value is "suspeneded"; the code uses the correct spelling."""
    assert {status.value for status in TaskStatus} == {"running", "completed", "failed", "suspeneded"}
    assert TaskStatus.suspended is TaskStatus.suspeneded


def test_object_paths_are_those_of_the_contract() -> None:
    """`tasks_data/{task_name}.json`, and the result object of each attempt below it."""
    assert contract_object(TaskName.collect_charge_cdrs) == "tasks_data/collect_charge_cdrs.json"
    assert run_object(TaskName.collect_charge_cdrs, "r", "t") == "tasks_data/collect_charge_cdrs/r.t.json"


@pytest.mark.parametrize(
    "name", ["nope", "", "../x", "a/b", "nx-settings", None, 3, "collect_charge_cdrs ", "\ud800"]
)
def test_the_error_for_an_unknown_task_lists_all_tasks(name: object) -> None:
    """No path is built from an unknown name."""
    with pytest.raises(UnknownTask) as refused:
        parse_task_name(name)
    assert all(known.value in str(refused.value) for known in TaskName)
    with pytest.raises(UnknownTask):
        get_task_data(name)  # type: ignore[arg-type]
