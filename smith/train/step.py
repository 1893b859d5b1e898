"""A network's training step and test, compiled once for all runs that differ in hyper-parameters and lengths only.

The step takes the hyper-parameters as arguments and the dataset as resident uint8 arrays, so that nothing is copied or
waited for between tests.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from smith import networks
from smith.data import DATASETS, Arrays, mean_image
from smith.networks import Options
from smith.run import Run
from smith.train import optim

Tree = Any  # a pytree of arrays


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
class Program:
    """The compiled functions for one network, number of classes, solver, batch size and so on (see `compiled`).

    A state is a dictionary: `params`, `rest` (batch statistics), `velocity`, and `loss_sum` since the last test.
    """

    init: Callable[[int], Tree]  # seed -> state
    step: Callable[..., tuple[Tree, Array]]
    order: Callable[[Array, int], Array]
    evaluate: Callable[..., Array]
    finite: Callable[[Tree], Array]  # state -> whether each array of `checked` is finite


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
    factors = [optim.multipliers(example, multipliers) for multipliers in named]
    update: Any = optim.caffe(*factors, nesterov=solver == "nesterov").update

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
        parts = 1 if rest or jax.default_backend() != "cpu" else -(-batch_size // info.cached_batch)
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
        velocity = optim.CaffeState(state["velocity"])
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

    @jax.jit
    def finite(state: Tree) -> Array:
        """Returns for each parameter and batch statistic whether all its values are finite."""
        return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(checked(state))])

    return Program(init, step, order, evaluate, finite)


def checked(state: Tree) -> Tree:
    """Returns the part of a state whose values have to be finite."""
    return {"params": state["params"], "rest": state["rest"]}
