"""README's JavaScript example reads a result on the local stack."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from emulators import demo_data
from emulators.environment import Addresses
from shared.tasks import TaskName, execute_task
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


def test_the_javascript_example_reads_a_result(stack: Addresses, tmp_path: Path) -> None:
    """The example is unchanged except for region and ports."""
    demo_data.seed(datetime.now(UTC))
    outcome = execute_task("test", TaskName.collect_devices_health, lambda: [{"id": "a"}, {"id": "b"}])
    assert outcome.status == "completed"
    (example,) = re.findall(r"```js\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    functions, port = stack.functions.split(":")
    for written, present in {
        "us-central1": stack.region,
        "127.0.0.1:9099": stack.auth,
        '"127.0.0.1", 5001': f'"{functions}", {port}',
    }.items():
        assert example.count(written) == 1
        example = example.replace(written, present)
    (tmp_path / "node_modules").symlink_to(ROOT / "emulators" / "node_modules", target_is_directory=True)
    (tmp_path / "example.mjs").write_text(f"{example}process.exit(0);\n", "utf-8")

    def printed() -> list[str]:
        done = subprocess.run(
            ["node", "--preserve-symlinks", tmp_path / "example.mjs"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    # An instance may serve a cached result of another test for some seconds.
    wait_for("the example's result", lambda: printed() == ["2", "{", "id:", "'a'", "}"])
