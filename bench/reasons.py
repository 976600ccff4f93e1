"""Why an aim is missed, told with the figures of the run that missed it.

A reason says what was tried, too. It counts only while the figures bear it out: where they
don't, the page says that nobody knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cold import NEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.report import Measure
    from bench.stages import Stage

    Parts = Mapping[str, float]
    Others = Mapping[str, Measure]

UNKNOWN = "what was measured here does not tell why."
#: The ratio from which on what Firestore takes is the reason for a slow cold read.
LEAST_OF_COLD = 2.0


def lines(measures: Sequence[Measure], stages: Sequence[Stage]) -> Iterator[str]:
    """Give a line for each aim that is missed, Markdown.

    Args:
        measures: all that were taken.
        stages: where a warm answer's time goes.
    """
    more = {stage.name: stage.more for stage in stages}
    for measure in measures:
        if measure.met is False:
            reason = next((why for name, why in REASONS.items() if measure.name.startswith(name)), None)
            told = reason(measure, more, {each.name: each for each in measures}) if reason else None
            yield f"- **{measure.name}** is {measure.value:.2f}: {told or UNKNOWN}"


def _small(_: Measure, more: Parts, __: Others) -> str:
    own = more["get_task_data, a result of a few bytes"]
    return (
        f"the product's own part of an answer takes {own:.2f} ms: whose call it is and what it wants, the "
        "cache, five headers and a body in place of on_call's. Tried, and kept: not counting a body "
        "whose length is known, not walking through a request that has too few brackets to be deep."
    )


def _large(measure: Measure, more: Parts, _: Others) -> str | None:
    bare = more["for comparison, gunicorn alone: the same compressed bytes"]
    beyond = measure.parts["answer"] - measure.parts["no-op"]
    if bare < beyond / 2:
        return None
    return (
        f"of the {beyond:.2f} ms that it takes beyond a no-op, gunicorn alone takes {bare:.2f} ms to send "
        "as many bytes, the kernel's copying to the client included. Tried: sending from a file in "
        "memory with sendfile, which is slower."
    )


def _throughput(measure: Measure, _: Parts, __: Others) -> str | None:
    beyond, bare = (
        1000 / measure.parts[slow] - 1000 / measure.parts[fast]
        for slow, fast in (("answer", "no-op"), ("as many bytes", "gunicorn alone"))
    )
    if bare < beyond / 2:
        return None
    return (
        f"each answer takes {beyond:.2f} ms more than a no-op's of one Python process, of which gunicorn "
        f"alone takes {bare:.2f} ms to send as many bytes. Tried, and kept: a body of up to 256 KiB is "
        "sent as one piece."
    )


def _cold(measure: Measure, _: Parts, others: Others) -> str | None:
    parts = measure.parts
    read, document, download = parts["read"], parts["document"], parts["download"]
    least = (document + download) / download
    if least < LEAST_OF_COLD:
        return None
    following = others[f"cold read of 10 MB from Storage, {NEXT} : plain download"].parts["read"]
    return (
        f"Firestore takes {document:.1f} ms to say which result there is before a byte of it can be asked "
        f"for, so that no read could do better than {least:.1f} here. The rest is Python at work: the "
        "request, the bytes received in pieces, so that a server that trickles them is noticed, the "
        "answer. That code runs for the first time counts little: the next read, of another result, "
        f"takes {following:.1f} ms where the first takes {read:.1f} ms. Tried: fetching the object at the "
        "contract's path beside Firestore's answer, to be used if it is the one, and opening the "
        "connection to Storage meanwhile. Neither gains where both servers and the instance share the "
        "cores, and the first costs a download for nothing wherever a result is kept elsewhere."
    )


def _crowd(measure: Measure, _: Parts, __: Others) -> str | None:
    noops, one = measure.parts["80 no-ops at once"], measure.parts["one"]
    if noops < one:
        return None
    return (
        f"80 no-ops that come at once take {noops / one:.1f} times as long as one cold caller waits: a "
        "Python process makes one answer at a time. They share one read and one download, as the counts "
        "show."
    )


def _run(measure: Measure, _: Parts, others: Others) -> str | None:
    inline = others["run, db, warm, on the caller's thread : bare calls"].value
    if inline >= measure.value:
        return None
    return (
        "the task works on a thread of its own, without which no deadline holds; on its caller's the "
        f"same run is {inline:.2f}. Tried, and kept: threads that wait for the next task instead of new "
        "ones, writes made by hand instead of the client's batch."
    )


def _start(measure: Measure, _: Parts, __: Others) -> str | None:
    own = measure.parts["importing main.py"]
    more = measure.parts["get_task_data"] - measure.parts["hello-world"]
    if own < more / 2:
        return None
    return (
        f"of the {more:.0f} ms that it takes more, importing this project's modules takes {own:.0f}. Tried, "
        "and kept: loading what only runs need with the first run, Storage's client not at all, and "
        "msgspec's structs for the values of what every function loads, as Python takes half a "
        "millisecond to make a dataclass."
    )


#: By the beginning of a measure's name.
REASONS: dict[str, Callable[[Measure, Parts, Others], str | None]] = {
    "answers a second": _throughput,
    "warm 1 KB": _small,
    "warm 10 MB, gzip": _large,
    "cold read": _cold,
    "80 concurrent cold callers": _crowd,
    "run, db": _run,
    "start of process": _start,
}
