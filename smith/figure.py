"""Figure and Panel: what an experiment draws, as data. `smith.drawing` draws them from results.

An experiment says here which runs its panels show and what the paper's axes are; nothing else knows about figures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from smith.run import Run

XAxis = Literal["iteration", "learning_rate", "momentum"]
YAxis = Literal["test_loss", "test_accuracy", "train_loss"]


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
        short = {"test_loss": "Loss", "test_accuracy": "Accuracy", "train_loss": "Training loss"}
        for name, run in self.curves.items():
            for y in self.ys:
                yield (name if len(self.ys) == 1 else f"{short[y]}; {name}" if name else short[y]), y, run


@dataclass(frozen=True)
class Figure:
    """One figure of the paper.

    name: "fig09"
    title: what the figure shows, in our words
    panels: the panels that there are
    notes: what a reader has to know beside it, such as a slip in the paper or an assumption
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = field(default=())

    def runs(self) -> list[Run]:
        """Returns the figure's runs, each once, parents of snapshots before their children."""
        found: dict[Run, None] = {}
        for panel in self.panels:
            for run in panel.curves.values():
                if run.start:
                    found.setdefault(run.start.run)
                found.setdefault(run)
        return list(found)

    def main(self) -> None:
        """Runs and draws this figure alone, with the options of `smith run`: `python -m experiments.<file>`."""
        import sys

        from smith import cli

        cli.main(["run", self.name, *sys.argv[1:]])
