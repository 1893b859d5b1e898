"""What a person sees while runs are trained: a progress bar on a terminal, a line per run elsewhere."""

import math
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from smith.run import Run


class Display:
    """Shows the progress of a series of runs. Quiet, but for a line per run, where standard error is no terminal.

    It is told what happens by `execute` (plan, begin, end, warn) and by `train` (iterated, tested).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=quiet or not sys.stderr.isatty(),
            transient=True,
        )
        self._all = self._progress.add_task("runs", total=0, note="")
        self._one = self._progress.add_task("iterations", total=1, note="", visible=False)
        self._row: dict[str, float] = {}
        self._loss = math.nan

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def plan(self, todo: int, found: int) -> None:
        """Says how many runs there are to train, and how many have a result."""
        self._progress.update(self._all, total=todo)
        self._console.print(f"{todo} run{'s' * (todo != 1)} to train, {found} found")

    def begin(self, run: Run, seed: int) -> None:
        """A run begins."""
        self._row, self._loss = {}, math.nan
        self._started, self._first, self._batch_size = time.perf_counter(), None, run.batch_size
        name = f"{run.network} {run.data}, seed {seed}"
        self._progress.reset(self._one, total=run.iterations, description=name, note="compiling", visible=True)

    def iterated(self, iteration: int, loss: float) -> None:
        """`iteration` iterations are done; `loss` is the training loss of the last one."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (iteration, now)
        self._loss = loss
        rate = (iteration - self._first[0]) / max(now - self._first[1], 1e-9)
        self._progress.update(self._one, completed=iteration, note=self._note(rate))

    def tested(self, row: dict[str, float]) -> None:
        """A test was made."""
        self._row = row

    def end(self, run: Run, seed: int, status: str) -> None:
        """A run is done and its result written."""
        seconds = time.perf_counter() - self._started
        figures = f"test loss {self._row['test_loss']:.4g}, accuracy {self._row['test_accuracy']:.4f}"
        self._console.print(f"{status:8} {run.key} seed {seed}: {figures}, {seconds:.0f} s")
        self._progress.update(self._one, visible=False)
        self._progress.advance(self._all)

    def warn(self, message: str) -> None:
        """Prints a line that a person should see."""
        self._console.print(f"smith: {message}")

    def _note(self, rate: float) -> str:
        parts = [f"{rate:.1f} it/s", f"{rate * self._batch_size:,.0f} images/s", f"train loss {self._loss:.3f}"]
        if self._row:
            parts.append(f"test loss {self._row['test_loss']:.3f}, accuracy {self._row['test_accuracy']:.3f}")
        return "  ".join(parts)
