"""The table that `smith list` prints."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from smith.figure import Figure, Table
from smith.lengths import duration
from smith.store import Store
from smith.train import jobs, timing
from smith.train.jobs import Job


def show(experiments: Iterable[Figure | Table], store: Store, seeds: int) -> None:
    """Prints what each experiment shows, how many of its runs are done, and how long the others will take.

    Raises:
      UserError: the store's scale can not hold a run.
    """
    title = f"{store.scale.name}: {store.scale.what}; {seeds} seed{'s' * (seeds > 1)}"
    grid = Grid(title=escape(title), title_justify="left", box=None)
    for column in ("name", "panels", "what it shows"):
        grid.add_column(column, no_wrap=column != "what it shows")
    for column in ("done", "time left"):
        grid.add_column(column, justify="right", no_wrap=True)
    every: dict[Job, None] = {}
    for one in experiments:
        planned = jobs.plan(one.runs(), store, seeds)
        every |= dict.fromkeys(planned)
        grid.add_row(*map(escape, (one.name, one.letters, one.title, *_left(planned, store))))
    grid.add_row("all", "", "each run counted once", *_left(list(every), store), style="bold")
    Console().print(grid)


def _left(planned: Sequence[Job], store: Store) -> tuple[str, str]:
    """Returns how many jobs are done, and how long the others will take by what results of the scale took."""
    todo = jobs.missing(planned, store)
    seconds = timing.estimate(todo, store)
    return f"{len(planned) - len(todo)}/{len(planned)}", "not known" if seconds is None else duration(seconds)
