"""What results there are, scale by scale, what is under way, and which files are not as they were written."""

import contextlib
import datetime
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smith.errors import UserError
from smith.lengths import duration
from smith.scales import SCALES
from smith.store import Store
from smith.train import checkpoints, jobs
from smith.train.places import Job, Places

if TYPE_CHECKING:
    from smith.figure import Figure, Table


def report(stores: Sequence[Store], figures: "Iterable[Figure | Table]", seeds: int = 1) -> None:
    """Prints a table of the results of several scales, and lines for what is special.

    seeds: how many, from 0 on, a figure needs of each of its runs to be complete
    """
    from rich.table import Table

    from smith.train.progress import console

    out, table = console(sys.stdout, soft_wrap=True), Table(box=None)
    complete_with = "one seed" if seeds == 1 else f"{seeds} seeds"
    for column in ("scale", "results", "diverged", "seeds", f"figures complete with {complete_with}"):
        table.add_column(column)
    lines: list[str] = []
    for store in stores:
        if found := store.all():
            counts = len(found), sum(result.status == "diverged" for result in found), len({r.seed for r in found})
            complete = [figure.name for figure in figures if _is_complete(figure, store, seeds)]
            table.add_row(store.scale.name, *map(str, counts), " ".join(complete) or "none")
        lines += [f"begun: {name}, {done} iterations done" for name, done in Places(store.folder).begun().items()]
        lines += [f"foreign: {line}" for line in store.foreign()]
        lines += [f"set aside: {path}" for path in store.aside()]
        lines += _not_as_written(store)
    if table.row_count:
        out.print(table)
    elif not lines:
        out.print(f"no results in {stores[0].root}; smith run all trains them")
    for line in lines:
        out.print(line)


def _is_complete(figure: "Figure | Table", store: Store, seeds: int) -> bool:
    """Says whether all its runs have results; those of what the scale has no place for have none."""
    with contextlib.suppress(UserError):
        return not jobs.missing(jobs.plan(figure.runs(), store, seeds), store)
    return False


def watch(store: Store, jobs: Collection[Job], seconds: float = 10.0) -> None:
    """Prints how far jobs are, whoever trains them, at once and then every so many seconds until all are done."""
    looks: deque[tuple[float, int]] = deque(maxlen=60)  # when, and images trained by then
    images, places = sum(_images(job) for job in jobs), Places(store.folder)
    while True:
        found = {job: store.look_again(job.run, job.seed) for job in jobs}
        saved = places.begun()
        trained = sum(_images(job, None if found[job] else saved.get(job.name, 0)) for job in jobs)
        looks.append((time.monotonic(), trained))
        elapsed, new = (last - first for first, last in zip(looks[0], looks[-1], strict=True))
        done = [result for result in found.values() if result]
        diverged = sum(result.status == "diverged" for result in done)
        told = f"{len(done):,} of {len(jobs):,} runs done, {diverged} diverged, {places.under_way()} under way"
        if new > 0:
            told += f"; {new / elapsed:,.0f} images/s, about {duration((images - trained) * elapsed / new)} left"
        print(f"{datetime.datetime.now():%H:%M:%S}  {told}", flush=True)
        if len(done) == len(jobs):
            return
        time.sleep(seconds)


def _images(job: Job, iterations: int | None = None) -> int:
    """Returns how many images a job trains on, or has after so many iterations."""
    upto = job.run.iterations if iterations is None else max(iterations, job.run.first_iteration)
    return (upto - job.run.first_iteration) * job.run.batch_size


def verify(root: Path) -> tuple[int, list[str]]:
    """Reads every result, checkpoint and snapshot in a folder.

    Returns how many are as they were written, and a line for each that is not.
    """
    good, wrong = 0, []
    for store in (Store(root, scale) for scale in SCALES.values()):
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


def _not_as_written(store: Store) -> list[str]:
    """Returns a line for each result that is damaged, or can not be read here: no permission, a newer version."""
    store.all()
    damaged = [f"damaged: {line}" for line in store.damaged.values()]
    return damaged + [f"not readable here: {line}" for line in store.unreadable.values()]
