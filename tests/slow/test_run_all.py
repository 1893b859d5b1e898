"""`smith run all` at the smoke scale, as a process: every run of every experiment."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smith import experiments
from smith.figure import Table
from smith.scales import SCALES
from smith.store import Store
from smith.train import jobs

FOUND = experiments.find(["all"])


@pytest.fixture(scope="module")
def run_all(data_dir, tmp_path_factory):
    """Returns a function that does it, and the folder in which it does."""
    folder = tmp_path_factory.mktemp("smoke")
    command = [sys.executable, "-m", "smith", "run", "all", "--scale", "smoke", "--data-dir", str(data_dir)]
    folders = ["--results-dir", str(folder / "results"), "--figures-dir", str(folder / "figures")]
    return lambda: subprocess.run([*command, *folders], capture_output=True, text=True, timeout=1_800), folder


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "figures" / "smoke").iterdir())}


def test_every_run_is_trained_once_and_every_figure_is_drawn_the_same_twice(run_all):
    act, folder = run_all
    done = act()
    assert done.returncode == 0, done.stderr
    store = Store(folder / "results", SCALES["smoke"])
    planned = jobs.plan([run for found in FOUND for run in found.shows.runs()], store, 1)
    assert not jobs.missing(planned, store) and len(store.all()) == len(planned)
    for result in store.all():
        assert result.status in ("done", "diverged") and np.isfinite(result["test_loss"][0]) and result.facts["jax"]
    summary, *figures = done.stdout.splitlines()
    assert re.fullmatch(rf"{len(planned)} runs trained, \d+ diverged; 0 were there; 0 left", summary)
    assert [line.split(":")[0] for line in figures] == [found.name for found in FOUND]
    assert all("scale smoke" in line and "without" not in line for line in figures)
    tables = {f"{found.name}.{kind}" for found in FOUND if isinstance(found.shows, Table) for kind in ("md", "tex")}
    before = drawn(folder)
    assert before.keys() == tables | {f"{found.name}.{kind}" for found in FOUND for kind in ("png", "svg")}
    again = act()
    assert again.returncode == 0 and f"0 runs to train, {len(planned)} found" in again.stderr
    assert drawn(folder) == before
