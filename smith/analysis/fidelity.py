"""Fidelity: how near our curves come to the published ones, panel by panel.

Needs results only: no data, no JAX, no training. `smith.figures.fidelity_table` says what can not be expected to match.

Ours is the mean over the seeds that have a finite value at a test, as in the figures; how many seeds there are, and
how many diverged, is said beside it. Published iterations are scaled to a shortened run, learning rates and momenta are
not.
Points at the upper edge of a published panel only say that the curve is at least that high; they are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smith.analysis import curves, published
from smith.analysis.evidence import Evidence
from smith.analysis.measures import guess
from smith.figure import Figure, Panel, YAxis
from smith.figures import plot
from smith.run import Run
from smith.store.results import Result

Line = tuple[np.ndarray, np.ndarray]  # x, y of (points,)
END = 0.1  # the last part of a curve that its final value is the mean over: a single test is noisy
GRID = 11  # places in it
UNITS: dict[YAxis, tuple[str, str]] = {  # of the difference at the end, of the RMSE
    "test_loss": ("nats", "natural logarithm"),
    "train_loss": ("nats", "natural logarithm"),
    "test_accuracy": ("fraction", "fraction"),
    "loss_gap": ("nats", "nats"),  # the gap may be negative, so it has no logarithm
}


@dataclass(frozen=True)
class CurveFit:
    """One of our curves beside the published one. A number that there is none of is nan.

    name: in the legend
    seeds, diverged: how many results there are, and how many of them diverged
    final: ours minus published, the mean over the last tenth of the axis that both cover; unit: UNITS[quantity][0]
    rmse: along the curve, at the published x that both cover; unit: UNITS[quantity][1]
    points: at how many x that is
    minimum: x of the least loss (highest accuracy), ours and published
    divergence: x from which on training has failed, ours (mean over the seeds that did) and published
    note: what keeps it from being compared, or from matching
    """

    name: str
    seeds: int
    diverged: int = 0
    final: float = np.nan
    rmse: float = np.nan
    points: int = 0
    minimum: tuple[float, float] = (np.nan, np.nan)
    divergence: tuple[float, float] = (np.nan, np.nan)
    note: str = ""


@dataclass(frozen=True)
class PanelFit:
    """One quantity of one panel.

    panel: its letter
    quantity: what the curves show
    order: Kendall's tau between the orders of our and of the published curves at the end; nan for fewer than two
    compared: how many curves that is
    curves: all curves of the panel
    """

    panel: str
    quantity: YAxis
    order: float
    compared: int
    curves: tuple[CurveFit, ...]


@dataclass(frozen=True)
class _Pair:
    """A curve of ours and the published one, x of both as in our runs.

    ours: over seeds, or None without a result; theirs: without the points at the panel's edge, or None
    left: x at which the published curve leaves its panel at the top, or nan
    """

    name: str
    quantity: YAxis
    run: Run
    found: Sequence[Result]
    ours: plot.Curve | None
    theirs: Line | None
    left: float


def compare(figure: Figure, evidence: Evidence) -> list[PanelFit]:
    """Returns a comparison for each quantity of each panel that has published curves."""
    panels = [panel for panel in figure.panels if isinstance(panel, Panel) and panel.published]
    return [_fit(panel, quantity, evidence) for panel in panels for quantity in panel.ys]


def _fit(panel: Panel, quantity: YAxis, evidence: Evidence) -> PanelFit:
    pairs = _pairs(panel, quantity, evidence)
    ends = _ends(pairs, shared=panel.x != "iteration")
    order = curves.rank_agreement(*map(list, zip(*ends, strict=True))) if len(ends) > 1 else np.nan
    return PanelFit(panel.label, quantity, order, len(ends), tuple(_curve_fit(pair, panel, evidence) for pair in pairs))


def _pairs(panel: Panel, quantity: YAxis, evidence: Evidence) -> list[_Pair]:
    assert panel.published
    theirs = published.curves(panel.published)
    scale = evidence.scale
    pairs = []
    for name, y, run in panel.series():
        if y != quantity:
            continue
        cut = scale.apply(run).iterations / run.iterations if panel.x == "iteration" else 1.0
        found = evidence.results(run)
        right = (panel.xlim[1] if panel.xlim else np.inf) * cut
        ours = _within(plot.curve(found, panel.x, y), right) if found else None
        line, left = seen(theirs, name, panel) if name in theirs else (None, np.nan)
        line = (line[0] * cut, line[1]) if line else None
        pairs.append(_Pair(name, y, run, found, ours, line, left * cut))
    return pairs


def _within(line: plot.Curve, right: float) -> plot.Curve:
    """Returns the part of a curve that the paper's axis has room for."""
    there = line.x <= right * (1 + 1e-9)
    x, mean, low, high = (values[there] for values in (line.x, line.mean, line.low, line.high))
    return plot.Curve(x, mean, low, high, line.diverged, line.seeds)


def seen(theirs: dict[str, Line], name: str, panel: Panel) -> tuple[Line, float]:
    """Returns a published curve without the points at its panel's upper edge, and x where it leaves there for good."""
    x, y = theirs[name]
    if not _is_loss(panel.ys):
        return (x, y), np.nan
    top = max(
        values.max() for _, values in theirs.values()
    )  # at the edge, or a point near it that is then left out too
    inside = y < top * (1 - 1e-6)
    end = panel.xlim[1] if panel.xlim else x.max()
    left = float(x[-1]) if not inside[-1] and x[-1] < end * (1 - 1e-3) else np.nan
    return (x[inside], y[inside]), left


def _is_loss(quantities: Sequence[YAxis]) -> bool:
    return "test_loss" in quantities


def _ends(pairs: Sequence[_Pair], *, shared: bool) -> list[tuple[float, float]]:
    """Returns (ours, published) at the end, for each curve that both have.

    A curve of ours whose seeds have all diverged has come to guessing there.

    Args:
      shared: all curves end at the same x, the last one that all of them reach. On an axis of iterations each curve
        ends where its training does.
    """
    both = [(pair, _guessing(pair), pair.theirs) for pair in pairs if pair.ours is not None and pair.theirs]
    ranges = [_common(ours, theirs) for _, ours, theirs in both if theirs]
    if shared and ranges:
        ranges = [(max(low for low, _ in ranges), min(high for _, high in ranges))] * len(ranges)
    return [
        (_mean_at_end(ours, limits), _mean_at_end(theirs, limits))
        for (_, ours, theirs), limits in zip(both, ranges, strict=True)
        if theirs and limits[0] <= limits[1]
    ]


def _guessing(pair: _Pair) -> Line:
    """Returns our mean curve; if every seed diverged, with guessing from where the last one did."""
    ours = pair.ours
    assert ours is not None
    if len(ours.diverged) < ours.seeds:
        return ours.x, ours.mean
    since, level = max(ours.diverged), guess(pair.run, pair.quantity)
    return np.r_[ours.x, max(since, ours.x[-1]) if len(ours.x) else -np.inf, np.inf], np.r_[ours.mean, level, level]


def _common(one: Line, other: Line) -> tuple[float, float]:
    """Returns the first and the last x that both cover; the last is below the first if there is none."""
    if not len(one[0]) or not len(other[0]):
        return np.inf, -np.inf
    return float(max(one[0][0], other[0][0])), float(min(one[0][-1], other[0][-1]))


def _mean_at_end(line: Line, limits: tuple[float, float]) -> float:
    """Returns the mean over the last tenth of a range."""
    x = np.linspace(limits[1] - END * (limits[1] - limits[0]), limits[1], GRID)
    return float(_interpolated(x, line).mean())


def _interpolated(x: np.ndarray, line: Line) -> np.ndarray:
    """Returns y at x; of a curve that goes to infinity, its last value there."""
    finite = np.isfinite(line[0])
    if not finite.any():
        return np.full(len(x), line[1][-1])
    y = np.interp(x, line[0][finite], line[1][finite])
    return np.where(x > line[0][finite][-1], line[1][-1], y)


def _curve_fit(pair: _Pair, panel: Panel, evidence: Evidence) -> CurveFit:
    seeds, lost = len(pair.found), sum(r.status == "diverged" for r in pair.found)
    notes = [f"no result at scale {evidence.scale.name}"] * (not seeds) + ["no published curve"] * (not pair.theirs)
    notes += [f"{lost} of {seeds} seeds diverged"] * bool(lost)
    notes += ["the published curve leaves its panel at the top"] * bool(np.isfinite(pair.left))
    final, rmse, points = np.nan, np.nan, 0
    ours = (pair.ours.x, pair.ours.mean) if pair.ours else None
    if ours and pair.theirs:
        final, rmse, points = differences(ours, pair.theirs, pair.quantity)
        notes += ["no test at the published places"] * (not points)
    return CurveFit(
        pair.name,
        seeds,
        lost,
        final,
        rmse,
        points,
        (_place_of_best(ours, pair), _place_of_best(pair.theirs, pair)),
        (_our_divergence(pair, panel), _their_divergence(pair)),
        "; ".join(notes),
    )


def differences(ours: Line, theirs: Line, quantity: YAxis) -> tuple[float, float, int]:
    """Returns the difference at the end, the RMSE, and at how many published x; nan where the ranges do not meet.

    The RMSE of a loss is that of its natural logarithm: a factor f everywhere gives |ln f|. Of others it is plain.
    """
    low, high = _common(ours, theirs)
    there = (theirs[0] >= low) & (theirs[0] <= high)
    if not there.any():
        return np.nan, np.nan, 0
    limits = low, high
    final = _mean_at_end(ours, limits) - _mean_at_end(theirs, limits)
    apart = _logged(_interpolated(theirs[0][there], ours), quantity) - _logged(theirs[1][there], quantity)
    return final, float(np.sqrt(np.mean(apart**2))), int(there.sum())


def _logged(values: np.ndarray, quantity: YAxis) -> np.ndarray:
    return np.log(values) if quantity in ("test_loss", "train_loss") else values


def failure(values: np.ndarray, quantity: YAxis) -> np.ndarray | None:
    """Returns what is to be small: the loss, or one minus the accuracy. A loss gap has no good or bad."""
    if quantity == "loss_gap":
        return None
    return 1 - values if quantity == "test_accuracy" else values


def _place_of_best(line: Line | None, pair: _Pair) -> float:
    if line is None or not len(line[0]):
        return np.nan
    bad = failure(line[1], pair.quantity)
    return np.nan if bad is None else curves.rate_of_minimum(line[0], bad)


def _divergence(x: np.ndarray, values: np.ndarray, pair: _Pair) -> float:
    bad = failure(values, pair.quantity)
    if bad is None or not len(x):
        return np.nan
    if not np.isfinite(bad).any():
        return float(x[0])
    level = guess(pair.run, pair.quantity)
    found = curves.rate_of_divergence(x, bad, 1 - level if pair.quantity == "test_accuracy" else level)
    return np.nan if found is None else found


def _our_divergence(pair: _Pair, panel: Panel) -> float:
    """Returns the mean over the seeds that diverge on the paper's axis."""
    right = np.inf
    if panel.xlim and panel.x != "iteration":
        right = panel.xlim[1] * (1 + 1e-9)
    inside = [(r[panel.x][r[panel.x] <= right], r[pair.quantity][r[panel.x] <= right]) for r in pair.found]
    each = np.array([_divergence(x, y, pair) for x, y in inside])
    return float(each[np.isfinite(each)].mean()) if np.isfinite(each).any() else np.nan


def _their_divergence(pair: _Pair) -> float:
    return pair.left if np.isfinite(pair.left) or not pair.theirs else _divergence(*pair.theirs, pair)
