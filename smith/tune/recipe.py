"""The paper's recipe on a task: learning rate, batch size, momentum and weight decay, one short search after another.

The order is the paper's (its section 5). Each step uses what the steps before it found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from smith.analysis.clues import Clues, clues, readable
from smith.analysis.seeds import padded
from smith.analysis.verdicts import interval
from smith.errors import UserError
from smith.lengths import Length, duration, epochs, iterations, seconds
from smith.run import Run
from smith.schedules import Constant, CyclicalMomentum, OneCycle, Schedule
from smith.store import Result
from smith.tune import comparisons
from smith.tune.comparisons import STEP_SIZE, Comparison, one_cycle
from smith.tune.ranges import RangeTestResult, Suggestion, range_test, search_run
from smith.tune.task import Task, check_seeds

StepName = Literal["learning rate", "batch size", "momentum", "weight decay"]
RUNS: Mapping[str, int] = {"learning rate": 1, "batch size": 4, "momentum": 5, "weight decay": 6}  # each costs, at most
LEAST = 40  # iterations of a run, below which a search says nothing
PILOT = 60  # iterations, from which the pace is measured
RESERVE = 0.8  # of a budget of time that is planned; the rest is for compiling and plotting
TRAINING = epochs(30)  # that is planned, if not told otherwise
DEFAULT_DECAY = 1e-4  # until the weight decay is looked for


@dataclass(frozen=True)
class Step:
    """One step of the recipe.

    name: what was looked for
    chosen: what was chosen, as text
    reason: why
    found: the search, with its plot
    iterations, seconds: what it cost, all seeds together
    """

    name: str
    chosen: str
    reason: str
    found: RangeTestResult | Comparison
    iterations: int
    seconds: float


@dataclass(frozen=True)
class Trained:
    """What training by a plan came to. run: what was trained; results: one for each seed."""

    run: Run
    results: Sequence[Result]

    @property
    def loss(self) -> np.ndarray:
        """The last test loss of each seed."""
        return np.array([padded(result, "test_loss")[1][-1] for result in self.results])

    @property
    def accuracy(self) -> np.ndarray:
        """The last test accuracy of each seed, a fraction; not a number for a task without classes."""
        return np.array([np.r_[np.nan, padded(result, "test_accuracy")[1]][-1] for result in self.results])

    @property
    def clues(self) -> list[Clues]:
        """What the curves of `readable` say."""
        return [clues(result.columns) for result in self.readable]

    @property
    def readable(self) -> list[Result]:
        """The results whose curves can be read."""
        return readable(self.results)

    def __str__(self) -> str:
        said = f"test loss {_mean(self.loss)}"
        known = np.isfinite(self.accuracy).all()
        return f"{said}, test accuracy {_mean(self.accuracy)}" if known else said


@dataclass(frozen=True)
class Plan:
    """What the recipe found.

    steps: in their order
    suggestion: the learning rates
    settings: fields of a `Run`
    length: of the training that was planned
    """

    task: Task
    steps: Sequence[Step]
    suggestion: Suggestion
    settings: Mapping[str, Any]
    length: Length

    def run(self, length: Length, **changes: Any) -> Run:
        """Returns the 1cycle run that the plan says."""
        return self.task.run(length, **{**self.settings, **changes})

    def train(self, length: Length, seeds: int = 1, **changes: Any) -> Trained:
        """Trains by the plan, on all test examples. Results that are there are not trained again."""
        run = self.run(length, **changes)
        return Trained(run, self.task.train({"1cycle": run}, seeds)["1cycle"])

    def report(self, folder: str | Path, trained: Trained | None = None) -> Path:
        """Writes a page with all steps and their plots, and code for use elsewhere. Returns the page's path."""
        from smith.tune.page import write

        return write(self, Path(folder), trained)

    def code(self, length: Length) -> str:
        """Returns Optax code that trains so in a loop of one's own: learning rate and momentum of each iteration."""
        run = self.run(length)
        lr, momentum, decay = run.lr, run.momentum, run.weight_decay
        assert isinstance(lr, OneCycle) and isinstance(decay, Constant)
        assert isinstance(momentum, Constant | CyclicalMomentum)
        size = f"step_size=iterations({int(run.iterations * STEP_SIZE)})"
        built = f".build({run.iterations}, {run.iterations_per_epoch:g})  # a function of the iteration"
        if isinstance(momentum, Constant):
            said = f"{momentum.value:g}"
        else:
            said = f"CyclicalMomentum(high={momentum.high:g}, low={momentum.low:g}, {size}){built}"
        own = f"# your optimizer with these and weight decay {decay.value:g}, in batches of {run.batch_size}"
        caffe = f"optimizer = caffe_sgd(lr, momentum, weight_decay={decay.value:g})  # in batches of {run.batch_size}"
        lines = (
            "from smith import CyclicalMomentum, OneCycle, caffe_sgd, iterations",
            "",
            f"lr = OneCycle(base={lr.base:.3g}, peak={lr.peak:.3g}, {size}){built}",
            f"momentum = {said}",
            caffe if run.solver == "nesterov" else own,
        )
        return "\n".join(lines)

    def __str__(self) -> str:
        lines = [f"{step.name}: {step.chosen} ({step.reason})" for step in self.steps]
        cost = sum(step.iterations for step in self.steps), duration(sum(step.seconds for step in self.steps))
        return "\n".join([*lines, f"cost: {cost[0]} iterations, {cost[1]}"])


def recipe(
    task: Task,
    budget: str | float | Length = "10m",
    length: Length = TRAINING,
    *,
    seeds: int = 3,
    steps: Sequence[StepName] = ("learning rate", "batch size", "momentum", "weight decay"),
    start: float = 1e-4,
    stop: float = 10.0,
) -> Plan:
    """Finds the settings of 1cycle for a task, by the steps of the paper.

    Args:
      budget: for the whole search: a time such as "10m", seconds, or a `Length`, which counts the training iterations
        of all its runs together, in batches of the task's own size. The same budget of time means the same runs when it
        is asked for again.
      length: of the training that is planned. The runs of the search are at most a third as long, whatever the budget:
        in a long range test the loss is least before the rate is large, because the network overfits.
      seeds: with which each run is trained.
      steps: which steps; the learning rate always comes first, and what the optimizer has no parameter for is left out.
      start, stop: the range of learning rates.

    Raises:
      UserError: a budget too small, an unknown step, or a range test in which nothing trains.
    """
    for name in steps:
        if name not in RUNS:
            raise UserError(f"step {name!r}: name some of {', '.join(RUNS)}")
    check_seeds(seeds)
    if not isinstance(length, Length):
        raise UserError(f"length {length}: give one such as epochs(30)")
    steps = [name for name in steps if name not in task.without]
    share = sum(RUNS[name] for name in {"learning rate", *steps}) * seeds
    each = _affordable(task, budget) // share
    if each < LEAST:
        raise UserError(
            f"the budget is too small: {each} iterations for each of {share} runs, at least {LEAST} are needed; "
            "give more, fewer seeds, or fewer steps"
        )
    most = max(LEAST, task.base.count(length) // 3)
    search = _Search(task, iterations(min(each, most)), seeds)
    search.learning_rate(start, stop)
    for name in [name for name in RUNS if name in steps and name != "learning rate"]:
        {"batch size": search.batch_size, "momentum": search.momentum, "weight decay": search.weight_decay}[name]()
    settings = {**one_cycle(search.suggestion, search.constant), **search.settings}
    return Plan(task, search.steps, search.suggestion, settings, length)


class _Search:
    """The steps of the recipe, each with what those before it found."""

    def __init__(self, task: Task, length: Length, seeds: int) -> None:
        self.task, self.length, self.seeds = task, length, seeds
        self.steps: list[Step] = []
        self.settings: dict[str, Any] = {"weight_decay": DEFAULT_DECAY}
        self.constant: Schedule | None = None  # momentum; None for cyclical
        self.suggestion: Suggestion

    def learning_rate(self, start: float, stop: float) -> None:
        found = range_test(self.task, "lr", start, stop, length=self.length, seeds=self.seeds, **self.settings)
        if not found.suggestion:
            raise UserError(f"the range test of the learning rate says nothing: {found.note}")
        self.suggestion = found.suggestion
        chosen = f"{found.suggestion.base:.2g} to {found.suggestion.peak:.2g}"
        self._add("learning rate", chosen, f"{found.suggestion.how}; {found.note}", found)

    def batch_size(self) -> None:
        own = self.task.base.batch_size
        values = [size for size in (own // 2, own, 2 * own) if 1 <= size <= self.task.base.training_set // 2]
        if len(values) < 2:
            return
        found = comparisons.batch_size(self.task, self.suggestion, values, **self._common())
        chosen = self._of(found, f"{own}", max(found.results, key=int))
        self.settings["batch_size"] = int(chosen)
        self.length = iterations(max(1, int(self.length.value) * own // int(chosen)))  # as many examples as before
        self._add("batch size", chosen, f"{found.note}; ties go to the largest, as in the paper", found)

    def momentum(self) -> None:
        found = comparisons.momentum(self.task, self.suggestion, **self.settings, **self._common())
        chosen = self._of(found, comparisons.CYCLICAL, comparisons.CYCLICAL)
        self.constant = None if chosen == comparisons.CYCLICAL else found.settings[chosen]["momentum"]
        self._add("momentum", chosen, f"{found.note}; ties go to the cyclical one, as in the paper", found)

    def weight_decay(self) -> None:
        settings = {**self.settings, "momentum": self.constant}
        del settings["weight_decay"]
        found = comparisons.weight_decay(self.task, self.suggestion, **settings, **self._common())
        chosen = found.best
        self.settings["weight_decay"] = float(chosen)
        self._add("weight decay", chosen, found.note, found)

    def _common(self) -> dict[str, Any]:
        return {"length": self.length, "seeds": self.seeds}

    @staticmethod
    def _of(found: Comparison, *preferred: str) -> str:
        """Returns the last of the preferred values that is not told apart from the best, else the best."""
        good = [value for value in preferred if value == found.best or value in found.tied]
        return good[-1] if good else found.best

    def _add(self, name: str, chosen: str, reason: str, found: RangeTestResult | Comparison) -> None:
        results = found.results if isinstance(found, RangeTestResult) else sum(map(list, found.results.values()), [])
        cost = sum(result.run.iterations for result in results)
        spent = sum(float(r.facts["seconds"]) + float(r.facts["compile_seconds"]) for r in results)
        self.steps.append(Step(name, chosen, reason, found, cost, spent))


def _affordable(task: Task, budget: str | float | Length) -> int:
    """Returns the iterations, of all runs together, that a budget pays for."""
    if isinstance(budget, Length):
        return task.base.count(budget)
    limit = seconds(budget, "the budget") if isinstance(budget, str) else budget
    if not isinstance(limit, Real) or not 0 < limit < np.inf:
        raise UserError(f"budget {budget}: give a time such as '10m', seconds, or a length such as iterations(5000)")
    return int(RESERVE * limit / _pace(task))


def _pace(task: Task) -> float:
    """Returns the seconds of one iteration of a search, with its share of tests.

    They are those of a short run, whose result is kept: so the same budget means the same runs later.
    """
    first = search_run(task, iterations(PILOT), lr=1e-4)  # it compiles
    (second,) = task.train({"first": first, "second": first.replace(lr=2e-4)})["second"]
    return float(second.facts["seconds"]) / PILOT


def _mean(values: np.ndarray) -> str:
    low, high = interval(values)
    between = f" [{low:.4f}, {high:.4f}]" if len(values) > 1 else ""
    return f"{values.mean():.4f}{between}"
