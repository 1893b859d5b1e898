"""The paper's own curves, digitised from its plots: paper/*.csv (their README says from where and how)."""

import csv

import numpy as np

from smith.figure import PAPER, Panel
from smith.metrics import quantity
from smith.run import Run
from smith.schedules import Scaled

Line = tuple[np.ndarray, np.ndarray]  # x and y, both (points,)


def curves(panel: Panel) -> dict[str, Line]:
    """Returns the published (x, y) of every series of a panel, x corrected as the panel says; none if it has none."""
    if not panel.published:
        return {}
    points: dict[str, list[tuple[float, float]]] = {}
    with (PAPER / f"{panel.published}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            points.setdefault(row["series"], []).append((float(row["x"]), float(row["y"])))
    found = {}
    for name, pairs in points.items():
        x, y = np.array(pairs).T
        found[name] = (x * panel.x_factor + panel.x_shift, y)
    return found


def stretch(axis: str, run: Run, trained: Run) -> float:
    """Returns by what the paper's x of a run is multiplied to be that of the run that is trained for it."""
    if axis == "learning_rate" and isinstance(trained.lr, Scaled):
        return trained.lr.factor
    return trained.iterations / run.iterations if axis == "iteration" else 1.0


def inside(theirs: dict[str, Line], name: str, panel: Panel) -> tuple[Line, float]:
    """Returns a published curve without the points at its panel's upper edge, and x where it leaves there for good.

    A point at the upper edge only says that the curve is at least that high. x is not a number if the curve stays.
    """
    x, y = theirs[name]
    if not any(quantity(column).logarithm for column in panel.ys):
        return (x, y), np.nan
    top = max(values.max() for _, values in theirs.values())  # the edge, or a point near it, which is left out too
    below = y < top * (1 - 1e-6)
    end = panel.xlim[1] if panel.xlim else x.max()
    left = float(x[-1]) if not below[-1] and x[-1] < end * (1 - 1e-3) else np.nan
    return (x[below], y[below]), left
