"""Training: the loop, and the tests.

Hyper-parameters are computed before the run and handed to the compiled step one by one (see `smith.train.step`).
"""

import contextlib
import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from smith.run import Run
from smith.schedules import Schedule
from smith.train import checkpoints
from smith.train.checkpoints import Checkpoint, Keeper
from smith.train.step import Problem, Program, checked, program_of

Tree = Any  # a pytree of arrays
Row = dict[str, float]  # one test: a value for each column of the result

EVALUATION_BATCH = 500  # images; small enough for a CPU's cache, and a divisor of 10,000
STEPS_AHEAD = {"cpu": 2}  # how many steps the loop may run ahead of the device, so that Ctrl-C is heard; elsewhere 64
NOISE, TEST_NOISE = 2**31 - 1, 2**31 - 2  # where a seed's streams for training and for tests begin; no epoch has these
DISPLAY_EVERY = 20  # iterations between two reports of progress


@dataclass(frozen=True)
class Outcome:
    """What a run came to: a row for every test, and how it ended."""

    rows: list[Row] = field(default_factory=list)
    status: str = "done"  # or "diverged", or "stopped" before its end
    non_finite: list[str] = field(default_factory=list)  # parameters and batch statistics that were not finite
    seconds: float = 0.0  # of training and testing, without the first iteration
    compile_seconds: float = 0.0  # to the end of the first iteration
    training_seconds: float = 0.0  # of `seconds`, without the tests
    timed_iterations: float = 0.0  # that `training_seconds` were spent on


def hyperparameters(run: Run) -> np.ndarray:
    """Returns learning rate, momentum and weight decay of every iteration: (iterations + 1, 3) float32."""
    return np.stack([_values(s, run.iterations, run.iterations_per_epoch) for s in run.schedules()], axis=1)


@functools.lru_cache(maxsize=256)
def _values(schedule: Schedule, iterations: int, iterations_per_epoch: float) -> np.ndarray:
    """Returns a schedule at every iteration. Kept: each is compiled, and curves and seeds share most."""
    steps = jnp.arange(iterations + 1)
    return np.asarray(jax.jit(jax.vmap(schedule.build(iterations, iterations_per_epoch)))(steps))


def test_iterations(run: Run) -> set[int]:
    """Returns the iterations after which the run is tested: every `test_every`, and at its end.

    A run that starts from a snapshot is tested there too, as the author's are.
    """
    first, last = run.first_iteration, run.iterations
    every = run.count(run.test_every)
    regular = {t for t in range(every, last, every) if t > first}
    return regular | {last} | ({first} if run.start else set())


class Batches:
    """Where each iteration's images are: the training set is shuffled for every epoch and read without a gap.

    The order depends on (seed, epoch) alone. A batch may end one epoch and begin the next.
    """

    def __init__(self, program: Program, seed: int, n: int, batch_size: int) -> None:
        self._order = lambda epoch: program.order(jax.random.fold_in(jax.random.key(seed), epoch), n)
        self._n, self._batch_size = n, batch_size
        self._epoch, self._orders = -1, jnp.zeros(())

    def at(self, iteration: int) -> tuple[Array, int]:
        """Returns ((2, N) order of the iteration's epoch and of the next, index of its first image in them)."""
        epoch, first = divmod(iteration * self._batch_size, self._n)
        if epoch != self._epoch:
            following = self._orders[1] if epoch == self._epoch + 1 and self._epoch >= 0 else self._order(epoch)
            self._epoch, self._orders = epoch, jnp.stack([following, self._order(epoch + 1)])
        return self._orders, first


def test(
    program: Program,
    state: Tree,
    problem: Problem,
    images: int | None,
    window: tuple[int, Array] | None = None,
    stop: Callable[[float], bool] = lambda _: False,
) -> tuple[float, float] | None:
    """Returns (mean loss in nats, accuracy as a fraction) over the first `images` test images, or all of them.

    Args:
      window: (which test this is, key), for one that goes on where the last test ended, on images mirrored at random.
      stop: asked before every batch with the seconds the last one took; if it says so there is no test, and None.
    """
    data = (problem.test_images, problem.test_labels, problem.mean)
    total = min(images or len(problem.test_images), len(problem.test_images))
    number, key = window or (0, None)
    sums, pace = np.zeros(2), Pace()
    for done in range(0, total, EVALUATION_BATCH):  # one batch at a time, so that a test can be stopped
        if stop(pace.turn()):
            return None
        first = number * total + done
        sums += np.asarray(program.evaluate(state, data, first, min(EVALUATION_BATCH, total - done), key))
    loss, accuracy = sums / total
    return float(loss), float(accuracy)


class Watcher(Protocol):
    """What `train` tells about its progress (see `smith.train.progress.Display`)."""

    def resumed(self, iteration: int) -> None:
        """The run goes on from a checkpoint at this iteration."""

    def iterated(self, iteration: int, loss: float) -> None:
        """`iteration` iterations are done; `loss` is the training loss of the last one."""

    def testing(self) -> None:
        """A test begins."""

    def tested(self, row: Row) -> None:
        """A test was made."""

    def warn(self, message: str) -> None:
        """Something that a person should see."""


class Silent(Watcher):
    """Tells nobody."""


SILENT = Silent()


def train(
    run: Run,
    seed: int,
    problem: Problem,
    *,
    watcher: Watcher = SILENT,
    start: Path | None = None,
    snapshots: Mapping[int, Path] | None = None,
    until: int | None = None,
    keeper: Keeper | None = None,
    stop: Callable[[float], bool] = lambda _: False,
) -> Outcome:
    """Trains one run with one seed.

    Args:
      problem: the run's dataset, on the device.
      watcher: told about progress.
      start: the checkpoint of `run.start`, if the run has one.
      snapshots: where to save the state after which iterations.
      until: stops there instead of at the run's end.
      keeper: keeps checkpoints. If it has one already the run goes on from there, and ends as it would have without.
      stop: asked in every iteration whether to stop, given the seconds that the next one and those under way may take.

    Returns:
      A row for every test. A run whose test or training loss or whose parameters are not finite ends there, as
      "diverged"; one that was stopped is "stopped", and its checkpoint is written.

    Raises:
      DamagedCheckpoint, UserError: `start` can not be used (see `smith.train.checkpoints.load`).
    """
    snapshots, program = snapshots or {}, program_of(run)
    end = run.iterations if until is None else until
    begin = _beginning(run, seed, program, start, keeper, watcher, latest=min(snapshots, default=end))
    state, rows, last_test = begin.state, list(begin.rows), begin.last_test
    hyper, tests = hyperparameters(run), test_iterations(run)
    batches = Batches(program, seed, len(problem.train_images), run.batch_size)
    data = (problem.train_images, problem.train_labels, problem.mean)
    noise = jax.random.fold_in(jax.random.key(seed), NOISE)
    ahead = deque(maxlen=STEPS_AHEAD.get(jax.default_backend(), 64))
    clock, pace = Clock(begin.timing), Pace()

    def here(t: int) -> Checkpoint:
        return Checkpoint(run, seed, t, state, rows, last_test, clock.read(t - begin.iteration))

    def outcome(t: int, status: str, non_finite: list[str]) -> Outcome:
        return Outcome(rows, status, non_finite, **clock.read(t - begin.iteration))

    for t in range(begin.iteration, end + 1):
        if t in snapshots:
            checkpoints.save(snapshots[t], here(t))
        stopped = False
        if t in tests and not (rows and rows[-1]["iteration"] == t):
            watcher.testing()
            with clock.testing(state):
                row = _row(run, seed, t, hyper[t], program, state, problem, since=t - last_test, stop=stop)
            stopped = row is None
            if row is not None:
                rows.append(row)
                watcher.tested(row)
                if (non_finite := _non_finite(program, state)) or diverged(row):
                    return outcome(t, "diverged", non_finite)
                state, last_test = {**state, "loss_sum": jnp.zeros(())}, t
            pace.interrupted()
        if t == end and not stopped:
            break
        if stopped or stop(pace.turn() * (len(ahead) + 1)):
            if keeper and t > begin.iteration:
                keeper.keep(here(t), wait=True)
            return outcome(t, "stopped", [])
        if keeper and keeper.due():
            keeper.keep(here(t))
        orders, index = batches.at(t)
        if len(ahead) == ahead.maxlen:
            ahead[0].block_until_ready()
        if ahead and t % DISPLAY_EVERY == 0:
            watcher.iterated(t, float(ahead[0]))
        state, loss = program.step(state, data, orders, np.array([index, t], np.int32), hyper[t], noise)
        ahead.append(loss)
        if t == begin.iteration:
            loss.block_until_ready()
            clock.compiled()
            pace = Pace()
    return outcome(end, "done", [])


def _beginning(
    run: Run,
    seed: int,
    program: Program,
    start: Path | None,
    keeper: Keeper | None,
    watcher: Watcher,
    latest: int,
) -> Checkpoint:
    """Returns where a run begins: at its newest checkpoint, at the snapshot it starts from, or with new parameters."""
    state = program.init(seed)
    found = keeper.newest(run, seed, state, latest, watcher.warn) if keeper else None
    if found:
        watcher.resumed(found.iteration)
        return replace(found, state=jax.device_put(found.state))
    if start:
        assert run.start
        state = jax.device_put(checkpoints.load(start, run.start.run, seed, state).state)
    return Checkpoint(run, seed, run.first_iteration, state, last_test=run.first_iteration)


class Pace:
    """How long the turns of a loop take."""

    def __init__(self) -> None:
        self._last, self._seconds = 0.0, 0.0

    def turn(self) -> float:
        """A turn begins. Returns how many seconds one takes: the last, or less recent ones if they took longer."""
        now = time.perf_counter()
        if self._last:
            self._seconds = max(now - self._last, 0.8 * self._seconds)
        self._last = now
        return self._seconds

    def interrupted(self) -> None:
        """Something was done that does not belong to a turn."""
        self._last = time.perf_counter()


class Clock:
    """Measures how long a run takes, apart from its first iteration, which is mostly compilation, and its tests."""

    def __init__(self, before: Mapping[str, float]) -> None:
        """before: what `read` returned when the run was stopped that goes on now."""
        self._before = before
        self._start = self._running = time.perf_counter()
        self._tests = 0.0

    def compiled(self) -> None:
        """The first iteration is done."""
        self._running, self._tests = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def testing(self, state: Tree) -> Iterator[None]:
        """Measures a test, which begins when `state` has been computed."""
        jax.block_until_ready(state)
        before = time.perf_counter()
        yield
        self._tests += time.perf_counter() - before

    def read(self, iterations: int) -> dict[str, float]:
        """Returns the fields of `Outcome` that have to do with time, after so many iterations."""
        seconds = time.perf_counter() - self._running
        spent = {
            "seconds": seconds,
            "compile_seconds": self._running - self._start,
            "training_seconds": seconds - self._tests,
            "timed_iterations": max(0, iterations - 1),
        }
        return {name: value + self._before.get(name, 0.0) for name, value in spent.items()}


def _row(
    run: Run,
    seed: int,
    t: int,
    hyper: np.ndarray,
    program: Program,
    state: Tree,
    problem: Problem,
    since: int,
    stop: Callable[[float], bool],
) -> Row | None:
    window = (t // run.count(run.test_every), jax.random.fold_in(jax.random.key(seed), TEST_NOISE))
    tested = test(program, state, problem, run.test_images, window if run.moving_test else None, stop)
    if tested is None:
        return None
    lr, momentum, weight_decay = map(float, hyper)
    return {
        "iteration": t,
        "epoch": t / run.iterations_per_epoch,
        "learning_rate": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "train_loss": float(state["loss_sum"]) / since if since else math.nan,
        "test_loss": tested[0],
        "test_accuracy": tested[1],
    }


def _non_finite(program: Program, state: Tree) -> list[str]:
    """Returns the names of the parameters and batch statistics that have a value that is not finite."""
    finite = np.asarray(program.finite(state))
    return [name for name, good in zip(checkpoints.names(checked(state)), finite, strict=True) if not good]


def diverged(row: Row) -> bool:
    """Says whether a test shows a loss that is not finite. At a run's first iteration there is no training loss."""
    return not math.isfinite(row["test_loss"]) or math.isinf(row["train_loss"])
