"""Readings: what the usual rules read off a range test.

minimum: where the smoothed loss is least. minimum / 10: a tenth of that, as in Lightning. steepest: where it falls
fastest by the logarithm of the rate, as in pytorch-lr-finder. valley: the middle of its longest fall, about as in
fastai. largest stable: the last value before the loss has failed for good (see `curves.rate_of_divergence`).
"""

import numpy as np

from smith.analysis import curves

READINGS: tuple[str, ...] = ("minimum", "minimum / 10", "steepest", "valley", "largest stable")


def read(values: np.ndarray, losses: np.ndarray, chance: float) -> dict[str, float]:
    """Returns what each rule reads off one range test; not a number where it finds nothing.

    values, losses: (tests,) what was tried, and the loss there; chance: the loss of guessing
    """
    count = curves.tenth(len(losses))
    smooth = curves.running_mean(losses, count)
    places = np.exp(curves.running_mean(np.log(np.maximum(values, 1e-30)), count))
    least = int(smooth.argmin())
    found = dict.fromkeys(READINGS, np.nan)
    if smooth[least] >= curves.bar(chance):
        return found
    failed = curves.rate_of_divergence(values, losses, chance)
    before = values[values < failed] if failed is not None else values
    found |= {"minimum": float(places[least]), "minimum / 10": float(places[least]) / 10}
    found["largest stable"] = float(before[-1]) if len(before) else np.nan
    if least >= 2:
        slopes = np.gradient(smooth[: least + 1], np.log(places[: least + 1]))
        found["steepest"] = float(places[int(slopes.argmin())])
        found["valley"] = float(places[_middle_of_longest_fall(smooth)])
    return found


def _middle_of_longest_fall(values: np.ndarray) -> int:
    """Returns the index in the middle of the longest falling subsequence."""
    falls: list[list[int]] = []  # for each value the longest that ends there, backwards
    for i, value in enumerate(values):
        falls.append([i, *max((falls[j] for j in range(i) if values[j] > value), key=len, default=[])])
    longest = max(falls, key=len)
    return longest[len(longest) // 2]
