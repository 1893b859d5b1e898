"""Reading curves: what a test loss says about learning rate, weight decay and momentum, as the paper reads it.

Plain functions of arrays, for results of this project or anybody's. Tests (points) are in the order they were made;
values that are not finite are those of a run that diverged, and come last.
"""

from collections.abc import Sequence

import numpy as np

SECOND_DIFFERENCE = np.sqrt(6)  # standard deviation of x[i-1] - 2 x[i] + x[i+1] for independent x of deviation 1
BARELY = 0.99  # a loss above this fraction of guessing's is no better than guessing
SPREAD = 1.5  # standard deviations of the noise: what the values of a plateau may spread by
ROUNDING = 1e-9  # of a curve's largest value: differences below it are not differences
NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


def noise(values: np.ndarray) -> float:
    """Returns the standard deviation of a curve's test-to-test noise, in its own unit; robust to a few jumps.

    It is read off the second differences, in which a trend that is locally straight cancels.

    Args:
      values: (points,); the finite ones are used.

    Raises:
      ValueError: fewer than three finite points.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < 3:
        raise ValueError("noise needs at least three finite points")
    return float(NORMAL * np.median(np.abs(np.diff(finite, 2))) / SECOND_DIFFERENCE)


def rise(x: np.ndarray, values: np.ndarray) -> float:
    """Returns how much a curve rises from the first x to the last by a straight-line fit; negative if it falls.

    Raises:
      ValueError: fewer than two points.
    """
    if len(x) < 2:
        raise ValueError("a rise needs at least two points")
    return float(np.polyfit(x, values, 1)[0] * (x[-1] - x[0]))


def plateau(values: np.ndarray, least: int = 5) -> int | None:
    """Returns the index at which a curve's last plateau begins, or None if it has none.

    The plateau is the longest end of the curve, at least a quarter of it, over which it is flat: neither does the best
    straight line rise or fall by more than the noise, nor do the values spread much more than noise does.

    Args:
      values: (points,) finite.
      least: how many points a plateau has at least.
    """
    level = noise(values) + ROUNDING * np.abs(values).max()
    for start in range(len(values) - max(least, len(values) // 4) + 1):
        rest = values[start:]
        if abs(rise(np.arange(len(rest)), rest)) <= level and rest.std() <= SPREAD * level:
            return start
    return None


def onset_of_overfitting(loss: np.ndarray, times: float = 2.0, window: int = 5) -> int | None:
    """Returns the index from which on a test loss only gets worse, or None if it does not.

    That is where its running mean is least, if the mean of the last tests lies above it by more than noise.

    Args:
      loss: (points,) finite.
      times: how many standard deviations of the noise it must rise by.
      window: how many tests are averaged.

    Raises:
      ValueError: fewer tests than the window has, or than three.
    """
    if len(loss) < window:
        raise ValueError(f"{len(loss)} tests are fewer than the window of {window}")
    means = np.convolve(loss, np.full(window, 1 / window), "valid")
    if means[-1] - means.min() <= times * noise(loss):
        return None
    return int(means.argmin()) + window // 2


def rate_of_minimum(rate: np.ndarray, loss: np.ndarray) -> float:
    """Returns the learning rate (or whatever the range test raised) at which the loss is least.

    Raises:
      ValueError: no finite loss.
    """
    return float(rate[np.nanargmin(np.where(np.isfinite(loss), loss, np.nan))])


def rate_of_divergence(rate: np.ndarray, loss: np.ndarray, chance: float) -> float | None:
    """Returns the rate from which on training has failed, or None if it never does in this test.

    From there to the end every loss is above the middle between the curve's least and `chance`, or not finite. One
    high test that the run recovers from is no divergence. A run that is never better than guessing failed at once.

    Args:
      rate, loss: (points,)
      chance: the loss of guessing, ln(classes) nats.
    """
    finite = np.isfinite(loss)
    least = loss[finite].min(initial=np.inf)
    failed = ~finite | (loss > (least + chance) / 2)
    if least >= BARELY * chance:
        return float(rate[0])
    if not failed[-1]:
        return None
    return float(rate[len(failed) - np.argmin(failed[::-1])])


def separation(curves: Sequence[np.ndarray]) -> float:
    """Returns how far apart curves lie, in units of their noise: spread of their medians over the mean noise.

    Raises:
      ValueError: fewer than two curves, one of fewer than three finite points, or no noise at all.
    """
    if len(curves) < 2:
        raise ValueError("separation needs at least two curves")
    spread = np.std([np.median(values) for values in curves], ddof=1)
    level = np.sqrt(np.mean([noise(values) ** 2 for values in curves]))
    if not level:
        raise ValueError("curves without noise have no separation in units of it")
    return float(spread / level)


def rank_agreement(early: Sequence[float], final: Sequence[float]) -> float:
    """Returns Kendall's tau-b of two orders of the same curves: 1 for the same, -1 for the opposite.

    Not a number if one of them is all ties, or for fewer than two curves.
    """
    if len(early) < 2:
        return np.nan
    from scipy import stats

    tau, _ = np.asarray(stats.kendalltau(early, final))
    return float(tau)
