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
SHORTER = {  # in docs/recipe.md and docs/recipe.ipynb: less data, shorter searches, one seed
    "length=epochs(20), seeds=3": "length=epochs(4), seeds=1",
    'budget="1m"': "budget=epochs(45), seeds=1",
    "epochs(30), seeds=3": "epochs(4), seeds=1",
    "[:4000]": "[:640]",
    "[:1000]": "[:200]",
    "length=epochs(4), seeds=3": "length=epochs(4), seeds=1",
    "iterations(3600), epochs(12), 3": "iterations(640), epochs(4), 1",
}


def blocks(name: str) -> list[str]:
    """Returns the Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)


def cells(name: str) -> list[str]:
    """Returns the code of a notebook. IPython is not here: its lines are left out."""
    found = [cell for cell in json.loads((ROOT / "docs" / name).read_text())["cells"] if cell["cell_type"] == "code"]
    return [re.sub(r"^(\s*)(%|from IPython).*", r"\1pass", "".join(c["source"]), flags=re.MULTILINE) for c in found]


def shortened(text: str) -> str:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


def test_the_examples_of_all_registries_train_and_are_drawn(tmp_path):
    parts = blocks("extending.md")
    assert len(parts) == 7  # five registries, the experiment, and its claim
    (tmp_path / "mine.py").write_text("\n\n".join(parts))
    command = [sys.executable, "-W", "error::UserWarning", "mine.py", "--scale", "smoke", "--data-dir", "data"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = Store(tmp_path / "results", SCALES["smoke"]).all()
    assert [result.status for result in found] == ["done"] * 3, done.stderr
    assert all(0 <= error <= 1 for result in found for error in result["top2_error"])
    assert {path.name for path in (tmp_path / "drawn" / "smoke").glob("stripes.*")} >= {"stripes.png", "stripes.svg"}


def test_the_notebook_runs_from_top_to_bottom(elsewhere, monkeypatch):
    """Also where MPLBACKEND names a notebook's backend."""
    monkeypatch.setenv("MPLBACKEND", "module://a_backend_that_is_not_here")
    names: dict = {"Image": lambda path: Path(path).read_bytes()}
    for code in cells("quickstart.ipynb"):
        exec(code, names)
    assert set(names["frame"]["figure"]) == {"fig14"} and len(names["frame"]["curve"].unique()) == 6


def test_the_page_of_the_recipe_runs(elsewhere, capsys):
    (block,) = blocks("recipe.md")
    assert 'budget="1m"' in block
    exec(shortened(block), {"__name__": "page"})
    assert "weight decay:" in capsys.readouterr().out
    assert Path("lr.png").is_file() and Path("my_task/index.html").is_file()


@pytest.mark.slow
def test_the_notebook_of_the_recipe_runs_from_nothing_to_a_comparison(elsewhere, capsys):
    pytest.importorskip("matplotlib").use("agg")
    names: dict = {"__name__": "__main__"}
    for code in cells("recipe.ipynb"):
        exec(shortened(code), names)
    out = capsys.readouterr().out
    assert re.search(r"^cosine: test loss \d", out, re.MULTILINE) and "optimizer = caffe_sgd(" in out
    assert Path("my_task/index.html").is_file()


DOCUMENTS = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), ROOT / "Dockerfile"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_spelled_as_the_program_takes_them_and_links_lead_somewhere(path):
    text = path.read_text()
    commands = "|".join(cli.COMMANDS)
    for line in re.findall(rf"^(?:    |#   .*)?\bsmith ((?:{commands})\b[^#\n]*)", text, re.MULTILINE):
        cli.parsed(shlex.split(line))
    for target in re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        assert target.startswith("https://") or (path.parent / target.partition("#")[0]).exists(), target
