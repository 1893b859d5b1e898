"""Places: where the paper shows a run, and what it shows there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smith.analysis import published as paper
from smith.figure import Figure, Panel, Table
from smith.run import Run
from smith.store.results import Result

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
    return _shown(_named(experiments, place.experiment))[place.panel, place.name]


def published(experiments: Experiments, place: Place) -> Result | None:
    """Returns what the paper shows at a place, as a result: the columns that the plots give, of one mean run.

    The columns are the horizontal axis and the quantities that the figure's panels with this axis show of the run; not
    a number where a plot does not cover a place, which is no divergence. A table's row has only its final test
    accuracy. None where the paper's curve is not there.
    """
    experiment, run = _named(experiments, place.experiment), run_at(experiments, place)
    if isinstance(experiment, Table):
        mean = next(row.mean for row in experiment.rows if row.run == run)
        return Result(run.to_json(), -1, "done", {"test_accuracy": np.array([mean / 100])})
    columns = _published_columns(experiment, place.panel, run)
    return Result(run.to_json(), -1, "done", columns) if columns else None


def _named(experiments: Experiments, name: str) -> Figure | Table:
    return {experiment.name: experiment for experiment in experiments}[name]


def _shown(experiment: Figure | Table) -> Mapping[tuple[str, str], Run]:
    """Returns an experiment's runs by panel and name."""
    if isinstance(experiment, Table):
        return {("", ", ".join(row.labels)): row.run for row in experiment.rows}
    panels = [panel for panel in experiment.panels if isinstance(panel, Panel)]
    return {(panel.label, name): run for panel in panels for name, run in panel.curves.items()}


def _published_columns(figure: Figure, label: str, run: Run) -> dict[str, np.ndarray]:
    """Returns what the panels with the same horizontal axis show of a run, at the places of its longest curve."""
    panels = [panel for panel in figure.panels if isinstance(panel, Panel) and panel.published]
    axis = next((panel.x for panel in panels if panel.label == label), None)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for panel in sorted(panels, key=lambda panel: panel.label == label):  # the place's own last: it counts
        if panel.x == axis and panel.published:
            theirs = paper.curves(panel.published)
            found |= {y: theirs[name] for name, y, shown in panel.series() if shown == run and name in theirs}
    if not found or axis is None:
        return {}
    x = max((x for x, _ in found.values()), key=len)
    return {axis: x, **{y: np.interp(x, *pair, left=np.nan, right=np.nan) for y, pair in found.items()}}
