"""Comparisons of a setting's values on a task: short runs, paired by seed, and what they can not tell apart."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smith.analysis import curves
from smith.analysis.seeds import padded
from smith.analysis.verdicts import interval
from smith.errors import UserError
from smith.lengths import Length, epochs, iterations
from smith.run import Snapshot
from smith.schedules import Constant, CyclicalMomentum, OneCycle, RangeTest, Schedule
from smith.store import Result
from smith.tune.ranges import Suggestion, default_length, search_run
from smith.tune.task import Task

STEP_SIZE = 0.5  # of a run: how long 1cycle's rate rises, and falls; no tail, which costs short runs much (claim E7)
CYCLICAL = "0.95-0.85"


@dataclass(frozen=True)
class Comparison:
    """What came of comparing the values of one setting.

    what: the setting
    results: value, as text -> the results of its run, by seed
    settings: value, as text -> the fields of `Run` that it means
    range_test: whether the runs are range tests, of which the median loss counts, not the last
    """

    what: str
    results: Mapping[str, Sequence[Result]]
    settings: Mapping[str, Mapping[str, Any]]
    range_test: bool = False

    @functools.cached_property
    def losses(self) -> Mapping[str, np.ndarray]:
        """What each value comes to, one number for each seed: the mean test loss of the last tenth of the tests.

        Of range tests it is the median over all tests. A run that diverged guesses from there on.
        """
        return {value: np.array([self._loss(result) for result in found]) for value, found in self.results.items()}

    def _loss(self, result: Result) -> float:
        _, losses = padded(result, "test_loss")
        return float(np.median(losses) if self.range_test else losses[-curves.tenth(len(losses)) :].mean())

    @property
    def best(self) -> str:
        """The value whose mean loss is least."""
        means = {value: losses.mean() for value, losses in self.losses.items()}
        return min(means, key=means.__getitem__)

    @property
    def differences(self) -> Mapping[str, tuple[float, float, float]]:
        """How much more loss each other value gives than the best, within a seed: mean, and Student's 95 % interval.

        With one seed there is no interval. It is corrected for the number of values (Bonferroni).
        """
        losses, best = self.losses, self.best
        others = [value for value in losses if value != best]
        level = 1 - 0.05 / max(1, len(others))
        found = {}
        for value in others:
            apart = losses[value] - losses[best]
            low, high = interval(apart, level)
            found[value] = (float(apart.mean()), float(low), float(high))
        return found

    @property
    def tied(self) -> list[str]:
        """The values that the seeds do not tell apart from the best."""
        return [value for value, (_, low, _) in self.differences.items() if not low > 0]

    @property
    def seen(self) -> bool:
        """Whether a difference was seen: whether any value is worse than the best by more than chance explains."""
        return len(self.tied) < len(self.differences)

    @property
    def note(self) -> str:
        """One sentence on what the comparison says."""
        seeds = len(next(iter(self.results.values())))
        runs = f"{seeds} seed{'s' * (seeds != 1)}"
        lost = sum(result.status == "diverged" for found in self.results.values() for result in found)
        diverged = f"; {lost} of {seeds * len(self.results)} runs diverged" if lost else ""
        if not self.seen:
            return f"no difference seen with {runs}; the least mean loss is that of {self.best}{diverged}"
        also = f"; not told apart from it: {', '.join(self.tied)}" if self.tied else ""
        return f"{self.best} is best with {runs}{also}{diverged}"

    def plot(self, path: str | Path) -> None:
        """Draws what each value comes to, every seed a dot, as PNG or SVG."""
        from smith.tune.plots import draw_comparison

        draw_comparison(self, Path(path))


def one_cycle(lr: Suggestion | float, momentum: Schedule | float | None = None) -> dict[str, Any]:
    """Returns the fields of a run that make it 1cycle: the learning rate up and down, and the momentum down and up.

    lr: a suggestion, or a peak whose tenth is the base
    momentum: None for cyclical momentum from 0.95 to 0.85
    """
    if not isinstance(lr, Suggestion | Real):
        raise UserError(f"learning rate {lr!r}: give the peak of 1cycle as a number, or a range test's suggestion")
    base, peak = (lr.base, lr.peak) if isinstance(lr, Suggestion) else (float(lr) / 10, float(lr))
    momentum = CyclicalMomentum(0.95, 0.85, step_size=STEP_SIZE) if momentum is None else momentum
    return {"lr": OneCycle(base, peak, step_size=STEP_SIZE), "momentum": momentum}


def compare(
    task: Task,
    what: str,
    settings: Mapping[str, Mapping[str, Any]],
    *,
    length: Length | None = None,
    seeds: int = 3,
    range_test: bool = False,
) -> Comparison:
    """Trains a run for each value, with the same seeds, and compares their test losses.

    settings: value, as text -> the fields of `Run` that it means

    Raises:
      UserError: fewer than two values, and what `Run` raises.
    """
    if len(settings) < 2:
        raise UserError(f"{len(settings)} value of the {what}: give at least two to compare")
    length = default_length(task) if length is None else length
    runs = {value: search_run(task, length, **fields) for value, fields in settings.items()}
    return Comparison(what, task.train(runs, seeds), settings, range_test)


def weight_decay(
    task: Task,
    lr: Suggestion | float,
    values: Sequence[float] = (0.0, 1e-5, 1e-4, 1e-3),
    *,
    length: Length | None = None,
    seeds: int = 3,
    how: Literal["from scratch", "range test", "snapshot"] = "from scratch",
    bisect: bool = True,
    **settings: Any,
) -> Comparison:
    """Compares weight decays: a grid, then the middles, by exponent, between the best and its neighbours (section 4.4).

    Args:
      how: "from scratch" trains 1cycle; "range test" lets the rate grow to the peak, with cyclical momentum;
        "snapshot" trains half of a 1cycle run once and continues it with each value.
      settings: other fields of the `Run`.
    """
    values = [*values]
    if not values or not all(isinstance(value, Real) and 0 <= value < np.inf for value in values):
        raise UserError(f"weight decays {', '.join(map(str, values)) or 'none'}: give numbers of at least 0")
    values = sorted(map(float, values))
    if how not in ("from scratch", "range test", "snapshot"):
        raise UserError(f"weight decay {how!r}: name 'from scratch', 'range test' or 'snapshot'")
    cycle = one_cycle(lr, settings.pop("momentum", None))
    if how == "range test":
        cycle = {"lr": RangeTest(cycle["lr"].base, cycle["lr"].peak), "momentum": CyclicalMomentum(0.95, 0.85)}
    start = None
    if how == "snapshot":
        middle = values[len(values) // 2]
        parent = search_run(task, length or default_length(task), **cycle, **settings, weight_decay=middle)
        start = Snapshot(parent, iterations(parent.iterations // 2))

    def tried(decays: Sequence[float]) -> Comparison:
        grid = {f"{value:g}": {**cycle, **settings, "weight_decay": value, "start": start} for value in decays}
        return compare(task, "weight decay", grid, length=length, seeds=seeds, range_test=how == "range test")

    found = tried(values)
    if bisect and (between := _middles(values, float(found.best))):
        found = tried(sorted([*values, *between]))
    return found


def _middles(values: Sequence[float], best: float) -> list[float]:
    """Returns the geometric means of the best value and its neighbours, to two digits; 0 has none."""
    place = values.index(next(value for value in values if f"{value:g}" == f"{best:g}"))
    neighbours = [values[k] for k in (place - 1, place + 1) if 0 <= k < len(values)]
    return [float(f"{(other * best) ** 0.5:.2g}") for other in neighbours if other and best]


def momentum(
    task: Task,
    lr: Suggestion | float,
    values: Sequence[float] = (0.9, 0.95, 0.97, 0.99),
    *,
    length: Length | None = None,
    seeds: int = 3,
    **settings: Any,
) -> Comparison:
    """Compares cyclical momentum, falling from 0.95 to 0.85 while the rate grows, with constant ones (section 4.3)."""
    if not all(isinstance(value, Real) and 0 <= value < 1 for value in values):
        raise UserError(f"momentum {', '.join(map(str, values))}: it lies between 0 and 1")
    tried = {CYCLICAL: one_cycle(lr), **{f"{value:g}": one_cycle(lr, Constant(float(value))) for value in values}}
    grid = {value: {**settings, **fields} for value, fields in tried.items()}
    return compare(task, "momentum", grid, length=length, seeds=seeds)


def batch_size(
    task: Task,
    lr: Suggestion | float,
    values: Sequence[int] = (),
    *,
    length: Length | None = None,
    seeds: int = 3,
    **settings: Any,
) -> Comparison:
    """Compares batch sizes at fixed computation: each sees as many examples, so the larger take fewer iterations.

    values: None given means half of the task's batch size, that, and twice that.
    """
    own = task.base.batch_size
    values = [int(size) if isinstance(size, Integral) else size for size in values]
    values = values or [size for size in (own // 2, own, 2 * own) if 1 <= size <= task.base.training_set]
    length = length or default_length(task)
    seen = epochs(task.base.count(length) / task.base.iterations_per_epoch)
    grid = {f"{size}": {**one_cycle(lr), **settings, "batch_size": size} for size in values}
    return compare(task, "batch size", grid, length=seen, seeds=seeds)
