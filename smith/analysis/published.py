"""The paper's own curves, digitised from its plots: figures/paper/*.csv (their README says from where and how)."""

import csv
from pathlib import Path

import numpy as np

from smith.figure import Published

FOLDER = Path(__file__).resolve().parent / "paper"


def curves(source: Published) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns (x, y) for every series of a published panel, x corrected as `source` says."""
    points: dict[str, list[tuple[float, float]]] = {}
    with (FOLDER / f"{source.panel}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            points.setdefault(row["series"], []).append((float(row["x"]), float(row["y"])))
    found = {}
    for name, pairs in points.items():
        x, y = np.array(pairs).T
        found[name] = (x * source.factor + source.shift, y)
    return found
