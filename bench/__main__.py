"""`make bench`: take every measure on the running stack, and write docs/performance.md."""

import sys
from itertools import chain

from bench import cold, growth, hits, legs, page, report, runs, stages, streams, throughput
from bench.targets import OPTIONAL, TARGETS


def main() -> int:
    """Measure, print and save; a missed target is reported and is not an error."""
    print("Measuring; this takes some minutes …", flush=True)
    sizes = list(growth.sizes())
    modules = (throughput, cold, hits, runs, streams, legs)
    measures = [*growth.measures(sizes), *chain.from_iterable(each.measures() for each in modules)]
    if unmeasured := TARGETS.keys() - OPTIONAL - {each.name for each in measures}:
        raise RuntimeError(f"no measure has the name of these targets: {sorted(unmeasured)}")
    text = page.page(measures, sizes, stages.stages())
    print(text)
    report.save(measures)
    page.write(text, sizes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
