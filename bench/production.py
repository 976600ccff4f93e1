"""functions-framework as it is deployed: `python -m bench.production` with its own arguments.

A developer's environment has more packages than an instance. The SDK's HTTP client imports `rich`
if it is installed, which takes longer than importing this project.
"""

import sys

sys.modules["rich"] = None  # type: ignore[assignment]  # importing it then fails

from functions_framework._cli import _cli  # noqa: E402

if __name__ == "__main__":
    _cli()
