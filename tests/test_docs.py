"""The documents: what they tell people to type works, and their links lead somewhere.

The README's commands and examples work as they stand; only the scale is changed, and the folder they run in.
The blocks of docs/extending.md are one file, an experiment outside the repository. It trains and is drawn.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import ROOT, python
from small import slow

from smith import cli, experiments
from smith.figures import plot
from smith.scales import SCALES
from smith.store import Store
from smith.train import timing

README = (ROOT / "README.md").read_text()
SHORTER = {  # in docs/recipe.md and docs/recipe.ipynb: less data, shorter searches, one seed
    "length=epochs(20), seeds=3": "length=epochs(4), seeds=1",
    'budget="1m"': "budget=epochs(45), seeds=1",
    "epochs(30), seeds=3": "epochs(4), seeds=1",
    "[:4000]": "[:640]",
    "[:1000]": "[:200]",
    "length=epochs(4), seeds=3": "length=epochs(4), seeds=1",
    "iterations(3600), epochs(12), 3": "iterations(640), epochs(4), 1",
}


def blocks(page: str, language: str = "python") -> list[str]:
    """Returns the code of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def cells(name: str) -> list[str]:
    """Returns the code of a notebook. IPython is not here: its lines are left out."""
    found = [cell for cell in json.loads((ROOT / "docs" / name).read_text())["cells"] if cell["cell_type"] == "code"]
    return [re.sub(r"^(\s*)(%|from IPython).*", r"\1pass", "".join(c["source"]), flags=re.MULTILINE) for c in found]


def shortened(text: str) -> str:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


def test_one_of_each_registry_is_trained_listed_drawn_and_reported(tmp_path, monkeypatch, capsys):
    """The blocks of docs/extending.md, as a file in another folder than the current one."""
    parts = blocks("docs/extending.md")
    assert len(parts) == 7  # five registries, the experiment, and its claim
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "work" / "mine.py"
    file.parent.mkdir()
    file.write_text("\n\n".join(parts).replace("on striped images", "on images [striped]"))
    cli.main(["run", "work/mine.py", "--scale", "smoke", "--data-dir", "data"])
    out, err = capsys.readouterr()
    assert "3 runs trained, 0 diverged" in out and out.splitlines()[-1].startswith("stripes: drawn/smoke/stripes"), err
    assert {path.name for path in (tmp_path / "drawn" / "smoke").glob("stripes.*")} >= {"stripes.png", "stripes.svg"}
    found = Store(tmp_path / "results", SCALES["smoke"]).all()
    assert all(0 <= error <= 1 for result in found for error in result["top2_error"])
    rates = [result["learning_rate"].tolist() for result in found if result.run.solver == "lion"]
    assert rates == [pytest.approx([1e-3, 0])] * 2  # the trapezoid's, at 3 and 6 of 6 iterations

    cli.main(["list", "work/mine.py", "--scale", "smoke"])
    assert "images [striped]" in (listed := capsys.readouterr().out) and "3/3" in listed
    cli.main(["draw", "work/mine.py", "--scale", "smoke"])
    assert "3 runs, 1 seed" in capsys.readouterr().out
    cli.main(["report", "work/mine.py", "--scale", "smoke"])
    assert "stripes" in (tmp_path / "report" / "index.html").read_text()
    assert "S1. 1cycle is better than Lion." in (tmp_path / "report" / "claims.html").read_text()

    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results" / "smoke").iterdir()}
    code = 'from smith.cli import main\nfor words in ["status"], ["verify"], ["list"], ["draw", "fig14"]: main(words)'
    done = python("-c", code, cwd=tmp_path)  # knows nothing of the file
    assert done.returncode == 0 and "damaged" not in done.stdout + done.stderr, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("foreign: ")]) == 3  # of the status
    done = python("-W", "error::UserWarning", file, "--scale", "smoke", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0 and "0 runs to train, 3 found" in done.stderr, done.stdout + done.stderr
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "results" / "smoke").iterdir()}


def test_the_notebook_runs_from_top_to_bottom(elsewhere, monkeypatch):
    """Also where MPLBACKEND names a notebook's backend."""
    monkeypatch.setenv("MPLBACKEND", "module://a_backend_that_is_not_here")
    names: dict = {"Image": lambda path: Path(path).read_bytes()}
    for code in cells("quickstart.ipynb"):
        exec(code, names)
    assert set(names["frame"]["figure"]) == {"fig14"} and len(names["frame"]["curve"].unique()) == 6


def test_the_page_of_the_recipe_runs(elsewhere, capsys):
    (block,) = blocks("docs/recipe.md")
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


# --- the README ---


@pytest.fixture
def clone(request, tmp_path, data_dir, monkeypatch) -> Path:
    """A fresh clone to work in, with the results of some experiments, and made-up data where the program looks."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    others = [path for path in Path("results").glob("*/*.parquet") if not path.match(request.param)]
    if others:
        subprocess.run(["git", "rm", "--quiet", *others], check=True)
        subprocess.run(["git", *AUTHOR, "commit", "--quiet", "--message", "Fewer results"], check=True)
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    return tmp_path / "clone"


AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@localhost")
FURTHER = (  # what would take the place of something, if it were written where the repository keeps its own
    "smith draw fig14 --no-published",
    "smith fidelity fig14",
    "smith calibrate fig09 --budget 0s",
    "smith run fig14 --seeds 13 --budget 0s --workers 1",
)


@pytest.mark.parametrize("clone", ["fig14.parquet", *slow("*")], indirect=True)
def test_the_commands_run_and_leave_a_clone_as_it_is(clone, monkeypatch):
    monkeypatch.setattr(timing, "flops", lambda run: 1e8)  # which takes ten seconds, and is tested in test_timing.py
    lines = [line.partition("#")[0] for block in blocks("README.md", "bash") for line in block.splitlines()]
    commands = [shlex.split(line) for line in (*lines, *FURTHER) if line.strip()]
    assert len([words for words in commands if words[0] == "smith"]) >= 5
    assert commands[:2] == [["scripts/setup.sh"], [".", ".venv/bin/activate"]]  # before them there is no smith
    for program, *words in commands[2:]:
        if program == "smith":
            cli.main(words)
        else:
            assert program == "python"
            done = python(*words)
            assert done.returncode == 0, done.stderr
    assert (clone / "drawn" / "smoke").is_dir() and (clone / "report" / "index.html").exists()
    assert not subprocess.check_output(["git", "status", "--porcelain"], text=True)


def test_the_pictures_in_the_repository_are_of_its_results():
    kinds = (("mini", "seeds"), ("paper", "seeds"), ("paper", "author"))
    shown = {one.name: one.shows for one in experiments.find(["all"])}
    for scale, recipe in kinds:
        store = Store(ROOT / "results", SCALES[scale], recipe)
        for picture in store.figures_folder(ROOT / "figures").glob("*.png"):
            assert plot.shows(picture) == store.digest(shown[picture.stem].runs()), (
                f"smith draw {picture.stem} --scale {scale} --recipe {recipe} --figures-dir figures"
            )


def test_the_order_of_the_curves_is_told_as_it_was_measured():
    rows = {}
    for name, panels in (
        ("docs/results.md", "Kendall's tau | Of each seed |\n"),
        ("figures/mini/fidelity.md", "RMSE |\n"),
    ):
        table = (ROOT / name).read_text().partition(panels)[2].partition("\n\n")[0].splitlines()[1:]
        rows[name] = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    told, measured = rows.values()
    assert told == [[*row[:2], *row[4:6]] for row in measured if row[4] != "-"] and len(told) > 30


def test_the_example_experiment_works_when_pasted(elsewhere, capsys):
    (example,) = [block for block in blocks("README.md") if "FIGURE" in block]
    (name,) = re.findall(r"Save this as `(\w+\.py)`", README)
    assert len(example.splitlines()) <= 20 and len(README.splitlines()) <= 200
    (elsewhere / name).write_text(example)
    cli.main(["run", name, "--scale", "smoke"])
    assert "3 runs, 1 seed" in capsys.readouterr().out
    assert (elsewhere / "drawn" / "smoke" / f"{Path(name).stem}.png").exists()


def test_the_other_examples_are_true():
    for block in blocks("README.md"):
        if "FIGURE" not in block:
            exec(block, {})


FAKE = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$LOG"
[ "$1 $PREPARED" != "data " ]
"""


def test_run_all_takes_folders_from_where_one_stands(tmp_path):
    """And prepares the data where they are said to be. Programs that log their arguments stand for the real ones."""
    for name in ("scripts/setup.sh", ".venv/bin/smith", ".venv/bin/python"):
        (tmp_path / "repository" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / name).write_text(FAKE)
        (tmp_path / "repository" / name).chmod(0o755)
    script = shutil.copy(ROOT / "scripts" / "run_all.sh", tmp_path / "repository" / "scripts")
    (tmp_path / "my work").mkdir()
    words = ["smoke", "--results-dir", "mine", "--figures-dir=../figures", "--data-dir", "/data", "--seeds", "2"]
    environment = os.environ | {"LOG": str(tmp_path / "log"), "PREPARED": ""}
    subprocess.run([script, *words], cwd=tmp_path / "my work", env=environment, check=True)
    here = tmp_path / "my work"
    folders = f"--results-dir {here}/mine --figures-dir {here}/../figures --data-dir /data"
    _, draw, report, data, install, again, run = (tmp_path / "log").read_text().splitlines()
    assert draw == "smith draw all --scale smoke" and report == "smith report"
    assert data == again == "smith data --data-dir /data"
    assert install.startswith("python -m pip install") and run == f"smith run paper --scale smoke {folders} --seeds 2"
    subprocess.run([script], cwd=tmp_path, env=environment | {"PREPARED": "yes"}, check=True)
    assert (tmp_path / "log").read_text().splitlines()[-2:] == ["smith data", "smith run paper --scale mini"]


@pytest.mark.parametrize("script", ["setup.sh", "run_all.sh", "test.sh"])
def test_scripts_are_executable_and_parse(script):
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)
