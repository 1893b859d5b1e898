"""Tuning: what a way of training comes to with the best setting of a grid, without the luck of choosing.

The best of several noisy results lies above what its setting is worth, the more so the more settings were tried. So the
first third of the seeds chooses the setting, by their mean, and the others say what it is worth. To let each seed take
what all of the others choose would use them better, but then one lucky seed moves the choice of all: two grids that are
worth the same would be told apart in 12 of 100 cases (simulated), not in 2.5.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from smith.analysis.measures import Measure, Statistic, Traces, trained
from smith.analysis.places import Place
from smith.analysis.readings import read
from smith.figure import Figure


def choosers(seeds: int) -> int:
    """Returns how many of so many seeds choose, the first ones; with fewer than three all do, and are shown too."""
    return seeds // 3


def tuned(values: np.ndarray) -> np.ndarray:
    """Returns what the chosen setting gives the seeds that did not choose: (..., settings, seeds) -> (..., the others).

    More is better.
    """
    first = choosers(values.shape[-1])
    chosen = values[..., : first or None].mean(axis=-1, keepdims=True).argmax(axis=-2, keepdims=True)
    return np.take_along_axis(values, chosen, axis=-2)[..., 0, first:]


def best(measure: Measure, grid: str) -> Statistic:
    """Returns the statistic: what the best of a grid comes to; not a number if none of its runs trained.

    grid: how the names of its curves begin, as `within` gives them
    """

    def statistic(runs: Traces) -> np.ndarray:
        members = [trace for name, trace in runs.items() if name.startswith(grid)]
        values = np.stack([measure(trace) for trace in members], axis=-2)
        anything = np.any([trained(trace) for trace in members], axis=0)
        return np.where(anything[..., choosers(values.shape[-1]) :], tuned(values), np.nan)

    return statistic


def worth(measure: Measure, rule: str, test: str, grid: str) -> Statistic:
    """Returns the statistic: what the peak rate that a rule reads off a range test is worth beside a grid's best.

    It is what a run at the suggested peak comes to, by straight lines over the logarithm of the peak and at most to the
    ends of the grid, minus what the best of the grid does.

    rule: one of `smith.analysis.readings`
    test, grid: the range test's name, and how those of the grid begin, whose runs have a `peak`
    """

    def statistic(runs: Traces) -> np.ndarray:
        place, losses = runs[test].lines["test_loss"]
        chance, tried = runs[test].guesses["test_loss"], runs[test].rate(place)
        peaks = np.apply_along_axis(lambda loss: read(tried, loss, chance)[rule], -1, losses)
        members = [trace for name, trace in runs.items() if name.startswith(grid)]
        rates = np.log([trace.run.lr.peak for trace in members])  # pyright: ignore[reportAttributeAccessIssue]
        values = np.stack([measure(trace) for trace in members], axis=-1)
        there = np.reshape([np.interp(x, rates, y) for x, y in _pairs(np.log(peaks), values)], peaks.shape)
        return there[..., choosers(there.shape[-1]) :] - best(measure, grid)(runs)

    return statistic


def _pairs(peaks: np.ndarray, values: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    return zip(peaks.ravel(), values.reshape(-1, values.shape[-1]), strict=True)


def within(figure: Figure, label: str, *grids: str) -> Mapping[str, Place]:
    """Returns the curves of a panel whose names begin in one of these ways, or all of them, by their names."""
    names = [name for letter, name in figure.named() if letter == label and name.startswith(grids or "")]
    return {name: Place(figure.name, label, name) for name in names}
