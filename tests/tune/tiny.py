"""A small task that is learnt in a second, for the tests of this folder."""

from pathlib import Path

import jax
import numpy as np
from flax import linen, nnx

from smith import Task

FEATURES, CLASSES = 8, 3


def made_up(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns (inputs, labels) of a linear problem with noise."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(count, FEATURES)).astype(np.float32)
    truth = np.random.default_rng(7).normal(size=(FEATURES, CLASSES))
    return inputs, (inputs @ truth + random.normal(size=(count, CLASSES))).argmax(axis=1)


class Perceptron(nnx.Module):
    """A network with everything that makes trouble: batch statistics, dropout and modes."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(FEATURES, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.output = nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        return self.output(self.dropout(nnx.relu(self.norm(self.hidden(inputs)))))


class LinenPerceptron(linen.Module):
    """The same in Linen."""

    @linen.compact
    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        hidden = linen.BatchNorm(use_running_average=not train)(linen.Dense(16)(inputs))
        return linen.Dense(CLASSES)(linen.Dropout(0.2, deterministic=not train)(linen.relu(hidden)))


def task(folder: Path, network: object = Perceptron, **options: object) -> Task:
    """Returns a task with 640 and 200 examples, whose results go to a folder."""
    given = {"train": made_up(640), "test": made_up(200, 1), "batch_size": 32, **options}
    return Task(network, **given, results_dir=folder)
