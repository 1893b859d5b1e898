"""Measures: what a claim reads off a run, and how several runs make one number of it.

A measure is a function of one trace, a statistic one of the traces of all the curves that a claim compares, by name.
Both work on many seeds at once: they return an array with a number for each seed, not a number where it has none.
A statistic reads losses as logarithms: 0.02 is 2 %.

Three rules keep chance from deciding:
- A place to look at is fixed beforehand, or chosen by other tests than those that are compared there: the least of many
  noisy tests lies below their mean, and a curve that is flat would seem to rise after it.
- The least loss of a run is the least mean over a tenth of its tests: the least single test owes most to noise.
- No effect takes only a few values. "The best setting" is not the same or another one, it costs so much.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from smith.analysis import curves
from smith.analysis.traces import Trace
from smith.metrics import quantity
from smith.schedules import Constant

Traces = Mapping[str, Trace]
Measure = Callable[[Trace], np.ndarray]
Statistic = Callable[[Traces], np.ndarray]

PART = 0.1  # of the training: the end of a run


# --- of one run ---


def accuracy(trace: Trace) -> np.ndarray:
    """Returns the last test's accuracy, a fraction."""
    return trace.lines["test_accuracy"][1][..., -1]


def final_loss(trace: Trace) -> np.ndarray:
    """Returns the logarithm of the mean test loss over the last tenth of the tests; a single one is noisy."""
    return np.log(_end(trace, "test_loss"))


def _end(trace: Trace, name: str) -> np.ndarray:
    place, values = trace.lines[name]
    return values[..., place > min(1 - PART, place[-2:].min()) + 1e-6].mean(axis=-1)


def least_loss(trace: Trace) -> np.ndarray:
    """Returns the logarithm of the least test loss, a mean over a tenth of the tests in a row."""
    return np.log(_smooth(trace.lines["test_loss"][1]).min(axis=-1))


def _smooth(values: np.ndarray) -> np.ndarray:
    return curves.running_mean(values, curves.tenth(values.shape[-1]))


def median_loss(end: float = 1.0) -> Measure:
    """Returns the measure: the logarithm of the median test loss of a range test, up to a place.

    It counts how low the loss is and over how many rates: from where the test failed it counts as guessing.
    """
    return lambda trace: np.log(np.median(trace.between("test_loss", 0, end)[1], axis=-1))


def median_error(trace: Trace) -> np.ndarray:
    """Returns the logarithm of one minus the median test accuracy."""
    return np.log(1 - np.median(trace.lines["test_accuracy"][1], axis=-1))


def mean_loss(start: float, end: float) -> Measure:
    """Returns the measure: the logarithm of the mean test loss between two places."""
    return lambda trace: np.log(_mean(trace.between("test_loss", start, end)[1]))


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)


def rise(name: str, start: float, end: float) -> Measure:
    """Returns the measure: how much a quantity rises between two places (see `curves.rise`), a loss in logarithms."""

    def measure(trace: Trace) -> np.ndarray:
        place, values = trace.between(name, start, end)
        return curves.rise(place, values if name == "test_accuracy" else np.log(values), start, end)

    return measure


def rate_of_minimum(trace: Trace) -> np.ndarray:
    """Returns log2 of the learning rate at which the test loss, a mean over a tenth of the tests in a row, is least."""
    place, values = trace.lines["test_loss"]
    middle = curves.running_mean(place, curves.tenth(values.shape[-1]))
    return np.log2(trace.rate(middle[_smooth(values).argmin(axis=-1)]))


def stability_at_turn(trace: Trace) -> np.ndarray:
    """Returns log2 of LR x sharpness / (2 (1 + momentum)) where the training loss, smoothed as they are, is least."""
    losses, edges = (trace.lines[name][1] for name in ("train_loss", "stability"))
    turn = _smooth(losses).argmin(axis=-1)
    logs = curves.running_mean(np.log2(np.maximum(edges, 1e-30)), curves.tenth(edges.shape[-1]))
    return np.take_along_axis(logs, turn[..., None], axis=-1)[..., 0]


def trained(trace: Trace) -> np.ndarray:
    """Says whether a run was ever better than guessing, by 1 % of the loss or by the accuracy."""
    if "test_loss" in trace.lines:
        return trace.lines["test_loss"][1].min(axis=-1) < curves.bar(trace.guesses["test_loss"])
    return trace.lines["test_accuracy"][1].max(axis=-1) > trace.guesses["test_accuracy"]


def where_trained(traces: Iterable[Trace], values: np.ndarray) -> np.ndarray:
    """Returns values by seed; not a number where none of these runs trained."""
    return np.where(np.any([trained(trace) for trace in traces], axis=0), values, np.nan)


# --- of two runs ---


def difference(measure: Measure, more: str, less: str) -> Statistic:
    """Returns the statistic: the measure of one curve minus that of another; not a number if neither trained."""
    return lambda runs: where_trained((runs[more], runs[less]), measure(runs[more]) - measure(runs[less]))


def mean_over_runs(measure: Measure, sign: int = 1) -> Statistic:
    """Returns the statistic: the mean of a measure over all curves, times a sign; not a number if none trained."""
    return lambda runs: where_trained(runs.values(), sign * np.mean([*map(measure, runs.values())], axis=0))


def minus(statistic: Statistic, other: Statistic) -> Statistic:
    """Returns the statistic: the difference of two."""
    return lambda runs: statistic(runs) - other(runs)


def mean_of(*statistics: Statistic) -> Statistic:
    """Returns the statistic: the mean of several."""
    return lambda runs: np.mean([statistic(runs) for statistic in statistics], axis=0)


def rate_of_divergence(more: str, less: str) -> Statistic:
    """Returns the statistic: log2 of the ratio of the learning rates from which on two range tests have failed.

    Failed is a test loss that stays above the middle between guessing and the least loss of both runs: the same bar
    for both, as a bar of its own would be higher for a run that has learnt less. A test that does not fail counts with
    its last rate, so that two of them are not told apart.
    """

    def statistic(runs: Traces) -> np.ndarray:
        pair = runs[more], runs[less]
        least = np.minimum(*(trace.lines["test_loss"][1].min(axis=-1) for trace in pair))
        bar = (least + pair[0].guesses["test_loss"]) / 2
        one, other = (_log_rate_of_failure(trace, bar) for trace in pair)
        return where_trained(pair, one - other)

    return statistic


def _log_rate_of_failure(trace: Trace, bar: np.ndarray) -> np.ndarray:
    place, values = trace.lines["test_loss"]
    first = curves.failed_since(values > np.asarray(bar)[..., None])
    return np.log2(trace.rate(place[np.minimum(first, len(place) - 1)]))


# --- of several runs ---


def slope_over_batch_size(measure: Measure) -> Statistic:
    """Returns the statistic: by how much a measure grows with every doubling of the batch size, by a straight line."""

    def statistic(runs: Traces) -> np.ndarray:
        sizes = np.log2([trace.run.batch_size for trace in runs.values()])
        values = np.stack([measure(trace) for trace in runs.values()], axis=-1)
        return where_trained(runs.values(), curves.slope(sizes, values))

    return statistic


def steady_fall(start: float, parts: int) -> Measure:
    """Returns the measure: the smallest fall of the mean loss from one part of the training to the next.

    start, parts: the training from `start` on is cut into so many parts. That it is the smallest of several counts
    against a fall, never for one.
    """
    edges = np.linspace(start, 1, parts + 1)

    def measure(trace: Trace) -> np.ndarray:
        place, values = trace.lines["test_loss"]
        part = np.clip(np.searchsorted(edges + 1e-9, place, side="left") - 1, -1, parts - 1)
        means = np.stack([np.log(_mean(values[..., part == number])) for number in range(parts)], axis=-1)
        return -np.diff(means, axis=-1).max(axis=-1)

    return measure


def early_order(name: str, start: float, end: float) -> Statistic:
    """Returns the statistic: how often a test between two places puts two curves in the order that they end in.

    It is a fraction of these tests, the mean over all pairs of curves; the end is the mean of the last tenth.
    """

    def statistic(runs: Traces) -> np.ndarray:
        each = [(trace.between(name, start, end)[1], _end(trace, name)[..., None]) for trace in runs.values()]
        agree = [(one - other) * (end - ends) > 0 for (one, end), (other, ends) in itertools.combinations(each, 2)]
        return np.mean(agree, axis=(0, -1))

    return statistic


def saved_by_choice(early: Measure, final: Measure, chosen: str = "", among: str = "") -> Statistic:
    """Returns the statistic: how much less it costs to choose by an early measure than to choose at random.

    The cost of a choice is its final loss minus the least one of the settings that there are. The result is half of the
    mean cost, which is what choosing at random costs, minus that of the early choice: above zero where the choice loses
    less than half of what is at stake.

    Args:
      early: what is chosen by, (..., tests or 1): the choice of each test counts alike
      final: what a choice comes to, (...)
      chosen, among: the panels that these are read in: curves whose names begin with them
    """

    def statistic(runs: Traces) -> np.ndarray:
        candidates = {name: trace for name, trace in runs.items() if name.startswith(chosen)}
        tried = {name: trace for name, trace in runs.items() if name.startswith(among)}
        ends = np.stack([final(trace) for trace in tried.values()], axis=-1)
        nearest = [_nearest(trace, [*tried.values()]) for trace in candidates.values()]
        cost = (ends - ends.min(axis=-1, keepdims=True))[..., nearest]
        scores = np.stack([early(trace) for trace in candidates.values()], axis=-1)  # (..., tests, candidates)
        best = scores.argmin(axis=-1)
        paid = np.take_along_axis(cost[..., None, :], best[..., None], axis=-1)[..., 0].mean(axis=-1)
        return where_trained(tried.values(), cost.mean(axis=-1) / 2 - paid)

    return statistic


def _nearest(trace: Trace, among: list[Trace]) -> int:
    """Returns which of several runs has the weight decay nearest to that of a run, by their ratio."""
    apart = [abs(np.log(_decay(other) / _decay(trace))) for other in among]
    return int(np.argmin(apart))


def _decay(trace: Trace) -> float:
    decay = trace.run.weight_decay
    assert isinstance(decay, Constant)
    return decay.value


def each_test(name: str, start: float, end: float) -> Measure:
    """Returns the measure: what is to be small at every test between two places, (..., tests)."""

    def measure(trace: Trace) -> np.ndarray:
        values = trace.between(name, start, end)[1]
        return -values if quantity(name).better == "higher" else values

    return measure


def median_after(start: float) -> Measure:
    """Returns the measure: the median test loss after a place, (..., 1)."""
    return lambda trace: np.median(trace.between("test_loss", start + 1e-6, 1)[1], axis=-1, keepdims=True)
