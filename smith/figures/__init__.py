"""Figures, tables, reports: what is made of results for people to look at. Nothing here trains or needs data or JAX.

views.py    View: all that is to be drawn of a panel, as data
panels.py   figure or table, with a store's results -> views: series, ranges, labels
points.py   the ends of runs and the rows of tables, for panels.py
plot.py     views -> PNG and SVG
tables.py   a table as Markdown and LaTeX
text.py     how near our curves come to the published ones; what calibration has found
report/     the web pages, whose charts draw the same views
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from smith import disk
from smith.figure import Figure, Table
from smith.figures import plot, tables
from smith.figures.panels import heading, views
from smith.store import Result, Store


def draw(experiment: Figure | Table, store: Store, target: Path, published: bool = True) -> str:
    """Draws a figure, or writes and draws a table. Returns a line that says what was written.

    Args:
      store: the results of a scale.
      target: the folder of figures; the paper scale's are right in it, others in a folder named for their scale.
      published: whether the paper's curves are drawn too; without them the pictures' names end in "-ours". The texts of
        a table always have the paper's values.

    Raises:
      UserError: the store's scale can not hold a run.
      OSError: nothing can be written there.
    """
    if isinstance(experiment, Table):
        shown = [row.run for row in experiment.rows]
    else:
        shown = dict.fromkeys(run for panel in experiment.panels for run in panel.runs())
    found = [store.results(run) for run in shown]
    have, scale, folder = sum(map(bool, found)), store.scale.name, store.figures_folder(target)
    if not have:
        return f"{experiment.name}: no results at scale {scale}; {store.command(experiment.name)}"
    disk.make_folder(folder)
    name = experiment.name + "-ours" * (not published)
    paths = [folder / f"{name}.{kind}" for kind in plot.KINDS]
    digest = store.digest(experiment.runs())
    plot.save(views(experiment, store, published), *_face(experiment, store), paths, of=digest)
    missing = f", {len(found) - have} without a result" if have < len(found) else ""
    if isinstance(experiment, Table):
        tables.write(experiment, store, folder)
        return f"{experiment.name}: {folder / experiment.name}.md ({have} rows, scale {scale}{missing})"
    runs = f"{have} run{'s' * (have > 1)}, {_seeds_of(found)}"
    return f"{experiment.name}: {folder / name}.png ({runs}, scale {scale}{missing})"


def _face(experiment: Figure | Table, store: Store) -> tuple[str, str]:
    """Returns what a sheet says above its panels: the title, and scale and seeds."""
    seeds = _seeds_of(store.results(run) for run in experiment.runs())
    what = f"{store.scale.name} scale, {seeds}: {store.scale.describe(experiment.runs())}"
    return f"{heading(experiment.name)}. {experiment.title}", what


def _seeds_of(found: Iterable[Sequence[Result]]) -> str:
    """Returns how many seeds runs have, in words: "1 to 4 seeds"."""
    counts = sorted({len(results) for results in found if results}) or [0]
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} seed{'s' * (counts[-1] != 1)}"
