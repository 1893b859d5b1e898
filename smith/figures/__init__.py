"""Figures, tables, reports: what is made of results for people to look at. Nothing here trains or needs data or JAX.

views.py    View: all that is to be drawn of a panel, as data
panels.py   figure or table, with a store's results -> views: series, ranges, labels
points.py   the ends of runs and the rows of tables, for panels.py
plot.py     views -> PNG and SVG
tables.py   a table as Markdown and LaTeX, and its picture
text.py     how near our curves come to the published ones; what calibration has found
report/     the web pages, whose charts draw the same views
"""

from pathlib import Path

from smith.figure import Figure, Table
from smith.store import Store


def draw(experiment: Figure | Table, store: Store, target: Path, published: bool = True) -> str:
    """Draws a figure, or writes and draws a table. Returns a line that says what was written.

    Args:
      store: the results of a scale.
      target: the folder of figures; the paper scale's are right in it, others in a folder named for their scale.
      published: whether the paper's curves are drawn too.

    Raises:
      UserError: the store's scale can not hold a run.
      OSError: nothing can be written there.
    """
    from smith.figures import plot, tables

    if isinstance(experiment, Table):
        return tables.draw(experiment, store, target, published)
    return plot.draw(experiment, store, target, published)
