"""Fidelity: how near our curves come to the published ones, panel by panel. Needs results only.

Ours is the mean over seeds; a seed that diverged counts as guessing from there on, so the mean goes up with the first
of them, as the paper's means of four runs do. Of a run in miniature the order of the curves and the
places of their best and of their divergence are compared, the published iterations and rates scaled to it; its values
are not.
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
from smith.store import Store

END = 0.1  # the last part of a curve that its final value is the mean over: a single test is noisy
GRID = 11  # places in it
BARELY = 1 + 1e-9
MEAN = -1  # among seeds: their mean
NOWHERE = (np.nan, np.nan, 0)  # the differences of curves that have no x in common


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
    orders: the same of each seed that all curves have
    compared: how many curves that is
    curves: all curves of the panel
    """

    panel: str
    quantity: str
    order: float
    orders: tuple[float, ...]
    compared: int
    curves: tuple[CurveFit, ...]


def compare(figure: Figure, store: Store) -> list[PanelFit]:
    """Returns a comparison for each quantity of each panel that has published curves."""
    panels = [panel for panel in figure.panels if isinstance(panel, Panel) and panel.published]
    return [_panel_fit(panel, y, store) for panel in panels for y in panel.ys]


def _panel_fit(panel: Panel, y: str, store: Store) -> PanelFit:
    found = [_curve_fit(panel, name, y, run, store) for name, column, run in panel.series() if column == y]
    both = [(ours, theirs) for _, ours, theirs in found if ours and theirs]
    each = [{seed: line for seed, line in ours.items() if seed >= 0} for ours, _ in both]
    seeds = sorted(set.intersection(*map(set, each))) if each else []
    shared = panel.x != "iteration"
    order, compared = _order([(ours[MEAN], theirs) for ours, theirs in both], shared)
    orders = [_order([(ours[seed], theirs) for ours, theirs in both], shared)[0] for seed in seeds]
    return PanelFit(panel.label, y, order, tuple(orders), compared, tuple(fit for fit, _, _ in found))


def _order(pairs: Sequence[tuple[Line, Line]], shared: bool) -> tuple[float, int]:
    """Returns Kendall's tau between the orders of the curves at the end, and how many curves that is."""
    ends = _ends(pairs, shared=shared)
    return curves.rank_agreement([ours for ours, _ in ends], [theirs for _, theirs in ends]), len(ends)


def _curve_fit(
    panel: Panel, name: str, y: str, run: Run, store: Store
) -> tuple[CurveFit, dict[int, Line], Line | None]:
    """Returns the comparison, and our curves, by seed and `MEAN`, and the published one, x of all as in our runs."""
    results, drawn = store.results(run), published.curves(panel)
    stretch = published.stretch(panel.x, run, store.trained(run))
    theirs, left = None, np.nan
    if name in drawn:
        (x, values), left = published.inside(drawn, name, panel)
        theirs, left = (x * stretch, values), left * stretch
    right = (panel.xlim[1] if panel.xlim else np.inf) * stretch * BARELY
    each = {result.seed: until(right, padded(result, y, panel.x)) for result in results}
    ours = until(right, mean_of_padded(results, y, panel.x)) if results else None
    comparable = store.as_published(run)
    final, rmse, points = (
        differences(ours, theirs, log=quantity(y).logarithm) if ours and theirs and comparable else NOWHERE
    )
    failed = [x for line in each.values() if np.isfinite(x := _turns(line, run, y)[1])]
    best, end = _turns(theirs, run, y)
    fit = CurveFit(
        name,
        len(results),
        lost := sum(result.status == "diverged" for result in results),
        final,
        rmse,
        points,
        (_turns(ours, run, y)[0], best),
        (float(np.mean(failed)) if failed else np.nan, left if np.isfinite(left) else end),
        "; ".join(
            [f"no result at scale {store.scale.name}"] * (not results)
            + ["no published curve"] * (not theirs)
            + [f"{lost} of {len(results)} seeds diverged"] * bool(lost)
            + ["the published curve leaves its panel at the top"] * bool(np.isfinite(left))
            + ["no test at the published places"] * bool(ours and theirs and comparable and not points)
        ),
    )
    return fit, each | {MEAN: ours} if ours else {}, theirs


def until(right: float, line: Line) -> Line:
    """Returns the part of a line up to an x."""
    return line[0][line[0] <= right], line[1][line[0] <= right]


def _ends(pairs: Sequence[tuple[Line, Line]], *, shared: bool) -> list[tuple[float, float]]:
    """Returns (ours, published) at the end of each pair of curves.

    shared: all curves end at the same x, the last one that all of them reach. On an axis of iterations each curve ends
    where its training does.
    """
    ranges = [_common(*pair) for pair in pairs]
    if shared and ranges:
        ranges = [(max(low for low, _ in ranges), min(high for _, high in ranges))] * len(ranges)
    both = [(pair, limits) for pair, limits in zip(pairs, ranges, strict=True) if limits[0] <= limits[1]]
    return [(_mean_at_end(ours, limits), _mean_at_end(theirs, limits)) for (ours, theirs), limits in both]


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
        return NOWHERE
    final = _mean_at_end(ours, (low, high)) - _mean_at_end(theirs, (low, high))
    one, other = np.interp(theirs[0][there], *ours), theirs[1][there]
    apart = np.log(one / other) if log else one - other
    return final, float(np.sqrt(np.mean(apart**2))), int(there.sum())


def failure(values: np.ndarray, name: str) -> np.ndarray:
    """Returns what is to be small: the loss, or one minus the accuracy."""
    return 1 - values if quantity(name).better == "higher" else values


def _turns(line: Line | None, run: Run, y: str) -> tuple[float, float]:
    """Returns x of the best test, and x from which on training has failed. A loss gap has no good or bad."""
    if y == "loss_gap" or not line or not len(line[0]):
        return np.nan, np.nan
    bad, chance = failure(line[1], y), float(failure(np.array(guess(run, y)), y))
    failed = curves.rate_of_divergence(line[0], bad, chance)
    return curves.rate_of_minimum(line[0], bad), np.nan if failed is None else failed
