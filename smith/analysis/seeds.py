"""Results as curves: what a run counts as after it has diverged, and the curve of a run over its seeds.

A run that diverged counts as guessing from its first test that is not finite to the end of its planned length.
Measures, tables, fidelity and calibration all use `padded` for that.

A mean over the seeds that are left falls when a bad one dies. So the mean of a drawn curve is over all seeds, and it
ends before the first test at which one of them has diverged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from smith.data import DATASETS
from smith.metrics import quantity
from smith.run import Run
from smith.schedules import RangeTest, Scaled
from smith.store.results import Result

Line = tuple[np.ndarray, np.ndarray]  # x and y, both (points,)


def guess(run: Run, column: str) -> float:
    """Returns what guessing gives in a column or in "loss_gap": ln(classes) nats, 1/classes, 0."""
    own = DATASETS[run.data].guess
    if own is not None and column in ("train_loss", "test_loss"):
        return own
    return float(quantity(column).guess(run.class_count))


def padded(result: Result, column: str, x: str = "iteration") -> Line:
    """Returns (x, y) of a column at all planned tests, with guessing from where the run diverged on.

    Of a run that did not diverge these are its finite values. Beyond the divergence a rate or a momentum goes on as it
    did before, in a straight line: right in a range test, which is where they are an axis.

    Raises:
      UserError: the run diverged, and names something that is not registered.
    """
    places, values = result[x], result[column]
    finite = np.isfinite(values)
    if result.status != "diverged":
        return places[finite], values[finite]
    dead, done = int(np.argmin(np.r_[np.isfinite(result["test_loss"][:-1]), False])), result["iteration"]
    planned, start = np.array(result.run.when_tested(), float), result.run.first_iteration
    alive = finite[:dead] & (done[:dead] >= start)  # those before a snapshot are the parent's
    since = start + (column in ("train_loss", "loss_gap"))  # the snapshot's own test has no training loss
    rest = _continued(result, x, dead, planned[planned >= max(done[dead], since)])
    level = np.full(len(rest), guess(result.run, column))
    return np.r_[places[:dead][alive], rest], np.r_[values[:dead][alive], level]


def _continued(result: Result, x: str, dead: int, iterations: np.ndarray) -> np.ndarray:
    if x == "iteration":
        return iterations
    known, places = result["iteration"][: dead + 1], result[x][: dead + 1]
    if not dead and (begins := _start(result.run, x)) is not None:  # one test is no line: that begins with the run
        known, places = np.r_[result.run.first_iteration, known], np.r_[begins, places]
    slope = (places[-1] - places[0]) / (known[-1] - known[0]) if known[-1] > known[0] else 0.0
    return places[-1] + slope * (iterations - known[-1])


def _start(run: Run, x: str) -> float | None:
    """Returns where a range test of a rate or a momentum begins; None for what is no range test."""
    schedule = run.lr if x == "learning_rate" else getattr(run, x, None)
    factor, test = (schedule.factor, schedule.schedule) if isinstance(schedule, Scaled) else (1.0, schedule)
    return factor * test.start if isinstance(test, RangeTest) else None


def mean_of_padded(found: Sequence[Result], column: str, x: str = "iteration") -> Line:
    """Returns the mean over seeds of what `padded` gives, at the places of the first seed. found: at least one."""
    lines = [padded(result, column, x) for result in found]
    places = lines[0][0]
    return places, np.mean([np.interp(places, *line) for line in lines], axis=0)


@dataclass(frozen=True)
class Curve:
    """The curve of a run over its seeds, as it is drawn.

    x, mean: (points,) the mean over all seeds, at the tests that all have made before the first of them diverged
    lines: each seed's own finite points
    diverged: x of the test at which a seed diverged, for each that did
    """

    x: np.ndarray
    mean: np.ndarray
    lines: Mapping[int, Line]
    diverged: Mapping[int, float]


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
