"""What one would change where a limit is met, and what that costs."""

from __future__ import annotations

from bench.scale import facts, model
from bench.scale.markdown import amount, table
from bench.scale.model import Load

#: Loads that the changes are reckoned for.
MANY = Load(10_000, 100_000, 1)
PUBLIC = Load(1_000, 10_000, 60, 1_000_000)
LED_UP_TO = 5_000
POLLED_SECONDS = 10


def changes() -> str:
    """Return the page's part about them."""
    rows = (*_firestore(), *_cloud_run(), *_egress())
    return f"## What to change at each limit\n\n{table(('limit', 'change', 'what that costs'), rows)}"


def _firestore() -> tuple[tuple[str, str, str], ...]:
    minutes = amount(model.ramp_minutes(LED_UP_TO))
    shards = (
        f"for {amount(MANY.instances)} instances at max-age {MANY.max_age:g} s "
        f"{model.shards_needed(MANY)} copies, "
        f"${amount(model.shards_cost(MANY))} a month to write them; reading costs what it did, "
        f"${amount(model.monthly_cost(MANY)['Firestore'])}"
    )
    redis = (
        f"${amount(model.redis_cost())} a month for 1 GiB without a replica: less than Firestore's reads "
        f"from {amount(model.redis_pays_from())} a second; at most {facts.REDIS_CLIENTS.shown} instances; "
        "a second truth, which may lag behind the document"
    )
    reads = "Firestore: reads"
    return (
        (reads, "a longer max-age", "nothing; answers may be older by as much"),
        (reads, "leading up to them", f"{minutes} minutes to {amount(LED_UP_TO)} a second"),
        (
            reads,
            "sharded pointers: the version in several documents, in one commit; an instance reads one",
            shards,
        ),
        (reads, "Memorystore: the version in Redis, written after the commit", redis),
        ("Firestore: writes", "nothing: not met", "start, finish, and the lease each 20 s"),
    )


def _cloud_run() -> tuple[tuple[str, str, str], ...]:
    hosting = (
        f"for {amount(PUBLIC.reads)} reads of 1 MB a second ${amount(model.hosting_cost(PUBLIC))} a month "
        f"instead of ${amount(sum(model.monthly_cost(PUBLIC).values()))}: no instances, dearer bytes"
    )
    answers, instances = "Cloud Run: size of an answer", "Cloud Run: instances"
    return (
        (answers, "a signed URL of the object, as now", "the same for bytes; a call to IAM for each URL"),
        (answers, "sending in chunks, which have no such limit", "nothing; the client holds it all just so"),
        (instances, "a higher quota, a second region", "the same for each read"),
        (instances, "public data from Hosting's CDN, which checks no claims", hosting),
    )


def _egress() -> tuple[tuple[str, str, str], ...]:
    cost = model.monthly_cost(PUBLIC)["egress"]
    unchanged = model.unchanged_share(PUBLIC, polled_every=POLLED_SECONDS)
    polled = (
        f"polled each {POLLED_SECONDS} s, {unchanged:.0%} of answers are a few bytes: of ${amount(cost)} "
        f"a month about ${amount(cost * (1 - unchanged))} stay"
    )
    storage = (
        f"${amount(model.storage_cost(PUBLIC))} a month for the same bytes: it spares instances, not egress"
    )
    return (
        ("egress", "`if_version` in clients that poll", polled),
        ("egress", "Storage hand-off: always a URL instead of the data", storage),
    )
