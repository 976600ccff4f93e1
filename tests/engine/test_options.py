"""The options of a run (docs/contract.md, "Options")."""

from datetime import UTC, datetime

import pytest

from shared.tasks import ExecuteTaskOptions, InvalidOptions, TaskName, TaskSpec, execute_task


def test_defaults_are_those_of_the_contract() -> None:
    """Debug logs are on, the result goes to cache and database, and the last result stays until replaced."""
    options = ExecuteTaskOptions.of(None)
    assert (options.save_in, options.debug_logs, options.keep_last_result) == (None, True, True)
    assert (options.scheduled_for, options.deadline_seconds, options.lease_seconds) == (None, 540, 60)


def test_options_may_be_a_mapping() -> None:
    """The contract's object literal is a dict here."""
    assert ExecuteTaskOptions.of({"save_in": "storage"}) == ExecuteTaskOptions(save_in="storage")


def test_the_error_for_an_unknown_option_lists_all_options() -> None:
    """A misspelt option is not silently replaced by the default."""
    with pytest.raises(InvalidOptions, match=r"unknown option saveIn; use save_in, debug_logs"):
        ExecuteTaskOptions.of({"saveIn": "db"})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"save_in": "disk"}, 'save_in must be "storage", "db", "none" or None, got \'disk\''),
        ({"save_in": 1}, 'save_in must be "storage", "db", "none" or None, got 1'),
        ({"debug_logs": "yes"}, "debug_logs must be True or False, got 'yes'"),
        ({"deadline_seconds": 0}, "deadline_seconds must be a positive number of seconds, got 0"),
        (
            {"deadline_seconds": float("nan")},
            "deadline_seconds must be a positive number of seconds, got nan",
        ),
        ({"deadline_seconds": True}, "deadline_seconds must be a positive number of seconds, got True"),
        ({"lease_seconds": -1}, "lease_seconds must be a positive number of seconds, got -1"),
        ({"lease_seconds": "60"}, "lease_seconds must be a positive number of seconds, got '60'"),
        ({"scheduled_for": datetime(2026, 1, 1)}, "scheduled_for must be a datetime with a time zone, got"),  # noqa: DTZ001
        ({"scheduled_for": "2026-01-01T00:00:00Z"}, "scheduled_for must be a datetime with a time zone, got"),
        ({1: 2}, "unknown option 1"),
        ([], "options must be ExecuteTaskOptions or a mapping, got a list"),
    ],
)
def test_the_error_for_an_invalid_value_names_the_option(options: object, text: str) -> None:
    """And the valid values."""
    with pytest.raises(InvalidOptions) as refused:
        ExecuteTaskOptions.of(options)  # type: ignore[arg-type]
    assert text in str(refused.value)


@pytest.mark.parametrize("source", ["", "  ", None, 5, "x" * 501, "a\nb"])
def test_an_empty_or_invalid_source_is_refused(source: object) -> None:
    """The contract's `source` names the caller; without it the task does not run."""
    ran = []
    with pytest.raises(InvalidOptions, match="source"):
        execute_task(source, TaskName.send_reset_sms, lambda: ran.append(1))  # type: ignore[arg-type]
    assert ran == []


def test_an_unknown_time_zone_is_refused_at_import() -> None:
    """The error names it."""
    with pytest.raises(InvalidOptions, match="unknown time zone 'Europe/Atlantis'"):
        TaskSpec(TaskName.send_reset_sms, time_zone="Europe/Atlantis")


def test_equal_moments_are_the_same_run_in_every_zone() -> None:
    """A run's id is its tick in UTC, to the microsecond."""
    from datetime import timedelta, timezone  # noqa: PLC0415

    from shared.tasks.documents.run_ids import run_id_of  # noqa: PLC0415

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
        {"max_age_seconds": "5"},
        {"max_age_seconds": True},
        {"time_zone": "Europe"},
        {"time_zone": ""},
        {"time_zone": None},
        {"schedule": 5},
        {"schedule": ["*/5 * * * *"]},
    ],
)
def test_an_invalid_spec_is_refused_at_import(wrong: dict[str, object]) -> None:
    """The deployment fails, not the first tick; the error names the task."""
    with pytest.raises(InvalidOptions, match=r"^send_reset_sms: .*"):
        TaskSpec(TaskName.send_reset_sms, **wrong)  # type: ignore[arg-type]


def test_a_spec_must_have_a_task_name() -> None:
    """A str with the name of a task is refused, too."""
    with pytest.raises(InvalidOptions, match="must be a member of TaskName, got 'send_reset_sms'"):
        TaskSpec("send_reset_sms")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "cron"),
    [
        ("every 5 minutes", "*/5 * * * *"),
        ("every 1 minute", "* * * * *"),
        ("every 1 min", "* * * * *"),
        ("Every  30 mins", "*/30 * * * *"),
        ("every 1 hour", "0 * * * *"),
        ("every 60 minutes", "0 * * * *"),
        ("every 6 hours", "0 */6 * * *"),
        ("every 24 hours", "0 0 * * *"),
        ("every day 09:05", "5 9 * * *"),
        ("every monday,fri 17:30", "30 17 * * MON,FRI"),
    ],
)
def test_the_error_for_an_english_schedule_shows_its_unix_cron_form(schedule: str, cron: str) -> None:
    """Google documents the header that identifies a tick only for unix-cron."""
    with pytest.raises(InvalidOptions) as refused:
        TaskSpec(TaskName.send_reset_sms, schedule=schedule)
    assert str(refused.value) == (
        f"send_reset_sms: schedule must be a unix-cron expression, got {schedule!r}; use {cron!r}"
    )
    assert TaskSpec(TaskName.send_reset_sms, schedule=cron).schedule == cron


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ("every 7 minutes", "use five fields such as '*/5 * * * *'"),  # has no unix-cron form
        ("every 0 minutes", "use five fields"),
        ("every fooday 09:00", "use five fields"),
        ("nonsense", "use five fields"),
        ("", "got ''"),
        ("@daily", "use five fields"),
        ("0 * * * * *", "use five fields"),
        (" * * * * *", "use five fields"),
        ("60 * * * *", "minute must be *, */N or a list of numbers and ranges from 0 to 59, got '60'"),
        ("0 24 * * *", "hour must be"),
        ("0 0 0 * *", "day of the month must be"),
        ("0 0 L * *", "day of the month must be"),
        ("0 0 1 13 *", "month must be"),
        ("0 0 1 mon *", "month must be"),
        ("0 0 * * 8", "day of the week must be"),
        ("0 0 * * 0mon", "day of the week must be"),
        ("0 0 * * 5#1", "day of the week must be"),
        ("5-1 * * * *", "got '5-1'; the range 5-1 is reversed, write '5-59,0-1'"),
        ("0 20-5 * * *", "got '20-5'; the range 20-5 is reversed, write '20-23,0-5'"),
        ("0 0 * * fri-mon", "got 'fri-mon'; the range fri-mon is reversed, write 'fri-7,0-mon'"),
        ("5/10 * * * *", "got '5/10'"),
        ("*/0 * * * *", "got '*/0'"),
        ("1,,2 * * * *", "got '1,,2'"),
        ("\u0661 * * * *", "minute must be"),
        ("0 0 30 2 *", "matches no date"),
        ("0 0 31 4,6 *", "matches no date"),
    ],
)
def test_an_invalid_schedule_is_refused_at_import(schedule: str, text: str) -> None:
    """Before the deployment; otherwise the watchdog would not find the task's ticks."""
    with pytest.raises(InvalidOptions) as refused:
        TaskSpec(TaskName.send_reset_sms, schedule=schedule)
    assert text in str(refused.value)
