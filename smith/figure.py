"""Figure and its panels: what an experiment draws, as data. `smith.figures.plot` draws them from results.

An experiment says here which runs its panels show and what the paper's axes are; nothing else knows about figures.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from smith.run import Run

XAxis = Literal["iteration", "learning_rate", "momentum"]
YAxis = Literal["test_loss", "test_accuracy", "train_loss", "loss_gap"]


# How a legend calls a quantity where a panel has several.
SHORT: dict[YAxis, str] = {
    "test_loss": "Loss",
    "test_accuracy": "Accuracy",
    "train_loss": "Training loss",
    "loss_gap": "Test loss - training loss",
}


@dataclass(frozen=True)
class Published:
    """Where the paper's own curves of a panel are: figures/paper/<panel>.csv, digitised from its plots.

    panel: the file's name, such as "fig09a"
    shift: added to x, in iterations; the author drew his first test, of iteration 200, at 0 in some plots
    factor: multiplies x; the axis of figure 14a prints a tenth of the true learning rate
    """

    panel: str
    shift: float = 0.0
    factor: float = 1.0


@dataclass(frozen=True)
class Panel:
    """One panel.

    label: the paper's letter
    title: what the panel shows
    curves: a run for every curve, under its name in the legend, which is the name of the published series too
    x: what the horizontal axis shows
    y: what the vertical axis shows; with two, each is a curve of its own, named "Loss; <name>" and "Accuracy; <name>"
    log: whether the vertical axis is logarithmic
    xlim, ylim: the paper's axis ranges, in the paper's iterations
    published: the paper's curves
    """

    label: str
    title: str
    curves: Mapping[str, Run]
    x: XAxis = "iteration"
    y: YAxis | tuple[YAxis, ...] = "test_loss"
    log: bool = False
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    published: Published | None = None

    @property
    def ys(self) -> tuple[YAxis, ...]:
        """The quantities on the vertical axis."""
        return self.y if isinstance(self.y, tuple) else (self.y,)

    def series(self) -> Iterator[tuple[str, YAxis, Run]]:
        """Yields (name in the legend, quantity, run) for every curve."""
        for name, run in self.curves.items():
            for y in self.ys:
                yield (name if len(self.ys) == 1 else f"{SHORT[y]}; {name}" if name else SHORT[y]), y, run

    def runs(self) -> list[Run]:
        """Returns the panel's runs."""
        return list(self.curves.values())


@dataclass(frozen=True)
class Finals:
    """A panel of what each run has come to at its end, over a number that tells the runs apart.

    label, title, y, log: as of a Panel
    points: a run for each place on the horizontal axis, which is logarithmic
    xlabel: what that number is
    """

    label: str
    title: str
    points: Mapping[float, Run]
    xlabel: str
    y: tuple[YAxis, ...] = ("test_loss",)
    log: bool = False

    def runs(self) -> list[Run]:
        """Returns the panel's runs."""
        return list(self.points.values())


@dataclass(frozen=True)
class Sketch:
    """A panel that is drawn from formulas, as a picture of an idea; it has no numbers on its axes.

    curves: a function of 0 to 1 for every line; the least value of the first is marked
    texts: words above the curves, by their place from 0 to 1
    """

    label: str
    title: str
    curves: Mapping[str, Callable[[float], float]]
    xlabel: str
    ylabel: str
    texts: Mapping[float, str] = field(default_factory=dict)

    def runs(self) -> list[Run]:
        """Returns the panel's runs: none."""
        return []


@dataclass(frozen=True)
class Assumption:
    """A setting that the paper does not give: `smith calibrate` tries these values beside the published curves.

    field: the field of Run, such as "batch_size", or one inside it, such as "lr.factor"
    values: what it may be, the experiment's own value among them
    panels: the letters of the panels in which every curve has it
    """

    field: str
    values: tuple[float, ...]
    panels: str


@dataclass(frozen=True)
class Figure:
    """One figure of the paper.

    name: "fig09"
    title: what the figure shows, in our words
    panels: the panels that there are
    notes: what a reader has to know beside it, such as a slip in the paper or an assumption
    assumptions: the settings that the paper does not give and that other values are to be tried of
    """

    name: str
    title: str
    panels: tuple[Panel | Finals | Sketch, ...]
    notes: tuple[str, ...] = field(default=())
    assumptions: tuple[Assumption, ...] = field(default=())

    @property
    def letters(self) -> str:
        """The letters of its panels."""
        return "".join(panel.label for panel in self.panels)

    def runs(self) -> list[Run]:
        """Returns the figure's runs, each once, parents of snapshots before their children."""
        found: dict[Run, None] = {}
        for panel in self.panels:
            for run in panel.runs():
                if run.start:
                    found.setdefault(run.start.run)
                found.setdefault(run)
        return list(found)


@dataclass(frozen=True)
class Row:
    """One row: a run, and the final test accuracy that the paper gives for it.

    labels: what the run is, an entry for each of the table's columns
    mean, deviation: the paper's mean and standard deviation over 4 runs, in %
    """

    labels: tuple[str, ...]
    run: Run
    mean: float
    deviation: float


@dataclass(frozen=True)
class Table:
    """One table of the paper.

    name: "table1"
    title: what the table shows, in our words
    columns: the names of the rows' labels
    notes: what a reader has to know beside it, such as a slip in the paper or an assumption
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def letters(self) -> str:
        """The letters of its panels: none."""
        return ""

    def runs(self) -> list[Run]:
        """Returns the table's runs, each once."""
        return list(dict.fromkeys(row.run for row in self.rows))
