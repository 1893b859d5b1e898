"""The README's commands and examples work as they stand; only the scale and the folders are changed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(words: list[str], folder: Path, data_dir: Path, **environment: str) -> str:
    environment = os.environ | {"TFDS_DATA_DIR": str(data_dir)} | environment
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(line: str, scratch: Path) -> list[str]:
    words = re.sub(r"--scale \w+", "--scale smoke", line).split()
    start = {"smith": [sys.executable, "-m", "smith"], "python": [sys.executable]}[words[0]]
    folders = ["--results-dir", str(scratch / "results")]
    if words[1] in ("run", "draw", "-m", "fidelity", "report"):
        folders += ["--figures-dir", str(scratch / "figures")]
    if words[1] == "report":
        folders += ["--report-dir", str(scratch / "report")]
    return [*start, *words[1:], *folders]


def test_the_commands_run(tmp_path: Path, data_dir: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(lines) >= 5
    for line in lines:
        run(command(line, tmp_path), ROOT, data_dir)
    assert (tmp_path / "figures" / "smoke" / "fig07.png").exists()


def test_the_example_experiment_works_when_pasted(tmp_path: Path, data_dir: Path) -> None:
    (example,) = [block for block in blocks("python") if "FIGURE" in block]
    (name,) = re.findall(r"Save this one as `experiments/(\w+\.py)`", README)
    assert 15 <= len(example.splitlines()) <= 30
    for folder in ("smith", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "experiments" / name).write_text(example)
    smith = [sys.executable, "-m", "smith"]
    printed = run([*smith, "run", "mine", "--scale", "smoke"], tmp_path, data_dir, PYTHONPATH=str(tmp_path))
    assert "mine: " in printed and "3 runs" in printed
    assert (tmp_path / "figures" / "smoke" / "mine.png").exists()


def test_the_schedule_example_is_true() -> None:
    for block in blocks("python"):
        if "FIGURE" not in block:
            exec(block, {})


def test_links_and_pictures_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README) + re.findall(r'src="([^"]+)"', README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("script", ["setup.sh", "run_all.sh", "test.sh"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


def test_run_all_runs_everything(tmp_path: Path, data_dir: Path) -> None:
    if not list(Path(sys.prefix).glob(".smith-*")):
        pytest.skip("the environment was not made by scripts/setup.sh")
    folders = ["--results-dir", str(tmp_path / "results"), "--figures-dir", str(tmp_path / "figures")]
    printed = run(["scripts/run_all.sh", "smoke", *folders], ROOT, data_dir, VENV=sys.prefix)
    figures = sorted(path.stem for path in (tmp_path / "figures" / "smoke").glob("*.svg"))
    assert figures == [line.split(":")[0] for line in printed.splitlines()[-len(figures) :]]
