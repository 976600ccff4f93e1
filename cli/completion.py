"""Shell completion. Its script defines `nx-tasks`, because shells cannot complete `python -m cli`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

# Typer has no public function for this without adding options; tests/cli/test_program.py checks it.
from typer._completion_classes import completion_init

PROGRAM = "nx-tasks"
_BASH = """\
nx-tasks() { env RUN "$@"; }
_nx_tasks() {
  local IFS=$'\\n'
  COMPREPLY=( $(env _NX_TASKS_COMPLETE=complete_bash \\
    COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD RUN) )
}
complete -o default -F _nx_tasks nx-tasks
"""
_ZSH = """\
nx-tasks() { env RUN "$@"; }
_nx_tasks() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _NX_TASKS_COMPLETE=complete_zsh RUN)
}
compdef _nx_tasks nx-tasks
"""
_FISH = """\
function nx-tasks; env RUN $argv; end
function _nx_tasks
  env _NX_TASKS_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \\
    _TYPER_COMPLETE_ARGS=(commandline -cp | string collect) RUN
end
complete --command nx-tasks --no-files --arguments "(_nx_tasks get-args)" --condition "_nx_tasks is-args"
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
SHELLS = tuple(_SCRIPTS)


def script_for(shell: str) -> str:
    """Return the script for the start file of bash, zsh or fish."""
    root = Path(__file__).resolve().parents[1]
    return _SCRIPTS[shell].replace("RUN", shlex.join([f"PYTHONPATH={root}", sys.executable, "-m", "cli"]))


def enable() -> None:
    """Enable typer's completion; typer itself does so only together with options of its own."""
    completion_init()
