"""The paper's early clues as functions of a run's curves: plateau, overfitting, underfitting (sections 3 and 4).

They read the history of any training: arrays of tests, in order, as columns of a result or from anywhere else. Losses
count as logarithms, so that a hundredth is 1 %. What they say of one run may be chance: look at several seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smith.analysis.curves import rise, running_mean, tenth
from smith.store import Result

MATTERS = 0.02  # of the loss: a fall or a rise below it does not count
FEWEST = 5  # tests that say something, which are those with a loss above 0
END = 0.2  # of the training, in which underfitting shows


def readable(found: Sequence[Result]) -> list[Result]:
    """Returns the results whose curves can be read: of seeds that did not diverge, with enough tests."""
    done = [result for result in found if result.status == "done"]
    return [one for one in done if sum(0 < loss < math.inf for loss in one["test_loss"]) >= FEWEST]


@dataclass(frozen=True)
class Clues:
    """What a history says.

    plateau: where the test loss begins to be flat to the end, as a fraction of the training; None if it never is
    overfitting: where the test loss begins to rise while the training loss goes on falling; None if it does not
    underfitting: whether the test loss still falls at the end of the training, and lies close to the training loss
    gap: the last test loss minus the last training loss; not a number without a training loss
    """

    plateau: float | None
    overfitting: float | None
    underfitting: bool
    gap: float

    def __str__(self) -> str:
        said = []
        if self.overfitting is not None:
            said.append(f"overfits from {self.overfitting:.0%} of the training on: more regularisation, or train less")
        if self.underfitting:
            said.append("underfits: its test loss still falls at the end: train longer, or at larger learning rates")
        if self.plateau is not None:
            said.append(f"its test loss is flat from {self.plateau:.0%} on")
        return "; ".join(said) or "no clue of over- or underfitting"


def clues(history: Mapping[str, np.ndarray]) -> Clues:
    """Reads a history.

    history: "test_loss", (tests,), at even distances, and if there is one "train_loss", of the iterations before each
      test. Losses that are not above 0, or not finite, are left out.

    Raises:
      ValueError: no "test_loss", or fewer than five tests that can be read.
    """
    if "test_loss" not in history:
        raise ValueError("a history needs its test_loss: an array with a number for each test")
    test = np.asarray(history["test_loss"], float)
    train = np.asarray(history.get("train_loss", np.full(len(test), np.nan)), float)
    good = np.isfinite(test) & (test > 0)
    if good.sum() < FEWEST:
        raise ValueError(f"{good.sum()} tests can be read: at least {FEWEST} are needed")
    place = (np.arange(len(test)) + 1)[good] / len(test)
    test, train = test[good], train[good]
    known = np.isfinite(train) & (train > 0)
    falls = known.sum() >= 2 and rise(place[known], np.log(train[known]), 1 - 2 * END) < -MATTERS
    logs = np.log(test)
    onset = _onset(place, logs) if falls or not known.any() else None
    still = rise(place, logs, 1 - END) < -MATTERS
    gap = float(test[-1] - train[-1])
    close = bool(not np.isfinite(gap) or gap <= 0.1 * test[-1])
    return Clues(_plateau(place, logs), onset, bool(still and close), gap)


def _plateau(place: np.ndarray, loss: np.ndarray) -> float | None:
    """Returns the place from which on, in every part of the rest, the logarithm of a loss hardly changes."""
    flat = np.array([abs(rise(place, loss, start)) < MATTERS for start in place[:-2]])
    failed = np.flatnonzero(~flat)
    first = failed[-1] + 1 if len(failed) else 0
    return float(place[first]) if first < min(len(flat), len(place) * (1 - END)) else None


def _onset(place: np.ndarray, loss: np.ndarray) -> float | None:
    """Returns where the smoothed logarithm of a loss is least, if it rises from there to the end."""
    count = tenth(len(loss))
    middle, smooth = running_mean(place, count), running_mean(loss, count)
    least = int(smooth.argmin())
    noise = float(np.std(np.diff(loss))) / np.sqrt(2 * count)
    rises = smooth[-1] - smooth[least] > max(MATTERS, 3 * noise)
    return float(middle[least]) if rises else None
