"""What a caller may choose (contract: "execute_task", options)."""

from datetime import UTC, datetime

import pytest

from shared.tasks import ExecuteTaskOptions, InvalidOptions, TaskName, TaskSpec, execute_task


def test_defaults_are_the_contracts() -> None:
    """Debug logs are on, the result goes to cache and database, the last one stays until replaced."""
    options = ExecuteTaskOptions.of(None)
    assert (options.save_in, options.debug_logs, options.keep_last_result) == (None, True, True)
    assert (options.scheduled_for, options.deadline_seconds, options.lease_seconds) == (None, 540, 60)


def test_a_mapping_is_as_good_as_an_object() -> None:
    """The contract's object literal is a dict here."""
    assert ExecuteTaskOptions.of({"save_in": "storage"}) == ExecuteTaskOptions(save_in="storage")


def test_unknown_option_is_named_with_those_there_are() -> None:
    """A misspelt option is an error and not silently the default."""
    with pytest.raises(InvalidOptions, match=r"unknown option saveIn: use save_in, debug_logs"):
        ExecuteTaskOptions.of({"saveIn": "db"})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"save_in": "disk"}, "save_in is 'disk': use one of storage, db, none"),
        ({"save_in": 1}, "save_in is 1"),
        ({"debug_logs": "yes"}, "debug_logs is 'yes': use True or False"),
        ({"deadline_seconds": 0}, "deadline_seconds is 0: use a positive number of seconds"),
        ({"deadline_seconds": float("nan")}, "deadline_seconds is nan"),
        ({"deadline_seconds": True}, "deadline_seconds is True"),
        ({"lease_seconds": -1}, "lease_seconds is -1"),
        ({"lease_seconds": "60"}, "lease_seconds is '60'"),
        ({"scheduled_for": datetime(2026, 1, 1)}, "use a datetime with a time zone"),  # noqa: DTZ001
        ({"scheduled_for": "2026-01-01T00:00:00Z"}, "use a datetime with a time zone"),
        ({1: 2}, "unknown option 1"),
        ([], "options is a list"),
    ],
)
def test_a_value_no_run_can_have_is_named(options: object, says: str) -> None:
    """Each bad value is refused with its name and what to use."""
    with pytest.raises(InvalidOptions) as refused:
        ExecuteTaskOptions.of(options)  # type: ignore[arg-type]
    assert says in str(refused.value)


@pytest.mark.parametrize("source", ["", "  ", None, 5, "x" * 501, "a\nb"])
def test_a_source_that_names_nobody_is_refused(source: object) -> None:
    """The contract's `source` says who asked for the run; without one nothing runs."""
    ran = []
    with pytest.raises(InvalidOptions, match="source"):
        execute_task(source, TaskName.send_reset_sms, lambda: ran.append(1))  # type: ignore[arg-type]
    assert ran == []


def test_an_unknown_time_zone_is_named() -> None:
    """A schedule in a zone that does not exist is found at import, not at night."""
    with pytest.raises(InvalidOptions, match="unknown time zone 'Europe/Atlantis'"):
        TaskSpec(TaskName.send_reset_sms, time_zone="Europe/Atlantis")


def test_equal_moments_are_the_same_run_in_every_zone() -> None:
    """A run's id is its tick in UTC, to the microsecond."""
    from datetime import timedelta, timezone  # noqa: PLC0415

    from shared.tasks.writes import run_id_of  # noqa: PLC0415

    utc = datetime(2026, 3, 29, 1, 30, 0, 5, tzinfo=UTC)
    assert run_id_of(utc) == "2026-03-29T01:30:00.000005Z"
    assert run_id_of(utc.astimezone(timezone(timedelta(hours=5, minutes=30)))) == run_id_of(utc)


@pytest.mark.parametrize(
    "wrong",
    [
        {"save_in": "disk"},
        {"deadline_seconds": 0},
        {"max_age_seconds": -1},
        {"max_age_seconds": float("nan")},
        {"roles": "viewer"},
        {"roles": ["viewer"]},
        {"roles": ("viewer", "")},
        {"roles": (None,)},
    ],
)
def test_a_spec_that_no_run_can_have_is_refused_at_import(wrong: dict[str, object]) -> None:
    """A misspelt save option is found by the deployment, not by the first tick."""
    with pytest.raises(InvalidOptions):
        TaskSpec(TaskName.send_reset_sms, **wrong)  # type: ignore[arg-type]
