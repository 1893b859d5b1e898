"""Fills in the paper's tables from results: Markdown, LaTeX, and a plot of dots with intervals.

Needs results only: no data, no JAX, no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smith import disk, replicates
from smith.figure import Row, Table
from smith.figures import plot
from smith.scales import Scale
from smith.store.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIGITS = {"mnist": 2}  # decimals of an accuracy in %, as the paper prints them; 1 where not named


@dataclass(frozen=True)
class Measured:
    """Final test accuracies of a row's run, in %: one for each seed that did not diverge, and how many did."""

    row: Row
    values: np.ndarray
    diverged: int

    @property
    def mean(self) -> float:
        """Over the seeds; not a number where there is none."""
        return float(self.values.mean()) if len(self.values) else np.nan

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds (n - 1); not a number where there are fewer than two."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else np.nan

    def ours(self) -> str:
        """Returns our entry: mean, standard deviation, seeds."""
        n, lost = len(self.values), f"{self.diverged} diverged"
        if not n:
            return lost if self.diverged else "no result"
        spread = f" ± {self._text(self.deviation)}" if n > 1 else ""
        seeds = f"{n} seed{'s' * (n > 1)}" + (f", {lost}" if self.diverged else "")
        return f"{self._text(self.mean)}{spread} ({seeds})"

    def published(self) -> str:
        """Returns the paper's entry."""
        return f"{self._text(self.row.mean)} ± {self._text(self.row.deviation)}"

    def difference(self) -> str:
        """Returns ours minus the paper's."""
        return self._text(self.mean - self.row.mean, "+") if len(self.values) else ""

    def _text(self, value: float, sign: str = "") -> str:
        return f"{value:{sign}z.{DIGITS.get(self.row.run.data, 1)}f}"


def measure(row: Row, found: Sequence[Result]) -> Measured:
    """Returns a row's final accuracies."""
    done = [float(r["test_accuracy"][-1]) * 100 for r in found if r.status == "done"]
    return Measured(row, np.array(done), sum(r.status == "diverged" for r in found))


def tabulate(table: Table, scale: Scale, source: Path, target: Path, *, recipe: str = "seeds") -> str:
    """Writes a table as Markdown, LaTeX, PNG and SVG. Returns a line that says what was written.

    Args:
      source: the scale's folder of results.
      target: the folder of figures; the paper scale's are right in it, others in a folder named for their scale.
      recipe: how the runs of a row differ (see `smith.replicates`).
    """
    rows = [measure(row, replicates.collect(recipe, source, scale, row.run)) for row in table.rows]
    have = sum(bool(len(m.values) or m.diverged) for m in rows)
    if not have:
        return f"{table.name}: no results at scale {scale.name}; {replicates.command(recipe, table.name, scale)}"
    folder = replicates.figures_folder(recipe, target, scale)
    disk.make_folder(folder)
    head = (*table.columns, "Ours, %", "Published, %", "Difference")
    body = [(*m.row.labels, m.ours(), m.published(), m.difference()) for m in rows]
    caption = f"{table.title}. Scale {scale.name}: {scale.what}."
    for kind, write in (("md", markdown), ("tex", latex)):
        with disk.whole(folder / f"{table.name}.{kind}") as part:
            part.write_text(write(caption, head, body, table.notes), encoding="utf-8")
    _plot(table, scale, rows, [folder / f"{table.name}.{kind}" for kind in ("png", "svg")])
    missing = f", {len(rows) - have} without a result" if have < len(rows) else ""
    return f"{table.name}: {folder / table.name}.md ({have} rows, scale {scale.name}{missing})"


def markdown(caption: str, head: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Returns a table in Markdown, numbers to the right."""
    rule = ["---" if column < len(head) - 3 else "---:" for column in range(len(head))]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, rule, *body)]
    return "\n".join([caption, "", *lines, *(f"\n{note}" for note in notes)]) + "\n"


def latex(caption: str, head: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Returns a table in LaTeX, for the package booktabs."""
    columns = "l" * (len(head) - 3) + "rrr"
    lines = [" & ".join(map(_escape, cells)) + r" \\" for cells in (head, *body)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_escape(caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par {_escape(note)}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def _escape(text: str) -> str:
    for character in "%&_#":
        text = text.replace(character, f"\\{character}")
    return text.replace("±", r"$\pm$")


def _plot(table: Table, scale: Scale, rows: Sequence[Measured], paths: Sequence[Path]) -> None:
    """Draws ours and the paper's mean with their standard deviations, a line for each row, a panel for each network."""
    groups: dict[str, list[Measured]] = {}
    for measured in rows:
        groups.setdefault(f"{measured.row.run.network}, {measured.row.run.data}", []).append(measured)

    def paint(axes: np.ndarray) -> None:
        for axis, (name, members) in zip(axes.flat, groups.items(), strict=True):
            _dots(axis, name, table.columns, members)
        axes[0, 0].legend(loc="best")

    heights = [len(members) + 2 for members in groups.values()]
    plot.save_sheet(
        paint,
        f"Table {table.name.removeprefix('table')}. {table.title}",
        f"{scale.name} scale: {scale.what}",
        paths,
        size=(8.2, 0.3 * sum(heights) + 1.0),
        nrows=len(groups),
        gridspec_kw={"height_ratios": heights},
    )


def _dots(axis: "Axes", name: str, columns: Sequence[str], members: Sequence[Measured]) -> None:
    places = np.arange(len(members))
    ours = [m.mean for m in members]
    axis.errorbar(
        [m.row.mean for m in members],
        places + 0.15,
        xerr=[m.row.deviation for m in members],
        fmt="s",
        color="0.55",
        markersize=4,
        label="published, mean ± std of 4 runs",
    )
    spread = np.nan_to_num([m.deviation for m in members])
    axis.errorbar(
        ours, places - 0.15, xerr=spread, fmt="o", color="C0", markersize=4, label="ours, mean ± std of seeds"
    )
    axis.set_yticks(places, [_name(m.row, columns) for m in members])
    axis.set_ylim(len(members) - 0.5, -0.5)
    axis.set_title(name)
    axis.set_xlabel("Final test accuracy (%)")


def _name(row: Row, columns: Sequence[str]) -> str:
    """Returns what tells a row from the others of its panel."""
    labels = [(c, label) for c, label in zip(columns, row.labels, strict=True) if c not in ("Data", "Network")]
    return ", ".join(f"{label} epochs" if c == "Epochs" else label for c, label in labels)
