"""Fidelity: how near our curves come to the published ones, panel by panel. Needs results only.

Ours is the mean over seeds; a seed that diverged counts as guessing from there on, so the mean goes up with the first
of them, as the paper's means of four runs do. Published iterations are scaled to a shortened run.
Points at the upper edge of a published panel only say that the curve is at least that high; they are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smith.analysis import curves, published
from smith.analysis.seeds import Line, guess, mean_of_padded, padded
from smith.figure import Figure, Panel
from smith.metrics import quantity
from smith.run import Run
from smith.store import Result, Store

END = 0.1  # the last part of a curve that its final value is the mean over: a single test is noisy
GRID = 11  # places in it
BARELY = 1 + 1e-9


@dataclass(frozen=True)
class CurveFit:
    """One of our curves beside the published one. A number that there is none of is nan.

    name: in the legend
    seeds, diverged: how many results there are, and how many of them diverged
    final: ours minus published, the mean over the last tenth of the axis that both cover, in the quantity's unit
    rmse: along the curve, at the published x that both cover (see `differences`)
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
    quantity: str
    order: float
    compared: int
    curves: tuple[CurveFit, ...]


@dataclass(frozen=True)
class _Pair:
    """A curve of ours and the published one, x of both as in our runs.

    right: where the paper's axis ends
    ours: over seeds, or None without a result; theirs: without the points at the panel's edge, or None
    left: x at which the published curve leaves its panel at the top, or nan
    """

    name: str
    run: Run
    found: Sequence[Result]
    right: float
    ours: Line | None
    theirs: Line | None
    left: float


def compare(figure: Figure, store: Store) -> list[PanelFit]:
    """Returns a comparison for each quantity of each panel that has published curves."""
    panels = [panel for panel in figure.panels if isinstance(panel, Panel) and panel.published]
    return [_panel_fit(panel, y, store) for panel in panels for y in panel.ys]


def _panel_fit(panel: Panel, y: str, store: Store) -> PanelFit:
    pairs = [_pair(panel, name, y, run, store) for name, column, run in panel.series() if column == y]
    ends = _ends(pairs, shared=panel.x != "iteration")
    order = curves.rank_agreement(*map(list, zip(*ends, strict=True))) if len(ends) > 1 else np.nan
    fits = tuple(_curve_fit(pair, panel.x, y, store.scale.name) for pair in pairs)
    return PanelFit(panel.label, y, order, len(ends), fits)


def _pair(panel: Panel, name: str, y: str, run: Run, store: Store) -> _Pair:
    assert panel.published
    theirs, found = published.curves(panel.published), store.results(run)
    stretch = published.stretch(panel.x, run, store.trained(run))
    right = (panel.xlim[1] if panel.xlim else np.inf) * stretch * BARELY
    line, left = published.inside(theirs, name, panel) if name in theirs else (None, np.nan)
    return _Pair(
        name,
        run,
        found,
        right,
        _until(right, mean_of_padded(found, y, panel.x)) if found else None,
        (line[0] * stretch, line[1]) if line else None,
        left * stretch,
    )


def _until(right: float, line: Line) -> Line:
    return line[0][line[0] <= right], line[1][line[0] <= right]


def _ends(pairs: Sequence[_Pair], *, shared: bool) -> list[tuple[float, float]]:
    """Returns (ours, published) at the end, for each curve that both have.

    shared: all curves end at the same x, the last one that all of them reach. On an axis of iterations each curve ends
    where its training does.
    """
    both = [(pair.ours, pair.theirs) for pair in pairs if pair.ours and pair.theirs]
    ranges = [_common(ours, theirs) for ours, theirs in both]
    if shared and ranges:
        ranges = [(max(low for low, _ in ranges), min(high for _, high in ranges))] * len(ranges)
    return [
        (_mean_at_end(ours, limits), _mean_at_end(theirs, limits))
        for (ours, theirs), limits in zip(both, ranges, strict=True)
        if limits[0] <= limits[1]
    ]


def _common(one: Line, other: Line) -> tuple[float, float]:
    """Returns the first and the last x that both cover; the last is below the first if there is none."""
    if not len(one[0]) or not len(other[0]):
        return np.inf, -np.inf
    return float(max(one[0][0], other[0][0])), float(min(one[0][-1], other[0][-1]))


def _mean_at_end(line: Line, limits: tuple[float, float]) -> float:
    """Returns the mean over the last tenth of a range."""
    return float(np.interp(np.linspace(limits[1] - END * (limits[1] - limits[0]), limits[1], GRID), *line).mean())


def differences(ours: Line, theirs: Line, *, log: bool) -> tuple[float, float, int]:
    """Returns the difference at the end, the root mean square one, and at how many published x; nan for none.

    log: whether the latter is of natural logarithms, in which a factor f everywhere gives |ln f|
    """
    low, high = _common(ours, theirs)
    there = (theirs[0] >= low) & (theirs[0] <= high)
    if not there.any():
        return np.nan, np.nan, 0
    final = _mean_at_end(ours, (low, high)) - _mean_at_end(theirs, (low, high))
    one, other = np.interp(theirs[0][there], *ours), theirs[1][there]
    apart = np.log(one / other) if log else one - other
    return final, float(np.sqrt(np.mean(apart**2))), int(there.sum())


def _curve_fit(pair: _Pair, x: str, y: str, scale: str) -> CurveFit:
    seeds, lost = len(pair.found), sum(result.status == "diverged" for result in pair.found)
    notes = [f"no result at scale {scale}"] * (not seeds) + ["no published curve"] * (not pair.theirs)
    notes += [f"{lost} of {seeds} seeds diverged"] * bool(lost)
    notes += ["the published curve leaves its panel at the top"] * bool(np.isfinite(pair.left))
    final, rmse, points = np.nan, np.nan, 0
    if pair.ours and pair.theirs:
        final, rmse, points = differences(pair.ours, pair.theirs, log=quantity(y).logarithm)
        notes += ["no test at the published places"] * (not points)
    each = np.array([_divergence(_until(pair.right, padded(result, y, x)), pair.run, y) for result in pair.found])
    each = each[np.isfinite(each)]
    theirs = pair.left if np.isfinite(pair.left) else _divergence(pair.theirs, pair.run, y)
    return CurveFit(
        pair.name,
        seeds,
        lost,
        final,
        rmse,
        points,
        (_place_of_best(pair.ours, y), _place_of_best(pair.theirs, y)),
        (float(each.mean()) if len(each) else np.nan, theirs),
        "; ".join(notes),
    )


def failure(values: np.ndarray, name: str) -> np.ndarray | None:
    """Returns what is to be small: the loss, or one minus the accuracy. A loss gap has no good or bad."""
    if name == "loss_gap":
        return None
    return 1 - values if quantity(name).better == "higher" else values


def _place_of_best(line: Line | None, y: str) -> float:
    bad = failure(line[1], y) if line and len(line[0]) else None
    return np.nan if line is None or bad is None else curves.rate_of_minimum(line[0], bad)


def _divergence(line: Line | None, run: Run, y: str) -> float:
    bad = failure(line[1], y) if line and len(line[0]) else None
    if line is None or bad is None:
        return np.nan
    level = failure(np.array(guess(run, y)), y)
    assert level is not None
    found = curves.rate_of_divergence(line[0], bad, float(level))
    return np.nan if found is None else found
