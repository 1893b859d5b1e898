"""What a person sees while runs are trained: a progress bar on a terminal, a line per run elsewhere."""

import math
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from smith.lengths import duration
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

    def say(self, text: str, *, done: bool = False) -> None:
        """Prints a line; `done` says that a run more is done."""
        self._console.print(text)
        self._progress.advance(self._all, int(done))

    def plan(self, todo: int, found: int) -> None:
        """Says how many runs there are to train, and how many have a result."""
        self._progress.update(self._all, total=todo)
        self.say(f"{todo} run{'s' * (todo != 1)} to train, {found} found")

    def begin(self, run: Run, seed: int) -> None:
        """A run begins."""
        self._row, self._loss = {}, math.nan
        self._started, self._batch_size = time.perf_counter(), run.batch_size
        self._remaining = Remaining(run)
        name = f"{run.network} {run.data}, seed {seed}"
        self._progress.reset(self._one, total=run.iterations, description=name, note="compiling", visible=True)

    def resumed(self, iteration: int) -> None:
        """The run goes on from a checkpoint at this iteration."""
        self.say(f"goes on from its checkpoint at iteration {iteration}")

    def iterated(self, iteration: int, loss: float) -> None:
        """`iteration` iterations are done; `loss` is the training loss of the last one."""
        self._loss = loss
        self._remaining.iterated(iteration, time.perf_counter())
        self._progress.update(self._one, completed=iteration, note=self._note())

    def testing(self) -> None:
        """A test begins."""
        self._remaining.testing(time.perf_counter())

    def tested(self, row: dict[str, float]) -> None:
        """A test was made."""
        self._row = row
        self._remaining.tested(time.perf_counter())

    def waiting(self, count: int, holder: str) -> None:
        """Nothing is left but runs that other processes have in hand."""
        self.say(f"waiting for {count} run{'s' * (count != 1)} that other processes train ({holder})")

    def end(self, run: Run, seed: int, status: str) -> None:
        """A run is done and its result written."""
        seconds = time.perf_counter() - self._started
        figures = f"test loss {self._row['test_loss']:.4g}, accuracy {self._row['test_accuracy']:.4f}"
        self._progress.update(self._one, visible=False)
        self.say(f"{status:8} {run.key} seed {seed}: {figures}, {seconds:.0f} s", done=True)

    def warn(self, message: str) -> None:
        """Prints a line that a person should see."""
        self.say(f"smith: {message}")

    def _note(self) -> str:
        rate = self._remaining.rate()
        parts = [f"{rate:.1f} it/s", f"{rate * self._batch_size:,.0f} images/s", f"train loss {self._loss:.3f}"]
        if self._row:
            parts.append(f"test loss {self._row['test_loss']:.3f}, accuracy {self._row['test_accuracy']:.3f}")
        if math.isfinite(left := self._remaining.seconds()):
            parts.append(f"{duration(left)} left")
        return "  ".join(parts)


class Says(Display):
    """A display that shows nothing itself: its lines go to `to` (text, whether a run more is done)."""

    def __init__(self, to: Callable[[str, bool], None]) -> None:
        super().__init__(quiet=True)
        self._to = to

    def say(self, text: str, *, done: bool = False) -> None:
        """Hands the line on."""
        self._to(text, done)

    def plan(self, todo: int, found: int) -> None:
        """Says nothing: every worker has the same plan."""

    def waiting(self, count: int, holder: str) -> None:
        """Says nothing: the first process says what is waited for."""


class Remaining:
    """How long a run will still take, from how long its iterations and its tests took so far.

    The first report is where counting begins: what comes before it, compilation for the most part, comes once.
    """

    def __init__(self, run: Run) -> None:
        self._end, self._every = run.iterations, run.count(run.test_every)
        self._first: tuple[int, float] | None = None
        self._iteration, self._now = 0, 0.0
        self._tests, self._testing, self._began = 0, 0.0, 0.0

    def iterated(self, iteration: int, now: float) -> None:
        """`iteration` iterations are done at the time `now`, in seconds."""
        if self._first is None:
            self._first, self._tests, self._testing = (iteration, now), 0, 0.0
        self._iteration, self._now = iteration, now

    def testing(self, now: float) -> None:
        """A test begins."""
        self._began = now

    def tested(self, now: float) -> None:
        """A test was made."""
        self._tests += 1
        self._testing += now - self._began

    def rate(self) -> float:
        """Returns iterations per second, tests left out; 0 as long as that is not known."""
        if self._first is None or self._iteration == self._first[0]:
            return 0.0
        return (self._iteration - self._first[0]) / max(self._now - self._first[1] - self._testing, 1e-9)

    def seconds(self) -> float:
        """Returns how long the rest will take, tests included; infinity as long as that is not known."""
        if not self.rate():
            return math.inf
        to_come = self._end // self._every - self._iteration // self._every
        return (self._end - self._iteration) / self.rate() + to_come * self._testing / max(self._tests, 1)
