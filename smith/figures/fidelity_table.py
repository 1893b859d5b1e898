"""The table of how near our curves come to the published ones, with what can not be expected to match, and why.

Needs results only: no data, no JAX, no training.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rich.table
from rich.console import Console

from smith import disk, networks, replicates
from smith.analysis.evidence import Evidence
from smith.analysis.fidelity import UNITS, CurveFit, PanelFit, compare
from smith.figure import SHORT, Figure
from smith.figures import tables
from smith.replicates import AUTHORS_RUNS
from smith.run import Run
from smith.store import results

NONE = "-"
SHEET = 110  # columns of the terminal, so that what is printed does not depend on it
Fits = dict[str, list[PanelFit]]  # by the figure's name
PANELS = ("Panel", "Quantity", "Seeds", "Curves compared", "Kendall's tau", "RMSE")
CURVES = (
    "Panel",
    "Quantity",
    "Curve",
    "Seeds",
    "Remarks",
    "Best at, ours (published)",
    "Diverges at, ours (published)",
    "Published points",
    "Difference at the end",
    "RMSE",
)


@dataclass(frozen=True)
class Difference:
    """Something in which our runs differ from the published ones, so that they can not be expected to match.

    what, why: in words
    concerns: whether it concerns these runs
    """

    what: str
    why: str
    concerns: Callable[[Run], bool]


def _batch_norm(run: Run) -> bool:
    return networks.info(run.network).batch_norm


DIFFERENCES = (
    Difference(
        "Means of four",
        f"each published curve is the mean of {AUTHORS_RUNS} runs of two initialisations and four batch sizes (ours: "
        "seeds at one, unless the recipe is the author's); it goes up with the first of the four that diverges, ours "
        "is the mean of those that have not",
        lambda run: True,
    ),
    Difference(
        "Order of the images",
        "the author's images came in a fixed order, ours are shuffled every epoch",
        lambda run: True,
    ),
    Difference(
        "Test window",
        "the author's tests of the deep networks saw 6,400 (densenet: 7,400) mirrored images, a window that moves; "
        "ours see all 10,000 as they are, so that the test-to-test noise differs and the level does a little",
        _batch_norm,
    ),
    Difference(
        "Batch norm",
        "the author's was over the images of one of 4 GPUs (8 in figure 5); ours is over ghost batches of that size on "
        "one device, of 206 where a batch of 1030 does not divide by 4",
        _batch_norm,
    ),
    Difference(
        "Digitisation",
        "the published curves are read from plots: 0.1 to 0.3 % in a loss, 0.0003 to 0.001 in an accuracy, more where "
        "curves cross",
        lambda run: True,
    ),
    Difference(
        "Divergence",
        "a published curve that leaves its panel at the top counts as diverging there, wherever the edge is; one of "
        "ours, and a published one that stays inside, where it passes the middle between its best and guessing "
        "for good",
        lambda run: True,
    ),
)


def expectations(figure: Figure, evidence: Evidence) -> list[str]:
    """Returns what can not be expected to match in a figure, and why: the scale, the differences, its own notes."""
    scale = evidence.scale
    found = []
    if scale.name != "paper":
        found.append(f"Scale {scale.name}: {scale.what}. A shortened run is another experiment; it can not match.")
    found += [f"{d.what}: {d.why}." for d in DIFFERENCES if any(map(d.concerns, figure.runs()))]
    return [*found, *figure.notes]


def table(figures: Sequence[Figure], evidence: Evidence, target: Path) -> str:
    """Writes fidelity.md, for all figures that have a result. Returns a line that says what was written.

    Args:
      target: the folder of figures; the paper scale's table is right in it, others in a folder named for their scale.
    """
    fits = measured(figures, evidence)
    scale = evidence.scale
    if not fits:
        names = " ".join(figure.name for figure in figures)
        return f"no results at scale {scale.name}; {replicates.command(evidence.recipe, names, scale)}"
    folder = replicates.figures_folder(evidence.recipe, target, scale)
    disk.make_folder(folder)
    with disk.whole(folder / "fidelity.md") as part:
        part.write_text(markdown(figures, evidence, fits), encoding="utf-8")
    panels = [fit for members in fits.values() for fit in members]
    found = sum(curve.points > 0 for fit in panels for curve in fit.curves)
    every = sum(len(fit.curves) for fit in panels)
    counted = f"{len(fits)} figure{'s' * (len(fits) > 1)}"
    return f"{folder / 'fidelity.md'} ({found} of {every} curves of {counted} compared, scale {scale.name})"


def show(figures: Sequence[Figure], evidence: Evidence, target: Path) -> None:
    """Prints the panels in short and writes the table, as `table` does. Names damaged results, which are left out."""
    for line in results.check(evidence.folder)[1]:
        print(f"damaged, left out: {line}", file=sys.stderr)
    if measured(figures, evidence):
        Console(width=SHEET).print(summary(figures, evidence))
    print(table(figures, evidence, target))


def measured(figures: Sequence[Figure], evidence: Evidence) -> Fits:
    """Returns the comparisons of the figures that have a result of a curve that is published."""
    fits = {figure.name: compare(figure, evidence) for figure in figures}
    return {name: found for name, found in fits.items() if any(c.seeds for fit in found for c in fit.curves)}


def markdown(figures: Sequence[Figure], evidence: Evidence, fits: Fits) -> str:
    """Returns the whole text: what it is, a table of panels, one of curves, what can not match."""
    rows = [(name, fit) for name, found in fits.items() for fit in found]
    panels = [_panel_row(name, fit) for name, fit in rows]
    curves = [(name + fit.panel, SHORT[fit.quantity], *_curve_row(fit, c)) for name, fit in rows for c in fit.curves]
    absent = [figure.name for figure in figures if figure.name not in fits and compare(figure, evidence)]
    parts = [
        "# Ours beside the published curves",
        f"Scale {evidence.scale.name}: {evidence.scale.what}. {_counts([fit for _, fit in rows])}",
        *([f"Without any result at this scale: {', '.join(absent)}."] if absent else []),
        "## Panels",
        tables.markdown(
            "The order of the curves at the end, ours against the published: tau is 1 for the same, -1 for the "
            "opposite order. RMSE: of the nearest and of the farthest curve, as below.",
            PANELS,
            panels,
        ),
        "## Curves",
        tables.markdown(HOW, CURVES, curves),
        "## What can not be expected to match, and why",
        _expectations([figure for figure in figures if figure.name in fits], evidence),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


HOW = (
    "Ours minus published at the end (the mean over the last tenth of the range that both cover; a loss in nats, an "
    "accuracy as a fraction), and the root mean square of the difference at the published points that both cover: for "
    "a loss of its natural logarithm (0.1 is a tenth), for an accuracy or a loss gap plain. On an axis of learning "
    "rates or momenta the curves of a panel are put in order at the last place that all of them reach. Best is the "
    "least loss or the highest accuracy."
)


def _counts(fits: Sequence[PanelFit]) -> str:
    curves = [curve for fit in fits for curve in fit.curves]
    with_result = [curve for curve in curves if curve.seeds]
    one = sum(curve.seeds == 1 for curve in with_result)
    lost = sum(curve.diverged > 0 for curve in with_result)
    return (
        f"Of {len(curves)} curves {len(with_result)} have a result, {one} of these one seed only; in {lost} a seed "
        "diverged. Ours is the mean over the seeds that have not diverged."
    )


def _panel_row(name: str, fit: PanelFit) -> tuple[str, ...]:
    errors = [curve.rmse for curve in fit.curves if np.isfinite(curve.rmse)]
    span = NONE
    if errors:
        ends = (f"{min(errors):.3g}", f"{max(errors):.3g}")
        span = ends[0] if ends[0] == ends[1] else " to ".join(ends)
    compared = f"{fit.compared} of {len(fit.curves)}"
    return name + fit.panel, SHORT[fit.quantity], _span(fit), compared, _number(fit.order, "+.2f"), span


def _span(fit: PanelFit) -> str:
    seeds = sorted({curve.seeds for curve in fit.curves})
    return f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"


def _curve_row(fit: PanelFit, curve: CurveFit) -> tuple[str, ...]:
    unit = UNITS[fit.quantity][0]
    return (
        curve.name or NONE,
        f"{curve.seeds}",
        curve.note or NONE,
        _both(curve.minimum),
        _both(curve.divergence),
        f"{curve.points}",
        f"{_number(curve.final, '+.3f')} {unit}" if np.isfinite(curve.final) else NONE,
        _number(curve.rmse, ".3g"),
    )


def _both(pair: tuple[float, float]) -> str:
    return f"{_place(pair[0])} ({_place(pair[1])})"


def _place(x: float) -> str:
    return _number(x, ".0f" if x >= 100 else ".3g")


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else NONE


def _expectations(figures: Sequence[Figure], evidence: Evidence) -> str:
    """Returns a list: what concerns several figures once, with their names."""
    concerned: dict[str, list[str]] = {}
    for figure in figures:
        for line in expectations(figure, evidence):
            concerned.setdefault(line, []).append(figure.name)
    return "\n".join(
        f"- {line}" if len(names) == len(figures) > 1 else f"- {line} ({', '.join(names)})"
        for line, names in concerned.items()
    )


def summary(figures: Sequence[Figure], evidence: Evidence) -> rich.table.Table:
    """Returns a short table for the terminal: a row for each panel and quantity."""
    found = rich.table.Table(box=None)
    for heading in PANELS:
        found.add_column(heading, justify="left" if heading in PANELS[:3] else "right", no_wrap=True)
    for name, fits in measured(figures, evidence).items():
        for fit in fits:
            found.add_row(*_panel_row(name, fit))
    return found
