"""CDRs are merged into the last result, credits are applied, and sums are exact."""

import tempfile
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.collectors import charge_cdrs
from shared.collectors.charge_cdrs import month_before, read_cdr
from shared.collectors.ocpi.errors import SetAside
from shared.collectors.ocpi.memory import Memory
from shared.collectors.ocpi.operators import Operator
from shared.collectors.ocpi.owners import MAX_PARTIES
from shared.collectors.ocpi.requests import Request
from shared.tasks import TaskName
from tests.collectors.conftest import DEMO_NOW
from tests.collectors.hostile import Hostile, HttpRequest, hostile, serving
from tests.collectors.ocpi_samples import CDR, cdr, credit
from tests.collectors.runs import FAST, IMPATIENT, new_run

NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)

Records = list[dict[str, Any]]


def collected(
    *operators: Operator, previous: Records | None = None, now: datetime = NOW, months: int = 13
) -> tuple[Records, dict[str, Any]]:
    """The result and the summary of a run."""
    records, summary, _ = detailed(*operators, previous=previous, now=now, months=months)
    return records, summary


def detailed(
    *operators: Operator,
    previous: Records | None = None,
    now: datetime = NOW,
    months: int = 13,
    details: dict[str, Any] | None = None,
    requests: dict[str, Request] | None = None,
) -> tuple[Records, dict[str, Any], dict[str, Any]]:
    """The result, the summary and the details of a run with the details of an earlier one."""
    run = new_run(TaskName.collect_charge_cdrs)
    collect = partial(charge_cdrs.collect, now=now, months=months, limits=FAST)
    last, memory = partial(iter, previous or []), Memory.of(details or {})
    records = list(collect(operators, last, run, memory=memory, requests=requests))
    assert run.summary is not None
    assert run.details is not None
    return records, run.summary, msgspec.json.decode(run.details)


def requested_dates(server: Hostile) -> list[str]:
    """The date_from of each request for CDRs."""
    return [path.partition("date_from=")[2].partition("&")[0] for path in server.list_requests()]


def known(number: str, **changes: Any) -> dict[str, Any]:
    """A CDR of the last result."""
    return cdr(id=number, **{"nx_operator": "hostile"} | changes)


def test_the_cdrs_of_all_operators_are_summed_exactly(both: tuple[Operator, ...]) -> None:
    """Sums by operator and month leave out credits and credited CDRs; the list is ordered by key."""
    records, summary = collected(*both, now=DEMO_NOW)
    keys = [(each["country_code"], each["party_id"], each["id"].lower()) for each in records]
    assert keys == sorted(set(keys))
    assert (summary["count"], summary["credits"], summary["credited"]) == (len(records), 40, 40)
    assert (len(records), summary["this_run"]["set_aside"]) == (2600 + 1400 - 4, 4)

    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for each in records:
        if not each.get("credit") and not each.get("nx_credited"):
            sums[each["end_date_time"][:7], each["nx_operator"]] += Decimal(
                str(each["total_cost"]["excl_vat"])
            )
    totals = {(row["month"], row["operator"]): Decimal(row["cost_excl_vat"]) for row in summary["totals"]}
    assert totals == sums
    assert sum(row["cdrs"] for row in summary["totals"]) == len(records) - 80
    assert [row["month"] for row in summary["totals"]] == sorted((month for month, _ in sums), reverse=True)
    assert [row["currency"] for row in summary["overall"]] == ["CHF", "EUR"]
    assert sum(Decimal(row["cost_excl_vat"]) for row in summary["overall"]) == sum(sums.values())


def test_decimal_sums_are_exact() -> None:
    """Neither tenths nor cents of large amounts are rounded."""
    amounts = [0.1, 0.2, 0.3, 9007199254740.07, 1e-7, 3]
    served = [
        cdr(id=str(place), total_energy=amount, total_time=0.1, total_cost={"excl_vat": amount})
        for place, amount in enumerate(amounts)
    ]
    with hostile(serving(*served)) as server:
        _, summary = collected(server.operator())
    (row,) = summary["totals"]
    assert row["energy_kwh"] == row["cost_excl_vat"] == "9007199254743.6700001"
    assert (row["time_hours"], row["cdrs"], row["currency"]) == ("0.6", 6, "EUR")


def test_only_new_records_are_requested() -> None:
    """From a day before the operator's newest record; from the oldest month if there is none."""
    previous = [
        known("1", last_updated="2026-05-03T10:00:00Z"),
        known("2", last_updated="2026-05-01T10:00:00Z"),
        cdr(id="3", nx_operator="another", last_updated="2026-05-04T10:00:00Z"),
    ]
    with hostile(serving()) as server:
        records, _ = collected(server.operator(), previous=previous)
        assert requested_dates(server) == ["2026-05-02T10:00:00Z"]
        assert records == previous
        collected(server.operator())
        collected(server.operator("new"), previous=previous, months=1)
        assert requested_dates(server)[1:] == ["2025-05-01T00:00:00Z", "2026-05-01T00:00:00Z"]


def test_a_record_dated_in_the_future_does_not_move_the_next_request() -> None:
    previous = [
        known("1", last_updated="2026-05-03T10:00:00Z"),
        known("2", last_updated="2099-01-01T00:00:00Z"),
    ]
    with hostile(serving()) as server:
        collected(server.operator(), previous=previous)
        assert requested_dates(server) == ["2026-05-02T10:00:00Z"]


def test_new_records_are_merged_into_the_last_result() -> None:
    """The newer version wins; of two equally old versions the one just received wins."""
    newer, older = "2026-05-04T00:00:00Z", "2026-05-01T00:00:00Z"
    previous = [
        known("1", remark="old"),
        known("2", remark="old", last_updated=newer),
        known("4", remark="old"),
    ]
    served = [
        cdr(id="5", remark="new"),
        cdr(id="2", remark="older", last_updated=older),
        cdr(id="4", remark="same age"),
        cdr(id="1", remark="new", last_updated=newer),
        cdr(id="1", remark="older", last_updated=older),
    ]
    with hostile(serving(*served)) as server:
        records, summary = collected(server.operator(), previous=previous)
    found = [(each["id"], each["remark"]) for each in records]
    assert found == [("1", "new"), ("2", "old"), ("4", "same age"), ("5", "new")]
    assert summary["count"] == 4


def test_an_unsorted_last_result_is_merged() -> None:
    """Another program may have written it."""
    previous = [known(number) for number in "735264"]
    with hostile(serving(cdr(id="5", remark="new"), cdr(id="1"))) as server:
        records, _ = collected(server.operator(), previous=previous)
    assert [each["id"] for each in records] == ["1", "2", "3", "4", "5", "6", "7"]
    assert records[4]["remark"] == "new"


def test_invalid_cdrs_of_the_last_result_are_dropped() -> None:
    """The summary counts them."""
    strange: list[Any] = [
        {"id": 1},
        None,
        5,
        known("2"),
        known("3", end_date_time="0001-01-01T00:00:00+05:00"),
    ]
    with hostile(serving(cdr(id="1"))) as server:
        records, summary = collected(server.operator(), previous=strange)
    assert [each["id"] for each in records] == ["1", "2"]
    assert summary["this_run"]["unreadable"] == 4


def test_a_credit_cancels_the_cdr_it_refers_to() -> None:
    """Both stay and neither is in the sums, whichever of them came first."""
    with hostile(serving(credit("1-C", "1"), credit("9-c", "9"), cdr(id="2"), cdr(id="8"))) as server:
        records, summary = collected(
            server.operator(), previous=[known("1"), known("7-C", credit=True, credit_reference_id="8")]
        )
    marked = {each["id"]: each.get("nx_credited") for each in records}
    assert marked == {"1": True, "1-C": None, "2": None, "7-C": None, "8": True, "9-c": None}
    assert (summary["credits"], summary["credited"], summary["totals"][0]["cdrs"]) == (3, 2, 1)
    assert summary["totals"][0]["energy_kwh"] == "15.342"


def test_a_cdr_is_credited_once_and_its_mark_goes_with_the_credit() -> None:
    previous = [known("1"), known("2", nx_credited=True)]
    with hostile(serving(credit("C1", "1"), credit("C2", "1"))) as server:
        records, summary = collected(server.operator(), previous=previous)
    assert [each.get("nx_credited") for each in records] == [True, None, None, None]
    assert (summary["credits"], summary["credited"], summary["totals"][0]["cdrs"]) == (2, 1, 1)


def test_a_credit_matches_ids_in_any_case_but_only_of_its_party() -> None:
    served = [cdr(id="abc"), cdr(id="abc", party_id="XYZ"), credit("ABC-C", "ABC")]
    with hostile(serving(*served)) as server:
        records, _ = collected(server.operator())
    assert [(each["party_id"], each["id"], each.get("nx_credited")) for each in records] == [
        ("BEC", "abc", True),
        ("BEC", "ABC-C", None),
        ("XYZ", "abc", None),
    ]


def test_an_operator_does_not_change_records_of_another() -> None:
    """It neither replaces nor credits known or new records of a party that another operator owns."""
    later = "2026-05-04T00:00:00Z"
    attack = [cdr(id="1", remark="other", last_updated=later), credit("C", "1"), credit("D", "2")]
    attack += [cdr(id="2", remark="other", last_updated=later), cdr(id="9", party_id="OTH")]
    with hostile(serving(cdr(id="2", remark="own"))) as server, hostile(serving(*attack)) as attacker:
        operators = attacker.operator("attacker"), server.operator()
        previous = [known("1", remark="own")]
        records, summary, details = detailed(*operators, previous=previous)
        assert [(each["id"], each.get("remark"), each.get("nx_credited")) for each in records] == [
            ("1", "own", None),
            ("2", "own", None),
            ("9", None, None),
        ]
        assert (summary["this_run"]["set_aside"], summary["this_run"]["reasons"][0]["record"]) == (
            4,
            "BE*BEC",
        )
        assert details["memory"]["parties"] == {"BE*BEC": "hostile", "BE*OTH": "attacker"}
        # Also without a record of the party: the details of the last result name its operator.
        records, _, _ = detailed(*operators, details=details)
        assert [each["id"] for each in records] == ["2", "9"]


def test_a_credit_applies_only_to_cdrs_of_its_operator() -> None:
    """CDRs of a removed operator are not credited by the party's next operator."""
    previous = [known("1", nx_operator="removed"), known("2")]
    with hostile(serving(credit("1-C", "1"), credit("2-C", "2"))) as server:
        records, _ = collected(server.operator(), previous=previous)
    assert [each.get("nx_credited") for each in records] == [None, None, True, None]


def test_a_party_moved_in_the_setting_is_read_from_its_new_operator() -> None:
    """The old operator's records of it go once the new one was read from the first month."""
    previous = [known("1", remark="other", nx_operator="attacker"), known("2", nx_operator="owner")]
    later = "2026-05-04T00:00:00Z"
    with hostile(serving(cdr(id="1", remark="own"))) as server, hostile(serving()) as attacker:
        owner, other = server.operator("owner", parties=("BE*BEC",)), attacker.operator("attacker")
        records, _ = collected(owner, other, previous=previous)
        assert [(each["id"], each.get("remark")) for each in records] == [("1", "own"), ("2", None)]
        assert requested_dates(server) == ["2025-05-01T00:00:00Z"]
        server.lists = lambda request: request.body(b"")
        attacker.lists = serving(cdr(id="2", remark="other", last_updated=later))
        records, _ = collected(owner, other, previous=previous)
        assert [(each["id"], each.get("remark")) for each in records] == [("1", "other"), ("2", None)]


def test_cdrs_set_aside_for_their_party_are_collected_once_the_party_is_free() -> None:
    """Their operator is read once from the first month when the party's owner has left the setting."""
    march = cdr(id="1", last_updated="2026-03-02T10:00:00Z")
    with hostile(serving(cdr(id="9"))) as squatter, hostile(serving(march)) as server:
        good = server.operator("good")
        records, summary, details = detailed(squatter.operator("squatter"), good)
        assert ([each["id"] for each in records], summary["this_run"]["set_aside"]) == (["9"], 1)
        # Newer records of another party long afterwards: there is no time limit.
        server.lists = serving(cdr(id="2", party_id="OTH", last_updated="2026-05-04T10:00:00Z"))
        later = {"now": NOW + timedelta(days=30)}
        records, _, details = detailed(
            squatter.operator("squatter"), good, previous=records, details=details, **later
        )
        # A failure or a run without the operator only delays it.
        other, server.lists = squatter.operator("other"), lambda request: request.body(b"")
        squatter.lists = serving()
        _, _, details = detailed(other, good, previous=records, details=details, **later)
        _, _, details = detailed(other, previous=records, details=details, **later)
        server.lists = serving(march)
        records, _, details = detailed(other, good, previous=records, details=details, **later)
        assert requested_dates(server)[-1] == "2025-06-01T00:00:00Z"
        assert [(each["id"], each["nx_operator"]) for each in records if each["party_id"] == "BEC"] == [
            ("1", "good"),
            ("9", "squatter"),
        ]
        detailed(other, good, previous=records, details=details, **later)
        assert requested_dates(server)[-1] == "2026-05-03T10:00:00Z"


def test_cdrs_set_aside_for_their_party_are_collected_once_the_party_is_listed() -> None:
    """Also when the last result has no record of the other operator any more."""
    march = cdr(id="1", last_updated="2026-03-02T10:00:00Z")
    own = known("2", party_id="OTH", nx_operator="good", last_updated="2026-05-04T10:00:00Z")
    with hostile(serving(cdr(id="9"))) as squatter, hostile(serving(march)) as server:
        _, _, details = detailed(squatter.operator("squatter"), server.operator("good"), previous=[own])
        squatter.lists = serving()
        operators = squatter.operator("squatter"), server.operator("good", parties=("BE*BEC",))
        records, _, details = detailed(*operators, previous=[own], details=details)
        assert [each["id"] for each in records] == ["1", "2"]
        detailed(*operators, previous=records, details=details)
        assert requested_dates(server)[1:] == ["2025-05-01T00:00:00Z", "2026-05-03T10:00:00Z"]


def test_a_request_for_an_unknown_operator_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The same request does not affect a later operator of that name."""
    request = Request(read_from=datetime(2026, 1, 1, tzinfo=UTC), read_requested=NOW, drop_requested=NOW)
    requests = {"nrth": request, "removed": request, "hostile": Request(drop_requested=NOW)}
    previous = [known("1", nx_operator="removed"), known("2")]
    with hostile(serving()) as server:
        _, _, details = detailed(server.operator(), previous=previous, requests=requests)
        lines = [line for line in capsys.readouterr().out.splitlines() if "unknown operator" in line]
        assert len(lines) == 3
        for line, words in zip(lines, (("nrth", "read"), ("removed", "read"), ("nrth", "drop")), strict=True):
            assert "WARNING request for an unknown operator ended" in line
            assert f"operator={words[0]} command={words[1]}-operator" in line
        named = [known("3", nx_operator="nrth")]
        records, _, _ = detailed(server.operator("nrth"), previous=named, requests=requests, details=details)
        assert (records, requested_dates(server)[-1]) == (named, "2026-05-01T23:40:13Z")
        assert "unknown operator" not in capsys.readouterr().out


def test_an_undecodable_value_of_the_memory_does_not_affect_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The log names the field."""
    good = {
        "parties": {"BE*BEC": "hostile"},
        "set_aside": {"hostile": {"2026-03-02": "2026-05-05T12:00:00Z"}},
        "disowned": {"hostile": ["BE*OTH"]},
        "reads": {"hostile": "2026-05-05T12:00:00Z"},
        "drops": {"hostile": "2026-05-05T12:00:00Z"},
    }
    assert Memory.of({"memory": good}).to_field() == good
    assert capsys.readouterr().out == ""
    bad: dict[str, Any] = {
        "parties": {"BE*BEC": 5},
        "set_aside": {"hostile": {"2026-02-30": "2026-05-05T12:00:00Z"}},
        "disowned": None,
        "reads": {"hostile": "2026-05-05T12:00:00"},
        "drops": [],
    }
    for field, value in bad.items():
        assert Memory.of({"memory": good | {field: value}}).to_field() == good | {field: {}}
        logged = capsys.readouterr().out
        assert "WARNING memory of the last run could not be decoded" in logged
        assert f"field={field}" in logged
    assert Memory.of({"memory": "nonsense"}) == Memory.of({}) == Memory()


def test_a_cdr_dated_in_the_future_is_set_aside() -> None:
    """It would override all later versions. One in the last result goes at the operator's next read."""
    ahead = "9999-12-31T23:59:59Z"
    previous = [
        known("1", remark="ahead", last_updated=ahead),
        known("2", last_updated="2026-05-05T11:00:00Z"),
    ]
    with hostile(serving(cdr(id="1", remark="good"), cdr(id="3", last_updated=ahead))) as server:
        records, summary = collected(server.operator(), previous=previous)
        assert [(each["id"], each.get("remark")) for each in records] == [("1", "good"), ("2", None)]
        assert summary["this_run"]["reasons"][0]["reason"] == "`last_updated` is in the future"
        assert requested_dates(server) == ["2026-05-02T23:37:32Z"]  # the end of its session


def test_an_operator_with_too_many_parties_fails() -> None:
    """Parties that an operator invents do not fill the memory."""
    served = [cdr(id=f"{number}", party_id=f"{number:03x}") for number in range(MAX_PARTIES + 1)]
    with hostile(serving(*served)) as server, hostile(serving(cdr(id="1"))) as good:
        _, summary, details = detailed(server.operator(), good.operator("good"))
    assert "at most 2000 parties" in summary["this_run"]["operators"][0]["error"]
    assert details["memory"]["parties"] == {"BE*BEC": "good"}


def test_records_set_aside_are_requested_again_for_14_days() -> None:
    """From the day of the first of them, even when newer records have arrived."""
    bad, good = (
        cdr(id="1", total_energy="?", last_updated="2026-03-02T10:00:00Z"),
        cdr(id="2", last_updated="2026-05-04T10:00:00Z"),
    )
    with hostile(serving(bad, good)) as server:
        operator, wide = server.operator(), "2025-05-01T00:00:00Z"
        records, _, details = detailed(operator)
        for days, first in ((0, "2026-03-02T00:00:00Z"), (13, "2026-03-02T00:00:00Z"), (14, "2026-05-03")):
            now = NOW + timedelta(days=days)
            _, _, later = detailed(operator, previous=records, details=details, now=now)
            assert requested_dates(server)[-1].startswith(first)
        assert later["memory"]["set_aside"] == {}
        # A repaired record is in the next result; later requests are as usual.
        server.lists = serving(cdr(id="1", last_updated="2026-03-02T10:00:00Z"), good)
        records, _, details = detailed(operator, previous=records, details=details)
        assert [each["id"] for each in records] == ["1", "2"]
        detailed(operator, previous=records, details=details)
        assert requested_dates(server)[-1] == "2026-05-03T10:00:00Z"
        # A record without a time is requested from the time of its arrival.
        server.lists = serving({"id": "3"}, good)
        _, _, details = detailed(operator)
        assert (requested_dates(server)[-1], details["memory"]["set_aside"]["hostile"]) == (
            wide,
            {"2025-05-01": "2026-05-05T12:00:00Z"},
        )


def test_records_set_aside_are_remembered_while_their_operator_fails() -> None:
    """They are requested again when the operator responds."""
    with hostile(serving(cdr(id="1", total_energy="?"))) as server, hostile(serving()) as other:
        operators = server.operator(), other.operator("other")
        _, _, first = detailed(*operators)
        server.lists = lambda request: request.body(b"")
        _, _, second = detailed(*operators, details=first)
    assert second["memory"]["set_aside"] == first["memory"]["set_aside"] != {}


def test_a_requested_reread_happens_once() -> None:
    """It happens again only if it is requested again or the operator failed."""
    request = Request(read_from=datetime(2026, 1, 1, tzinfo=UTC), read_requested=NOW)
    previous = [known("1", last_updated="2026-05-03T10:00:00Z")]
    wanted, usual = "2026-01-01T00:00:00Z", "2026-05-02T10:00:00Z"
    with hostile(serving()) as server, hostile(serving()) as other:
        operators = server.operator(), other.operator("other")
        again = partial(detailed, *operators, previous=previous)
        server.lists = lambda request: request.body(b"")
        _, _, failed = again(requests={"hostile": request})
        server.lists = serving()
        _, _, read = again(requests={"hostile": request}, details=failed)
        _, _, later = again(requests={"hostile": request}, details=read)
        again(
            requests={"hostile": msgspec.structs.replace(request, read_requested=NOW + timedelta(1))},
            details=later,
        )
        dates = [each for each in requested_dates(server) if each]
    assert dates[-3:] == [wanted, usual, wanted]
    assert set(dates[:-3]) == {wanted}


def test_records_of_a_removed_operator_stay_until_a_person_drops_them() -> None:
    """The request counts once; a later operator of that name loses no records."""
    previous = [known("1", nx_operator="removed"), known("2", party_id="OTH")]
    request = {"removed": Request(drop_requested=NOW)}
    with hostile(serving()) as server:
        records, _, details = detailed(server.operator(), previous=previous)
        assert [each["id"] for each in records] == ["1", "2"]
        records, _, details = detailed(
            server.operator(), previous=previous, details=details, requests=request
        )
        assert [each["id"] for each in records] == ["2"]
        records, _, _ = detailed(server.operator(), previous=previous, details=details, requests=request)
        assert [each["id"] for each in records] == ["1", "2"]


def test_dropped_records_of_a_configured_operator_are_read_again() -> None:
    """They stay until the operator responds; then all are read from the first month."""
    request = {"hostile": Request(drop_requested=NOW)}
    with hostile(lambda request: request.body(b"")) as server, hostile(serving()) as other:
        operators = server.operator(), other.operator("other")
        records, _, details = detailed(*operators, previous=[known("1"), known("2")], requests=request)
        assert [each["id"] for each in records] == ["1", "2"]
        server.lists = serving(cdr(id="2", remark="new"))
        records, _, _ = detailed(*operators, previous=records, requests=request, details=details)
        assert [(each["id"], each.get("remark")) for each in records] == [("2", "new")]
        assert requested_dates(server)[-1] == "2025-05-01T00:00:00Z"


def test_details_contain_all_totals() -> None:
    """Each operator, month, currency, reason and state, also those that the summary leaves out."""
    operators, months = 40, [f"2025-{month:02}" for month in range(6, 13)] + ["2026-01", "2026-02"]
    previous = [
        cdr(id=f"{place:04}-{month}", nx_operator=f"operator-{place}", end_date_time=f"{month}-05T00:00:00Z")
        for place in range(operators)
        for month in months
    ]
    with hostile(serving({"id": "bad"})) as server:
        many = [server.operator(f"operator-{place}") for place in range(operators)]
        _, summary, details = detailed(*many, previous=previous)
    assert summary["left_out"]["totals"] > 0
    rows = {(row["operator"], row["month"]): row["cost_excl_vat"] for row in details["totals"]}
    assert rows == {(f"operator-{place}", month): "4.0" for place in range(operators) for month in months}
    this_run = details["this_run"]
    assert (len(this_run["operators"]), len(this_run["reasons"]), len(details["overall"])) == (
        operators,
        operators,
        1,
    )


def test_a_summary_separates_this_run_from_all_that_is_kept() -> None:
    """A run that receives little still has the totals of all CDRs. A failed operator has received nothing."""
    previous = [known(str(number)) for number in range(5)]
    served = [cdr(id="5"), {"id": "bad"}, {"id": "worse"}]

    def fail(request: HttpRequest) -> None:
        request.envelope({"status_code": 3000, "status_message": "later"})

    with hostile(serving(*served)) as server, hostile(fail) as failing:
        _, summary, details = detailed(server.operator(), failing.operator("failing"), previous=previous)
    this_run = summary.pop("this_run")
    names = ("received", "set_aside", "operators_failed", "expired")
    assert [this_run[name] for name in names] == [3, 2, 1, 0]
    assert [reason["operator"] for reason in this_run["reasons"]] == ["hostile", "hostile"]
    assert (summary["count"], summary["overall"][0]["cdrs"], summary["totals"][0]["cdrs"]) == (6, 6, 6)
    assert summary.keys() == {"count", "credits", "credited", "overall", "totals"}
    assert details["this_run"] == this_run


def test_invented_currencies_do_not_displace_totals() -> None:
    """An operator has sums in at most 50 currencies; other CDRs are counted as not summed."""
    names = [f"A{chr(65 + number // 26)}{chr(65 + number % 26)}" for number in range(60)]
    served = [cdr(id=name, currency=name) for name in names]
    with hostile(serving(*served)) as server, hostile(serving(cdr(id="1", party_id="OTH"))) as good:
        records, summary, details = detailed(server.operator(), good.operator("good"))
    assert (len(records), summary["not_summed"]) == (61, 10)
    assert [row["operator"] for row in details["totals"]].count("hostile") == 50
    assert [row["cost_excl_vat"] for row in details["totals"] if row["operator"] == "good"] == ["4.0"]


def test_cdrs_are_kept_by_calendar_month() -> None:
    """By the end of the session, or by the last update if the end is unknown."""
    served = [
        cdr(id="1", end_date_time="2026-03-31T23:59:59Z"),
        cdr(id="2", end_date_time="2026-04-01T00:00:00Z"),
        cdr(id="3", end_date_time="1970-1-1T00:00:00Z", start_date_time="1970-1-1T00:00:00Z"),
        credit("1-C", "1", end_date_time="2026-03-31T23:59:59Z"),
    ]
    old = known("0", end_date_time="2026-03-01T00:00:00Z")
    with hostile(serving(*served)) as server:
        records, summary = collected(server.operator(), previous=[old], months=2)
    assert [each["id"] for each in records] == ["2", "3"]
    assert summary["this_run"]["expired"] == 3
    assert [row["month"] for row in summary["totals"]] == ["2026-05", "2026-04"]


@pytest.mark.parametrize(
    ("months", "first"),
    [(0, "2026-05-01"), (4, "2026-01-01"), (5, "2025-12-01"), (12, "2025-05-01"), (120, "2016-05-01")],
)
def test_the_first_month_is_counted_back_across_years(months: int, first: str) -> None:
    assert month_before(NOW, months) == datetime.fromisoformat(f"{first}T00:00:00Z")


def test_records_of_a_failing_operator_are_kept() -> None:
    """What it sent before it failed waits for the next run; the other operator is collected."""

    def lists(request: HttpRequest) -> None:
        if "offset" in request.query:
            return request.envelope({"status_code": 3000, "status_message": "later"})
        fresh = [cdr(id="2", last_updated="2026-05-05T00:00:00Z"), credit("1-C", "1")]
        return request.list(fresh, Link='</cdrs?offset=2>; rel="next"')

    with hostile(lists) as failing, hostile(serving(cdr(id="9", party_id="OTH"))) as good:
        records, summary = collected(failing.operator(), good.operator("good"), previous=[known("1")])
    assert [(each["id"], each.get("nx_credited")) for each in records] == [("1", None), ("9", None)]
    assert summary["this_run"]["operators"][0] == {
        "name": "hostile",
        "state": "failed",
        "records": 2,
        "set_aside": 0,
        "error": "/cdrs: OCPI status 3000: later",
    }


@pytest.mark.parametrize(
    "field",
    [
        "country_code", "party_id", "id", "start_date_time", "end_date_time", "cdr_token", "auth_method",
        "cdr_location", "currency", "charging_periods", "total_cost", "total_energy", "total_time",
        "last_updated",
    ],
)  # fmt: skip
def test_a_cdr_without_a_required_field_is_set_aside(field: str) -> None:
    """The reason names the field."""
    with pytest.raises(SetAside, match=f"missing required field `{field}`"):
        read(cdr(**{field: ...}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"total_energy": "15.3"}, r"\$.total_energy"),
        ({"total_energy": True}, r"\$.total_energy"),
        ({"total_cost": 4.4}, r"\$.total_cost"),
        ({"total_cost": {"incl_vat": 4.4}}, r"`excl_vat`"),
        ({"currency": "EURO"}, r"\$.currency"),
        ({"charging_periods": []}, r"\$.charging_periods"),
        ({"auth_method": "PIN"}, r"\$.auth_method"),
        ({"credit": True}, r"`credit_reference_id`"),
        ({"end_date_time": "2026-05-06T12:00:01Z"}, "`end_date_time` is in the future"),
        ({"cdr_location": {}}, r"\$.cdr_location"),
    ],
)
def test_a_cdr_of_wrong_types_is_set_aside(changes: dict[str, Any], reason: str) -> None:
    """The reason names the field."""
    with pytest.raises(SetAside, match=reason):
        read(cdr(**changes))


def test_a_required_text_may_be_na() -> None:
    """OCPI allows `#NA` for each required text that is not available (4.1, "No data available")."""
    token = dict.fromkeys(("country_code", "party_id", "uid", "type", "contract_id"), "#NA")
    coordinates = {"latitude": "#NA", "longitude": "#NA"}
    texts = dict.fromkeys(("id", "address", "city", "country", "evse_uid", "evse_id", "connector_id"), "#NA")
    connector = dict.fromkeys(("connector_standard", "connector_format", "connector_power_type"), "#NA")
    place = CDR["cdr_location"] | texts | connector | {"coordinates": coordinates}
    sent = cdr(cdr_token=token, cdr_location=place, currency="#NA", auth_method="#NA")
    assert read(sent) == sent


def test_a_reservation_without_a_session_needs_no_connector() -> None:
    """EVSE and connector are `#NA`; other fields of the connector are ignored (10.4.4)."""
    for field in ("evse_uid", "evse_id", "connector_id"):
        place = CDR["cdr_location"] | {field: "#NA", "connector_format": "", "connector_power_type": "NONE"}
        assert read(cdr(cdr_location=place))["cdr_location"] == place
    for field in ("connector_format", "connector_power_type"):
        with pytest.raises(SetAside, match=field):
            read(cdr(cdr_location=CDR["cdr_location"] | {field: "NONE"}))


@pytest.mark.parametrize("field", ["party_id", "id"])
def test_a_cdr_without_an_identity_is_set_aside(field: str) -> None:
    """Records with the id `#NA` would overwrite each other."""
    with pytest.raises(SetAside, match=f"`{field}` must identify the record, got #NA"):
        read(cdr(**{field: "#na"}))


def test_a_token_of_ocpi_2_2_needs_no_country_and_party() -> None:
    """A CDR's token requires them from 2.2.1 on."""
    token = {"uid": "1", "type": "RFID", "contract_id": "C"}
    assert read(cdr(cdr_token=token), version="2.2")["cdr_token"] == token
    with pytest.raises(SetAside, match="cdr_token"):
        read(cdr(cdr_token=token))


def test_the_summary_of_many_operators_is_shortened_to_fit() -> None:
    """It has the latest months and the number of rows left out."""
    operators = 40
    with hostile(serving()) as server:
        previous = [
            cdr(
                id=f"{place:04}-{month:02}",
                nx_operator=f"operator-{place}",
                end_date_time=f"2026-{month:02}-01T00:00:00Z",
            )
            for place in range(operators)
            for month in range(1, 5)
        ]
        records, summary = collected(
            *(server.operator(f"operator-{place}") for place in range(operators)), previous=previous
        )
    assert len(records) == operators * 4
    assert summary["overall"][0]["cdrs"] == operators * 4
    assert summary["left_out"]["totals"] == operators * 4 - len(summary["totals"])
    assert {row["month"] for row in summary["totals"]} <= {"2026-04", "2026-03"}


def test_temporary_files_are_removed_after_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a completed run, an abandoned one, and a failed one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with hostile(serving(cdr(id="1"), cdr(id="2"))) as server:
        for taken in (1, 9):
            run = new_run(TaskName.collect_charge_cdrs)
            records = charge_cdrs.collect([server.operator()], list, run, now=NOW, months=13, limits=FAST)
            assert [next(records, None) for _ in range(taken)]
            assert any(tmp_path.iterdir()) == (taken == 1)
            records.close()  # type: ignore[attr-defined]
            assert not any(tmp_path.iterdir())
        server.lists = lambda request: request.body(b"")
        run = new_run(TaskName.collect_charge_cdrs)
        with pytest.raises(Exception, match="no operator could be read"):
            list(charge_cdrs.collect([server.operator()], list, run, now=NOW, months=13, limits=IMPATIENT))
    assert not any(tmp_path.iterdir())


def read(record: dict[str, Any], version: str = "2.2.1") -> dict[str, Any]:
    """The record if it is valid."""
    raw = msgspec.Raw(msgspec.json.encode(record))
    return read_cdr(raw, version, latest_end=NOW + timedelta(days=1)).record
