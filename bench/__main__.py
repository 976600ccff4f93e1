"""`make bench`: every measure, on the running stack."""

import sys

from bench import runs
from bench.report import tell


def main() -> int:
    """Measure, and tell; a missed aim is shown and is no error."""
    tell(runs.measures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
