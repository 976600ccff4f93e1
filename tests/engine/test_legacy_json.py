"""JSON objects of the legacy writer: which are results, and the memory that reading them takes."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks import ResultUnavailable, TaskEngine, TaskName
from shared.tasks.results import legacy_json
from shared.tasks.results.normalisation import CALLABLE_KEYS, CALLABLE_MARK
from tests.support.world import TASK, World

ROOT = Path(__file__).resolve().parents[2]
MiB = 1024 * 1024

#: Texts of JavaScript with lone surrogates, and texts that only look like them.
texts = st.text(st.characters(exclude_categories=[])) | st.text('\\"u\ud83d\ude00d8', max_size=8)
#: Keys that callables can carry; the others are marked, which has tests of its own.
RESERVED = {mark + key for key in CALLABLE_KEYS for mark in ("", CALLABLE_MARK)}
keys = texts.filter(lambda key: key not in RESERVED)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def read(plain: bytes) -> bytes:
    """The JSON of an uncompressed object."""
    return legacy_json.json_of(plain, MiB)


def well_formed(value: Any) -> Any:
    """A value with texts as after JavaScript's `toWellFormed`."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, list):
        return [well_formed(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    return value


@given(values, st.sampled_from([None, 1]), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_json_of_javascript_is_a_result(value: Any, indent: int | None, mark: bytes) -> None:
    """A lone surrogate or a byte order mark does not make it unreadable."""
    text = json.dumps(value, indent=indent)
    made = read(mark + text.encode())
    assert json.loads(made) == well_formed(json.loads(text))
    if well_formed(json.loads(text)) == json.loads(text):
        assert made == text.encode()


@pytest.mark.parametrize(
    ("stored", "made"),
    [
        (rb'["\ud83d\ude00"]', rb'["\ud83d\ude00"]'),
        (rb'["\uD83D\uDE00"]', rb'["\uD83D\uDE00"]'),
        (rb'["\ud83d"]', rb'["\ufffd"]'),
        (rb'["\uDE00\uD83D"]', rb'["\ufffd\ufffd"]'),
        (rb'["\ud83d\ud83d\ude00"]', rb'["\ufffd\ud83d\ude00"]'),
        (rb'["\\ud83d"]', rb'["\\ud83d"]'),
        (rb'["\\\ud83d"]', rb'["\\\ufffd"]'),
        (rb'{"\ud83d": 1}', rb'{"\ufffd": 1}'),
        (b"[1e999]", b"[1e999]"),
        (b"[" * 900 + b"]" * 900, b"[" * 900 + b"]" * 900),
    ],
)
def test_other_content_is_unchanged(stored: bytes, made: bytes) -> None:
    """A browser can read it, so it is served."""
    assert read(stored) == made


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (b"", "not JSON: Input data was truncated"),
        (b"[1, 2", "not JSON: Input data was truncated"),
        (b"[1]]", r"not JSON: .*trailing characters \(byte 4\)"),
        (b"<html>", r"not JSON: .*invalid character \(byte 0\)"),
        (b"[NaN]", r"not JSON: .*\(byte 1\)"),
        (b'["a\nb"]', r"not JSON: .*\(byte 3\)"),
        (rb'["\ud8"]', "not JSON"),
        (b"[" * 1_000_000, "not JSON: maximum recursion depth"),
        (b'["\xff"]', "not UTF-8: invalid start byte"),
        (b'["\xed\xa0\x80"]', "not UTF-8"),
        (b'["\xc3', "not UTF-8: unexpected end of data"),
        (gzip.compress(b"[1]")[:-1], "damaged: the stream is incomplete"),
        (gzip.compress(b"[1]") + b"[2]", "damaged: .*incorrect header check"),
    ],
)
def test_the_error_of_an_invalid_object_has_the_reason(stored: bytes, text: str) -> None:
    """The operator does not have to download the object."""
    with pytest.raises(ResultUnavailable, match=text):
        read(stored)


def write_legacy(world: World, content: bytes, task: TaskName = TASK) -> None:
    """Write like the legacy writer: the object, and its URL in the document."""
    blob = world.bucket.blob(f"tasks_data/{task}.json")
    blob.upload_from_string(content, content_type="application/json")
    world.write({"source": "ts", "status": "completed", "data": "https://storage.googleapis.com/x"}, task)


def test_readers_of_this_process_get_a_legacy_result(world: World, engine: TaskEngine) -> None:
    """As a list from Storage, and record by record."""
    write_legacy(world, b'\xef\xbb\xbf["\\ud83d"]')
    assert engine.get_task_data(TASK) == engine.get_task_data_from_storage(TASK) == ["\ufffd"]
    assert list(engine.iter_task_data(TASK)) == ["\ud83d"]  # as the standard library reads it


@pytest.mark.parametrize("content", [b"[1e999]", b"[" * 1100 + b"]" * 1100], ids=["number", "depth"])
def test_json_that_python_cannot_represent_is_an_error(
    world: World, engine: TaskEngine, content: bytes
) -> None:
    """Browsers accept it; the engine's error has the reason."""
    write_legacy(world, content)
    with pytest.raises(ResultUnavailable, match=rf"{TASK}: .*"):
        engine.get_task_data(TASK)


RECORD = b'{"id": "%07d", "health": "good", "volts": 12.5, "reasons": ["silent", "low"], "at": null}'
#: Objects, and whether an instance serves them.
LARGE: dict[str, tuple[Callable[[], bytes], bool]] = {
    "ordinary records": (lambda: b"[" + b",".join(RECORD % number for number in range(350_000)) + b"]", True),
    "nothing but objects": (lambda: b"[" + b"{}," * (10 * MiB) + b"{}]", True),
    "halves of letters": (lambda: b'["' + rb"\ud83d" * 100_000 + b"x" * (30 * MiB) + b'"]', True),
    "63 MiB compressed": (lambda: gzip.compress(b"[" + b"{}," * (21 * MiB) + b"{}]"), True),
    "200 MiB compressed": (lambda: gzip.compress(b"[" + b" " * (200 * MiB) + b"]"), False),
}


@pytest.mark.parametrize("large", LARGE)
def test_the_memory_of_an_instance_suffices_for_all_tasks_at_once(
    world: World, tmp_path: Path, large: str
) -> None:
    """512 MiB for all objects and responses; a larger object is replaced by its URL."""
    make, is_served = LARGE[large]
    content = make()
    assert len(content) < 32 * MiB
    for task in TaskName:
        write_legacy(world, content, task)
    limit = tmp_path / "memory.max"
    limit.write_text(str(512 * MiB), "ascii")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.engine.legacy_reader", str(limit)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    refused, peak = json.loads(ran.stdout.splitlines()[-1])
    assert refused == [None if is_served else f"tasks_data/{task}.json" for task in TaskName]
    assert peak < 512 * MiB


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (rb'{"@type":1}', rb'{"@@type":1}'),
        (rb'[{"\u0040type" : {"__proto__":0}}]', rb'[{"@\u0040type" : {"@__proto__":0}}]'),
        (rb'{"\u005F_proto__":1,"hasOwnProperty":2}', rb'{"@\u005F_proto__":1,"@hasOwnProperty":2}'),
        (rb'{"a\\":1,"@type":2}', rb'{"a\\":1,"@@type":2}'),
        (rb'{"a\"@type":1,"b":"\"@type\":","x@type":["@type"]}', None),
    ],
)
def test_a_key_that_callables_cannot_carry_is_marked(stored: bytes, read: bytes | None) -> None:
    """Only keys, with any escapes; texts with the same content stay."""
    assert legacy_json.json_of(stored, 1000) == (read or stored)


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        (rb'{"@type":1,"@@type":2}', "@type"),
        (rb'[{"@@type":{"a":"}"},"b":["{\"@type\":"],"\u0040type" : 2}]', "@type"),
        (rb'{"\u0040\u005F_proto__":{},"__proto__":0}', "__proto__"),
    ],
)
def test_a_key_and_its_marked_form_in_one_object_are_refused(stored: bytes, key: str) -> None:
    """As in a result of this engine: readers would lose one of the two values."""
    with pytest.raises(ResultUnavailable, match=f"the keys '{key}' and '@{key}'"):
        read(stored)


@pytest.mark.parametrize(
    ("stored", "made"),
    [
        (rb'{"@@type":1}', rb'{"@@type":1}'),
        (rb'[{"@type":1},{"@@type":2}]', rb'[{"@@type":1},{"@@type":2}]'),
        (rb'{"@type":{"@@type":{}},"a\\":"@@type"}', rb'{"@@type":{"@@type":{}},"a\\":"@@type"}'),
    ],
)
def test_a_marked_key_in_another_object_is_accepted(stored: bytes, made: bytes) -> None:
    """Keys are compared within one object."""
    assert read(stored) == made
