"""Locations of all operators, without deleted ones, and counted."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from shared.collectors import charge_locations
from shared.collectors.charge_locations import power_class, read_location, watts
from shared.collectors.ocpi.crawl import conclude, crawl
from shared.collectors.ocpi.errors import SetAside
from shared.collectors.ocpi.memory import Memory
from shared.collectors.ocpi.operators import Operator
from shared.collectors.ocpi.owners import Owners
from shared.collectors.ocpi.reading import Checked
from shared.collectors.ocpi.records import EvseStatus, Location
from shared.collectors.ocpi.summary import MAX_BYTES
from shared.tasks import DeadlineExceeded, RunLost, TaskName
from tests.collectors.hostile import TOKEN, HttpRequest, hostile, serving
from tests.collectors.ocpi_samples import connector, evse, location
from tests.collectors.runs import FAST, new_run


def raw(record: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(record))


#: The current time in each run.
NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)


def collected(
    *operators: Operator, previous: list[dict[str, Any]] | None = None, memory: Memory | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The result and the summary of a run."""
    run = new_run(TaskName.collect_charge_locations)
    records = list(
        charge_locations.collect(operators, lambda: previous or [], run, now=NOW, memory=memory, limits=FAST)
    )
    assert run.summary is not None
    return records, run.summary


def test_the_locations_of_all_operators_are_one_list(both: tuple[Operator, ...]) -> None:
    """Ordered by key, each with its operator, without invalid and removed records of the demo."""
    records, summary = collected(*both)
    keys = [(each["country_code"], each["party_id"], each["id"]) for each in records]
    assert keys == sorted(set(keys))
    # Of 220 and 130: every fortieth has no EVSE left, every sixtieth from 30 on lacks its time zone.
    assert [each["nx_operator"] for each in records].count("north") == 220 - 5 - 4
    assert [each["nx_operator"] for each in records].count("south") == 130 - 3 - 2
    assert (summary["count"], summary["deleted"], summary["set_aside"]) == (336, 8, 6)
    assert summary["operators"] == [
        {"name": "north", "state": "read", "records": 216, "set_aside": 4},
        {"name": "south", "state": "read", "records": 128, "set_aside": 2},
    ]
    reason = {
        "operator": "north",
        "record": "DE/NXN/LOC0030",
        "reason": "Object missing required field `time_zone`",
    }
    assert summary["reasons"][0] == reason
    evses = [each for record in records for each in record["evses"]]
    assert summary["evses"]["count"] == sum(summary["evses"]["by_status"].values()) == len(evses)
    assert "REMOVED" not in summary["evses"]["by_status"]


def test_a_record_is_stored_unchanged() -> None:
    """Unknown fields, `publish`, nulls and numbers stay; only `nx_operator` is added."""
    odd = location(
        publish=False, name=None, x_own={"a": [1, 2.5, None, "ü"]}, publish_allowed_to=[{"uid": "1"}]
    )
    with hostile(serving(odd)) as server:
        records, _ = collected(server.operator())
    assert records == [odd | {"nx_operator": "hostile"}]


def test_removed_evses_and_locations_are_left_out() -> None:
    """A location is removed with its last EVSE, or if it never had one."""
    served = [
        location(id="A", evses=[evse("1"), evse("2", "REMOVED")]),
        location(id="B", evses=[evse("1", "REMOVED"), evse("2", "REMOVED")]),
        location(id="C", evses=[]),
        location(id="D", evses=...),
        location(id="E", evses=None),
    ]
    with hostile(serving(*served)) as server:
        records, summary = collected(server.operator())
    assert [(each["id"], [one["uid"] for one in each["evses"]]) for each in records] == [("A", ["1"])]
    assert (summary["count"], summary["deleted"], summary["set_aside"]) == (1, 4, 0)


def test_the_newer_version_of_a_location_wins_even_when_it_is_removed() -> None:
    gone = location(evses=[evse("1", "REMOVED")], last_updated="2026-05-02T00:00:00Z")
    with hostile(serving(gone, location())) as server:
        assert collected(server.operator())[0] == []


def test_a_party_belongs_to_one_operator() -> None:
    """The first that delivered it; another operator's records of it are set aside with the reason."""
    newer = location(name="other", last_updated="2026-01-01T00:00:00.5")
    with hostile(serving(location(name="own"))) as direct, hostile(serving(newer)) as hub:
        operators = direct.operator("direct"), hub.operator("hub")
        records, summary = collected(*operators)
        assert [(each["name"], each["nx_operator"]) for each in records] == [("own", "direct")]
        reason = "this party belongs to the operator direct; list it in `parties` of the right operator"
        assert summary["reasons"] == [{"operator": "hub", "record": "BE*BEC", "reason": reason}]
        assert summary["operators"][1] == {"name": "hub", "state": "read", "records": 0, "set_aside": 1}
        # The details of the last run take precedence over the order, and the setting over the details.
        memory = Memory(parties={"BE*BEC": "hub"})
        assert [each["name"] for each in collected(*operators, memory=memory)[0]] == ["other"]
        configured = direct.operator("direct", parties=("be*bec",)), hub.operator("hub")
        assert [each["name"] for each in collected(*configured, memory=memory)[0]] == ["own"]
        # An operator that is not in the setting has no parties.
        assert [each["name"] for each in collected(operators[0], memory=memory)[0]] == ["own"]


def test_a_failed_operator_keeps_its_party() -> None:
    """Its last good records stay, and no other operator replaces them."""
    previous = [location(name="kept", nx_operator="direct")]
    newer = location(name="other", last_updated="2026-01-01T00:00:00Z")
    with hostile(lambda request: request.body(b"")) as direct, hostile(serving(newer)) as hub:
        operators = direct.operator("direct"), hub.operator("hub")
        memory = Memory(parties={"BE*BEC": "direct"})
        records, _ = collected(*operators, previous=previous, memory=memory)
        assert [each["name"] for each in records] == ["kept"]
        given = direct.operator("direct"), hub.operator("hub", parties=("BE*BEC",))
        records, _ = collected(*given, previous=previous, memory=memory)
        assert [each["name"] for each in records] == ["other"]


def test_the_last_result_decides_the_party_without_details() -> None:
    """As after an upgrade; also when the operator fails and another delivers records of its party."""
    strange: list[Any] = [None, 5, {"id": 1}, location(nx_operator=1)]
    previous = [*strange, location(name="kept", nx_operator="good")]
    newer = location(name="other", last_updated="2026-01-01T00:00:00Z")
    with hostile(lambda request: request.body(b"")) as failing, hostile(serving(newer)) as other:
        operators = other.operator("other"), failing.operator("good")
        run = new_run(TaskName.collect_charge_locations)
        records = list(charge_locations.collect(operators, lambda: previous, run, now=NOW, limits=FAST))
        assert [(each["name"], each["nx_operator"]) for each in records] == [("kept", "good")]
        assert run.details is not None
        memory = Memory.of(msgspec.json.decode(run.details))
        failing.lists = serving(location(name="own"))
        records, _ = collected(*operators, previous=records, memory=memory)
        assert [(each["name"], each["nx_operator"]) for each in records] == [("own", "good")]


def test_each_kind_of_reason_is_shown_before_a_second_of_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """In the summary and in the log."""
    served = [location(id=f"{number}", time_zone=...) for number in range(6)]
    served += [location(id=f"F{number}", last_updated="9999-12-31T23:59:59Z") for number in range(6)]
    with hostile(serving(location())) as direct, hostile(serving(*served, location())) as hub:
        _, summary = collected(direct.operator("direct"), hub.operator("hub"))
    reasons = [re.split("[:;]", each["reason"])[0] for each in summary["reasons"]]
    missing, future = "Object missing required field `time_zone`", "`last_updated` is in the future"
    assert reasons == ["this party belongs to the operator direct", missing, future, missing, missing]
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "records set aside" in each]
    for reason in ("BE*BEC: this party belongs to", f"BE/BEC/0: {missing}", f"BE/BEC/F0: {future}"):
        assert reason in line


def test_a_location_dated_in_the_future_is_set_aside() -> None:
    """It would override all later versions. A small skew is accepted."""
    served = [
        location(id="A", last_updated="9999-12-31T23:59:59Z"),
        location(id="B", last_updated=f"{NOW + timedelta(minutes=9):%Y-%m-%dT%H:%M:%SZ}"),
        location(id="C", last_updated=f"{NOW + timedelta(minutes=11):%Y-%m-%dT%H:%M:%SZ}"),
    ]
    with hostile(serving(*served)) as server:
        records, summary = collected(server.operator())
    assert [each["id"] for each in records] == ["B"]
    assert [each["reason"] for each in summary["reasons"]] == ["`last_updated` is in the future"] * 2


def test_locations_that_an_operator_no_longer_lists_are_removed() -> None:
    """A run reads the full set; only records of a failing operator stay from the last result."""
    previous = [location(id="GONE", nx_operator="hostile"), location(id="LEFT", nx_operator="left")]
    with hostile(serving(location())) as server:
        records, summary = collected(server.operator(), previous=previous)
    assert [each["id"] for each in records] == ["LOC1"]
    assert summary["kept_of_failed"] == 0


def test_evses_and_connectors_are_counted_by_status_and_power() -> None:
    """A connector by its own power, an EVSE by its most powerful connector."""
    slow = connector(max_electric_power=3_700)
    fast = connector(id="2", power_type="DC", max_voltage=920, max_amperage=500, max_electric_power=300_000)
    served = location(evses=[evse("1", "CHARGING", connectors=[slow, fast]), evse("2", connectors=[slow])])
    with hostile(serving(served)) as server:
        _, summary = collected(server.operator())
    assert summary["evses"] == {
        "count": 2,
        "by_status": {"AVAILABLE": 1, "CHARGING": 1},
        "by_power": {"up_to_3.7_kw": 1, "up_to_350_kw": 1},
        "by_status_and_power": {"AVAILABLE": {"up_to_3.7_kw": 1}, "CHARGING": {"up_to_350_kw": 1}},
    }
    assert summary["connectors"] == {
        "count": 3,
        "by_status": {"AVAILABLE": 1, "CHARGING": 2},
        "by_power": {"up_to_3.7_kw": 2, "up_to_350_kw": 1},
        "by_status_and_power": {
            "AVAILABLE": {"up_to_3.7_kw": 1},
            "CHARGING": {"up_to_3.7_kw": 1, "up_to_350_kw": 1},
        },
    }


def test_counts_of_every_status_and_power_use_at_most_half_a_summary() -> None:
    """The rest is for operators and reasons."""
    counts = charge_locations.Counts()
    for status in get_args(EvseStatus):
        for bound in (*charge_locations.POWER_BOUNDS_KW, 400):
            counts.add(
                {"evses": [evse("1", status, connectors=[connector(max_electric_power=bound * 1000)])]}
            )
    summary = counts.to_summary()
    assert sum(map(len, summary["evses"]["by_status_and_power"].values())) == 72
    assert len(msgspec.json.encode(summary)) < MAX_BYTES / 2


@pytest.mark.parametrize(
    ("changes", "power", "counted"),
    [
        ({"power_type": "AC_3_PHASE", "max_voltage": 230, "max_amperage": 32}, 22_080, "up_to_50_kw"),
        ({"power_type": "AC_3_PHASE", "max_electric_power": 22_000}, 22_000, "up_to_22_kw"),
        ({"power_type": "AC_1_PHASE", "max_voltage": 230, "max_amperage": 16}, 3_680, "up_to_3.7_kw"),
        ({"power_type": "AC_2_PHASE", "max_voltage": 230, "max_amperage": 16}, 7_360, "up_to_7.4_kw"),
        ({"power_type": "DC", "max_voltage": 1000, "max_amperage": 400}, 400_000, "over_350_kw"),
        ({"max_electric_power": 0}, 0, "up_to_3.7_kw"),
    ],
)
def test_power_is_the_stated_one_or_computed_from_phases(
    changes: dict[str, Any], power: int, counted: str
) -> None:
    """Voltage is line to neutral, so each phase counts."""
    assert watts(connector(**changes)) == power
    assert power_class(power) == counted


@pytest.mark.parametrize(
    "field",
    [
        "country_code",
        "party_id",
        "id",
        "publish",
        "address",
        "city",
        "country",
        "coordinates",
        "time_zone",
        "last_updated",
    ],
)
def test_a_location_without_a_required_field_is_set_aside(field: str) -> None:
    """The reason names the field."""
    with pytest.raises(SetAside, match=f"missing required field `{field}`"):
        read_location(raw(location(**{field: ...})), "2.2.1")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"id": 1}, r"\$.id"),
        ({"id": ""}, r"\$.id"),
        ({"id": "x" * 37}, r"\$.id"),
        ({"id": "a\nb"}, r"\$.id"),
        ({"id": "a\n"}, r"\$.id"),
        ({"party_id": "AB\n"}, r"\$.party_id"),
        ({"party_id": "LONG"}, r"\$.party_id"),
        ({"country_code": "D"}, r"\$.country_code"),
        ({"publish": "yes"}, r"\$.publish"),
        ({"coordinates": {"latitude": 51.0, "longitude": "3.7"}}, r"\$.coordinates.latitude"),
        ({"coordinates": {"latitude": "north", "longitude": "3.7"}}, r"\$.coordinates.latitude"),
        ({"evses": {}}, r"\$.evses"),
        ({"evses": [evse("1", "BUSY")]}, r"BUSY.*\$.evses\[0\].status"),
        ({"evses": [evse("1", connectors=[])]}, r"\$.evses\[0\].connectors"),
        ({"evses": [evse("1", connectors=[connector(power_type="AC")])]}, r"connectors\[0\].power_type"),
        ({"evses": [evse("1", connectors=[connector(max_voltage="230")])]}, r"connectors\[0\].max_voltage"),
        ({"evses": [evse("1", connectors=[connector(format=...)])]}, r"`format`.*connectors\[0\]"),
        ({"last_updated": 1430000000}, r"\$.last_updated"),
    ],
)
def test_a_location_of_wrong_types_is_set_aside(changes: dict[str, Any], where: str) -> None:
    """The reason names the field."""
    with pytest.raises(SetAside, match=where):
        read_location(raw(location(**changes)), "2.2.1")


@pytest.mark.parametrize(
    "changes",
    [
        {"postal_code": ...},
        {"address": "An address that is a good deal longer than the 45 characters that OCPI allows it"},
        {"evses": [evse("1", connectors=[connector(standard="MCS")])]},
        {"coordinates": {"latitude": "-51.0", "longitude": "103.72994400001"}},
        {"last_updated": "2015-06-29T20:39:09.123"},
        {"facilities": None, "images": 5},
    ],
)
def test_small_deviations_from_ocpi_are_accepted(changes: dict[str, Any]) -> None:
    """Missing optional fields, long texts, values of newer versions, invalid fields that are not used."""
    assert read_location(raw(location(**changes)), "2.2.1").record["id"] == "LOC1"


def test_reading_stops_at_the_deadline(north: Operator) -> None:
    """No further request is sent and no thread stays."""
    run = new_run(TaskName.collect_charge_locations, deadline_seconds=-1)
    records = charge_locations.collect([north], list, run, limits=FAST)
    with pytest.raises(DeadlineExceeded):
        next(records)


def test_reading_stops_when_the_run_loses_its_lease() -> None:
    """An operator that sends endlessly is left long before its time limit."""
    run = new_run(TaskName.collect_charge_locations)

    def lists(request: HttpRequest) -> None:
        number = int(request.query.get("offset", 0)) + 1
        if number == 10:
            run.mark_lost()
        links = {"Link": f'</locations?offset={number}>; rel="next"'} if number < 5_000 else {}
        request.list([location(id=f"L{number}")], **links)

    with hostile(lists) as server:
        with pytest.raises(RunLost):
            list(charge_locations.collect([server.operator()], list, run, limits=FAST))
        assert 10 <= len(server.list_requests()) < 5_000


def test_an_unexpected_error_fails_only_its_operator(
    north: Operator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is reported by its type; the other operator's records are collected."""

    def read(record: msgspec.Raw, version: str) -> Checked[Location]:
        checked = read_location(record, version)
        if checked.record["id"] == "LOC1":
            raise ZeroDivisionError(TOKEN)
        return checked

    with hostile(serving(location())) as server:
        run = new_run(TaskName.collect_charge_locations)
        crawls = crawl([server.operator(), north], "locations", read, run, tmp_path, limits=FAST)
        conclude(crawls, Owners([server.operator(), north], {}), run)
    failed, good = crawls
    assert (failed.error, good.error) == ("could not be read: ZeroDivisionError", "")
    assert good.read > 200
    (logged,) = [line for line in capsys.readouterr().out.splitlines() if "operator failed" in line]
    assert "ERROR operator failed with an unexpected error" in logged
    assert "ZeroDivisionError('[token]')" in logged
    assert f"task={TaskName.collect_charge_locations.value}" in logged


def test_a_required_text_of_a_location_may_be_na() -> None:
    """OCPI allows `#NA` for each required text except an id."""
    coordinates = {"latitude": "#NA", "longitude": "#NA"}
    sent = location(address="#NA", city="#NA", country="#NA", time_zone="#NA", coordinates=coordinates)
    assert read_location(raw(sent), "2.2.1").record == sent
    with pytest.raises(SetAside, match="`id` must identify the record, got #NA"):
        read_location(raw(location(id="#NA")), "2.2.1")
