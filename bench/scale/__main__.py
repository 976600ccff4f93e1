"""`make scale`: write docs/scale.md from the formulas and a simulation."""

import sys
from pathlib import Path

from bench.scale.page import page
from bench.scale.points import POINTS, compare

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"


def main() -> int:
    """Write and print the page; return 1 if the simulation contradicts a formula."""
    compared = [(point, compare(point)) for point in POINTS]
    text = page(compared)
    PAGE.write_text(text, "utf-8")
    print(text)
    return 0 if all(figure.holds for _, figures in compared for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
