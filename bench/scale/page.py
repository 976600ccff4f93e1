"""The page, docs/scale.md: what the model says, what the simulation saw, and from which facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.scale import facts, model
from bench.scale.changes import changes
from bench.scale.markdown import amount, size, table
from bench.scale.model import Load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.scale.points import Figure, Point

INSTANCES = (1, 10, 100, 1_000, 10_000)
READS = (1, 10, 100, 1_000, 10_000, 100_000)
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 30_000_000)
#: Beyond what any task has: where an answer is too large.
TOO_LARGE = 400_000_000
MAX_AGES = (0, 1, 5, 60, 300)
#: Deployments that are told whole: instances, reads a second, bytes of JSON, max-age.
WHOLE = (
    (1, 1, 1_000, 5),
    (1, 10, 1_000_000, 5),
    (10, 100, 100_000, 5),
    (100, 1_000, 1_000_000, 5),
    (100, 1_000, 1_000_000, 0),
    (1_000, 10_000, 10_000, 5),
    (1_000, 10_000, 1_000_000, 60),
    (1_000, 1_000, 30_000_000, 300),
    (10_000, 100_000, 1_000, 5),
    (10_000, 100_000, 100_000, 300),
    (10_000, 100_000, 1_000, 0),
)

OPENING = """\
# Scale

How far the design reaches, on paper; `make scale` writes this page. One task, a new result each 5 minutes,
readers who come by chance and evenly to all instances, and take gzip. What several tasks cost adds up."""

FORMULAS = (
    (
        "Firestore reads a second",
        "N / (m + N / R)",
        "an instance asks once a max-age, when its next reader comes; whoever else reads there asks nobody",
    ),
    (
        "the same, max-age 0",
        "N / (L + exp(-r L) / r)",
        (
            "each waits for a check that began after it came; all who come during one share the next, "
            "so an instance asks at most 1 / L times a second"
        ),
    ),
    ("at most", "min(R, N / m)", "which neither exceeds"),
    (
        "downloads of a version",
        "N (1 - exp(-r (P - m)) / (1 + r m))",
        "one on each instance that somebody reads on before the next version is there",
    ),
    (
        "mean wait",
        "(L * Firestore reads + D * downloads) / R",
        "only who asks waits, while there is a result",
    ),
    (
        "the same, max-age 0",
        "L (1 + L / round / 2) + D * downloads / R",
        "all wait: for one check, or half of another too",
    ),
    (
        "oldest answer",
        "m + 2 s; max-age 0: L + D",
        "older ones wait for a check, which may take 2 s; so does what took longer to download",
    ),
    ("median age of old answers", "(1 - 1/√2) (m + L/2 + D)", "a new result comes at any moment of a round"),
    (
        "egress",
        "R * (compressed bytes + headers)",
        "a whole answer a read; with `if_version` a few bytes if unchanged",
    ),
    (
        "instances needed",
        "max(R * CPU / 0.6, R * seconds / 80, egress / 600 Mbit/s)",
        "one core each; a request is there until its client has it all",
    ),
    (
        "cost",
        "each * its price",
        "an instance is paid for while it has a request: N (1 - exp(-r * max(seconds, 0.1 s)))",
    ),
)
LETTERS = """\
R reads a second, N instances, r = R / N, m max-age, P seconds between two results; L = 20 ms until Firestore,
D = 50 ms until Storage answers, where nothing else is said; a round: from an instance's check to its next."""

SIMULATED = """\
## Simulated

The product's own reader, cache and single-flight, in as many instances, in one process, on a simulated clock;
readers meet on an instance as they do in life. Simulated besides: Firestore and Storage, which answer
after L and D."""


def page(compared: Sequence[tuple[Point, Sequence[Figure]]]) -> str:
    """Return the page, with the points that were simulated."""
    return "\n\n".join((*on_paper_first(), _simulated(compared), *on_paper_then())) + "\n"


def on_paper_first() -> tuple[str, ...]:
    """Return what stands before the simulation, which alone has to be run."""
    formulas = table(
        ("figure", "formula", "because"), [(name, f"`{how}`", why) for name, how, why in FORMULAS]
    )
    return OPENING, _in_short(), f"## Formulas\n\n{formulas}\n\n{LETTERS}"


def on_paper_then() -> tuple[str, ...]:
    """Return what stands after it."""
    return _firestore(), _answers(), _limits(), _whole(), changes(), _facts()


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

- At a max-age of 5 s the first limit is met at {amount(small[0])} reads a second of 1 KB ({small[1]}),
  at {amount(large[0])} of 10 MB ({large[1]}); with max-age 0 at {amount(asked[0])} ({asked[1]}).
- As it is deployed, a callable has at most {facts.MOST_INSTANCES.shown} instances, so that no bill is without
  bound: they serve {amount(deployed[0])} reads a second of 1 KB, {amount(deployed[1])} of 10 MB.
  `MAX_INSTANCES` in `functions/callable_endpoint.py` says so; what follows reckons with the
  {facts.INSTANCES.shown} of a region.
- Firestore's reads follow from instances and max-age, hardly from readers: 2,500 instances at 5 s are 500
  a second.
- 500 a second is where guidance begins and no limit: none is named for reads of one document. Named are hot
  spots, high rates on documents close to each other, as all tasks' are, and that more than 500 be led up to,
  50 % more each 5 minutes. A document can't be split: what it bears in the end, a load test tells.
- Writes are far from any limit, whoever reads: {amount(writes)} a second for a minute's run each 5 minutes.
- No answer is too large up to 30 MB: 32 MiB hold {size(plain / facts.COMPRESSED.value)} of JSON compressed,
  {size(plain)} for a client without gzip. What is larger is handed off to Storage.
- Bytes cost most: of ${amount(sum(cost.values()))} a month for 1,000 reads of 1 MB a second from 100
  instances, egress is {egress:.0%}, Firestore {reads:.2%}."""


def _simulated(compared: Sequence[tuple[Point, Sequence[Figure]]]) -> str:
    rows = []
    for point, figures in compared:
        load = point.load
        what = f"{point.name}: N {amount(load.instances)}, R {amount(load.reads)}, m {load.max_age:g} s"
        for figure in figures:
            may_be = "at most 1" if figure.tolerance is None else f"1 ± {figure.tolerance:g}"
            ratio = f"{figure.ratio:.2f}" if figure.holds else f"**{figure.ratio:.2f}**"
            rows.append((what, figure.name, amount(figure.formula), amount(figure.counted), ratio, may_be))
            what = ""
    return f"{SIMULATED}\n\n{table(('point', 'figure', 'formula', 'simulated', 'ratio', 'may be'), rows)}"


def _firestore() -> str:
    parts = ["## Firestore reads a second"]
    for reads in (100, 10_000, 100_000):
        rows = [
            [amount(count), *(amount(model.checks(Load(count, reads, age))) for age in MAX_AGES)]
            for count in INSTANCES
        ]
        parts.append(f"At {amount(reads)} reads a second:")
        parts.append(table(("instances", *(f"max-age {age} s" for age in MAX_AGES)), rows))
    month = amount(facts.READ_PRICE.value * facts.SECONDS_IN_MONTH)
    parts.append(
        f"One a second is ${month} a month. For a result kept in the document each download is a read more."
    )
    return "\n\n".join(parts)


def _answers() -> str:
    rows = [[size(of), *(_answers_of(of, reads) for reads in READS)] for of in SIZES]
    return (
        "## Egress, instances, cost\n\nBytes a second, instances needed, dollars a month; at max-age 5 s.\n\n"
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
    head = (
        "## Which limit is met first\n\nAnd at how many reads a second, from as many instances as these need."
    )
    return f"{head}\n\n{table(('JSON', *(f'max-age {age} s' for age in MAX_AGES)), rows)}"


def _whole() -> str:
    rows = []
    for count, reads, of, age in WHOLE:
        load = Load(count, reads, age, of)
        cost, most = model.monthly_cost(load), model.uses(load)[0]
        parts = ", ".join(f"{name} {amount(value)}" for name, value in cost.items() if value >= 1)
        rows.append(
            (
                *(amount(count), amount(model.instances_needed(load)), amount(reads), size(of), f"{age} s"),
                *(amount(model.checks(load)), amount(model.fetches(load)), size(model.egress(load))),
                f"{amount(model.mean_wait(load) * 1000)} ms",
                f"{amount(sum(cost.values()))}: {parts}",
                f"{most.limit}: {amount(most.share * 100)} %",
            )
        )
    heads = ("N", "needed", "R", "JSON", "m", "Firestore reads/s", "downloads/s", "bytes/s", "mean wait")
    return f"## Whole deployments\n\n{table((*heads, '$ a month', 'most used limit'), rows)}"


def _facts() -> str:
    rows = [(fact.meaning, fact.shown, fact.source) for fact in facts.ALL]
    head = f"## Facts\n\nLooked up on {facts.LOOKED_UP}, in stored copies. List prices, before any discount."
    return f"{head}\n\n{table(('what', 'figure', 'from'), rows)}"
