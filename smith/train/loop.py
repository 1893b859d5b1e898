"""The training loop: a generator that yields after every iteration, and a row of numbers at every test.

It trains and tests, and nothing else: timing, display, checkpoints and stopping are its caller's. To stop it, ask it
for no more points. To go on later, give it the last point back.
"""

import functools
import math
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from smith import data
from smith.errors import UserError
from smith.metrics import ALWAYS, METRICS
from smith.run import Run
from smith.schedules import Schedule
from smith.train import devices, feed, optim, step
from smith.train.step import Problem, Program, TrainState

Tree = Any  # a pytree of arrays
Row = dict[str, float]  # one test: a value for each column of the result

EVALUATION_BATCH = 500  # images; small enough for a CPU's cache, and a divisor of 10,000


class Point(NamedTuple):
    """Where a run is.

    iteration: iterations done
    state: valid until the next point is asked for, which uses its memory: copy what you want to keep
    last_test: the iteration of the last test, if there was one; the training loss is summed since then
    loss: () float32 on the device, the training loss of the last iteration, in nats; reading it waits for that
    testing: whether a batch of a test comes next
    row: what a test measured, at the first point after it
    diverged: names of the losses, parameters and batch statistics that the test found not finite; the run ends there

    A checkpoint needs the first three. One of a point before a test will make the test; one of a point after it won't.
    """

    iteration: int
    state: TrainState
    last_test: int | None = None
    loss: Array | None = None
    testing: bool = False
    row: Row | None = None
    diverged: tuple[str, ...] = ()


def train(
    run: Run, seed: int, problem: Problem | feed.Streamed, begin: Point | None = None, until: int | None = None
) -> Iterator[Point]:
    """Trains one run with one seed.

    Yields a point after each iteration. At a test it yields further ones: one before every batch of test images
    (`testing`), and one with the row. A point whose `diverged` is not empty is the last.

    Args:
      problem: the run's dataset, on the device or streamed to it.
      begin: goes on from there, and ends as it would have without the interruption. The arrays may be NumPy's. None
        for freshly drawn parameters. A run with a `start` needs the point of its snapshot, with no `last_test`.
      until: ends there instead of at the run's end.

    Raises:
      ValueError: a run that starts from a snapshot, and no `begin`.
      UserError: tests that need training images (schedule-free solvers, sharpness), and a dataset that is streamed; a
        schedule-free solver without a constant momentum; a file of the images' order that can not be read.
    """
    program, keys = step.program_of(run), step.keys_of(seed)
    if run.start and not begin:
        raise ValueError(f"{run.key} starts from a snapshot: give its point as `begin`")
    point = begin or Point(0, step.init(program, keys.init))
    point = Point(point.iteration, jax.tree.map(jnp.array, point.state), point.last_test)  # a copy, to be used up
    hyper, tests, end = hyperparameters(run), set(run.when_tested()), run.iterations if until is None else until
    averages = optim.averages(point.state.opt_state)
    if (averages or program.summed != list(program.metrics)) and isinstance(problem, feed.Streamed):
        raise UserError(f"{run.key}: its tests need training images, and {run.data} does not lie in memory")
    if averages and not 0 < hyper[:, 1].min() == hyper[:, 1].max():
        raise UserError(f"momentum {run.momentum}: the solver {run.solver} needs a constant one above 0")
    stored = data.stored_order(run.selection, len(problem.train_labels)) if run.order == "stored" else None
    batch_at = feed.batches(problem, keys.order, run.batch_size, stored)
    ahead: deque[Array] = deque()
    # Steps that the loop may be ahead of the devices: few, so that a stop is heard. The followers count on it too.
    most_ahead = 2 if program.on_cpu or devices.count() > 1 else 64
    while True:
        t = point.iteration
        if t in tests and point.last_test != t:
            point = yield from make_test(run, program, problem, point, hyper[t])
        if point.diverged or t >= end:
            return
        state, loss = step.train_step(program, point.state, *batch_at(t), t, hyper[t], keys.noise)
        ahead.append(loss)
        if len(ahead) > most_ahead:
            ahead.popleft().block_until_ready()
        point = Point(t + 1, state, point.last_test, loss)
        yield point


def hyperparameters(run: Run) -> np.ndarray:
    """Returns learning rate, momentum and weight decay of every iteration: (iterations + 1, 3) float32."""
    return np.stack([_values(s, run.iterations, run.iterations_per_epoch) for s in run.schedules()], axis=1)


@functools.lru_cache(maxsize=256)
def _values(schedule: Schedule, iterations: int, iterations_per_epoch: float) -> np.ndarray:
    """Returns a schedule at every iteration. Kept: each is compiled, and curves and seeds share most."""
    steps = jnp.arange(iterations + 1)
    return np.asarray(jax.jit(jax.vmap(schedule.build(iterations, iterations_per_epoch)))(steps))


def make_test(
    run: Run, program: Program, problem: Problem | feed.Streamed, point: Point, hyper: np.ndarray
) -> Generator[Point, None, Point]:
    """Makes a test: yields `point` before every batch of images, then the point with the row, and returns that."""
    t, state = point.iteration, point.state
    total = min(run.test_images or len(problem.test_labels), len(problem.test_labels))
    sums = np.zeros(len(program.summed))
    seen: Any = step.tested(program, state, problem, float(hyper[1]))  # pyright: ignore[reportArgumentType]
    batch = EVALUATION_BATCH * devices.count()
    for done in range(0, total, batch):
        yield point._replace(testing=True)
        size = min(batch, total - done)
        images = feed.test_batch(problem, done, size)
        sums += np.asarray(step.eval_step(program, seen, images, done, size))
    product = functools.partial(step.hessian_product, program, seen, problem)
    others = [METRICS[name] for name in program.metrics if name not in program.summed]
    since = t - (run.first_iteration if point.last_test is None else point.last_test)
    row = {
        "iteration": t,
        "epoch": t / run.iterations_per_epoch,
        **dict(zip(("learning_rate", "momentum", "weight_decay"), map(float, hyper), strict=True)),
        "train_loss": float(state.loss_sum) / since if since else math.nan,
        **dict.fromkeys(ALWAYS, math.nan),  # without classes there is no accuracy
        **dict(zip(program.summed, (sums / total).tolist(), strict=True)),
        **{one.name: float(one.function(product, seen.params)) for one in others if one.function},
    }
    losses = [name for name in ("train_loss", "test_loss")[not since :] if not math.isfinite(row[name])]
    if run.give_up is not None and row["test_loss"] > run.give_up:
        losses = losses or ["test_loss"]
    arrays = {"params": state.params, "rest": state.rest}
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree.leaves_with_path(arrays)]
    fine = np.asarray(step.finite(arrays))
    diverged = (*losses, *(path for path, is_fine in zip(paths, fine, strict=True) if not is_fine))
    state = state._replace(loss_sum=jnp.zeros(()))
    point = Point(t, state, last_test=t, loss=point.loss, row=row, diverged=diverged)
    yield point
    return point
