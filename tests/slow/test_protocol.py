"""What the protocol's independent check measured, again: shallow3 on CIFAR-10 and LeNet on MNIST, a seed each.

Five minutes on two CPU cores. It needs the datasets, in TFDS_DATA_DIR or where TFDS keeps them.
"""

import numpy as np
import pytest

from smith import data
from smith.run import Run, epochs, iterations
from smith.schedules import RangeTest
from smith.train.loop import train
from smith.train.step import Problem

# Test losses of figures 9a and 14a as published, each the mean of four seeds, and test accuracies of figure 9b.
SHALLOW3 = {400: (1.086, 0.615), 600: (0.937, 0.671), 800: (0.855, 0.702), 1000: (0.813, 0.717), 1200: (0.780, 0.729)}
LENET = {100: 0.170, 200: 0.099, 300: 0.071, 400: 0.055, 500: 0.049, 600: 0.053}


def rows_of(run: Run, until: int) -> dict[int, dict[str, float]]:
    """Trains seed 0 and returns the rows by iteration."""
    folder = data.default_data_dir()
    if not any((folder / name).exists() for name in (run.data, f"smith-cache/{run.data}-train.npz")):
        pytest.skip(f"no {run.data} in {folder}")
    problem = Problem.put(run.data, data.load(run.data, "train", folder), data.load(run.data, "test", folder))
    points = train(run, 0, problem, until=until)
    return {point.iteration: point.row for point in points if point.row}


def test_shallow3_trains_as_in_figure_9():
    """One seed's test loss jumps by up to 30 % from test to test at this rate: the median of the five around counts."""
    run = Run("cifar10", "shallow3", 512, iterations(16_000), lr=0.005, momentum=0.95, weight_decay=3.2e-3,
              test_every=iterations(40), test_images=2000)  # fmt: skip
    rows = rows_of(run, 1280)
    apart = {}
    for at, (loss, accuracy) in SHALLOW3.items():
        around = [rows[t] for t in range(at - 80, at + 81, 40)]
        medians = [float(np.median([row[name] for row in around])) for name in ("test_loss", "test_accuracy")]
        apart[at] = medians[0] / loss, medians[1] - accuracy
    ratios, differences = np.array(list(apart.values())).T
    assert (abs(np.log(ratios)) < 0.15).all() and (abs(differences) < 0.05).all(), apart
    assert abs(np.log(ratios).mean()) < 0.08 and abs(differences.mean()) < 0.03, apart


def test_lenet_trains_as_in_figure_14():
    """The rates are ten times those that the published axis prints."""
    run = Run("mnist", "lenet", 512, epochs(50), lr=RangeTest(0.01, 0.2), momentum=0.9, weight_decay=5e-4, solver="sgd",
              test_every=iterations(100))  # fmt: skip
    rows = rows_of(run, 600)
    apart = {at: rows[at]["test_loss"] / loss for at, loss in LENET.items()}
    logarithms = np.log(list(apart.values()))
    assert (abs(logarithms) < 0.4).all() and abs(logarithms.mean()) < 0.2, apart
