"""A result's bytes in the cache, converted once to each requested form."""

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
def test_every_form_is_the_same_result(stored: bytes) -> None:
    """JSON and gzip with any surrounding bytes, from an object of any writer."""
    payload = Payload.of_stored(stored)
    assert payload.json == PLAIN
    assert payload.size == len(PLAIN)
    assert b"".join(payload.around(b"<", b">")) == b"<" + PLAIN + b">"
    compressed = payload.gzip_around(b"<", b">")
    assert compressed is not None
    assert gzip.decompress(b"".join(compressed)) == b"<" + PLAIN + b">"


def test_a_small_response_is_cached_and_counts_as_memory() -> None:
    """All callers get the same bytes; a large result is not kept twice."""
    grown: list[int] = []
    small = Payload.of_stored(STORED)
    small.on_growth = lambda: grown.append(small.held_bytes)
    held = small.held_bytes
    (answer,) = small.gzip_around(b"<", b">") or ()
    assert small.gzip_around(b"<", b">") == (answer,)
    assert (small.gzip_around(b"<", b">") or ())[0] is answer
    assert grown == [small.held_bytes] == [held + len(answer)]
    large = Payload(random.Random(1).randbytes(payload._WHOLE_BYTES * 2))
    held = len(large.json) + len((large.gzip_around(b"<", b">") or ())[1])
    assert held <= large.held_bytes < held + 100


def test_a_compressed_object_is_served_without_being_decompressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """JSON is made only when it is requested."""
    payload = Payload.of_stored(STORED)
    assert payload.gzip_around(b"", b"") is not None
    assert payload.held_bytes < len(PLAIN)
    with monkeypatch.context() as patch:
        patch.setattr(gzipped, "decompress", lambda _: pytest.fail("decompressed"))
        payload.gzip_around(b"<", b">")


def test_each_form_is_made_once_and_shared() -> None:
    """Two readers get identical objects, not just equal ones."""
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
    """It fits a packet."""
    assert Payload(b"[]").gzip_around(b"<", b">") is None
    assert Payload(b" " * MIN_COMPRESSED).gzip_around(b"<", b">") is not None


def test_the_number_of_cached_responses_is_bounded() -> None:
    """The version in the surrounding bytes changes with each run; old responses are evicted."""
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
def test_a_damaged_object_is_an_error(stored: bytes) -> None:
    """At once, or when its JSON is requested."""
    with pytest.raises(ResultUnavailable):
        Payload.of_stored(stored).json  # noqa: B018  (a property with side effects)


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_all_members_of_a_gzip_stream_are_read(compress: Any) -> None:
    """Some writers concatenate several; a client gets a single one."""
    result = Payload.of_stored(compress(PLAIN[:1000]) + compress(PLAIN[1000:]))
    assert result.json == PLAIN
    unzip = zlib.decompressobj(wbits=31)
    assert unzip.decompress(b"".join(result.gzip_around(b"<", b">") or ())) == b"<" + PLAIN + b">"
    assert (unzip.eof, unzip.unused_data) == (True, b"")


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_decompression_is_limited_by_the_memory(monkeypatch: pytest.MonkeyPatch, compress: Any) -> None:
    """A few bytes may decompress to a large result."""
    monkeypatch.setattr(payload, "MAX_RESULT_BYTES", 1_000_000)
    assert Payload.of_stored(compress(b'"' + b" " * 999_998 + b'"')).size == 1_000_000
    with pytest.raises(ResultUnavailable, match="read it with iter_task_data"):
        Payload.of_stored(compress(b'"' + b" " * 999_999 + b'"'))


def test_objects_of_other_writers_are_decompressed_up_to_max_bytes() -> None:
    """The engine's own are returned without being decompressed."""
    for stored in (PLAIN, gzip.compress(PLAIN), STORED + STORED):
        with pytest.raises(ResultTooLarge):
            Payload.of_stored(stored, max_unpacked_bytes=len(PLAIN) - 1)
    assert Payload.of_stored(gzip.compress(PLAIN), max_unpacked_bytes=len(PLAIN)).json == PLAIN
    assert Payload.of_stored(STORED, max_unpacked_bytes=1).size == len(PLAIN)


def test_the_repr_has_size_and_checksum_without_the_content() -> None:
    """For logs."""
    assert repr(Payload(b"[1]")) == "Payload(3 bytes, CRC 4c2f32b8)"
    assert repr(Payload.of_stored(STORED)) == repr(Payload(PLAIN))
