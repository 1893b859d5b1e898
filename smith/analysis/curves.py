"""Reading curves: plain functions of arrays, for results of this project or anybody's.

Tests are along the last axis, in the order they were made, (..., tests): one curve or many at once.
"""

from collections.abc import Sequence

import numpy as np

EDGE = 1e-9  # of the training: places nearer than that are the same
BARELY = 0.99  # a loss above this fraction of guessing's is no better than guessing


def bar(chance: float) -> float:
    """Returns the loss below which training is better than guessing, whose loss is `chance`; that may be negative."""
    return chance * BARELY if chance > 0 else chance / BARELY


def slope(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the slopes of straight lines fitted to curves; not a number for fewer than two tests.

    Args:
      x: (tests,)
      values: (..., tests)
    """
    if len(x) < 2:
        return np.full(values.shape[:-1], np.nan)
    away = x - x.mean()
    return values @ (away / (away**2).sum())


def between(place: np.ndarray, start: float, end: float) -> np.ndarray:
    """Says which of the places, (tests,), lie from `start` to `end`, these included."""
    return (place >= start - EDGE) & (place <= end + EDGE)


def rise(place: np.ndarray, values: np.ndarray, start: float, end: float = 1.0) -> np.ndarray:
    """Returns how much curves rise from a place to another, by straight lines fitted to the tests there.

    A curve that is flat there has a rise of zero on average, whatever its noise. Fewer than two tests give no number.

    Args:
      place: (tests,), fractions of the training
      values: (..., tests); logarithms of losses
    """
    there = between(place, start, end)
    return (end - start) * slope(place[there], values[..., there])


def tenth(tests: int) -> int:
    """Returns how many tests are a tenth of them, at least 1: what places and ends are means of."""
    return max(1, round(0.1 * tests))


def running_mean(values: np.ndarray, count: int) -> np.ndarray:
    """Returns the means of so many tests in a row, (..., tests - count + 1); of all where there are fewer."""
    count = min(count, values.shape[-1])
    return np.lib.stride_tricks.sliding_window_view(values, count, axis=-1).mean(axis=-1)


def failed_since(failed: np.ndarray) -> np.ndarray:
    """Returns the index from which on every test of a curve has failed; the number of tests if its last one did not.

    One failed test that a run recovers from does not count.

    failed: (..., tests) bool
    """
    return failed.shape[-1] - np.cumprod(failed[..., ::-1], axis=-1).sum(axis=-1)


def rate_of_minimum(rate: np.ndarray, loss: np.ndarray) -> float:
    """Returns the learning rate (or whatever the range test raised) at which the loss is least.

    rate, loss: (tests,)

    Raises:
      ValueError: no finite loss.
    """
    return float(rate[np.nanargmin(np.where(np.isfinite(loss), loss, np.nan))])


def rate_of_divergence(rate: np.ndarray, loss: np.ndarray, chance: float) -> float | None:
    """Returns the rate from which on training has failed, or None if it never does in this test.

    From there to the end every loss is above the middle between the curve's least and `chance`, or not finite. A run
    that is never better than guessing failed at once.

    Args:
      rate, loss: (tests,)
      chance: the loss of guessing, ln(classes) nats.
    """
    finite = np.isfinite(loss)
    least = loss[finite].min(initial=np.inf)
    if least >= bar(chance):
        return float(rate[0])
    first = int(failed_since(~finite | (loss > (least + chance) / 2)))
    return float(rate[first]) if first < len(rate) else None


def rank_agreement(early: Sequence[float], final: Sequence[float]) -> float:
    """Returns Kendall's tau-b of two orders of the same curves: 1 for the same, -1 for the opposite.

    Not a number if one of them is all ties, or for fewer than two curves.
    """
    if len(early) < 2:
        return np.nan
    from scipy import stats

    tau, _ = np.asarray(stats.kendalltau(early, final))
    return float(tau)
