"""`make scale`: docs/scale.md, from the formulas and from what a simulation saw."""

import sys
from pathlib import Path

from bench.scale.page import page
from bench.scale.points import POINTS, compare

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"


def main() -> int:
    """Write the page, print it, and tell by the exit status whether the formulas hold."""
    compared = [(point, compare(point)) for point in POINTS]
    told = page(compared)
    PAGE.write_text(told, "utf-8")
    print(told)
    return 0 if all(figure.holds for _, figures in compared for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
