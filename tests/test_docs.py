"""The blocks of docs/extending.md are one file, an experiment outside the repository. It trains and is drawn."""

import os
import re
import subprocess
import sys
from pathlib import Path

from smith.scales import SCALES
from smith.store import Store

ROOT = Path(__file__).resolve().parents[1]


def test_the_examples_of_all_registries_train_and_are_drawn(tmp_path):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 6  # five registries, and the experiment
    (tmp_path / "mine.py").write_text("\n\n".join(blocks))
    command = [sys.executable, "-W", "error::UserWarning", "mine.py", "--scale", "smoke", "--data-dir", "data"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = Store(tmp_path / "results", SCALES["smoke"]).all()
    assert [result.status for result in found] == ["done"] * 3, done.stderr
    assert all(0 <= error <= 1 for result in found for error in result["top2_error"])
    assert {path.name for path in (tmp_path / "drawn" / "smoke").glob("stripes.*")} >= {"stripes.png", "stripes.svg"}
