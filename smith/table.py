"""Table and Row: what a table of the paper says, as data. `smith.tabulating` fills one in from results."""

from dataclasses import dataclass, field

from smith.figure import run_alone
from smith.run import Run


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

    def main(self) -> None:
        """Runs and fills in this table alone, with the options of `smith run`: `python -m experiments.<file>`."""
        run_alone(self.name)
