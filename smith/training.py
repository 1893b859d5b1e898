"""Training: the step, the loop, the evaluation.

The compiled step takes the hyper-parameters as arguments and the dataset as resident uint8 arrays, so that one
compilation serves every curve of the same network and batch size, and nothing is copied or waited for between tests.
"""

import contextlib
import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from smith import checkpoints, networks, optimizer
from smith.data import DATASETS, Arrays, mean_image
from smith.networks import Options
from smith.run import Run

Tree = Any  # a pytree of arrays
Row = dict[str, float]  # one test: a value for each column of the result

EVALUATION_BATCH = 500  # images; small enough for a CPU's cache, and a divisor of 10,000
CACHED_BATCH = 64  # images of which a CPU computes the gradient at once
STEPS_AHEAD = {"cpu": 2}  # how many steps the loop may run ahead of the device, so that Ctrl-C is heard; elsewhere 64
NOISE, TEST_NOISE = 2**31 - 1, 2**31 - 2  # where a seed's streams for training and for tests begin; no epoch has these
DISPLAY_EVERY = 20  # iterations between two reports of progress


@dataclass(frozen=True)
class Problem:
    """A dataset on the device.

    train_images: (N, height, width, channels) uint8; train_labels: (N,) uint8; likewise for the test
    mean: (height, width, channels) float32, the mean training image
    """

    name: str
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    mean: Array

    @classmethod
    def put(cls, name: str, train: Arrays, test: Arrays) -> "Problem":
        """Copies a dataset to the device."""
        host = (train.images, train.labels, test.images, test.labels, mean_image(train.images))
        return cls(name, *jax.device_put(host))


@dataclass(frozen=True)
class Outcome:
    """What a run came to: a row for every test, and how it ended."""

    rows: list[Row] = field(default_factory=list)
    status: str = "done"  # or "diverged"
    seconds: float = 0.0  # of training and testing, without the first iteration
    compile_seconds: float = 0.0  # to the end of the first iteration
    training_seconds: float = 0.0  # of `seconds`, without the tests


@dataclass(frozen=True)
class Program:
    """The compiled functions for one network, number of classes, solver, batch size and so on (see `compiled`).

    A state is a dictionary: `params`, `rest` (batch statistics), `velocity`, and `loss_sum` since the last test.
    """

    init: Callable[[int], Tree]  # seed -> state
    step: Callable[..., tuple[Tree, Array]]
    order: Callable[[Array, int], Array]
    evaluate: Callable[..., Array]


def preprocess(network: str, images: Array, mean: Array) -> Array:
    """Returns float32 images as in the author's network files: the mean image subtracted, or divided by 256."""
    if networks.info(network).preprocessing == "mean_image":
        return images.astype(jnp.float32) - mean
    return images.astype(jnp.float32) / 256


def mirrored(images: Array, key: Array) -> Array:
    """Returns the images, each mirrored from left to right or not, at random."""
    chosen = jax.random.bernoulli(key, 0.5, (len(images),))
    return jnp.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Returns the softmax cross-entropy of every image, in nats. logits: (batch, classes); labels: (batch,) uint8."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels.astype(jnp.int32))


def program_of(run: Run) -> Program:
    """Returns the program of a run, which it shares with all runs that differ in hyper-parameters and lengths only."""
    classes = DATASETS[run.data].classes
    return compiled(run.network, classes, run.solver, run.batch_size, run.options, run.mirror)


@functools.cache
def compiled(network: str, classes: int, solver: str, batch_size: int, options: Options, mirror: bool) -> Program:
    """Returns the program that every run with these six shares. Hyper-parameters are arguments of its step."""
    info = networks.info(network)
    graphdef, example, _ = networks.create(network, 0, classes, options)
    named = (info.lr_multipliers, info.decay_multipliers)
    factors = [optimizer.multipliers(example, multipliers) for multipliers in named]
    update: Any = optimizer.caffe(*factors, nesterov=solver == "nesterov").update

    def init(seed: int) -> Tree:
        _, params, rest = networks.create(network, seed, classes, options)
        velocity = jax.tree.map(jnp.zeros_like, params)
        return {"params": params, "rest": rest, "velocity": velocity, "loss_sum": jnp.zeros(())}

    def loss_of(params: Tree, rest: Tree, images: Array, labels: Array, key: Array) -> tuple[Array, Tree]:
        """Returns the sum of the images' losses over the batch size, and the batch statistics."""
        logits, rest = networks.apply(graphdef, params, rest, images, train=True, key=key)
        return cross_entropy(logits, labels).sum() / batch_size, rest

    def gradient(params: Tree, rest: Tree, images: Array, labels: Array, key: Array) -> tuple[Array, Tree, Tree]:
        """Returns (loss, batch statistics, gradient), added up over parts of the batch that stay in a CPU's cache."""
        parts = 1 if rest or jax.default_backend() != "cpu" else -(-batch_size // CACHED_BATCH)
        total = None
        for part in zip(jnp.array_split(images, parts), jnp.array_split(labels, parts), strict=True):
            (loss, rest), grads = jax.value_and_grad(loss_of, has_aux=True)(params, rest, *part, key)
            total = (loss, grads) if total is None else jax.tree.map(jnp.add, total, (loss, grads))
        assert total
        return total[0], rest, total[1]

    compiler_options = networks.compiler_options()

    @functools.partial(jax.jit, donate_argnums=0, compiler_options=compiler_options)
    def step(
        state: Tree, data: tuple[Array, Array, Array], orders: Array, at: Array, hyper: Array, key: Array
    ) -> tuple[Tree, Array]:
        """One iteration. orders: (2, N), of this epoch and the next; at: (first image, iteration); hyper: lr, m, wd."""
        images, labels, mean = data
        chosen = jax.lax.dynamic_slice(orders.reshape(-1), at[:1], (batch_size,))
        noise, flips = jax.random.split(jax.random.fold_in(key, at[1]))
        inputs = preprocess(network, images[chosen], mean)
        if mirror:
            inputs = mirrored(inputs, flips)
        loss, rest, grads = gradient(state["params"], state["rest"], inputs, labels[chosen], noise)
        lr, momentum, weight_decay = hyper
        velocity = optimizer.CaffeState(state["velocity"])
        updates, (velocity,) = update(
            grads, velocity, state["params"], lr=lr, momentum=momentum, weight_decay=weight_decay
        )
        params = optax.apply_updates(state["params"], updates)
        loss_sum = state["loss_sum"] + loss
        return {"params": params, "rest": rest, "velocity": velocity, "loss_sum": loss_sum}, loss

    @functools.partial(jax.jit, static_argnums=1)
    def order(key: Array, n: int) -> Array:
        """Returns a shuffled order of n training images."""
        return jax.random.permutation(key, n)

    @functools.partial(jax.jit, static_argnums=3, compiler_options=compiler_options)
    def evaluate(
        state: Tree, data: tuple[Array, Array, Array], first: int, size: int, key: Array | None = None
    ) -> Array:
        """Returns (sum of losses, number correct) of `size` test images from `first` on, round the end.

        With a key the images are mirrored at random.
        """
        params, rest, (images, labels, mean) = state["params"], state["rest"], data
        chosen = (first + jnp.arange(size)) % len(labels)
        targets, inputs = labels[chosen], preprocess(network, images[chosen], mean)
        if key is not None:
            inputs = mirrored(inputs, jax.random.fold_in(key, first))
        logits, _ = networks.apply(graphdef, params, rest, inputs, train=False)
        return jnp.stack([cross_entropy(logits, targets).sum(), (logits.argmax(-1) == targets).sum()])

    return Program(init, step, order, evaluate)


def hyperparameters(run: Run) -> np.ndarray:
    """Returns learning rate, momentum and weight decay of every iteration: (iterations + 1, 3) float32."""
    steps = jnp.arange(run.iterations + 1)
    columns = [jax.jit(jax.vmap(s.build(run.iterations, run.iterations_per_epoch)))(steps) for s in run.schedules()]
    return np.stack(jax.device_get(columns), axis=1)


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
    program: Program, state: Tree, problem: Problem, images: int | None, window: tuple[int, Array] | None = None
) -> tuple[float, float]:
    """Returns (mean loss in nats, accuracy as a fraction) over the first `images` test images, or all of them.

    window: (which test this is, key), for one that goes on where the last test ended, on images mirrored at random
    """
    data = (problem.test_images, problem.test_labels, problem.mean)
    total = min(images or len(problem.test_images), len(problem.test_images))
    number, key = window or (0, None)
    sums = np.zeros(2)
    for done in range(0, total, EVALUATION_BATCH):  # one batch at a time: Ctrl-C is heard between them
        first = number * total + done
        sums += np.asarray(program.evaluate(state, data, first, min(EVALUATION_BATCH, total - done), key))
    loss, accuracy = sums / total
    return float(loss), float(accuracy)


class Watcher(Protocol):
    """What `train` tells about its progress (see `smith.progress.Display`)."""

    def iterated(self, iteration: int, loss: float) -> None:
        """`iteration` iterations are done; `loss` is the training loss of the last one."""

    def tested(self, row: Row) -> None:
        """A test was made."""


def train(
    run: Run,
    seed: int,
    problem: Problem,
    *,
    watcher: Watcher | None = None,
    start: Path | None = None,
    snapshots: Mapping[int, Path] | None = None,
    until: int | None = None,
) -> Outcome:
    """Trains one run with one seed.

    Args:
      problem: the run's dataset, on the device.
      watcher: told about progress.
      start: the checkpoint of `run.start`, if the run has one.
      snapshots: where to save the state after which iterations.
      until: stops there instead of at the run's end.

    Returns:
      A row for every test. A run whose test or training loss is not finite ends there, as "diverged".
    """
    snapshots = snapshots or {}
    program = program_of(run)
    state = program.init(seed)
    if start:
        state = checkpoints.load(start, state)
    hyper, tests = hyperparameters(run), test_iterations(run)
    batches = Batches(program, seed, len(problem.train_images), run.batch_size)
    data = (problem.train_images, problem.train_labels, problem.mean)
    noise = jax.random.fold_in(jax.random.key(seed), NOISE)
    ahead = deque(maxlen=STEPS_AHEAD.get(jax.default_backend(), 64))
    first = last_test = run.first_iteration
    rows: list[Row] = []
    clock = Clock()
    end = run.iterations if until is None else until
    for t in range(first, end + 1):
        if t in snapshots:
            checkpoints.save(snapshots[t], state)
        if t in tests:
            with clock.testing(state):
                rows.append(_row(run, seed, t, hyper[t], program, state, problem, since=t - last_test))
            if watcher:
                watcher.tested(rows[-1])
            state, last_test = {**state, "loss_sum": jnp.zeros(())}, t
            if diverged(rows[-1]):
                return Outcome(rows, "diverged", *clock.read())
        if t == end:
            break
        orders, index = batches.at(t)
        if len(ahead) == ahead.maxlen:
            ahead[0].block_until_ready()
        if watcher and ahead and t % DISPLAY_EVERY == 0:
            watcher.iterated(t, float(ahead[0]))
        state, loss = program.step(state, data, orders, np.array([index, t], np.int32), hyper[t], noise)
        ahead.append(loss)
        if t == first:
            loss.block_until_ready()
            clock.compiled()
    return Outcome(rows, "done", *clock.read())


class Clock:
    """Measures how long a run takes, apart from its first iteration, which is mostly compilation, and its tests."""

    def __init__(self) -> None:
        self._start = self._running = time.perf_counter()
        self._tests = 0.0

    def compiled(self) -> None:
        """The first iteration is done."""
        self._running = time.perf_counter()

    @contextlib.contextmanager
    def testing(self, state: Tree) -> Iterator[None]:
        """Measures a test, which begins when `state` has been computed."""
        jax.block_until_ready(state)
        before = time.perf_counter()
        yield
        self._tests += time.perf_counter() - before

    def read(self) -> tuple[float, float, float]:
        """Returns seconds since the first iteration, until then, and the former without tests."""
        seconds = time.perf_counter() - self._running
        return seconds, self._running - self._start, seconds - self._tests


def _row(
    run: Run, seed: int, t: int, hyper: np.ndarray, program: Program, state: Tree, problem: Problem, since: int
) -> Row:
    window = (t // run.count(run.test_every), jax.random.fold_in(jax.random.key(seed), TEST_NOISE))
    test_loss, test_accuracy = test(program, state, problem, run.test_images, window if run.moving_test else None)
    lr, momentum, weight_decay = map(float, hyper)
    return {
        "iteration": t,
        "epoch": t / run.iterations_per_epoch,
        "learning_rate": lr,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "train_loss": float(state["loss_sum"]) / since if since else math.nan,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
    }


def diverged(row: Row) -> bool:
    """Says whether a test shows a loss that is not finite. At a run's first iteration there is no training loss."""
    return not math.isfinite(row["test_loss"]) or math.isinf(row["train_loss"])
