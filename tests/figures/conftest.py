"""Made-up results: what drawing needs, without training anything."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from smith import experiments, scales
from smith.figure import Figure, Table
from smith.run import Run
from smith.store import COLUMNS, Store, results


@dataclass
class Shelf:
    """A folder of made-up results, and one of figures."""

    root: Path

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    def store(self, scale: str = "paper", recipe: str = "seeds") -> Store:
        """Returns the results that there are now."""
        return Store(self.root / "results", scales.named(scale), recipe)

    def add(self, run: Run, seed: int = 0, scale: str = "paper", status: str = "done", tests: int = 8, **shown):
        """Writes a result over the whole of a run and returns its columns.

        shown: values of a column, or a number that the last test shows
        """
        trained = self.store(scale).trained(run, seed)
        part = np.arange(1, tests + 1) / tests
        columns: dict[str, np.ndarray] = dict.fromkeys((*COLUMNS, *run.metrics), np.zeros(tests)) | {
            "iteration": np.maximum(1, np.round(part * trained.iterations)),
            "epoch": part,
            "learning_rate": 0.01 * part,
            "momentum": 0.7 + 0.3 * part,
            "train_loss": 1.3 * 0.4**part,
            "test_loss": 1.4 * 0.5**part + 0.01 * seed,
            "test_accuracy": 0.5 + 0.3 * part,
        }
        for name, value in shown.items():
            columns[name] = np.r_[columns[name][:-1], value] if np.ndim(value) == 0 else value
        rows = [{name: values[i] for name, values in columns.items()} for i in range(tests)]
        folder = self.root / "results" / scale
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"seconds": "90", "device": "cpu: one", "git_commit": "abc", "date": "2026-11-24T10"}
        results.write(folder, trained, seed, status, rows, facts)
        return columns

    def fill(self, experiment: Figure | Table, scale: str = "paper", seeds: int = 1) -> None:
        """Writes results of all runs of an experiment."""
        for run in experiment.runs():
            for seed in range(seeds):
                self.add(run, seed, scale)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture(scope="session")
def experiment() -> Callable[[str], Figure | Table]:
    """Returns an experiment of the project by its name."""
    found = {one.name: one.shows for one in experiments.find(["all"])}
    return found.__getitem__
