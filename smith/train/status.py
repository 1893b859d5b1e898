"""What results there are, scale by scale, what is under way, and which files are damaged."""

from collections.abc import Sequence
from pathlib import Path

import rich.table
from rich.console import Console

from smith import disk, scales
from smith.figure import Figure, Table
from smith.store import results
from smith.train import checkpoints


def report(folder: Path, figures: Sequence[Figure | Table]) -> None:
    """Prints a table of the results in a folder (a folder for each scale), and lines for what is begun or damaged."""
    console = Console(soft_wrap=True, highlight=False)
    table = rich.table.Table(box=None)
    for column in ("scale", "results", "diverged", "seeds", "figures complete with one seed"):
        table.add_column(column)
    begun: list[str] = []
    damaged: list[str] = []
    for scale in scales.SCALES.values():
        found, wrong = results.check(folder / scale.name)
        under_way, spoilt = _checkpoints(folder / scale.name)
        begun += under_way
        damaged += wrong + spoilt
        if found or wrong:
            seeds = sorted({r.seed for r in found})
            complete = [f.name for f in figures if _complete(f, scale, found)]
            diverged = sum(r.status == "diverged" for r in found)
            table.add_row(scale.name, f"{len(found)}", f"{diverged}", f"{len(seeds)}", " ".join(complete) or "none")
    if table.row_count:
        console.print(table)
    elif not begun and not damaged:
        console.print(f"no results in {folder}; smith run all trains them")
    for line in begun:
        console.print(f"begun: {line}")
    for line in damaged:
        console.print(f"damaged: {line}")


def verify(folder: Path) -> tuple[int, list[str]]:
    """Reads all results and checkpoints in a folder (a folder for each scale).

    Returns:
      How many results and runs under way are as they were written, under the name that their run has, and a line for
      each file or folder that is not.
    """
    good, wrong = 0, []
    for scale in scales.SCALES:
        found, damaged = results.check(folder / scale)
        begun, spoilt = _checkpoints(folder / scale)
        good += len(found) + len(begun)
        wrong += damaged + spoilt
    return good, wrong


def _checkpoints(folder: Path) -> tuple[list[str], list[str]]:
    """Returns a line for each run with a whole checkpoint or snapshot, and one for each of these that is not."""
    whole: dict[tuple[str, int], str] = {}  # the newest of each run is told
    damaged: list[str] = []
    kept = [path for run in disk.matching(folder, "checkpoints/*") for path in checkpoints.saved(run)]
    for path in [*kept, *disk.matching(folder, "snapshots/[a-z]*")]:
        try:
            about = checkpoints.read_about(path)
        except checkpoints.DamagedCheckpoint as error:
            if checkpoints.exists(path):  # else its run ended just then
                damaged.append(str(error))
        else:
            done = f"{about.iteration} of {about.run.iterations} iterations"
            whole[about.run.key, about.seed] = f"{about.run.key} seed {about.seed}, {done}"
    return list(whole.values()), damaged


def _complete(figure: Figure | Table, scale: scales.Scale, found: Sequence[results.Result]) -> bool:
    have = {r.run for r in found if r.seed == 0}
    return all(scale.apply(run) in have for run in figure.runs())
