"""A run's curve over seeds: the seeds' own lines, and a mean that never leaves one of them out.

A mean over the seeds that are left falls when a bad one dies. So the mean here is over all seeds, and it ends before
the first test at which one of them has diverged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from smith.store.results import Result

Line = tuple[np.ndarray, np.ndarray]  # x and y, both (points,)


@dataclass(frozen=True)
class Curve:
    """One run's curve.

    x, mean: (points,) the mean over all seeds, at the tests that all have made before the first of them diverged
    lines: each seed's own finite points
    diverged: x of the test at which a seed diverged, for each that did
    """

    x: np.ndarray
    mean: np.ndarray
    lines: Mapping[int, Line]
    diverged: Mapping[int, float]

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len(self.lines)


def curve(found: Sequence[Result], x: str, y: str) -> Curve:
    """Joins the results of one run over its seeds.

    Args:
      found: at least one result.
      x, y: columns.
    """
    iterations = reduce(np.intersect1d, [r["iteration"][np.isfinite(r[y])] for r in found])
    dead = [r["iteration"][-1] for r in found if r.status == "diverged"]
    iterations = iterations[iterations < min(dead, default=np.inf)]
    values = [r[y][np.isin(r["iteration"], iterations)] for r in found]
    first = found[0]
    return Curve(
        first[x][np.isin(first["iteration"], iterations)],
        np.mean(values, axis=0),
        {r.seed: (r[x][np.isfinite(r[y])], r[y][np.isfinite(r[y])]) for r in found},
        {r.seed: float(r[x][-1]) for r in found if r.status == "diverged"},
    )
