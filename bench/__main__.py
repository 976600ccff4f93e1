"""`make bench`: every measure, on the running stack."""

import sys
from itertools import chain

from bench import cold, growth, hits, page, report, runs, stages, streams, throughput


def main() -> int:
    """Measure, and tell; a missed aim is shown and is no error."""
    print("Measuring; this takes some minutes …", flush=True)
    sizes = list(growth.sizes())
    answers = [growth.measures(sizes), throughput.measures(), cold.measures(), hits.measures()]
    measures = list(chain(*answers, runs.measures(), streams.measures()))
    text = page.page(measures, sizes, stages.stages())
    print(text)
    report.save(measures)
    page.write(text, sizes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
