"""Made-up results in a store that reads no files, and made-up published curves."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from smith import experiments, scales
from smith.analysis import published
from smith.run import Run, iterations
from smith.store import COLUMNS, Result, Store

NAN = float("nan")
Values = Sequence[float] | np.ndarray


def result(run: Run, values: Values, x: Values, seed: int = 0, column: str = "test_loss") -> Result:
    """Returns a result with a column over iterations x; not a number at its end: the run diverged.

    Its learning rate is a hundred-thousandth of the iteration, everything else 0.5.
    """
    shown = np.asarray(values, float)
    columns = {name: np.full(len(shown), 0.5) for name in COLUMNS}
    columns |= {"iteration": np.asarray(x, float), "learning_rate": np.asarray(x) / 1e5, column: shown}
    status = "done" if np.isfinite(shown[-1]) else "diverged"
    return Result(run.to_json(), seed, status, columns)


EXPERIMENTS = [found.shows for found in experiments.find(["all"])]
PAPER = scales.named("paper")
MINI = dataclasses.replace(PAPER, name="mini", seeds=12)  # of its miniature only the name, and the number of seeds


def store(*results: Result, shorter: bool = False, scale: scales.Scale = PAPER) -> Store:
    """Returns a store of the protocol's runs as they are, or of ones with a tenth of the iterations."""
    found = (Shorter if shorter else Protocol)(Path("nowhere"), scale)
    for one in results:
        found.add(one)
    return found


class Protocol(Store):
    """A scale at which every run is trained as it is, whatever the scale is called."""

    def trained(self, run: Run, seed: int = 0) -> Run:
        """Returns the run itself."""
        return run


class Shorter(Store):
    """A scale at which every run has a tenth of its iterations."""

    def trained(self, run: Run, seed: int = 0) -> Run:
        """Returns the run that is trained. Its schedules have no times in iterations."""
        return run.replace(length=iterations(run.iterations // 10), test_every=iterations(20))


def publish(
    folder: Path, monkeypatch: pytest.MonkeyPatch, curves: Mapping[str, tuple[Values, Values]], name: str = "mine"
) -> None:
    """Publishes the curves of a panel: (x, y) by their names."""
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("series", "x", "y"))
        writer.writerows((name, x, y) for name, pair in curves.items() for x, y in zip(*pair, strict=True))
    monkeypatch.setattr(published, "PAPER", folder)
