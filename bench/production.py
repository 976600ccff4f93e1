"""functions-framework as it is deployed: `python -m bench.production`, and its own arguments.

A developer's environment has more packages than an instance. One of them counts: the SDK's HTTP
client loads `rich` where there is one, which takes longer than all that this project loads.
"""

import sys

sys.modules["rich"] = None  # type: ignore[assignment]  # whoever imports it is told that there is none

from functions_framework._cli import _cli  # noqa: E402

if __name__ == "__main__":
    _cli()
