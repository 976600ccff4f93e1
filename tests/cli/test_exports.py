"""Results as JSON, NDJSON and CSV, and the files they are written to; no stack is needed."""

import csv
import io
import json
import os
import re
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import exports
from cli.errors import CliError
from tests.support.formulas import FORMULAS


@pytest.mark.parametrize("raw", [False, True])
def test_csv_cells_and_headings_are_not_executed(raw: bool) -> None:
    """Each formula gets an apostrophe, unless --raw is given; numbers stay numbers."""
    records = [{"=h;=i": text, "n": -1} for text in FORMULAS]
    text = exported(exports.write_csv, json.dumps(records), raw=raw)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    texts = FORMULAS if raw else FORMULAS.values()
    assert rows == [["=h;=i" if raw else "'=h;'=i", "n"], *([text, "-1"] for text in texts)]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_is_executed_with_the_separator_of_another_locale(separator: str) -> None:
    """Each field, as a spreadsheet with this separator splits the file, begins with no operator."""
    texts = [*FORMULAS, "5+A1"]
    records = [{"n": 1, "=a": text, "=b": {"=c": [text]}} for text in texts]
    records += [{"n": -5, "=a": text} for text in texts] + [{"=b": text, "=a": text} for text in texts]
    text = exported(exports.write_csv, json.dumps(records))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    fields = [field for row in rows for field in row]
    executed = [field for field in fields if field.lstrip(" \t\r\n\"'\u00a0\ufeff")[:1] in {*"=+-@\uff1d"}]
    allowed = re.compile(r"'.*|-5(,.*)?", re.DOTALL) if separator != "," else re.compile(r"'.*|-5", re.DOTALL)
    assert [field for field in executed if not allowed.fullmatch(field)] == []
    assert [field for field in fields if re.match(r"-5,[0-9]", field)] == []


def test_cells_that_a_spreadsheet_may_split_are_quoted() -> None:
    """Except with --raw, which keeps the form of the file, too."""
    records = (
        '[{"a":"x;y","b":"x\\ty","c":-5,"d":["x;y"]},{"a":-5,"b":"5+A1"},{"a":-5,"b":5.5},{"a":"-","b":"5+"}]'
    )
    lines = exported(exports.write_csv, records).split("\n")[1:-1]
    assert lines == ['"x;y","x\ty",-5,"[""x;y""]"', '-5,"5+A1",,', "-5,5.5,,", "'-,5+,,"]
    lines = exported(exports.write_csv, records, raw=True).split("\n")[1:-1]
    assert lines == ['x;y,x\ty,-5,"[""x;y""]"', "-5,5+A1,,", "-5,5.5,,", "-,5+,,"]


def test_a_long_run_of_separators_is_read_once() -> None:
    """The time for a cell grows with its length, not with its square."""
    text = json.dumps([";\t \n" * 500_000])
    assert len(exported(exports.write_csv, text)) > 2_000_000


HARMLESS = ("a=1", "1-2", "'quoted'", " spaced", "", "\u00e9=", "(-1)")


def test_csv_keeps_harmless_text_and_numbers() -> None:
    """Numbers keep their digits as stored, also beyond the range and precision of a float."""
    numbers = "[-5,-0.10,1e22,1E+2,123456789012345678901,9007199254740993]"
    source = f'{{"text":{json.dumps(HARMLESS)},"numbers":{numbers}}}'
    records = f"[{','.join(json.dumps(text) for text in HARMLESS)},{numbers[1:]}"
    assert exported(exports.write_csv, records).split("\n")[1:-1] == [
        *("a=1", "1-2", "'quoted'", " spaced", '""', "\u00e9=", "(-1)"), *numbers[1:-1].split(","),
    ]  # fmt: skip
    assert list(csv.reader(io.StringIO(exported(exports.write_csv, source)))) == [
        ["key", "value"],
        ["text", json.dumps(HARMLESS, ensure_ascii=False, separators=(",", ":"))],
        ["numbers", numbers],
    ]


def exported(export: Callable[..., None], result: str, **options: bool) -> str:
    """Return what an export writes for a result in JSON."""
    target = io.BytesIO()
    export(io.BytesIO(result.encode()), target, **options)
    return target.getvalue().decode()


@pytest.mark.parametrize(
    ("result", "ndjson", "table"),
    [
        ("[]", "", ""),
        ("[ ]", "", ""),
        ("{}", "{}\n", "key,value\n"),
        ("0", "0\n", "value\n0\n"),
        ('""', '""\n', 'value\n""\n'),
        ("false", "false\n", "value\nfalse\n"),
        ('{"a":1,"=b":{"c":[]}}', '{"a":1,"=b":{"c":[]}}\n', 'key,value\na,1\n\'=b,"{""c"":[]}"\n'),
        ('[\n  1,\n  {"a":\n2},\n  null]', '1\n{"a":2}\nnull\n', "value,a\n1,\n,2\n,\n"),
        ('[{"a":1},{"b":"Zürich","a":2}]', '{"a":1}\n{"b":"Zürich","a":2}\n', "a,b\n1,\n2,Zürich\n"),
    ],
)
def test_each_kind_of_result_is_exported(result: str, ndjson: str, table: str) -> None:
    """A late column is empty in earlier records; a map is one line of NDJSON and a line of CSV per entry."""
    assert exported(exports.write_ndjson, result) == ndjson
    assert exported(exports.write_csv, result) == table


@pytest.mark.parametrize("size", [1, 2, 7])
def test_records_are_read_across_chunks(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Wherever a chunk ends: in a number, an escape, a character of several bytes, or a nested value."""
    monkeypatch.setattr(exports, "_CHUNK_BYTES", size)
    records = [{"n": -12345, "t": '\u00fc\U0001f50b\\" \ud83d', "x": {"y": [True, None, 1.5]}}, 12, "z", [[]]]
    text = json.dumps(records)
    lines = exported(exports.write_ndjson, text).splitlines()
    assert [json.loads(line) for line in lines] == records
    assert exported(exports.write_csv, text).count("\n") == 5
    with pytest.raises(CliError, match="not complete JSON"):
        exported(exports.write_ndjson, text[:-2])


def test_an_export_holds_one_record_at_a_time() -> None:
    """The memory for an export does not grow with the result."""
    record = json.dumps({"id": "x" * 1000, "nested": {"list": list(range(20))}})
    source = io.BytesIO(f"[{','.join([record] * 4000)}]".encode())
    for export in (exports.write_csv, exports.write_ndjson):
        tracemalloc.start()
        with Path(os.devnull).open("wb") as target:
            export(source, target)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000, export


def test_csv_holds_half_a_surrogate_pair_as_an_escape() -> None:
    """It is valid JSON, but not UTF-8 text."""
    target = io.BytesIO()
    exports.write_csv(io.BytesIO(rb'[{"a":"x\ud83d"}]'), target)
    assert target.getvalue() == b"a\nx\\ud83d\n"


def test_a_link_a_mode_and_a_device_survive_an_export(tmp_path: Path) -> None:
    """A file is replaced completely and keeps its mode; a device is written to."""
    real, link, pipe = tmp_path / "real", tmp_path / "link", tmp_path / "pipe"
    real.write_text("before", "utf-8")
    real.chmod(0o600)
    link.symlink_to(real)
    with exports.written(link) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert (real.read_text("utf-8"), stat.S_IMODE(real.stat().st_mode)) == ("after", 0o600)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with exports.written(pipe) as file:
            file.write(b"through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
