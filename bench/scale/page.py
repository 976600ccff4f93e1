"""docs/scale.md: formulas, simulation, limits, and the facts that they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.scale import facts, model
from bench.scale.markdown import amount, size, table
from bench.scale.model import Load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.scale.points import Figure, Point

INSTANCES = (1, 10, 100, 1_000, 10_000)
READS = (1, 10, 100, 1_000, 10_000, 100_000)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 30_000_000)
#: Larger than the result of any task, so that an answer is too large.
TOO_LARGE = 400_000_000
MAX_AGES = (0, 1, 5, 60, 300)

OPENING = """\
# Scale

How far the design scales, computed and simulated; `make scale` writes this page. It assumes one task with a
new result every 5 minutes. Readers arrive at random, evenly over all instances, and accept gzip. The loads of
several tasks add up."""

FORMULAS = (
    (
        "Firestore reads per second",
        "N / (m + N / R)",
        "an instance asks once per max-age, when its next reader arrives; others share the answer",
    ),
    (
        "the same, max-age 0",
        "N / (L + exp(-r L) / r)",
        (
            "each reader waits for a check that began after it arrived; readers who arrive during one check "
            "share the next, so an instance asks at most 1 / L times per second"
        ),
    ),
    ("upper bound", "min(R, N / m)", "one check per read, and one per instance and max-age"),
    (
        "downloads of a version",
        "N (1 - exp(-r (P - m)) / (1 + r m))",
        "one on each instance that serves a read before the next version",
    ),
    (
        "mean wait",
        "(L * Firestore reads + D * downloads) / R",
        "only the reader that triggers a check waits, if there is a result",
    ),
    (
        "the same, max-age 0",
        "L (1 + L / round / 2) + D * downloads / R",
        "every reader waits for one check, and some also for half of the previous one",
    ),
    (
        "oldest answer",
        "m + 2 s; max-age 0: L + D",
        "older answers wait for a check, which may take 2 s, or for a slow download",
    ),
    (
        "median age of old answers",
        "(1 - 1/√2) (m + L/2 + D)",
        "a new result comes at any moment of a round",
    ),
    (
        "egress",
        "R * (compressed bytes + headers)",
        "a whole answer per read; with `if_version`, a few bytes if the result is unchanged",
    ),
    (
        "instances needed",
        "max(R * CPU / 0.6, R * seconds / 80, egress / 600 Mbit/s)",
        "one core each; a request lasts until its client has received all of it",
    ),
    (
        "cost",
        "each * its price",
        "an instance is billed while it has a request: N (1 - exp(-r * max(seconds, 0.1 s)))",
    ),
)
LETTERS = """\
R is reads per second, N instances, r = R / N, m max-age, and P seconds between two results. L is the latency
of Firestore (20 ms) and D that of Storage (50 ms), unless stated otherwise. A round lasts from one check of
an instance to its next."""

SIMULATED = """\
## Simulated

The product's own reader, cache and single-flight run in that many instances, in one process on a simulated
clock. Firestore and Storage are simulated; they answer after L and D."""

CHANGES = (
    ("Firestore: reads", "a longer max-age", "answers may be older by as much"),
    ("Firestore: reads", "a ramp: at most 50 % more every 5 minutes", "time"),
    (
        "Firestore: reads",
        "sharded pointers: the version in several documents, written in one commit; an instance reads one",
        "more writes per result; the number of reads stays the same",
    ),
    (
        "Firestore: reads",
        "the version in Redis (Memorystore), written after the commit",
        "a second source of truth, which may lag behind the document",
    ),
    ("Firestore: writes", "none needed: the limit is not reached", ""),
    ("Cloud Run: size of an answer", "a signed URL of the object, as today", "a call to IAM per URL"),
    ("Cloud Run: size of an answer", "chunked answers, which have no such limit", "the client's memory"),
    ("Cloud Run: instances", "a higher quota, or a second region", "the same per read"),
    (
        "Cloud Run: instances",
        "public data from the CDN of Hosting, which checks no claims",
        "no instances, but a higher price per byte",
    ),
    ("egress", "`if_version` in clients that poll", "nothing: an unchanged result takes a few bytes"),
    ("egress", "always a signed URL instead of the data", "the same egress, but fewer instances"),
)


def page(compared: Sequence[tuple[Point, Sequence[Figure]]]) -> str:
    """Return the page with the simulated points."""
    return "\n\n".join((*on_paper_first(), _simulated(compared), *on_paper_then())) + "\n"


def on_paper_first() -> tuple[str, ...]:
    """Return the parts before the simulation, which are only computed."""
    formulas = table(
        ("figure", "formula", "because"), [(name, f"`{how}`", why) for name, how, why in FORMULAS]
    )
    return OPENING, _in_short(), f"## Formulas\n\n{formulas}\n\n{LETTERS}"


def on_paper_then() -> tuple[str, ...]:
    """Return the parts after the simulation, which are only computed."""
    return _firestore(), _answers(), _limits(), _changes(), _facts()


def _in_short() -> str:
    small, asked = model.first_limit(Load(1, 1, 5)), model.first_limit(Load(1, 1, 0))
    large = model.first_limit(Load(1, 1, 5, 10_000_000))
    deployed = [model.deployed_most(Load(1, 1, 5, of)) for of in (1_000, 10_000_000)]
    cost = model.monthly_cost(Load(100, 1_000, 5, 1_000_000))
    egress, reads = (cost[name] / sum(cost.values()) for name in ("egress", "Firestore"))
    writes = model.writes(Load(1, 1, 5))
    plain = facts.ANSWER_BYTES.value
    return f"""\
## In short

- At a max-age of 5 s, the first limit is reached at {amount(small[0])} reads of 1 KB per second
  ({small[1]}) and at {amount(large[0])} of 10 MB ({large[1]}).
  With max-age 0, it is reached at {amount(asked[0])} ({asked[1]}).
- A callable is deployed with at most {facts.MOST_INSTANCES.shown} instances, which bounds the bill
  (`MAX_INSTANCES` in `functions/callable_endpoint.py`). They serve {amount(deployed[0])} reads of 1 KB per
  second, or {amount(deployed[1])} of 10 MB. The rest of this page assumes {facts.INSTANCES.shown}, the quota
  of a region.
- Firestore reads depend on instances and max-age, and hardly on readers: 2,500 instances at 5 s make 500
  reads per second.
- The guidance starts at 500 reads per second and documents no limit for one document. It warns of hot spots
  and of high rates on neighbouring documents, and asks for a ramp of 50 % every 5 minutes above 500. A
  document cannot be split. Only a load test shows its limit.
- Writes are far from any limit: {amount(writes)} per second for a run of one minute every 5 minutes.
- No result is too large up to 30 MB. An answer of 32 MiB holds {size(plain / facts.COMPRESSED.value)} of JSON
  compressed, or {size(plain)} for a client without gzip. Larger results are returned as a signed URL.
- Egress costs most. 1,000 reads of 1 MB per second from 100 instances cost ${amount(sum(cost.values()))}
  per month, of which egress is {egress:.0%} and Firestore {reads:.2%}."""


def _simulated(compared: Sequence[tuple[Point, Sequence[Figure]]]) -> str:
    rows = []
    for point, figures in compared:
        load = point.load
        what = f"{point.name}: N {amount(load.instances)}, R {amount(load.reads)}, m {load.max_age:g} s"
        for figure in figures:
            allowed = "at most 1" if figure.tolerance is None else f"1 ± {figure.tolerance:g}"
            ratio = f"{figure.ratio:.2f}" if figure.holds else f"**{figure.ratio:.2f}**"
            rows.append((what, figure.name, amount(figure.formula), amount(figure.counted), ratio, allowed))
            what = ""
    return f"{SIMULATED}\n\n{table(('point', 'figure', 'formula', 'simulated', 'ratio', 'allowed'), rows)}"


def _firestore() -> str:
    parts = ["## Firestore reads per second"]
    for reads in (100, 10_000, 100_000):
        rows = [
            [amount(count), *(amount(model.checks(Load(count, reads, age))) for age in MAX_AGES)]
            for count in INSTANCES
        ]
        parts.append(f"At {amount(reads)} reads per second:")
        parts.append(table(("instances", *(f"max-age {age} s" for age in MAX_AGES)), rows))
    month = amount(facts.READ_PRICE.value * facts.SECONDS_IN_MONTH)
    parts.append(
        f"One read per second costs ${month} per month. A result in the document costs a read per download."
    )
    return "\n\n".join(parts)


def _answers() -> str:
    rows = [[size(of), *(_answers_of(of, reads) for reads in READS)] for of in SIZES]
    return (
        "## Egress, instances, cost\n\n"
        "Bytes per second, instances needed and dollars per month at max-age 5 s.\n\n"
        + table(("JSON", *(f"{amount(reads)} reads/s" for reads in READS)), rows)
    )


def _answers_of(of: int, reads: int) -> str:
    needed = model.instances_needed(Load(1, reads, 5, of))
    load = Load(needed, reads, 5, of)
    return f"{size(model.egress(load))}, {amount(needed)}, ${amount(sum(model.monthly_cost(load).values()))}"


def _limits() -> str:
    rows = []
    for of in (*SIZES, TOO_LARGE):
        met = (model.first_limit(Load(1, 1, age, of)) for age in MAX_AGES)
        rows.append([size(of), *(f"{amount(reads)}: {limit}" for reads, limit in met)])
    head = "## Which limit is reached first\n\nReads per second at that limit, and the instances they need."
    return f"{head}\n\n{table(('JSON', *(f'max-age {age} s' for age in MAX_AGES)), rows)}"


def _changes() -> str:
    return f"## What to change at each limit\n\n{table(('limit', 'change', 'cost'), CHANGES)}"


def _facts() -> str:
    rows = [(fact.meaning, fact.shown, fact.source) for fact in facts.ALL]
    head = f"## Facts\n\nLooked up on {facts.LOOKED_UP} in stored copies. List prices before any discount."
    return f"{head}\n\n{table(('what', 'figure', 'from'), rows)}"
