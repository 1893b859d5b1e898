"""The README's commands and examples work as they stand; only the scale is changed, and the folder they run in."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small import slow

from smith import cli, experiments, scales
from smith.figures import plot
from smith.store import Store

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


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
def test_the_commands_run_and_leave_a_clone_as_it_is(clone):
    lines = [line.partition("#")[0] for block in blocks("bash") for line in block.splitlines()]
    commands = [shlex.split(line) for line in (*lines, *FURTHER) if line.strip()]
    assert len([words for words in commands if words[0] == "smith"]) >= 5
    assert commands[:2] == [["scripts/setup.sh"], [".", ".venv/bin/activate"]]  # before them there is no smith
    for program, *words in commands[2:]:
        if program == "smith":
            cli.main(words)
        else:
            assert program == "python"
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    assert (clone / "drawn" / "smoke").is_dir() and (clone / "report" / "index.html").exists()
    assert not subprocess.check_output(["git", "status", "--porcelain"], text=True)


def test_the_pictures_in_the_repository_are_of_its_results():
    kinds = (("mini", "seeds"), ("paper", "seeds"), ("paper", "author"))
    shown = {one.name: one.shows for one in experiments.find(["all"])}
    for scale, recipe in kinds:
        store = Store(ROOT / "results", scales.named(scale), recipe)
        for picture in store.figures_folder(ROOT / "figures").glob("*.png"):
            assert plot.shows(picture) == store.digest(shown[picture.stem].runs()), (
                f"smith draw {picture.stem} --scale {scale} --recipe {recipe} --figures-dir figures"
            )


def test_the_example_experiment_works_when_pasted(elsewhere, capsys):
    (example,) = [block for block in blocks("python") if "FIGURE" in block]
    (name,) = re.findall(r"Save this as `(\w+\.py)`", README)
    assert len(example.splitlines()) <= 20 and len(README.splitlines()) <= 200
    (elsewhere / name).write_text(example)
    cli.main(["run", name, "--scale", "smoke"])
    assert "3 runs, 1 seed" in capsys.readouterr().out
    assert (elsewhere / "drawn" / "smoke" / f"{Path(name).stem}.png").exists()


def test_the_other_examples_are_true():
    for block in blocks("python"):
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
