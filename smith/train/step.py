"""The training step and the test: compiled once for all runs that differ in hyper-parameters and lengths only.

The hyper-parameters are arguments of the step, and the dataset lies on the device as uint8, so that nothing is copied
or waited for between tests.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from smith import networks
from smith.data import DATASETS, Arrays
from smith.errors import UserError
from smith.metrics import ALWAYS, METRICS, cross_entropy, total
from smith.networks import Options
from smith.run import Run
from smith.train import devices, optim

Tree = Any  # a pytree of arrays


class Keys(NamedTuple):
    """The random streams of a seed: initial parameters, order of the images, noise in training."""

    init: Array
    order: Array
    noise: Array


def keys_of(seed: int) -> Keys:
    """Returns the keys of a seed, split once."""
    return Keys(*jax.random.split(jax.random.key(seed), len(Keys._fields)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """A dataset on the device.

    train_images: (N, height, width, channels) uint8; train_labels: (N,) int32; likewise for the test
    mean: (height, width, channels) float32, the mean training image
    preprocessing: see `smith.data.DatasetInfo`

    Examples that are no images may have any shape and type.
    """

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array
    mean: Array
    preprocessing: str = field(metadata={"static": True})

    @classmethod
    def put(cls, name: str, train: Arrays, test: Arrays) -> "Problem":
        """Copies a dataset to the device. name: in `smith.data.DATASETS`."""
        info, mean = DATASETS[name], np.zeros(())
        if info.preprocessing != "as_it_is":
            mean = train.images.mean(axis=0, dtype=np.float64)  # the sum is exact in float64
        labels = [split.labels.astype(np.int32) if info.classes else split.labels for split in (train, test)]
        host: Any = train.images, labels[0], test.images, labels[1], mean.astype(np.float32)
        return cls(*[devices.put(array, devices.layout()) for array in host], preprocessing=info.preprocessing)

    def preprocess(self, images: Array) -> Array:
        """Returns what the network sees: (batch, height, width, channels) uint8 -> the same float32."""
        if self.preprocessing == "as_it_is":
            return images
        images = images.astype(jnp.float32)
        if self.preprocessing == "divide_256":
            return images / 256
        return images - self.mean if self.preprocessing == "mean_image" else images


@dataclass(frozen=True)
class Program:
    """What is compiled: runs with equal programs share their step and test. Hyper-parameters are not part of it.

    parts: into how many a CPU cuts a batch, so that what it computes stays in its cache; else 1
    metrics: what a test measures, in the order of its sums
    on_cpu: whether it is for a CPU, which has faster layers of its own (see `smith.networks.cpu`)
    loss: of the training and of `test_loss`
    crop: side of the square that is cut out of each image
    """

    network: str
    classes: int
    solver: str
    batch_size: int
    options: Options
    mirror: bool
    metrics: tuple[str, ...]
    parts: int
    on_cpu: bool = False
    loss: Callable[[Array, Array], Array] = cross_entropy
    crop: int | None = None

    @property
    def summed(self) -> list[str]:
        """The metrics that are sums over the test images."""
        return [name for name in self.metrics if METRICS[name].of == "outputs"]

    @property
    def graphdef(self) -> Any:
        """The network's structure."""
        return _graphdef(self.network, self.classes, self.options)

    def call(self, params: Tree, rest: Tree, images: Array, fast: bool = True, **more: Any) -> tuple[Array, Tree]:
        """Runs the network, as `smith.networks.apply` does. fast: a CPU takes its faster layers."""
        own = {"fast_cpu": fast and self.on_cpu, "precision": self.options.precision}
        return networks.apply(self.graphdef, params, rest, images, **own, **more)

    def optimizer(self, hyper: Array) -> optax.GradientTransformation:
        """The solver with the network's multipliers. hyper: (3,) float32, learning rate, momentum and weight decay."""
        info, factory = networks.info(self.network), optim.SOLVERS[self.solver]
        return factory(*hyper, lr_multipliers=info.lr_multipliers, decay_multipliers=info.decay_multipliers)


def program_of(run: Run) -> Program:
    """Returns the program of a run on the device in use."""
    dataset, classes = DATASETS[run.data], run.class_count
    metrics = (*ALWAYS[: 2 if dataset.classes else 1], *run.metrics)  # only of classes there is an accuracy
    loss = dataset.loss or cross_entropy
    on_cpu = platform() == "cpu"
    alone = on_cpu and devices.count() == 1
    parts = -(-run.batch_size // networks.info(run.network).cached_batch) if alone else 1
    settings = run.network, classes, run.solver, run.batch_size, run.options, run.mirror
    return Program(*settings, metrics, parts, on_cpu, loss, run.crop)


def platform() -> str:
    """Returns the platform of the devices in use, such as "cpu"."""
    device, *_ = jnp.zeros(()).devices()
    return device.platform


@functools.cache
def flops(network: str, classes: int, options: Options) -> float:
    """Returns the FLOP of training on one image: three times those of the network's call, by XLA's count.

    options: with the shape of the images
    """
    shapes = jax.eval_shape(lambda key: networks.create(network, key, classes, options), jax.random.key(0))
    graphdef, params, rest = shapes  # no parameters are drawn
    images = jax.ShapeDtypeStruct((1, *(options.image_shape or ())), jnp.float32)
    call = jax.jit(lambda *arrays: networks.apply(graphdef, *arrays, train=False)[0])
    cost: Any = call.lower(params, rest, images).cost_analysis()
    return 3 * cost["flops"]


@functools.cache
def _graphdef(network: str, classes: int, options: Options) -> Any:
    return networks.create(network, jax.random.key(0), classes, options)[0]


class TrainState(NamedTuple):
    """What a step changes.

    params: the parameters; rest: the batch statistics; both nested dictionaries of arrays
    opt_state: what the solver remembers
    loss_sum: () float32, the training losses since the last test
    """

    params: Tree
    rest: Tree
    opt_state: optax.OptState
    loss_sum: Array


def init(program: Program, key: Array) -> TrainState:
    """Returns a state with freshly drawn parameters."""
    _, params, rest = networks.create(program.network, key, program.classes, program.options)
    optimizer = program.optimizer(jnp.zeros(3))
    if not isinstance(optimizer, optax.GradientTransformation):
        raise UserError(f"solver {program.solver} gives a {type(optimizer).__name__}: give an Optax transformation")
    state = optimizer.init(params)
    if optim.injects(state):
        raise UserError(
            f"solver {program.solver}: leave optax.inject_hyperparams out: every iteration's values are given to it"
        )
    return TrainState(params, rest, state, jnp.zeros(()))


def mirrored(images: Array, key: Array) -> Array:
    """Returns the images, each mirrored from left to right or not, at random."""
    chosen = jax.random.bernoulli(key, 0.5, (len(images),))
    return jnp.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def cropped(images: Array, side: int, key: Array | None) -> Array:
    """Returns a square out of each image: from a place drawn at random, or without a key from the middle."""
    room = [length - side for length in images.shape[1:3]]
    if key is None:
        top, left = room[0] // 2, room[1] // 2
        return images[:, top : top + side, left : left + side]
    corners = jax.random.randint(key, (len(images), 2), 0, jnp.array(room) + 1)
    cut = functools.partial(jax.lax.dynamic_slice, slice_sizes=(side, side, images.shape[3]))
    return jax.vmap(lambda image, corner: cut(image, (*corner, 0)))(images, corners)


def loss_fn(params: Tree, rest: Tree, program: Program, images: Array, labels: Array, key: Array) -> tuple[Array, Tree]:
    """Returns the sum of the images' losses over the batch size, and the batch statistics."""
    logits, rest = program.call(params, rest, images, train=True, key=key)
    shape = getattr(logits, "shape", ())
    if program.classes and shape[-1:] != (program.classes,):
        told = shape or f"a {type(logits).__name__}"
        raise UserError(
            f"network {program.network} gives {told}: give (batch, {program.classes}), a number for each class"
        )
    return total(program.loss, logits, labels) / program.batch_size, rest


def gradient(
    params: Tree, rest: Tree, program: Program, images: Array, labels: Array, key: Array
) -> tuple[Array, Tree, Tree]:
    """Returns (loss, batch statistics, gradient), added up over the parts of a batch.

    Each part draws its own noise. Where there are batch statistics the batch stays whole.
    """
    parts = 1 if jax.tree.leaves(rest) else program.parts
    total = None
    for k, part in enumerate(zip(jnp.array_split(images, parts), jnp.array_split(labels, parts), strict=True)):
        noise = jax.random.fold_in(key, k)
        (loss, rest), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, rest, program, *part, noise)
        total = (loss, grads) if total is None else jax.tree.map(jnp.add, total, (loss, grads))
    assert total
    return total[0], rest, total[1]


@functools.partial(jax.jit, static_argnames="program", donate_argnames="state")
def train_step(
    program: Program,
    state: TrainState,
    problem: Problem,
    orders: Array | None,
    first: int,
    iteration: int,
    hyper: Array,
    key: Array,
) -> tuple[TrainState, Array]:
    """Returns the state after one iteration, and its training loss in nats. The state given is used up.

    Args:
      orders: (2, N) int32, the order of the training images in this epoch and in the next. None if the problem has the
        batch alone, in order.
      first: where the batch begins in them.
      iteration: iterations done before.
      hyper: (3,) float32, learning rate, momentum and weight decay.
      key: for the noise of the whole run.
    """
    noise, flips = jax.random.split(jax.random.fold_in(key, iteration))
    images, labels = problem.train_images, problem.train_labels
    if orders is not None:
        chosen = devices.spread(jax.lax.dynamic_slice(orders.reshape(-1), (first,), (program.batch_size,)))
        images, labels = images[chosen], labels[chosen]
    images = problem.preprocess(images)
    if program.crop:
        images = cropped(images, program.crop, jax.random.fold_in(flips, 1))
    if program.mirror:
        images = mirrored(images, flips)
    loss, rest, grads = gradient(state.params, state.rest, program, images, labels, noise)
    updates, opt_state = program.optimizer(hyper).update(grads, state.opt_state, state.params)
    state = TrainState(optax.apply_updates(state.params, updates), rest, opt_state, state.loss_sum + loss)
    return devices.everywhere(state), loss


@functools.partial(jax.jit, static_argnames=("program", "size"))
def eval_step(program: Program, state: TrainState, problem: Problem, first: int, size: int) -> Array:
    """Returns the sums of the program's metrics over `size` test images from `first` on: float32."""
    images, labels = _in_a_row(program, problem, problem.test_images, problem.test_labels, first, size)
    logits, _ = program.call(state.params, state.rest, images, train=False)
    own = {"test_loss": program.loss}
    functions = [own.get(name) or METRICS[name].function for name in program.summed]
    return devices.everywhere(jnp.stack([total(function, logits, labels) for function in functions if function]))


def _in_a_row(
    program: Program, problem: Problem, images: Array, labels: Array, first: int, size: int
) -> tuple[Array, Array]:
    """Returns `size` images from `first` on, round the end, as the network sees them, and their labels."""
    chosen = devices.spread((first + jnp.arange(size)) % len(labels))
    found = problem.preprocess(images[chosen])
    return cropped(found, program.crop, None) if program.crop else found, labels[chosen]


# --- what needs training images beside the training ---

STATISTICS = 50  # batches, at most, that make batch statistics anew
PROBE = 256  # images, about, on which the curvature is measured


def tested(program: Program, state: TrainState, problem: Problem, momentum: float) -> TrainState:
    """Returns the state that a test is of: of a solver that tests an average of the parameters, that average.

    Its batch statistics are made anew, by the first training images.
    """
    if not optim.averages(state.opt_state):
        return state
    params, rest = optim.averaged(state.opt_state, state.params, momentum), state.rest
    if jax.tree.leaves(rest):
        rest = _fresh(program)
        for number in range(min(STATISTICS, len(problem.train_labels) // program.batch_size)):
            rest = _statistics(program, params, rest, problem, number * program.batch_size)
    return state._replace(params=params, rest=rest)


@functools.partial(jax.jit, static_argnames="program")
def _fresh(program: Program) -> Tree:
    return networks.create(program.network, jax.random.key(0), program.classes, program.options)[2]


@functools.partial(jax.jit, static_argnames="program")
def _statistics(program: Program, params: Tree, rest: Tree, problem: Problem, first: int) -> Tree:
    """Returns the batch statistics after one more batch."""
    images, _ = _in_a_row(program, problem, problem.train_images, problem.train_labels, first, program.batch_size)
    _, rest = program.call(params, rest, images, train=True, key=jax.random.key(0))
    return devices.everywhere(rest)


@functools.partial(jax.jit, static_argnames="program")
def hessian_product(program: Program, state: TrainState, problem: Problem, vector: Tree) -> Tree:
    """Returns the Hessian of the training loss on the first images times a tree like the parameters.

    Batch statistics are those of the images, over ghost batches as in training.
    """
    size = program.batch_size * max(1, PROBE // program.batch_size)
    images, labels = _in_a_row(program, problem, problem.train_images, problem.train_labels, 0, size)

    def loss(params: Tree) -> Array:
        logits, _ = program.call(params, state.rest, images, fast=False, train=True, key=jax.random.key(0))
        return total(program.loss, logits, labels) / size

    return devices.everywhere(jax.jvp(jax.grad(loss), (state.params,), (vector,))[1])


@functools.partial(jax.jit, static_argnames="n")
def orders(key: Array, epoch: int, n: int) -> Array:
    """Returns the order of n training images in an epoch, and in the next: (2, n) int32."""
    return jnp.stack([jax.random.permutation(jax.random.fold_in(key, epoch + k), n) for k in (0, 1)])


@jax.jit
def finite(tree: Tree) -> Array:
    """Returns for each array whether all its values are finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)])
