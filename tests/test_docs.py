"""The documents: what they tell people to type works, and their links lead somewhere.

The blocks of docs/extending.md are one file, an experiment outside the repository. It trains and is drawn.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from smith import cli
from smith.scales import SCALES
from smith.store import Store

ROOT = Path(__file__).resolve().parents[1]


def test_the_examples_of_all_registries_train_and_are_drawn(tmp_path):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 7  # five registries, the experiment, and its claim
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


def test_the_notebook_runs_from_top_to_bottom(tmp_path, data_dir, monkeypatch):
    """Also where MPLBACKEND names a notebook's backend. IPython is not here: its lines are left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    monkeypatch.setenv("MPLBACKEND", "module://a_backend_that_is_not_here")
    names: dict = {"Image": lambda path: Path(path).read_bytes()}
    for cell in json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(re.sub(r"^(\s*)(%|from IPython).*", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE), names)
    assert set(names["frame"]["figure"]) == {"fig14"} and len(names["frame"]["curve"].unique()) == 6


DOCUMENTS = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), ROOT / "Dockerfile"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_spelled_as_the_program_takes_them_and_links_lead_somewhere(path):
    text = path.read_text()
    commands = "|".join(cli.COMMANDS)
    for line in re.findall(rf"^(?:    |#   .*)?\bsmith ((?:{commands})\b[^#\n]*)", text, re.MULTILINE):
        cli.parsed(shlex.split(line))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith("https://") or (path.parent / target.partition("#")[0]).exists(), target
