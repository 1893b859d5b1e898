"""Draws figures from results: the paper's axes, a mean line and a band over seeds, the published curve dashed.

Needs results only: no data, no JAX, no training.
"""

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smith import disk, replicates
from smith.analysis import published
from smith.figure import SHORT, Figure, Finals, Panel, Sketch, YAxis
from smith.run import Run
from smith.scales import Scale
from smith.store.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    "iteration": "Iteration",
    "learning_rate": "Learning rate",
    "momentum": "Momentum",
    "test_loss": "Test loss (nats)",
    "test_accuracy": "Test accuracy (fraction)",
    "train_loss": "Training loss (nats)",
    "loss_gap": "Test loss - training loss (nats)",
}
HEADROOM = 3.0  # a loss axis reaches at most this much beyond the paper's; what is above is marked at the edge

CROWDED = 20.0  # a logarithmic axis that spans more than this factor has fewer numbers


@dataclass(frozen=True)
class Curve:
    """A curve over seeds.

    x, mean, low, high: (points,) the mean over the seeds that have a finite value there, and their range
    diverged: x at which a seed diverged, one for each that did
    seeds: how many seeds there are
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    diverged: list[float]
    seeds: int


def curve(found: Sequence[Result], x: str, y: str) -> Curve:
    """Joins the results of one run over its seeds. A seed that diverged counts up to the test before."""
    iterations = np.unique(np.concatenate([r["iteration"] for r in found]))
    values = np.full((len(found), len(iterations)), np.nan)
    position = np.full(len(iterations), np.nan)
    for row, result in zip(values, found, strict=True):
        where = np.searchsorted(iterations, result["iteration"])
        row[where] = result[y]
        position[where] = result[x]
    values[~np.isfinite(values)] = np.nan
    there = np.isfinite(values).any(axis=0)
    values, position = values[:, there], position[there]
    ends = [float(r[x][-1]) for r in found if r.status == "diverged"]
    return Curve(position, np.nanmean(values, 0), np.nanmin(values, 0), np.nanmax(values, 0), ends, seeds=len(found))


def draw(
    figure: Figure, scale: Scale, source: Path, target: Path, *, published: bool = True, recipe: str = "seeds"
) -> str:
    """Draws a figure as PNG and SVG. Returns a line that says what was drawn.

    Args:
      source: the scale's folder of results.
      target: the folder of figures; the paper scale's are right in it, others in a folder named for their scale.
      published: whether the paper's curves are drawn too.
      recipe: how the runs of a curve differ (see `smith.replicates`).
    """
    found = {run: replicates.collect(recipe, source, scale, run) for run in figure.runs()}
    shown = {run: found[run] for panel in figure.panels for run in panel.runs()}
    have = sum(bool(r) for r in shown.values())
    if not have:
        return f"{figure.name}: no results at scale {scale.name}; {replicates.command(recipe, figure.name, scale)}"
    folder = replicates.figures_folder(recipe, target, scale)
    disk.make_folder(folder)
    paths = [folder / f"{figure.name}.{kind}" for kind in ("png", "svg")]
    _render(figure, scale, found, paths, published)
    missing = f", {len(shown) - have} without a result" if have < len(shown) else ""
    runs = f"{have} run{'s' * (have > 1)}, {_seeds(shown.values())}"
    return f"{figure.name}: {paths[0]} ({runs}, scale {scale.name}{missing})"


def _seeds(found: Iterable[Sequence[Result]]) -> str:
    counts = sorted({len(r) for r in found if r})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} seed{'s' * (counts[-1] > 1)}"


def _render(
    figure: Figure, scale: Scale, found: dict[Run, list[Result]], paths: Sequence[Path], published: bool
) -> None:
    def paint(axes: np.ndarray) -> None:
        for axis, panel in zip(axes.flat, figure.panels, strict=False):
            if isinstance(panel, Sketch):
                _sketch(axis, panel)
            elif isinstance(panel, Finals):
                _finals(axis, panel, found)
            else:
                _panel(axis, panel, scale, found, published)

    columns = min(2, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    size = (4.8 * columns if columns > 1 else 5.8, 3.9 * rows + 0.7)
    what = f"{scale.name} scale, {_seeds(found.values())}: {scale.what}"
    save_sheet(paint, _title(figure), what, paths, size=size, nrows=rows, ncols=columns)


def _title(figure: Figure) -> str:
    """Returns the title with the paper's number, if it is a figure of the paper."""
    number = re.fullmatch(r"fig0*(\d+)", figure.name)
    return f"Figure {number[1]}. {figure.title}" if number else figure.title


def save_sheet(
    paint: Callable[[np.ndarray], None],
    title: str,
    what: str,
    paths: Sequence[Path],
    size: tuple[float, float],
    **subplots: Any,
) -> None:
    """Draws and saves a sheet of axes under a title and a line that says what it was made from.

    Args:
      paint: draws into the axes, (rows, columns).
      size: in inches.
      subplots: what else `matplotlib.pyplot.subplots` takes.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.style.context(Path(__file__).parent / "smith.mplstyle"):
        sheet, axes = plt.subplots(figsize=size, squeeze=False, **subplots)
        paint(axes)
        lines = [title, *textwrap.wrap(what, int(14 * size[0]))]
        sheet.suptitle("\n".join(lines), fontsize=9.5, x=0.01, ha="left")
        for path in paths:
            _save(sheet, path)
        plt.close(sheet)


def _save(sheet: Any, path: Path) -> None:
    """Saves without a date, so that the same results give the same file."""
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None}
    with disk.whole(path) as part:
        sheet.savefig(part, format=path.suffix[1:], metadata=metadata)


def _panel(axis: "Axes", panel: Panel, scale: Scale, found: dict[Run, list[Result]], with_published: bool) -> None:
    theirs = published.curves(panel.published) if with_published and panel.published else {}
    along = panel.x == "iteration"
    factors = [scale.apply(run).iterations / run.iterations if along else 1.0 for run in panel.curves.values()]
    drawn: dict[str, Curve] = {}
    for number, (name, y, run) in enumerate(panel.series()):
        colour = f"C{number}"
        if name in theirs:
            x, values = theirs[name]
            cut = factors[number // len(panel.ys)]
            axis.plot(x * cut, values, "--", color=colour, linewidth=0.8, alpha=0.8)
        if found[run]:
            drawn[colour] = _draw_curve(axis, found[run], panel.x, y, colour, name)
        else:
            axis.plot([], [], color=colour, label=f"{name} (no result)", alpha=0.3)
    if theirs:
        axis.plot([], [], "--", color="0.4", linewidth=0.8, label=_published_label(factors))
    axis.set_title(f"{panel.label}  {panel.title}")
    axis.set_xlabel(LABELS[panel.x])
    axis.set_ylabel(_y_label(panel.ys))
    ends = [run.iterations * factor for run, factor in zip(panel.curves.values(), factors, strict=True)]
    _limits(
        axis, panel, max(ends) / max(run.iterations for run in panel.runs()) if along else 1.0, list(drawn.values())
    )
    _marks(axis, drawn)
    _legend(axis)


def _legend(axis: "Axes") -> None:
    """Puts the legend below the axes, where no curve is."""
    columns = 1 if max(map(len, axis.get_legend_handles_labels()[1])) > 30 else 2
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.15), ncols=columns, borderaxespad=0)


def _published_label(factors: Sequence[float]) -> str:
    if min(factors) == 1:
        return "published"
    low, high = f"{min(factors):.3g}", f"{max(factors):.3g}"
    return f"published, iterations x {low if low == high else f'{low} to {high}'}"


def _finals(axis: "Axes", panel: Finals, found: dict[Run, list[Result]]) -> None:
    for number, y in enumerate(panel.y):
        ends = {x: [r[y][-1] for r in found[run] if r.status == "done"] for x, run in panel.points.items()}
        ends = {x: values for x, values in ends.items() if values}
        middle = np.array([np.mean(values) for values in ends.values()])
        reach = np.array([(m - min(v), max(v) - m) for m, v in zip(middle, ends.values(), strict=True)]).reshape(-1, 2)
        axis.errorbar(list(ends), middle, yerr=reach.T, marker="o", color=f"C{number}", capsize=2, label=SHORT[y])
    lost = sum(r.status == "diverged" for run in panel.runs() for r in found[run])
    absent = sum(not found[run] for run in panel.runs())
    for count, what in ((lost, "diverged"), (absent, "without a result")):
        if count:
            axis.plot([], [], linestyle="none", label=f"{count} {what}")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if panel.log and any(r.status == "done" for run in panel.runs() for r in found[run]):
        _log_scale(axis)
    axis.set_title(f"{panel.label}  {panel.title}")
    axis.set_xlabel(panel.xlabel)
    axis.set_ylabel(_y_label(panel.y))
    _legend(axis)


def _sketch(axis: "Axes", panel: Sketch) -> None:
    x = np.linspace(0, 1, 201)
    lines = {name: np.array([curve(place) for place in x]) for name, curve in panel.curves.items()}
    for number, (name, y) in enumerate(lines.items()):
        axis.plot(x, y, color=f"C{number}", label=name)
    top, best = max(y.max() for y in lines.values()), x[next(iter(lines.values())).argmin()]
    axis.axvline(best, color="0.6", linestyle=":", label="optimum")
    for place, text in panel.texts.items():
        axis.text(place, top, text, ha="center", va="top")
    axis.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1.05 * top), xlabel=panel.xlabel, ylabel=panel.ylabel)
    axis.set_title(f"{panel.label}  {panel.title}")
    _legend(axis)


def _y_label(ys: Sequence[YAxis]) -> str:
    if len(ys) == 1:
        return LABELS[ys[0]]
    return " / ".join(
        dict.fromkeys("accuracy (fraction)" if y == "test_accuracy" else "loss (nats)" for y in ys)
    ).capitalize()


def _draw_curve(axis: "Axes", found: Sequence[Result], x: str, y: str, colour: str, name: str) -> Curve:
    line = curve(found, x, y)
    label = f"{name} ({len(line.diverged)}/{line.seeds} diverged)" if line.diverged else name
    axis.plot(line.x, line.mean, color=colour, label=label)
    if line.seeds > 1:
        axis.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
    return line


def _limits(axis: "Axes", panel: Panel, factor: float, drawn: Sequence[Curve]) -> None:
    """Sets the paper's ranges, widened to hold our curves where they leave them, but not without bounds."""
    if panel.log:
        _log_scale(axis)
    if panel.xlim:
        left, right = np.array(panel.xlim) * (factor if panel.x == "iteration" else 1)
        axis.set_xlim(left, max([right, *(x for c in drawn for x in c.diverged)]))
    if panel.ylim:
        low, high = panel.ylim
        ours = np.concatenate([[low, high], *(np.r_[c.low, c.high] for c in drawn)])
        bounds = (0.0, 1.0) if panel.ys == ("test_accuracy",) else (low / HEADROOM, high * HEADROOM)
        low, high = np.clip([ours.min(), ours.max()], *bounds)
        margin = (high / low) ** 0.02 if panel.log else 0.02 * (high - low)
        axis.set_ylim(*((low / margin, high * margin) if panel.log else (low - margin, high + margin)))
        if panel.log and high / low > CROWDED:
            _log_scale(axis, numbers=(1, 2, 5))


def _log_scale(axis: "Axes", numbers: Sequence[float] = (1, 1.5, 2, 3, 4, 5, 6, 7, 8)) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=numbers))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def _marks(axis: "Axes", drawn: dict[str, Curve]) -> None:
    """Marks at the top edge where a seed diverged (x), and where a mean leaves the axis (a triangle)."""
    top, right = axis.get_ylim()[1], axis.get_xlim()[1]
    for colour, line in drawn.items():
        style = {"color": colour, "linestyle": "none", "clip_on": False, "zorder": 5, "in_layout": False}
        axis.plot(line.diverged, [top] * len(line.diverged), marker="x", markersize=7, **style)
        above = line.x[(line.mean > top) & (line.x <= right)]
        axis.plot(above, [top] * len(above), marker="^", markersize=3.5, **style)
