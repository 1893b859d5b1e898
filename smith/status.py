"""What results there are, scale by scale, and which files are damaged."""

from collections.abc import Sequence
from pathlib import Path

import rich.table
from rich.console import Console

from smith import results, scales
from smith.figure import Figure
from smith.table import Table


def report(folder: Path, figures: Sequence[Figure | Table]) -> None:
    """Prints a table of the results in a folder (a folder for each scale), and a line for every damaged file."""
    console = Console(soft_wrap=True, highlight=False)
    table = rich.table.Table(box=None)
    for column in ("scale", "results", "diverged", "seeds", "figures complete with one seed"):
        table.add_column(column)
    damaged: list[str] = []
    for scale in scales.SCALES.values():
        found, wrong = _read_all(folder / scale.name)
        damaged += wrong
        if found or wrong:
            seeds = sorted({r.seed for r in found})
            complete = [f.name for f in figures if _complete(f, scale, found)]
            diverged = sum(r.status == "diverged" for r in found)
            table.add_row(scale.name, f"{len(found)}", f"{diverged}", f"{len(seeds)}", " ".join(complete) or "none")
    if not table.row_count:
        console.print(f"no results in {folder}; smith run all trains them")
        return
    console.print(table)
    for line in damaged:
        console.print(f"damaged: {line}")


def _read_all(folder: Path) -> tuple[list[results.Result], list[str]]:
    found, damaged = [], []
    for path in sorted(folder.glob("*.parquet")):
        try:
            found.append(results.read(path))
        except results.DamagedResult as error:
            damaged.append(str(error))
    return found, damaged + [f"{path}: set aside" for path in sorted(folder.glob("*.damaged-*"))]


def _complete(figure: Figure | Table, scale: scales.Scale, found: Sequence[results.Result]) -> bool:
    have = {r.run for r in found if r.seed == 0}
    return all(scale.apply(run) in have for run in figure.runs())
