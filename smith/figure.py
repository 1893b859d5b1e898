"""Figures and tables as data: which runs they show, and what the paper's axes are. Nothing here draws or trains.

    RUNS = sweep(BASE, "WD={}", weight_decay=(1e-3, 3.2e-3))
    FIGURE = Figure("fig09", "Weight decay at a constant learning rate", panels=(Panel("a", RUNS, ylim=(0.5, 1.45)),))

What follows from the runs or from the figure's name is filled in: the titles of panels, the ranges of their horizontal
axes, which vertical axes are logarithmic, where the published curves are, and the note that says what is assumed.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from smith.errors import UserError, check_name
from smith.legends import check_curves, settings, written
from smith.metrics import AXES, quantity
from smith.run import Run
from smith.schedules import Constant, RangeTest

Range = tuple[float, float]
PAPER = Path(__file__).resolve().parent / "analysis" / "paper"  # the published curves, digitised: a file for each panel


@dataclass(frozen=True)
class Panel:
    """A panel of curves.

    label: the paper's letter
    curves: a run for every curve, under its name in the legend, which is the name of the published series too
    x: the horizontal axis: a column of the results, such as "iteration", "learning_rate" or "momentum"
    y: the vertical axis: a metric, "train_loss", "test_error" or "loss_gap"; with several, each is a curve of its own,
      named "Loss; <name>" and "Accuracy; <name>"
    ylim, xlim: the paper's ranges, in the paper's iterations; xlim is where the runs are, if not given
    title: what the panel shows; the settings that its runs share, if not given
    log: whether the vertical axis is logarithmic; if not given, where a loss is shown
    x_factor, x_shift: what the paper's printed x has to be multiplied by, and what has to be added then, in iterations
    published: where the paper's curves are, "fig09a" for PAPER/fig09a.csv; if not given, where the figure's name and
      the panel's letter say, if there are any

    Raises UserError: an unknown quantity.
    """

    label: str
    curves: Mapping[str, Run]
    x: str = "iteration"
    y: str | tuple[str, ...] = "test_loss"
    ylim: Range | None = None
    xlim: Range | None = None
    title: str = ""
    log: bool | None = None
    x_factor: float = 1.0
    x_shift: float = 0.0
    published: str = ""

    def __post_init__(self) -> None:
        if self.x not in AXES:
            quantity(self.x)  # raises UserError
        check_curves(self.label, self.curves, (*self.ys, self.x))
        _fill(self, title=settings(self.runs()), log=_loss(self.ys), xlim=_extent(self.x, self.runs()))
        for name, logarithmic in (("ylim", self.log), ("xlim", self.by_factors)):
            limits = getattr(self, name)
            if limits and not (len(limits) == 2 and -math.inf < limits[0] <= limits[1] < math.inf):
                raise UserError(f"panel {self.label}: {name} {limits}: give two numbers, the smaller first")
            if logarithmic and limits and limits[0] <= 0:
                raise UserError(f"panel {self.label}: {name} begins at {limits[0]:g}; a logarithmic axis is above 0")

    @property
    def ys(self) -> tuple[str, ...]:
        """The quantities on the vertical axis."""
        return tuple(self.y) if isinstance(self.y, tuple | list) else (self.y,)

    @property
    def by_factors(self) -> bool:
        """Whether the horizontal axis is logarithmic: of range tests that grow by factors."""
        return self.x == "learning_rate" and all(getattr(run.lr, "exponential", False) for run in self.runs())

    def series(self) -> Iterator[tuple[str, str, Run]]:
        """Yields (name in the legend, quantity, run) for every curve."""
        for name, run in self.curves.items():
            for y in self.ys:
                both = "; ".join(filter(None, (quantity(y).short, name)))
                yield (name if len(self.ys) == 1 else both), y, run

    def runs(self) -> list[Run]:
        """Returns the panel's runs."""
        return list(self.curves.values())


@dataclass(frozen=True)
class Finals:
    """A panel of what runs have come to at their ends, over a number that tells them apart.

    label, title, log: as of a Panel
    points: name in the legend -> place on the horizontal axis, which is logarithmic -> a run; or a grid of runs, by
      what tells them apart, of which the first third of the seeds chooses one, and the others are shown (see
      `smith.analysis.tuning`)
    xlabel: what that number is
    y: the quantities on the vertical axis
    """

    label: str
    points: Mapping[str, Mapping[float, "Run | Mapping[str, Run]"]]
    xlabel: str
    y: tuple[str, ...] = ("test_accuracy",)
    title: str = ""
    log: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "y", (self.y,) if isinstance(self.y, str) else tuple(self.y))
        for place in (place for places in self.points.values() for place in places):
            if not (isinstance(place, Real) and 0 < place < math.inf):
                raise UserError(f"panel {self.label}: place {place!r}: give a number above 0, for a logarithmic axis")
        check_curves(self.label, self.curves, self.y)
        _fill(self, title=f"{settings(self.runs())}; at the end of training", log=_loss(self.y))

    @property
    def grids(self) -> dict[str, dict[float, Mapping[str, Run]]]:
        """The points, each with a grid; one run is a grid of one."""
        return {
            name: {place: {"": one} if isinstance(one, Run) else one for place, one in places.items()}
            for name, places in self.points.items()
        }

    @property
    def curves(self) -> Mapping[str, Run]:
        """The runs under names such as "cosine, 18, LR=0.6"."""
        return {
            ", ".join(filter(None, (way, f"{place:g}", name))): run
            for way, places in self.grids.items()
            for place, grid in places.items()
            for name, run in grid.items()
        }

    def runs(self) -> list[Run]:
        """Returns the panel's runs."""
        return list(self.curves.values())


@dataclass(frozen=True)
class Sketch:
    """A panel that is drawn from formulas, as a picture of an idea; it has no numbers on its axes.

    curves: a function of 0 to 1 for every line; the least value of the first is marked
    texts: words above the curves, by their place from 0 to 1
    """

    label: str
    curves: Mapping[str, Callable[[float], float]]
    xlabel: str
    ylabel: str
    title: str = ""
    texts: Mapping[float, str] = field(default_factory=dict)

    def runs(self) -> list[Run]:
        """Returns no runs."""
        return []


def _fill(panel: Panel | Finals, **derived: Any) -> None:
    """Gives fields that were left out their values."""
    for name, value in derived.items():
        if getattr(panel, name) in (None, ""):
            object.__setattr__(panel, name, value)


def _loss(names: tuple[str, ...]) -> bool:
    return any([quantity(name).logarithm for name in names])


def _extent(x: str, runs: list[Run]) -> Range | None:
    """Returns the range of the horizontal axis that the runs cover, or None where their descriptions do not say it."""
    if x == "iteration":
        return 0, max((run.iterations for run in runs), default=0)
    schedules = [getattr(run, "lr" if x == "learning_rate" else x, None) for run in runs]
    tests = [schedule for schedule in schedules if isinstance(schedule, RangeTest)]
    return (min(test.start for test in tests), max(test.stop for test in tests)) if tests else None


@dataclass(frozen=True)
class Assumption:
    """A setting that the paper does not give: `smith calibrate` tries these values beside the published curves.

    field: the field of Run, such as "batch_size", or one inside it, such as "lr.factor"
    values: what it may be
    own: the experiment's own value, which is among them
    panels: the letters of the panels in which every curve that has the field has the experiment's own value
    """

    field: str
    values: tuple[float, ...]
    own: float = math.nan
    panels: str = ""

    def of(self, run: Run) -> float | None:
        """Returns the value that a run has; None if it has no such field."""
        try:
            value = operator.attrgetter(self.field)(run)
        except AttributeError:
            return None
        return value.value if isinstance(value, Constant) else value

    @property
    def words(self) -> str:
        """The name of the field for people: "batch size"."""
        return self.field.replace("lr.", "LR ").replace(".", " ").replace("_", " ")


@dataclass(frozen=True)
class Figure:
    """One figure.

    name: "fig09", which is the name of its files too
    title: what the figure shows, in our words
    panels: the panels that there are
    notes: what a reader has to know beside it, such as a slip in the paper; a note of what is assumed is added
    assumed: settings that the paper does not give: field -> values that it may have, the experiment's own among them
    first_test_drawn_at_0: whether the paper draws the first test, which is after `test_every`, at iteration 0

    Raises:
      UserError: a name that can not be that of a file, a panel without a letter of its own, or an assumed setting that
        no panel has.
    """

    name: str
    title: str
    panels: tuple[Panel | Finals | Sketch, ...]
    notes: tuple[str, ...] = ()
    assumed: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    first_test_drawn_at_0: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        panels = self.panels
        if not (isinstance(panels, tuple | list) and all(isinstance(p, Panel | Finals | Sketch) for p in panels)):
            raise UserError(f"{self.name}: panels are a tuple of Panel, Finals or Sketch, as in (Panel('a', RUNS),)")
        if not self.runs():
            raise UserError(f"{self.name}: its panels have no runs: give one a curve")
        if len(set(self.letters)) < len(self.panels):
            raise UserError(f"{self.name}: the panels are named {self.letters}: give each a letter of its own")
        object.__setattr__(self, "panels", tuple(self._with_published(panel) for panel in self.panels))
        note = self._assumed_note()
        if note and note not in self.notes:
            object.__setattr__(self, "notes", (*self.notes, note))

    def _with_published(self, panel: Any) -> Any:
        name = f"{self.name}{panel.label}"
        if not isinstance(panel, Panel) or panel.published or not (PAPER / f"{name}.csv").exists():
            return panel
        shifted = self.first_test_drawn_at_0 and panel.x == "iteration"
        shift = next(run.count(run.test_every) for run in panel.runs()) if shifted else panel.x_shift
        return replace(panel, published=name, x_shift=shift)

    @property
    def letters(self) -> str:
        """The letters of its panels."""
        return "".join(panel.label for panel in self.panels)

    @property
    def assumptions(self) -> tuple[Assumption, ...]:
        """The assumed settings, each with the panels that it concerns."""
        return tuple(self._assumption(name, tuple(values)) for name, values in self.assumed.items())

    def _assumption(self, name: str, values: tuple[float, ...]) -> Assumption:
        anywhere = Assumption(name, values)
        panels = [panel for panel in self.panels if isinstance(panel, Panel)]
        found = {panel.label: {anywhere.of(run) for run in panel.runs()} - {None} for panel in panels}
        own = next((value for of in found.values() for value in values if value in of), None)
        if own is None:
            if there := sorted({str(value) for of in found.values() for value in of}):
                either = " or ".join(there)
                raise UserError(f"{self.name}: {name} is {either}, which is not among the assumed values {values}")
            raise UserError(f"{self.name}: {name} is assumed, and no run has it")
        if not (letters := "".join(letter for letter, of in found.items() if of == {own})):
            raise UserError(f"{self.name}: {name} is assumed, and no panel has it the same in all its curves")
        return replace(anywhere, own=own, panels=letters)

    def _assumed_note(self) -> str:
        """Returns a line such as "Assumed: batch size 512." """
        parts = []
        for one in self.assumptions:
            where = "" if len(one.panels) == len(self.panels) else f" in {', '.join(one.panels)}"
            parts.append(f"{one.words} {written(one.own)}{where}")
        return f"Assumed: {', '.join(parts)}." if parts else ""

    def named(self) -> dict[tuple[str, str], Run]:
        """Returns the runs that it shows, by panel and name."""
        panels = [panel for panel in self.panels if not isinstance(panel, Sketch)]
        return {(panel.label, name): run for panel in panels for name, run in panel.curves.items()}

    def runs(self) -> list[Run]:
        """Returns the figure's runs, each once, parents of snapshots before their children."""
        runs = [run for panel in self.panels for run in panel.runs()]
        return list(dict.fromkeys(one for run in runs for one in (run.start and run.start.run, run) if one))


@dataclass(frozen=True)
class Row:
    """A run, a label for each column, and the paper's final test accuracy: mean and deviation of 4 runs, in %."""

    labels: tuple[str, ...]
    run: Run
    mean: float
    deviation: float

    @property
    def name(self) -> str:
        """The labels, joined by commas."""
        return ", ".join(self.labels)


@dataclass(frozen=True)
class Table:
    """One table.

    name: "table1", which is the name of its files too
    title: what the table shows, in our words
    columns: the names of the rows' labels
    notes: what a reader has to know beside it, such as a slip in the paper or an assumption

    Raises UserError: a name that can not be that of a file.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    letters: ClassVar[str] = ""  # of its panels

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.rows or not all(isinstance(row, Row) and isinstance(row.run, Run) for row in self.rows):
            raise UserError(f"{self.name}: rows are a tuple of Row, each with a Run: give at least one")
        for row in self.rows:
            labels = isinstance(row.labels, tuple) and all(isinstance(label, str) for label in row.labels)
            if not labels or len(row.labels) != len(self.columns):
                raise UserError(f"{self.name}: labels {row.labels!r}: give a text for each of {self.columns}")
            if not all(isinstance(value, Real) and math.isfinite(value) for value in (row.mean, row.deviation)):
                raise UserError(f"{self.name}, {row.name}: give the published mean and deviation in %, as numbers")
        if len(self.named()) < len(self.rows):
            raise UserError(f"{self.name}: two rows have the same labels")

    def named(self) -> dict[tuple[str, str], Run]:
        """Returns the runs of its rows, by an empty panel and the row's name."""
        return {("", row.name): row.run for row in self.rows}

    def runs(self) -> list[Run]:
        """Returns the table's runs, each once."""
        return list(dict.fromkeys(row.run for row in self.rows))


def _check_name(name: str) -> None:
    check_name("experiment", name)
    if name in ("all", "paper", "beyond") or len(name) > 100:
        raise UserError(f"experiment {name!r}: it names several, or has over 100 letters: give another name")
