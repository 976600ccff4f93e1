"""Joins and reads N parts and prints the memory: `python -m tests.engine.joiner N…`."""

import random
import sys
from collections.abc import Iterator
from functools import cache

from shared.tasks.results.normalisation import encode_record
from shared.tasks.results.parts import JoinedParts, PartContent, PartWriter, records_in
from tests.memory import peak_bytes

RECORDS = 200


@cache
def _contents() -> tuple[PartContent, PartContent]:
    """The first part and any other."""
    writer, draw = PartWriter(follows=False), random.Random(1)
    parts = []
    for _ in range(2):
        for place in range(RECORDS):
            writer.add(encode_record({"raw": draw.randbytes(500).hex()}, place))
        parts.append(writer.cut())
    first, other = parts
    assert first is not None
    assert other is not None
    return first, other


def content_of(number: int) -> PartContent:
    """The part with that number; all but the first one are alike."""
    return _contents()[min(number, 1)]


def stored(number: int) -> Iterator[bytes]:
    """The part's bytes, as a download yields them."""
    blocks = content_of(number).blocks
    return (blocks[start : start + 65_536] for start in range(0, len(blocks), 65_536))


def main(*numbers: str) -> None:
    """Join and read each number of parts, and print the peak of resident bytes after each."""
    for number in map(int, numbers):
        parts = [content_of(place).stored_at(str(place)) for place in range(number)]
        joined = JoinedParts(parts, lambda path: stored(int(path)))
        while joined.read(4 << 20):
            pass
        assert sum(1 for _ in records_in(parts, lambda path: stored(int(path)))) == RECORDS * number
        print(peak_bytes())  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
