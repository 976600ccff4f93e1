"""What a shell needs to know the command as `nx-tasks`, and to complete what is typed after it.

`python -m cli` is no name that a shell completes. The script defines one.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from typer._completion_shared import get_completion_script

PROGRAM = "nx-tasks"
VARIABLE = "_NX_TASKS_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def script_for(shell: str) -> str:
    """Return the script for one of SHELLS, to be evaluated in its start file."""
    root = shlex.quote(str(Path(__file__).resolve().parents[1]))
    run = f"PYTHONPATH={root} {shlex.quote(sys.executable)} -m cli"
    script = get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell)
    if shell == "bash":
        script = script.replace("complete_bash $1", f"complete_bash {run}")
        return f'{PROGRAM}() {{ {run} "$@"; }}\n{script}\n'
    called = re.sub(rf"(complete_(?:zsh|fish)\b[^\n\")]*) {PROGRAM}(?=[)\"])", rf"\1 {run}", script)
    if shell == "zsh":
        return f'{PROGRAM}() {{ {run} "$@"; }}\n{called}\n'
    return f"function {PROGRAM}; env {run} $argv; end\n{called}\n"
