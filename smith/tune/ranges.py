"""Range tests of a task: one hyper-parameter grows while the network trains, and the loss says how far it may."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smith.analysis import curves
from smith.analysis.readings import READINGS, read
from smith.analysis.seeds import guess, padded
from smith.analysis.verdicts import interval
from smith.errors import UserError, unknown
from smith.lengths import Length, epochs, iterations
from smith.run import Run
from smith.schedules import RangeTest
from smith.store import Result
from smith.tune.task import TESTED, TESTS, Task

Name = Literal["lr", "momentum", "weight_decay"]
FEWEST_TESTS = 10  # of a run of a search
FEWEST = 8  # tests from which a curve can be read
GIVE_UP = 4.0  # times the loss of guessing: a range test that is worse has diverged


@dataclass(frozen=True)
class Suggestion:
    """What a range test of the learning rate suggests for 1cycle.

    peak: the geometric mean, over the seeds, of the rate at which the loss is least
    base: a tenth of that (paper, section 4.1)
    interval: Student's 95 % interval of the peak, on a logarithmic scale, and half the distance of two tests more on
      either side; None with one seed
    how: how it was read, and how far the seeds agree
    """

    base: float
    peak: float
    interval: tuple[float, float] | None
    how: str


@dataclass(frozen=True)
class RangeTestResult:
    """What came of a range test.

    name: what grew
    of: whose loss is read, "test_loss" (as in the paper) or "train_loss"
    run: the run that was trained with each seed
    results: one for each seed
    """

    name: Name
    of: str
    run: Run
    results: tuple[Result, ...]

    @property
    def column(self) -> str:
        return "learning_rate" if self.name == "lr" else self.name

    @property
    def logarithmic(self) -> bool:
        return getattr(self.run, self.name).exponential

    @property
    def chance(self) -> float:
        """The loss of guessing."""
        return guess(self.run, self.of)

    def lines(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns (values tried, losses) of each seed: (tests,) each; from where a seed diverged on it guesses."""
        schedule = getattr(self.run, self.name).build(self.run.iterations, self.run.iterations_per_epoch)
        found = [padded(result, self.of) for result in self.results]
        return [(np.asarray(schedule(places), float), losses) for places, losses in found]

    @functools.cached_property
    def readings(self) -> Mapping[str, np.ndarray]:
        """What can be read off the curves (see `smith.analysis.readings`): for each a value for each seed."""
        rows = [read(values, losses, self.chance) for values, losses in self.lines()]
        return {name: np.array([row[name] for row in rows]) for name in READINGS}

    @property
    def suggestion(self) -> Suggestion | None:
        """The learning rates for 1cycle, or None where the curves do not say; `note` has the reason."""
        if self.name != "lr" or self._problem():
            return None
        found = np.log(self.minima)
        peak, between = float(np.exp(found.mean())), None
        if len(found) > 1:
            low, high = interval(found)
            places = np.log(self.lines()[0][0])
            half = np.interp(found.mean(), places, np.gradient(places)) / 2
            between = (float(np.exp(low - half)), float(np.exp(high + half)))
        spread = float(np.exp(np.ptp(found)))
        agreement = f"the {len(found)} seeds lie within a factor of {spread:.2f}" if len(found) > 1 else "one seed"
        how = f"where the {self.of.replace('_', ' ')}, a mean of {self.in_a_row} tests, is least; {agreement}"
        return Suggestion(peak / 10, peak, between, how)

    @property
    def minima(self) -> np.ndarray:
        """Where the loss is least, of each seed that is better than guessing anywhere."""
        found = self.readings["minimum"]
        return found[np.isfinite(found)]

    @property
    def in_a_row(self) -> int:
        return curves.tenth(len(self.run.when_tested()))

    def _problem(self) -> str:
        """Returns why nothing can be read off, or nothing."""
        tests = len(self.run.when_tested())
        if tests < FEWEST:
            return f"{tests} tests are too few to read a curve: at least {FEWEST}, so train longer"
        if not len(self.minima):
            return f"the loss never falls below guessing's {self.chance:.3g}: try other values, or train longer"
        return ""

    @property
    def note(self) -> str:
        """One sentence on what the test says, and what to beware of."""
        if problem := self._problem():
            return problem
        found, values = self.minima, self.lines()[0][0]
        notes = []
        if left := len(self.results) - len(found):
            notes.append(f"{left} of {len(self.results)} seeds never fall below guessing's {self.chance:.3g}")
        if np.any(found >= values[-self.in_a_row]):
            notes.append("the loss still falls at the end: the range could go further")
        if np.any(found <= values[self.in_a_row - 1]):
            notes.append("the loss is least at the start: the range should begin lower")
        if np.ptp(np.log(found)) > np.log(3):
            notes.append("the seeds differ by more than a factor of 3: train longer, or with more seeds")
        who = "the seeds agree on" if len(found) > 1 else "one seed:"
        return "; ".join(notes) or f"{who} a place inside the range"

    def plot(self, path: str | Path) -> None:
        """Draws the seeds, their mean, where they diverged, and the suggestion, as PNG or SVG."""
        from smith.tune.plots import draw_range_test

        draw_range_test(self, Path(path))


def range_test(
    task: Task,
    name: Name = "lr",
    start: float = 1e-4,
    stop: float = 10.0,
    *,
    length: Length | None = None,
    seeds: int = 3,
    scale: Literal["exponential", "linear"] | None = None,
    of: Literal["test_loss", "train_loss"] = "test_loss",
    **settings: Any,
) -> RangeTestResult:
    """Trains a task while one hyper-parameter grows from `start` to `stop`.

    A test loss that is not finite, or above four times that of guessing, ends a run; what was measured stays. Each
    run begins anew, so that nothing has to be restored.

    Args:
      length: how long it trains; None for two epochs, or what 200 iterations take.
      seeds: how often.
      scale: how it grows; None for exponential over more than a power of ten, but a momentum grows linearly.
      of: the loss that is read.
      settings: other fields of the `Run`, such as weight_decay=1e-4, or lr=0.01 where the momentum grows.

    Raises:
      UserError: an unknown name, a range that does not grow, and what `Run` raises.
    """
    if name not in ("lr", "momentum", "weight_decay"):
        raise UserError(f"a range test of {name!r}: name lr, momentum or weight_decay; tune.batch_size is for batches")
    if scale not in (None, "exponential", "linear"):
        raise unknown("scale", str(scale), ("exponential", "linear"))
    if of not in (losses := ("test_loss", "train_loss")):
        raise unknown("loss", str(of), losses)
    if not all(isinstance(value, Real) and 0 <= value < np.inf for value in (start, stop)):
        raise UserError(f"the range from {start} to {stop}: give two numbers of at least 0")
    start, stop = float(start), float(stop)
    if not start < stop:
        raise UserError(f"the range from {start:g} to {stop:g} does not grow: give the smaller value first")
    if name == "momentum" and not 0 <= start < stop < 1:
        raise UserError(f"momentum from {start:g} to {stop:g}: it lies between 0 and 1")
    if name != "lr" and "lr" not in settings:
        raise UserError(f"a range test of the {name.replace('_', ' ')} needs a learning rate: give lr=")
    by_factor = scale == "exponential" if scale else name != "momentum" and (start > 0 and stop / start > 10)
    schedule = RangeTest(start, stop, exponential=by_factor)
    settings = {"test_images": task.base.test_images or TESTED, **settings, name: schedule}
    run = task.run(default_length(task) if length is None else length, **settings)
    if (chance := guess(run, of)) > 0:  # of a loss that may be negative there is no such multiple
        run = run.replace(give_up=GIVE_UP * chance)
    results = task.train({"range test": run}, seeds)["range test"]
    return RangeTestResult(name, of, run, tuple(results))


def search_run(task: Task, length: Length, **settings: Any) -> Run:
    """Returns a short run of a search: with tests of at most 1,000 examples, and about as many of these as it trains.

    So the tests take a quarter of its time at most. It is tested 10 to 40 times.
    """
    run = task.run(length, **{"test_images": task.base.test_images or TESTED, **settings})
    tests = min(TESTS, max(FEWEST_TESTS, run.iterations * run.batch_size // TESTED))
    return run.replace(test_every=iterations(max(1, run.iterations // tests)))


def default_length(task: Task) -> Length:
    """Returns two epochs, or more where these are fewer than 200 iterations."""
    return epochs(max(2.0, 200 / task.base.iterations_per_epoch))
