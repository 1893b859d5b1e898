"""Places: where the paper shows a run, and what it shows there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smith.analysis import published as paper
from smith.analysis.published import Line
from smith.analysis.traces import Trace, published_trace
from smith.figure import Figure, Panel, Table
from smith.run import Run

Experiments = Sequence[Figure | Table]


@dataclass(frozen=True)
class Place:
    """A curve of a panel, or a row of a table.

    experiment: "fig09" or "table1"
    panel: the panel's letter; empty for a table
    name: the curve's name in the legend, or the row's labels, joined by commas
    """

    experiment: str
    panel: str
    name: str

    def __str__(self) -> str:
        return f"{self.experiment}{self.panel} {self.name}".strip()


def curve(panel: str, name: str = "") -> Place:
    """Returns the place of a curve: `curve("fig09a", "WD=1e-3")`."""
    return Place(panel[:-1], panel[-1], name)


def row(table: str, *labels: str) -> Place:
    """Returns the place of a table's row: `row("table1", "shallow3", "0.005", "0.90")`."""
    return Place(table, "", ", ".join(labels))


def run_at(experiments: Experiments, place: Place) -> Run:
    """Returns the run of the protocol that is shown at a place. Raises KeyError if there is no such place."""
    return _named(experiments, place.experiment).named()[place.panel, place.name]


def published(experiments: Experiments, place: Place) -> Trace | None:
    """Returns what the paper shows at a place: a curve in the quantities that the figure's panels show of the run.

    A row of a table has only its final test accuracy. None where the paper's curve is not there.
    """
    experiment, run = _named(experiments, place.experiment), run_at(experiments, place)
    if isinstance(experiment, Table):
        mean = next(row.mean for row in experiment.rows if row.run == run)
        return published_trace(
            run, "iteration", {"test_accuracy": (np.array([run.iterations]), np.array([mean / 100]))}
        )
    panel = next(panel for panel in experiment.panels if panel.label == place.panel)
    if not isinstance(panel, Panel) or not (columns := _published_columns(experiment, panel, run)):
        return None
    return published_trace(run, panel.x, columns)


def _named(experiments: Experiments, name: str) -> Figure | Table:
    return {experiment.name: experiment for experiment in experiments}[name]


def _published_columns(figure: Figure, place: Panel, run: Run) -> dict[str, Line]:
    """Returns what the panels of a figure with the horizontal axis of one of them show of a run."""
    panels = [panel for panel in figure.panels if isinstance(panel, Panel) and panel.x == place.x]
    found: dict[str, Line] = {}
    for panel in sorted(panels, key=lambda panel: panel is place):  # the place's own last: it counts
        theirs = paper.curves(panel)
        found |= {y: theirs[name] for name, y, shown in panel.series() if shown == run and name in theirs}
    return found
