"""A result's bytes as an instance keeps them: made once, in each form that is asked for."""

import gzip
import random
import threading
import zlib
from typing import Any

import pytest

from shared.tasks import ResultTooLarge, ResultUnavailable
from shared.tasks.results import gzipped, payload
from shared.tasks.results.payload import MIN_COMPRESSED, Payload

PLAIN = b'[{"id": "1", "health": "good"}' + b', {"id": "2"}' * 200 + b"]"
STORED = gzipped.member(gzipped.compress(PLAIN))
COMPRESSORS = [
    pytest.param(gzip.compress, id="others"),
    pytest.param(lambda plain: gzipped.member(gzipped.compress(plain)), id="ours"),
]


@pytest.mark.parametrize("stored", [STORED, PLAIN, gzip.compress(PLAIN)], ids=["ours", "plain", "others"])
def test_whoever_stored_it_every_form_is_the_same_result(stored: bytes) -> None:
    """JSON and gzip, with whatever around them, from an object of any writer's."""
    payload = Payload.of_stored(stored)
    assert payload.json == PLAIN
    assert payload.size == len(PLAIN)
    assert b"".join(payload.around(b"<", b">")) == b"<" + PLAIN + b">"
    compressed = payload.gzip_around(b"<", b">")
    assert compressed is not None
    assert gzip.decompress(b"".join(compressed)) == b"<" + PLAIN + b">"


def test_a_small_answer_is_made_once_and_weighed() -> None:
    """The same bytes are sent to everybody, and count; a large result is in memory once all the same."""
    grown: list[int] = []
    small = Payload.of_stored(STORED)
    small.on_growth = lambda: grown.append(small.held)
    held = small.held
    (answer,) = small.gzip_around(b"<", b">") or ()
    assert small.gzip_around(b"<", b">") == (answer,)
    assert (small.gzip_around(b"<", b">") or ())[0] is answer
    assert grown == [small.held] == [held + len(answer)]
    large = Payload(random.Random(1).randbytes(payload._WHOLE_BYTES * 2))
    held = len(large.json) + len((large.gzip_around(b"<", b">") or ())[1])
    assert held <= large.held < held + 100


def test_what_is_stored_compressed_is_served_so_without_being_decompressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody who takes gzip waits for JSON that nobody asked for."""
    payload = Payload.of_stored(STORED)
    assert payload.gzip_around(b"", b"") is not None
    assert payload.held < len(PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr(gzipped, "decompress", lambda _: pytest.fail("decompressed"))
        payload.gzip_around(b"<", b">")


def test_each_form_is_made_once_and_shared_by_all() -> None:
    """Two readers get the very same bytes, not equal ones."""
    payload = Payload(PLAIN)
    forms: list[Any] = []
    threads = [
        threading.Thread(target=lambda: forms.append(payload.gzip_around(b"<", b">"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(form[0]) for form in forms}) == 1
    unpacked = Payload.of_stored(STORED)
    assert unpacked.json is unpacked.json


def test_a_small_result_is_not_compressed() -> None:
    """It fits a packet as it is."""
    assert Payload(b"[]").gzip_around(b"<", b">") is None
    assert Payload(b" " * MIN_COMPRESSED).gzip_around(b"<", b">") is not None


def test_any_number_of_surroundings_takes_bounded_memory() -> None:
    """A version in the surroundings differs with each run: the old ones are forgotten."""
    result = Payload(PLAIN)
    for number in range(100):
        made = result.gzip_around(b"%d" % number, b"")
        assert gzip.decompress(b"".join(made or ())) == b"%d" % number + PLAIN
    assert len(result._responses) <= payload._MAX_RESPONSES


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(STORED[:-8] + b"\x00" * 8, id="another's checksum"),
        pytest.param(STORED[:-1], id="ours, cut off"),
        pytest.param(b"\x1f\x8bx", id="the beginning of gzip"),
        pytest.param(gzip.compress(PLAIN)[:-9], id="gzip, cut off"),
        pytest.param(gzip.compress(PLAIN) + b"x", id="gzip and more"),
        pytest.param(gzip.compress(PLAIN)[:-5] + b"?" + gzip.compress(PLAIN)[-4:], id="gzip, damaged"),
        pytest.param(PLAIN[:-1], id="JSON, cut off"),
        pytest.param(PLAIN + PLAIN, id="JSON twice"),
        pytest.param(gzip.compress(b"no JSON"), id="gzip of something else"),
        pytest.param(b"\x00" * 1000, id="zeros"),
        pytest.param(b"\xff\xfe[]", id="another encoding"),
    ],
)
def test_damage_is_an_error_and_never_a_result(stored: bytes) -> None:
    """Whether it is found at once or when the JSON is wanted."""
    with pytest.raises(ResultUnavailable):
        Payload.of_stored(stored).json  # noqa: B018  (a property that works)


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_a_stream_of_several_members_is_read_to_its_end(compress: Any) -> None:
    """Some writers string them together; a client gets one member all the same."""
    result = Payload.of_stored(compress(PLAIN[:1000]) + compress(PLAIN[1000:]))
    assert result.json == PLAIN
    unzip = zlib.decompressobj(wbits=31)
    assert unzip.decompress(b"".join(result.gzip_around(b"<", b">") or ())) == b"<" + PLAIN + b">"
    assert (unzip.eof, unzip.unused_data) == (True, b"")


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_no_more_is_unpacked_than_a_process_can_hold(monkeypatch: pytest.MonkeyPatch, compress: Any) -> None:
    """A few bytes may stand for many."""
    monkeypatch.setattr(payload, "MAX_RESULT_BYTES", 1_000_000)
    assert Payload.of_stored(compress(b'"' + b" " * 999_998 + b'"')).size == 1_000_000
    with pytest.raises(ResultUnavailable, match="read it with iter_task_data"):
        Payload.of_stored(compress(b'"' + b" " * 999_999 + b'"'))


def test_others_objects_are_unpacked_no_further_than_their_reader_says() -> None:
    """This engine's own need not be: they are handed on as they are."""
    for stored in (PLAIN, gzip.compress(PLAIN), STORED + STORED):
        with pytest.raises(ResultTooLarge):
            Payload.of_stored(stored, max_unpacked_bytes=len(PLAIN) - 1)
    assert Payload.of_stored(gzip.compress(PLAIN), max_unpacked_bytes=len(PLAIN)).json == PLAIN
    assert Payload.of_stored(STORED, max_unpacked_bytes=1).size == len(PLAIN)


def test_it_is_told_apart_without_being_told() -> None:
    """A log of a payload has its size and checksum, not its content."""
    assert repr(Payload(b"[1]")) == "Payload(3 bytes, CRC 4c2f32b8)"
    assert repr(Payload.of_stored(STORED)) == repr(Payload(PLAIN))
