"""Measures: what a claim reads off the results of one seed, and how several curves make one number of it.

A measure is a function of one result; a statistic is one of the results of all the curves that a claim compares, by
name. A run that diverged counts as guessing from there on (see `smith.analysis.seeds.padded`), and a range test that
does not diverge counts with its last rate, so that two that do not are not told apart. A measure raises ValueError
where a result has no test at the place it looks.
"""

from collections.abc import Callable, Mapping

import numpy as np

from smith.analysis import curves
from smith.analysis.seeds import guess, padded
from smith.schedules import Constant
from smith.store.results import Result

Runs = Mapping[str, Result]
Measure = Callable[[Result], float]
Statistic = Callable[[Runs], float]
ANY_RATE = (0.0, np.inf)


def values(result: Result, column: str) -> np.ndarray:
    """Returns a column at all planned tests; guessing from where the run diverged on."""
    return padded(result, column, next(iter(result.columns)))[1]


def accuracy(result: Result) -> float:
    """Returns the last test's accuracy, a fraction."""
    return float(values(result, "test_accuracy")[-1])


def final_loss(result: Result) -> float:
    """Returns the mean test loss over the last tenth of the tests, in nats; a single one is noisy."""
    found = values(result, "test_loss")
    return float(found[-max(1, len(found) // 10) :].mean())


def least_loss(result: Result) -> float:
    """Returns the least test loss of a run, in nats."""
    return float(values(result, "test_loss").min())


def least_error(result: Result) -> float:
    """Returns one minus the highest test accuracy of a run, a fraction."""
    return float(1 - values(result, "test_accuracy").max())


def log_median_loss(result: Result) -> float:
    """Returns the logarithm of the median test loss, to which a range test's failed end adds little."""
    return float(np.log(np.median(values(result, "test_loss"))))


def at_rates(low: float, high: float, column: str = "test_loss") -> Measure:
    """Returns the measure: the mean of a column over the tests at these learning rates."""
    return lambda result: _mean(*_part(result, "learning_rate", (low, high), column))


def between(start: float, end: float, column: str = "test_loss") -> Measure:
    """Returns the measure: the mean of a column over a part of the run, `start` and `end` fractions of its length."""
    return lambda result: _mean(*_part(result, "iteration", _of_run(result, start, end), column))


def log_rate_of_minimum(result: Result) -> float:
    """Returns log2 of the learning rate of the least test loss."""
    return float(np.log2(curves.rate_of_minimum(result["learning_rate"], result["test_loss"])))


def log_rate_of_divergence(result: Result) -> float:
    """Returns log2 of the learning rate from which on training has failed; of the last one if it does not."""
    rate = result["learning_rate"]
    found = curves.rate_of_divergence(rate, result["test_loss"], guess(result.run, "test_loss"))
    return float(np.log2(rate[-1] if found is None else found))


def rise_over_noise(column: str, rates: tuple[float, float] = ANY_RATE) -> Measure:
    """Returns the measure: how much a column rises over a stretch of learning rates, in units of its noise there."""

    def measure(result: Result) -> float:
        x, y = _part(result, "learning_rate", rates, column)
        return curves.rise(x, y) / _noise(y)

    return measure


def fall_between(start: float, end: float) -> Measure:
    """Returns the measure: how much the test loss falls over a part of the run, in nats, by a straight-line fit."""
    return lambda result: -curves.rise(*_part(result, "iteration", _of_run(result, start, end), "test_loss"))


def _of_run(result: Result, start: float, end: float) -> tuple[float, float]:
    return start * result.run.iterations, end * result.run.iterations


def _part(result: Result, axis: str, limits: tuple[float, float], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (x, values) of the tests between two places."""
    x, y = padded(result, column, axis)
    there = (x >= limits[0]) & (x <= limits[1])
    return x[there], y[there]


def _mean(_: np.ndarray, y: np.ndarray) -> float:
    if not len(y):
        raise ValueError("no test there")
    return float(y.mean())


def _noise(y: np.ndarray) -> float:
    level = curves.noise(y)
    if not level:
        raise ValueError("a curve without noise is no unit")
    return level


def trained(result: Result) -> bool:
    """Says whether a run was ever better than guessing, by 1 % of the loss or by the accuracy."""
    if "test_loss" in result.columns:
        return least_loss(result) < curves.BARELY * guess(result.run, "test_loss")
    return bool(values(result, "test_accuracy").max() > guess(result.run, "test_accuracy"))


def difference(measure: Measure, more: str, less: str) -> Statistic:
    """Returns the statistic: the measure of one curve minus that of another; ValueError if neither trained."""

    def statistic(runs: Runs) -> float:
        if not trained(runs[more]) and not trained(runs[less]):
            raise ValueError("neither run trained")
        return measure(runs[more]) - measure(runs[less])

    return statistic


def of_one(measure: Measure) -> Statistic:
    """Returns the statistic: the measure of the only curve."""
    return lambda runs: measure(*runs.values())


def agreement(one: Measure, other: Measure) -> Statistic:
    """Returns the statistic: Kendall's tau between the orders in which two measures put the curves."""
    return lambda runs: curves.rank_agreement([one(r) for r in runs.values()], [other(r) for r in runs.values()])


def batch_size(result: Result) -> float:
    """Returns the batch size, in images."""
    return result.run.batch_size


def log_ratio(measure: Measure, more: str, less: str) -> Statistic:
    """Returns the statistic: the logarithm of the ratio of a measure of two curves; ValueError if neither trained."""
    return difference(lambda result: float(np.log(measure(result))), more, less)


def decay_of_best(runs: Runs, worth: Measure) -> float:
    """Returns log10 of the weight decay of the run that has the least `worth`.

    Raises:
      ValueError: none of them trained, or two are the best.
    """
    first, second = sorted(runs.values(), key=worth)[:2]
    if not trained(first) or worth(first) == worth(second):
        raise ValueError("no run is the best")
    best = first.run.weight_decay
    assert isinstance(best, Constant)
    return float(np.log10(best.value))


def same_decay(one: str, one_worth: Measure, other: str, other_worth: Measure) -> Statistic:
    """Returns the statistic: minus the distance, in decades, of the best weight decays of two panels.

    The curves of a panel are those whose names begin with it.
    """

    def best(runs: Runs, panel: str, worth: Measure) -> float:
        return decay_of_best({name: result for name, result in runs.items() if name.startswith(f"{panel} ")}, worth)

    return lambda runs: -abs(best(runs, one, one_worth) - best(runs, other, other_worth))


def rise_after_minimum(result: Result) -> float:
    """Returns how far the mean of the last tenth of the tests lies above the least test loss, in units of noise."""
    return (final_loss(result) - least_loss(result)) / _noise(values(result, "test_loss"))


def early_by_iterations(result: Result) -> float:
    """Returns the mean test loss from iteration 500 to 1,500."""
    return _mean(*_part(result, "iteration", (500, 1_500), "test_loss"))


def place_of_minimum(axis: str, low: float, high: float) -> Measure:
    """Returns the measure: where on an axis the test loss is least, as a fraction of the way from `low` to `high`."""
    return lambda result: (curves.rate_of_minimum(result[axis], result["test_loss"]) - low) / (high - low)


def fall_along(axis: str) -> Measure:
    """Returns the measure: minus Kendall's tau of the test loss and an axis; 1 where it falls at every test."""
    return lambda result: -curves.rank_agreement(*(line.tolist() for line in padded(result, "test_loss", axis)))


def separation_of(runs: Runs, column: str) -> float:
    """Returns how far apart curves are between 5 and 50 % of the training, in units of their noise."""
    parts = [_part(r, "iteration", _of_run(r, 0.05, 0.5), column)[1] for r in runs.values()]
    return curves.separation(parts)
