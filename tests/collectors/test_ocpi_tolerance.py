"""Deviations that OCPI allows, and single invalid texts or entries, do not fail an operator."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.collectors import charge_cdrs, charge_locations
from shared.collectors.ocpi.errors import NoOperatorAnswered
from shared.collectors.ocpi.operators import Operator
from shared.surrogates import replace_lone_surrogates
from shared.tasks import TaskName
from shared.tasks.results.normalisation import encode_record
from tests.collectors.hostile import Hostile, HttpRequest, hostile, serving
from tests.collectors.ocpi_samples import cdr, location
from tests.collectors.runs import FAST, new_run

NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)


def collected(operator: Operator, module: str = "locations") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The result and the summary of what one operator sent; both can be stored."""
    run = new_run(TaskName(f"collect_charge_{module}"))
    records: Any = charge_locations.collect([operator], list, run, limits=FAST)
    if module == "cdrs":
        records = charge_cdrs.collect([operator], list, run, now=NOW, months=13, limits=FAST)
    result = list(records)
    for place, record in enumerate(result):
        assert json.loads(encode_record(record, place)) == record
    assert run.summary is not None
    json.dumps(run.summary, ensure_ascii=False).encode()
    return result, run.summary["this_run"] if module == "cdrs" else run.summary


@pytest.mark.parametrize("envelope", [{"data": None}, {}, {"data": []}], ids=["null", "omitted", "empty"])
@pytest.mark.parametrize("module", ["locations", "cdrs"])
def test_an_empty_list_may_be_null_empty_or_omitted(module: str, envelope: dict[str, Any]) -> None:
    """As the only page, and as the last page after a Link (specification, "Cardinality")."""
    record = cdr() if module == "cdrs" else location()

    def lists(request: HttpRequest) -> None:
        if first and "last" not in request.query:
            return request.list([record], Link='<?last=1>; rel="next"')
        return request.envelope({"status_code": 1000, **envelope})

    for first in (False, True):
        with hostile(lists) as server:
            records, summary = collected(server.operator(), module)
        assert len(records) == first
        assert (summary["operators_failed"], summary["set_aside"]) == (0, 0)


LONE = b"\\ud83d"
REPLACED = "\ufffd"


def with_bytes(record: dict[str, Any], place: bytes, instead: bytes) -> bytes:
    """A record as JSON, with some of its bytes replaced."""
    encoded = json.dumps(record).encode()
    assert place in encoded
    return encoded.replace(place, instead)


@pytest.mark.parametrize(
    ("module", "record", "found"),
    [
        ("locations", with_bytes(location(), b"Gent Zuid", b"Lidl " + LONE), lambda one: one["name"]),
        (
            "locations",
            with_bytes(location(), b"BeCharged", b"\\uDE00 Be"),
            lambda one: one["operator"]["name"],
        ),
        (
            "locations",
            with_bytes(location(x=[[{"y": "z"}]]), b'"z"', b'"' + LONE + b'"'),
            lambda one: one["x"][0][0]["y"],
        ),
        ("locations", with_bytes(location(xx=1), b'"xx"', b'"x' + LONE + b'"'), lambda one: list(one)[-2]),
        ("cdrs", with_bytes(cdr(remark="r"), b'"r"', b'"' + LONE + b'"'), lambda one: one["remark"]),
        ("cdrs", with_bytes(cdr(), b"Gent Zuid", LONE + b"\\u0041"), lambda one: one["cdr_location"]["name"]),
        (
            "cdrs",
            with_bytes(cdr(xx={"y": 1}), b'"y"', b'"' + LONE + LONE + b'"'),
            lambda one: next(iter(one["xx"])),
        ),
    ],
)
def test_half_a_surrogate_pair_is_replaced(
    module: str, record: bytes, found: Callable[[dict[str, Any]], str]
) -> None:
    """In any text or field name at any depth; the record and the others are collected."""
    other = json.dumps(cdr(id="B") if module == "cdrs" else location(id="B")).encode()
    body = b'{"status_code":1000,"data":[' + record + b"," + other + b"]}"
    with hostile(lambda request: request.body(body)) as server:
        records, summary = collected(server.operator(), module)
    assert len(records) == 2
    assert REPLACED in found(next(one for one in records if one["id"] != "B"))
    assert (summary["operators_failed"], summary["set_aside"]) == (0, 0)


def test_half_a_surrogate_pair_in_an_id_sets_its_record_aside() -> None:
    """An id is ASCII; with a replacement it could equal another record's id."""
    bad = with_bytes(location(id="LOC2"), b"LOC2", b"LOC" + LONE)
    body = b'{"status_code":1000,"data":[' + bad + b"," + json.dumps(location()).encode() + b"]}"
    with hostile(lambda request: request.body(body)) as server:
        records, summary = collected(server.operator())
    assert [one["id"] for one in records] == ["LOC1"]
    assert summary["reasons"][0]["record"] == f"BE/BEC/LOC{REPLACED}"


def test_half_a_surrogate_pair_in_versions_and_messages_is_ignored() -> None:
    """These texts are not used."""
    message = (
        b'{"status_code":1000,"status_message":"' + LONE + b'","data":[' + json.dumps(location()).encode()
    )

    def answer(request: HttpRequest) -> None:
        if request.route == "/versions":
            url = f"{server.url}/2.2.1"
            request.body(
                b'{"status_code":1000,"x":"%b","data":[{"version":"%b","url":"%b"},{"version":"2.2.1","url":"%b"}]}'
                % (LONE, LONE, LONE, url.encode())
            )
        else:
            Hostile.answer(server, request)

    with hostile(lambda request: request.body(message + b"]}")) as server:
        server.answer = answer  # type: ignore[method-assign]
        assert len(collected(server.operator())[0]) == 1


@pytest.mark.parametrize(
    "message", [b'"\xff"', b"42", b'{"a":1}', b'"' + b"x" * 100_000 + b'"'], ids=range(4)
)
def test_a_status_message_of_another_type_is_ignored(message: bytes) -> None:
    """It is shown only with errors."""
    page = b'{"status_code":1000,"status_message":' + message + b',"data":[' + json.dumps(location()).encode()
    with hostile(lambda request: request.body(page + b"]}")) as server:
        assert len(collected(server.operator())[0]) == 1


def test_a_byte_order_mark_before_the_json_is_ignored() -> None:
    """In versions, details and lists."""

    class Marking(HttpRequest):
        def body(self, body: bytes, **options: Any) -> None:
            super().body(b"\xef\xbb\xbf" + body, **options)

    with hostile(serving(location())) as server:
        server.RequestHandlerClass = Marking
        assert len(collected(server.operator())[0]) == 1


TEXTS = st.text(st.characters(), max_size=10) | st.text(st.sampled_from('\\\ud83d\ude00udDe0"a'), max_size=10)


@given(
    st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
)
def test_only_half_surrogate_pairs_are_repaired(value: Any) -> None:
    """Pairs, other escapes and escaped backslashes stay unchanged."""
    body = json.dumps({"value": value}).encode()  # escapes all but ASCII
    before = json.loads(body)
    after = json.loads(replace_lone_surrogates(body))
    expected = (
        json.dumps(before, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    assert json.dumps(after, ensure_ascii=False) == expected


UNUSED = [
    {"identifier": "credentials", "role": None, "url": "http://127.0.0.1/credentials"},
    {"identifier": "credentials", "url": "http://127.0.0.1/credentials"},
    {"identifier": "tokens", "role": "RECEIVER", "url": None},
    {"identifier": 7, "role": ["SENDER"]},
    {"identifier": "locations", "role": "SENDER", "url": None},
    None,
    "sessions",
]


def test_unused_endpoints_are_not_validated() -> None:
    """Nor are unsupported versions, whatever fields are null, missing or of another type."""

    def answer(request: HttpRequest) -> None:
        if request.route == "/versions":
            unused = [{"version": "2.1.1", "url": None}, {"version": 3, "url": "x"}, {"url": "x"}, None]
            request.list([*unused, {"version": "2.2.1", "url": "/2.2.1"}])
        elif request.route == "/2.2.1":
            used = {"identifier": "locations", "role": "SENDER", "url": "/locations"}
            request.envelope({"status_code": 1000, "data": {"endpoints": [*UNUSED, used]}})
        else:
            request.list([location()])

    with hostile(lambda _: None) as server:
        server.answer = answer  # type: ignore[method-assign]
        assert len(collected(server.operator())[0]) == 1


@pytest.mark.parametrize(
    ("versions", "endpoints", "error"),
    [
        (
            [{"version": "2.2.1", "url": None}],
            None,
            r"got no version \(an entry could not be decoded: Expected `str`, got `null` - at `\$.url`\)",
        ),
        (
            None,
            [{"identifier": "locations", "role": None, "url": "/x"}],
            r"no Sender .* could not be decoded: .* at `\$.role`",
        ),
        (
            None,
            [{"identifier": "locations", "role": "SENDER", "url": None}],
            r"no Sender .* could not be decoded: .* at `\$.url`",
        ),
        ([], None, "OCPI version must be 2.2.1 or 2.2, got no version; report it to the operator$"),
        (None, None, "no Sender interface of the module locations in OCPI 2.2.1; report it to the operator$"),
    ],
)
def test_a_used_endpoint_is_validated(versions: Any, endpoints: Any, error: str) -> None:
    def answer(request: HttpRequest) -> None:
        if request.route == "/versions":
            request.list([{"version": "2.2.1", "url": "/2.2.1"}] if versions is None else versions)
        else:
            request.envelope({"status_code": 1000, "data": {"endpoints": endpoints}})

    with hostile(lambda _: None) as server:
        server.answer = answer  # type: ignore[method-assign]
        with pytest.raises(NoOperatorAnswered, match=error):
            collected(server.operator())
