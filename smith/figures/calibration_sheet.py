"""What calibration writes: a table of scores with the choice, and the alternatives beside the published curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smith import disk
from smith.analysis.calibration import SAYS, Curve, Score, choice, curves, ours, present, score, told_apart
from smith.analysis.evidence import Evidence
from smith.figure import Assumption, Figure
from smith.figures import plot, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT = "short"  # the scale whose sheets are right in the folder; others have a folder of their own
HEAD = ("Value", "Seeds", "Missing", "Diverged", "Published points", "Mean score", "Range over seeds")
NONE = "-"
WIDEST = 4  # panels beside one another


def write(figure: Figure, evidence: Evidence, target: Path, seeds: int, names: Sequence[str] = ()) -> str:
    """Writes calibration/<figure>.md and .png. Returns a line for each assumption, and one that says what was written.

    Args:
      target: the folder of figures.
      seeds: how many were asked for.
      names: curves to score; all if none are given.
    """
    folder = target / "calibration"
    folder = folder if evidence.scale.name == DEFAULT else folder / evidence.scale.name
    disk.make_folder(folder)
    text, lines = markdown(figure, evidence, seeds, names)
    with disk.whole(folder / f"{figure.name}.md") as part:
        part.write_text(text, encoding="utf-8")
    _draw(figure, evidence, names, folder / f"{figure.name}.png")
    return "\n".join([*lines, f"{figure.name}: {folder / figure.name}.md and .png (scale {evidence.scale.name})"])


def markdown(figure: Figure, evidence: Evidence, seeds: int, names: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the whole text, and a line for each assumption that says the choice."""
    scale = evidence.scale
    parts = [
        f"# {figure.name}: assumed settings beside the published curves",
        f"Scale {scale.name}: {scale.what}; {seeds} seed{'s' * (seeds > 1)} asked for. A score is the mean over curves "
        "of the root mean square difference of natural logarithms, of a loss or of one minus the accuracy, at the "
        "published points: 0.1 is about a tenth. Smaller is nearer. A value is chosen where its range over seeds lies "
        "below all others.",
        *([f"Only these curves: {', '.join(names)}."] if names else []),
    ]
    lines = []
    for assumption in figure.assumptions:
        section, line = _section(figure, assumption, evidence, seeds, names)
        parts += section
        lines.append(f"{figure.name} {assumption.field}: {line}")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n", lines


def _section(
    figure: Figure, assumption: Assumption, evidence: Evidence, seeds: int, names: Sequence[str]
) -> tuple[list[str], str]:
    title = f"## {assumption.field}, panel{'s' * (len(assumption.panels) > 1)} {', '.join(assumption.panels)}"
    if not told_apart(figure, assumption, evidence.scale):
        line = f"not decided: scale {evidence.scale.name} trains the same run for every value"
        return [title, f"The experiment has {present(figure, assumption):g}. Choice: {line}."], line
    scores = [score(figure, assumption, value, evidence, seeds, names) for value in assumption.values]
    ways = dict.fromkeys(part.how for part in curves(figure, assumption, assumption.values[0], evidence.scale, names))
    value, why = choice(scores)
    line = f"not decided: {why}" if value is None else f"{value:g} ({why})"
    if value is not None and ways.keys() & {"rates", "scaled"}:
        line += ", in part or whole by another experiment than the paper's"
    how = "Compared at " + "; and at ".join(SAYS[way] for way in ways) + "."
    table = tables.markdown(how, HEAD, [_row(found) for found in scores])
    return [title, table, f"The experiment has {present(figure, assumption):g}. Choice: {line}."], line


def _row(found: Score) -> tuple[str, ...]:
    low, high = found.range
    return (
        f"{found.value:g}",
        f"{len(found.by_seed)}",
        f"{found.missing}",
        f"{found.diverged}",
        f"{found.points}",
        f"{found.mean:.3f}" if found.by_seed else NONE,
        f"{low:.3f} to {high:.3f}" if found.by_seed else NONE,
    )


def _draw(figure: Figure, evidence: Evidence, names: Sequence[str], path: Path) -> None:
    """Draws an axes for each curve and assumption: the alternatives over the published curve, where they are scored."""
    apart = [assumption for assumption in figure.assumptions if told_apart(figure, assumption, evidence.scale)]
    cells = [
        (assumption, parts) for assumption in apart for parts in _alternatives(figure, assumption, evidence, names)
    ]
    if not cells:
        return

    def paint(axes: np.ndarray) -> None:
        for axis, (assumption, parts) in zip(axes.flat, cells, strict=False):
            _cell(axis, assumption, parts, evidence)
        for axis in axes.flat[len(cells) :]:
            axis.set_axis_off()

    columns = min(WIDEST, len(cells))
    rows = -(-len(cells) // columns)
    what = f"{evidence.scale.name} scale: {evidence.scale.what}. Compared where the published curve (dashed) is drawn"
    title = f"{figure.name}: assumed settings beside the published curves"
    size = (3.4 * columns if columns > 1 else 5.0, 3.1 * rows + 0.7)
    plot.save_sheet(paint, title, what, [path], size=size, nrows=rows, ncols=columns)


def _alternatives(
    figure: Figure, assumption: Assumption, evidence: Evidence, names: Sequence[str]
) -> list[tuple[Curve, ...]]:
    """Returns for each curve what it is with every value, in their order."""
    return list(zip(*(curves(figure, assumption, v, evidence.scale, names) for v in assumption.values), strict=True))


def _cell(axis: "Axes", assumption: Assumption, parts: Sequence[Curve], evidence: Evidence) -> None:
    from matplotlib.ticker import LogLocator

    first = parts[0]
    x, y = first.theirs
    right = x.max() if len(x) else np.inf
    error = first.quantity == "test_accuracy"
    axis.plot(x, 1 - y if error else y, "--", color="0.2", linewidth=1.0, label="published")
    for number, (value, part) in enumerate(zip(assumption.values, parts, strict=True)):
        found = evidence.results(part.run)
        axis.plot([], [], color=f"C{number}", label=f"{value:g}" + f" ({len(found)} seeds)" * (len(found) != 1))
        for result in found:
            places, values = ours(part, result)
            there = np.isfinite(places) & (places <= right)
            axis.plot(places[there], values[there], color=f"C{number}", alpha=0.9, linewidth=1.0)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=range(1, 10)))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(lambda value, _: "")
    axis.set_title(f"{first.name}: {assumption.field}")
    axis.set_xlabel(plot.LABELS[first.x])
    axis.set_ylabel("Test error (fraction)" if error else plot.LABELS[first.quantity])
    axis.legend(loc="best")
