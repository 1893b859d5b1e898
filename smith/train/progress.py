"""What a person sees while runs are trained: a progress bar on a terminal, a line per run elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn
from rich.table import Column
from rich.text import Text

from smith.lengths import duration
from smith.run import Run

if TYPE_CHECKING:
    from jax import Array

    from smith.train.loop import Point

REFRESH = 0.2  # seconds between two changes of the bar
WIDE = 100  # characters; a terminal with fewer gets a shorter bar


def console(stream: Any, **options: Any) -> Console:
    """Returns a Rich console that shows every text as it is, with its brackets and colons."""
    return Console(file=stream, markup=False, emoji=False, highlight=False, **options)


class Pace(NamedTuple):
    """A run that is under way, and the seconds of one of its iterations."""

    run: Run
    seconds: float


class Ahead(NamedTuple):
    """How far a series of runs is: how many are done, of how many, and the seconds left, None if that is not known."""

    done: int
    total: int
    seconds: float | None

    def __str__(self) -> str:
        left = "" if self.seconds is None else f", about {duration(self.seconds)} left"
        return f"{self.done}/{self.total}{left if self.done < self.total else ''}"


class _Lasting:
    """A stream that outlives its terminal: what is written after that has gone is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Cut(TextColumn):
    """A text that is cut where a narrow terminal has no room for it, after the columns that are not."""

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class Display:
    """Shows the progress of a series of runs. It is told what happens by `smith.train.jobs`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = console(_Lasting(sys.stderr), quiet=quiet, soft_wrap=True)
        columns = (
            _Cut("{task.description}", markup=False, table_column=Column()),
            BarColumn(24 if self._console.width >= WIDE else 10, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True)),
            _Cut("{task.fields[note]}", markup=False, table_column=Column()),
        )
        shown = sys.stderr.isatty() and not quiet
        self._bars = Progress(*columns, console=self._console, disable=not shown, transient=True)
        self._all = self._bars.add_task("all runs", total=0, left="", note="")
        self._one = self._bars.add_task("", total=1, left="", note="", visible=False)
        self._run: Run | None = None
        self._row: dict[str, float] = {}
        self._loss: Array | None = None
        self._ahead: Callable[[Pace | None], Ahead] = lambda _: Ahead(0, 0, None)
        self._first: tuple[int, float] | None = None  # iteration and time of the first point of the run that was shown
        self._end: float | None = None  # when the series will have ended
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

    def plan(self, todo: int, found: int, ahead: "Callable[[Pace | None], Ahead] | None" = None) -> None:
        """Says how many runs there are to train, and how many have a result. ahead: says how far the series is."""
        self._ahead = ahead or self._ahead
        self._bars.update(self._all, total=todo)
        self.say(f"{todo} run{'s' * (todo != 1)} to train, {found} found")

    def waiting(self, count: int) -> None:
        """Says that nothing is left but runs that other processes have in hand."""
        self.say(f"waiting for {count} run{'s' * (count != 1)} that other processes train")

    def begin(self, run: Run, seed: int) -> None:
        """A run begins."""
        self._run, self._row, self._loss, self._first, self._began = run, {}, None, None, time.perf_counter()
        name = f"{run.network} {run.data}, seed {seed}"
        self._bars.reset(self._one, total=run.iterations, description=name, left="", note="compiling", visible=True)

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
            if not self._bars.disable:
                self._show_time_left(point.iteration, now)

    def _show_time_left(self, iteration: int, now: float) -> None:
        """Shows how long the run still takes, by its pace since the first point that was shown, and the series."""
        first, self._first = self._first, self._first or (iteration, now)
        if first and self._run and iteration > first[0]:
            pace = (now - first[1]) / (iteration - first[0])
            self._bars.update(self._one, left=f"{duration(pace * (self._run.iterations - iteration))} left")
            if self._end is None and (seconds := self._ahead(Pace(self._run, pace)).seconds):
                self._end = now + seconds
        if self._end is not None:
            self._bars.update(self._all, left=f"{duration(max(0.0, self._end - now))} left")

    def end(self, run: Run, seed: int, status: str, row: Mapping[str, float]) -> None:
        """A run is done and its result written. row: what its last test measured."""
        tested = "test loss {test_loss:.4g}, accuracy {test_accuracy:.4f}".format(**row)
        now, series = time.perf_counter(), self._ahead(None)
        self._end = None if series.seconds is None else now + series.seconds
        self._bars.update(self._one, visible=False)
        self._bars.update(self._all, completed=series.done)
        self.say(f"{status:8} {run.key} seed {seed}: {tested}, {now - self._began:.0f} s; {series}")
