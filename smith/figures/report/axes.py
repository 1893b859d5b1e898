"""The curves of a panel at one scale, and the ranges of its axes: the paper's, widened to hold ours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smith.analysis import published
from smith.analysis.evidence import Evidence
from smith.figure import Panel, YAxis
from smith.figures.plot import HEADROOM, Curve, curve
from smith.run import Run
from smith.store.results import Result

Range = tuple[float, float]
HIGHEST = 30.0  # nats that an axis reaches to at most, where the paper's does not
MOST = 80  # % of our points that an axis has room for, if they lie far from the paper's


@dataclass(frozen=True)
class Line:
    """One curve of a panel.

    name: in the legend
    y: the quantity
    run: of the protocol
    found: its results, by seed
    ours: these, joined; None where there are none
    published: x and y of the paper's curve, its iterations cut as ours are; None where there is none
    """

    name: str
    y: YAxis
    run: Run
    found: Sequence[Result]
    ours: Curve | None
    published: tuple[np.ndarray, np.ndarray] | None


def factor(panel: Panel, run: Run, evidence: Evidence) -> float:
    """Returns by how much the iterations on the horizontal axis are cut at a scale; 1 on other axes."""
    return evidence.scale.apply(run).iterations / run.iterations if panel.x == "iteration" else 1.0


def lines(panel: Panel, evidence: Evidence) -> list[Line]:
    """Returns a panel's curves, with or without results."""
    theirs = published.curves(panel.published) if panel.published else {}
    found = []
    for name, y, run in panel.series():
        results = evidence.results(run)
        cut = factor(panel, run, evidence)
        pair = (theirs[name][0] * cut, theirs[name][1]) if name in theirs else None
        found.append(Line(name, y, run, results, curve(results, panel.x, y) if results else None, pair))
    return found


def ranges(panel: Panel, shown: Sequence[Line], evidence: Evidence) -> tuple[Range | None, Range | None]:
    """Returns the ranges of the two axes; None where all points are to be shown."""
    ours = [line.ours for line in shown if line.ours]
    return _x_range(panel, ours, evidence), _y_range(panel, ours)


def _x_range(panel: Panel, ours: Sequence[Curve], evidence: Evidence) -> Range | None:
    if not panel.xlim:
        return None
    ends = [run.iterations * factor(panel, run, evidence) for run in panel.runs()]
    cut = max(ends) / max(run.iterations for run in panel.runs()) if panel.x == "iteration" else 1.0
    left, right = (float(limit * cut) for limit in panel.xlim)
    return left, max([right, *(x for line in ours for x in line.diverged)])


def _y_range(panel: Panel, ours: Sequence[Curve]) -> Range | None:
    if not panel.ylim:
        return None
    low, high = panel.ylim
    values = np.concatenate([[low, high], *(np.r_[line.low, line.high] for line in ours)])
    bounds = (0.0, 1.0) if panel.ys == ("test_accuracy",) else (low / HEADROOM, high * HEADROOM)
    if means := [
        line.mean for line in ours if len(line.mean)
    ]:  # room for most of our points, though not for one that goes to infinity
        bottom, top = np.percentile(np.concatenate(means), (100 - MOST, MOST))
        least = bounds[0] if panel.log and bottom <= 0 else min(bounds[0], bottom)
        bounds = float(least), max(bounds[1], min(float(top) * HEADROOM, HIGHEST)) if top > bounds[1] else bounds[1]
    low, high = (float(v) for v in np.clip([values.min(), values.max()], *bounds))
    if panel.log:
        margin = (high / low) ** 0.03
        return low / margin, high * margin
    return low - 0.03 * (high - low), high + 0.03 * (high - low)
