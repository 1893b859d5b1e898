"""docs/recipe.md and docs/recipe.ipynb run as they are written, the searches shorter."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHORTER = {'budget="1m"': "budget=epochs(150)", "iterations(3600), epochs(12), 3": "iterations(1300), epochs(3), 2"}


def shortened(text: str) -> str:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "recipe.md").read_text(), re.MULTILINE | re.DOTALL)
    assert 'budget="1m"' in block
    monkeypatch.chdir(tmp_path)
    exec(shortened(block), {"__name__": "page"})
    assert "weight decay:" in capsys.readouterr().out
    assert Path("lr.png").is_file() and Path("my_task/index.html").is_file()


def test_the_notebook_runs_from_nothing_to_a_comparison(tmp_path, data_dir, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    cells = json.loads((DOCS / "recipe.ipynb").read_text())["cells"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    matplotlib.use("agg")
    scope = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(shortened("".join(cell["source"])), scope)
    out = capsys.readouterr().out
    assert re.search(r"^cosine: test loss \d", out, re.MULTILINE) and "optimizer = caffe_sgd(" in out
    assert Path("my_task/index.html").is_file()
