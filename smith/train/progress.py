"""What a person sees while runs are trained: a progress bar on a terminal, a line per run elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smith.run import Run

if TYPE_CHECKING:
    from jax import Array

    from smith.train.loop import Point

REFRESH = 0.2  # seconds between two changes of the bar


class Display:
    """Shows the progress of a series of runs. It is told what happens by `smith.train.jobs`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False, markup=False)
        columns = TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn()
        note = TextColumn("{task.fields[note]}")
        shown = sys.stderr.isatty() and not quiet
        self._bars = Progress(*columns, note, console=self._console, disable=not shown, transient=True)
        self._all = self._bars.add_task("runs", total=0, note="")
        self._one = self._bars.add_task("", total=1, note="", visible=False)
        self._row: dict[str, float] = {}
        self._loss: Array | None = None
        self._began = self._changed = 0.0

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text)

    def warn(self, message: str) -> None:
        """Prints a line that a person should see."""
        self.say(f"smith: {message}")

    def plan(self, todo: int, found: int) -> None:
        """Says how many runs there are to train, and how many have a result."""
        self._bars.update(self._all, total=todo)
        self.say(f"{todo} run{'s' * (todo != 1)} to train, {found} found")

    def waiting(self, count: int) -> None:
        """Says that nothing is left but runs that other processes have in hand."""
        self.say(f"waiting for {count} run{'s' * (count != 1)} that other processes train")

    def begin(self, run: Run, seed: int) -> None:
        """A run begins."""
        self._row, self._loss, self._began = {}, None, time.perf_counter()
        name = escape(f"{run.network} {run.data}, seed {seed}")
        self._bars.reset(self._one, total=run.iterations, description=name, note="compiling", visible=True)

    def resumed(self, iteration: int) -> None:
        """The run goes on from a checkpoint at this iteration."""
        self.say(f"goes on from its checkpoint at iteration {iteration}")

    def saw(self, point: "Point") -> None:
        """The run got to a point."""
        self._row = point.row or self._row
        now = time.perf_counter()
        if now - self._changed >= REFRESH and point.loss is not None:
            loss, self._loss, self._changed = self._loss, point.loss, now
            notes = [f"train loss {float(loss):.3f}"] if loss is not None else []  # an old one: nobody waits for it
            if self._row:
                notes.append("test loss {test_loss:.3f}, accuracy {test_accuracy:.3f}".format(**self._row))
            self._bars.update(self._one, completed=point.iteration, note="  ".join(notes))

    def end(self, run: Run, seed: int, status: str, row: Mapping[str, float]) -> None:
        """A run is done and its result written. row: what its last test measured."""
        tested = "test loss {test_loss:.4g}, accuracy {test_accuracy:.4f}".format(**row)
        seconds = time.perf_counter() - self._began
        self._bars.update(self._one, visible=False)
        self._bars.advance(self._all)
        self.say(f"{status:8} {run.key} seed {seed}: {tested}, {seconds:.0f} s")
