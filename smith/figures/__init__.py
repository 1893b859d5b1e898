"""Figures, tables, reports: what is made of results for people to look at. Nothing here trains or needs data or JAX.

views.py    View: all that is to be drawn of a panel, as data
panels.py   figure or table, with a store's results -> views: series, ranges, labels
points.py   the ends of runs and the rows of tables, for panels.py
plot.py     views -> PNG and SVG
tables.py   a table as Markdown and LaTeX
text.py     how near our curves come to the published ones; what calibration has found
report/     the web pages, whose charts draw the same views
"""

from pathlib import Path

from smith import disk
from smith.figure import Figure, Table
from smith.figures import plot, points, tables
from smith.figures.panels import heading, views
from smith.store import Store


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
    runs, scale, folder = experiment.runs(), store.scale, store.figures_folder(target)
    found = [store.results(run) for run in runs]
    have = sum(map(bool, found))
    if not have:
        return f"{experiment.name}: no results at scale {scale.name}; {store.command(experiment.name)}"
    disk.make_folder(folder)
    each = sorted({len(results) for results in found if results})
    name, seeds = experiment.name + "-ours" * (not published), points.counted(each, store)
    title = f"{heading(experiment.name)}. {experiment.title}"
    what = f"{scale.name} scale{store.by}, {seeds}: {scale.describe(runs)}"
    paths = [folder / f"{name}.{kind}" for kind in plot.KINDS]
    plot.save(views(experiment, store, published), title, what, paths, of=store.digest(runs))
    missing = f", {len(found) - have} without a result" if have < len(found) else ""
    if isinstance(experiment, Table):
        tables.write(experiment, store, folder)
        return f"{experiment.name}: {folder / experiment.name}.md ({have} rows, scale {scale.name}{store.by}{missing})"
    counts = f"{have} run{'s' * (have > 1)}, {seeds}"
    return f"{experiment.name}: {folder / name}.png ({counts}, scale {scale.name}{store.by}{missing})"
