"""Views: all that is to be drawn of a panel, as data. Every renderer draws a `View` and decides nothing itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from smith.metrics import quantity
from smith.run import Run

Line = tuple[np.ndarray, np.ndarray]  # x and y, both (points,)
Range = tuple[float, float]
NOTHING: Line = (np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Axis:
    """One axis.

    label: what it shows, with its unit
    log: whether it is logarithmic
    range: from where to where; None for all points
    ticks: where its ticks stand and what they say; None leaves them to the renderer
    papers: label of the paper's own axis, and what ours is multiplied by to give it; None if they are the same
    """

    label: str
    log: bool = False
    range: Range | None = None
    ticks: Mapping[float, str] | None = None
    papers: tuple[str, float] | None = None


@dataclass(frozen=True)
class Series:
    """One curve, or one row of points.

    name: in the legend
    colour: the index of its colour
    unit: of y, in words
    mean: over seeds, up to the first that diverged
    seeds: each seed's own line
    diverged: where each seed that diverged did so
    spread: of points, the standard deviation over seeds, (points,); None if it is not shown
    published: the paper's, on our horizontal axis
    published_spread: the standard deviation of the paper's four runs, (points,)
    missing: whether it needs results and has none
    """

    name: str
    colour: int
    unit: str = ""
    mean: Line = NOTHING
    seeds: Mapping[int, Line] = field(default_factory=dict)
    diverged: Mapping[int, float] = field(default_factory=dict)
    spread: np.ndarray | None = None
    published: Line | None = None
    published_spread: np.ndarray | None = None
    missing: bool = False

    @property
    def legend(self) -> str:
        """The name, with what a reader has to know of the curve."""
        if self.missing:
            return f"{self.name} (no result)".lstrip()
        return f"{self.name} ({len(self.diverged)}/{len(self.seeds)} diverged)" if self.diverged else self.name


@dataclass(frozen=True)
class View:
    """All that is to be drawn of a panel.

    label, title: the panel's letter, and what it shows
    x, y: the axes
    series: the curves
    published: what a legend calls the paper's curves; empty if there are none
    notes: further lines of the legend
    points: whether the series are points, one for each run, instead of curves over a run
    across: whether y is the horizontal axis, as for the rows of a table
    texts: words above the curves, by their x
    mark: (x, words) of a vertical line
    runs: the runs of the protocol that it shows, by the names that a reader finds in it
    one: what one of the runs of a curve is called
    companion: whether it has the paper's curves alone, to be drawn smaller with the view before it
    """

    label: str
    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    published: str = ""
    notes: Sequence[str] = ()
    points: bool = False
    across: bool = False
    texts: Mapping[float, str] = field(default_factory=dict)
    mark: tuple[float, str] | None = None
    runs: Mapping[str, Run] = field(default_factory=dict)
    companion: bool = False
    one: str = "seed"

    @property
    def heading(self) -> str:
        """The letter and the title."""
        return f"{self.label}  {self.title}".strip()

    @property
    def many(self) -> bool:
        """Whether a series has several seeds."""
        return any(len(series.seeds) > 1 for series in self.series)

    @property
    def top(self) -> float:
        """The highest y that the axis shows."""
        return self.y.range[1] if self.y.range else max([0.0, *(float(s.mean[1].max(initial=0)) for s in self.series)])

    def above(self, series: Series) -> np.ndarray:
        """Returns x of the means that lie above the axis."""
        x, y = series.mean
        return x[(y > self.top) & (x <= (self.x.range[1] if self.x.range else np.inf))]


def runs_of(shown: Sequence[View]) -> dict[str, Run]:
    """Returns the runs of views under the names that a reader finds in them; each run once."""
    names: dict[Run, list[str]] = {}
    for view in shown:
        for name, run in view.runs.items():
            names.setdefault(run, []).append(": ".join(filter(None, (view.label, name))))
    return {"; ".join(said): run for run, said in names.items()}


def unit_of(name: str) -> str:
    """Returns the unit of a quantity."""
    return quantity(name).unit.partition(";")[0]


def label_of(names: Sequence[str]) -> str:
    """Returns a label for quantities: "Loss, training loss (nats) / accuracy (fraction)"."""
    if len(names) == 1:
        return quantity(names[0]).label
    by_unit: dict[str, list[str]] = {}
    for name in names:
        unit = quantity(name).label.partition(" (")[2]
        by_unit.setdefault(f" ({unit}" if unit else "", []).append(quantity(name).short)
    text = " / ".join(", ".join(short) + unit for unit, short in by_unit.items()).lower()
    return text[:1].upper() + text[1:]
