"""What results there are, scale by scale, what is under way, and which files are not as they were written."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from smith.scales import SCALES
from smith.store import Store
from smith.train import checkpoints
from smith.train.places import Places

if TYPE_CHECKING:
    from smith.figure import Figure, Table


def report(root: Path, figures: "Iterable[Figure | Table]") -> None:
    """Prints a table of the results in a folder, and lines for what is special. Raises UserError if it is not there."""
    from rich.table import Table

    from smith.train.progress import console

    out, table = console(sys.stdout, soft_wrap=True), Table(box=None)
    for column in ("scale", "results", "diverged", "seeds", "figures complete with one seed"):
        table.add_column(column)
    lines: list[str] = []
    for store in _stores(root):
        if found := store.all():
            counts = len(found), sum(result.status == "diverged" for result in found), len({r.seed for r in found})
            complete = [f.name for f in figures if all(store.find(store.trained(run), 0) for run in f.runs())]
            table.add_row(store.scale.name, *map(str, counts), " ".join(complete) or "none")
        newest = {path.parent: path for path in Places(store.folder).saved()}
        lines += [f"begun: {folder.name}, {int(path.name)} iterations done" for folder, path in newest.items()]
        lines += [f"foreign: {line}" for line in store.foreign()]
        lines += [f"set aside: {path}" for path in store.aside()]
        lines += _not_as_written(store)
    if table.row_count:
        out.print(table)
    elif not lines:
        out.print(f"no results in {root}; smith run all trains them")
    for line in lines:
        out.print(line)


def verify(root: Path) -> tuple[int, list[str]]:
    """Reads every result, checkpoint and snapshot in a folder.

    Returns how many are as they were written, and a line for each that is not.
    """
    good, wrong = 0, []
    for store in _stores(root):
        good += len(store.all())
        wrong += _not_as_written(store)
        for path in Places(store.folder).saved():
            try:
                checkpoints.check(path)
            except checkpoints.DamagedCheckpoint as error:
                if path.exists():  # else its run ended just then
                    wrong.append(f"damaged: {error}")
            except OSError as error:
                wrong.append(f"not readable here: {error.filename or path}: {error.strerror or error}")
            else:
                good += 1
    return good, wrong


def _stores(root: Path) -> list[Store]:
    return [Store(root, scale) for scale in SCALES.values()]


def _not_as_written(store: Store) -> list[str]:
    """Returns a line for each result that is damaged, or can not be read here: no permission, a newer version."""
    store.all()
    damaged = [f"damaged: {line}" for line in store.damaged.values()]
    return damaged + [f"not readable here: {line}" for line in store.unreadable.values()]
