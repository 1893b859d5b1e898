"""What a training loop is fed with: a dataset that lies on the device, or the batches of one that is read from disk.

Both give the same images in the same order for the same seed. The order depends on the seed and the iteration alone, so
nothing of it needs to be in a checkpoint.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array

from smith import data
from smith.data import Arrays
from smith.run import Run
from smith.train import devices, step
from smith.train.step import Problem

AHEAD = 2  # batches that are read before they are asked for, each in a thread

# What a step needs: images on the device; (2, N) their orders and where it begins there, or None if they are the batch.
Batch = tuple[Problem, Array | None, int]


@dataclass(frozen=True)
class Streamed:
    """A dataset of which a batch at a time is put on the device.

    train, test: `smith.data.shards.Shards` and their labels
    problem: its mean image and preprocessing, with one image of each split
    """

    train: Arrays
    test: Arrays
    problem: Problem

    @property
    def train_labels(self) -> np.ndarray:
        """Of all images, as a problem on the device has them."""
        return self.train.labels

    @property
    def test_labels(self) -> np.ndarray:
        """Likewise."""
        return self.test.labels

    @classmethod
    def of(cls, name: str, train: Arrays, test: Arrays) -> "Streamed":
        """Takes the splits of a dataset in `smith.data.DATASETS`."""
        one = [Arrays(split.images[np.array([0])], split.labels[:1]) for split in (train, test)]
        images: Any = train.images
        mean = devices.put(images.mean.astype(np.float32), devices.layout())
        return cls(train, test, replace(Problem.put(name, *one), mean=mean))


def put(name: str, train: Arrays, test: Arrays) -> Problem | Streamed:
    """Puts a dataset on the device, if it is in memory."""
    return (Problem.put if isinstance(train.images, np.ndarray) else Streamed.of)(name, train, test)


class Datasets:
    """Keeps the dataset in use on the device, from one run to the next.

    digests: of the splits of that dataset, as a result's metadata has them
    """

    def __init__(self, data_dir: Path) -> None:
        self.digests: dict[str, str] = {}
        self._data_dir = data_dir
        self._kept: tuple[data.Selection, Problem | Streamed] | None = None

    def of(self, run: Run) -> Problem | Streamed:
        """Returns a run's dataset. Raises UserError if it is not to be had."""
        if not self._kept or self._kept[0] != run.selection:
            self._kept = None  # one at a time
            splits = {split: data.select(run.selection, split, self._data_dir) for split in data.SPLITS}
            self._kept = run.selection, put(run.data, **splits)
            self.digests = {f"{split}_sha256": arrays.sha256 for split, arrays in splits.items()}
        return self._kept[1]


def batches(
    problem: Problem | Streamed, key: Array, batch_size: int, stored: np.ndarray | None = None
) -> Callable[[int], Batch]:
    """Returns what gives an iteration's batch. key, stored: see `places`."""
    at = places(key, len(problem.train_labels), batch_size, stored)
    return _Ahead(problem, at, batch_size) if isinstance(problem, Streamed) else lambda t: (problem, *at(t))


def places(key: Array, n: int, batch_size: int, stored: np.ndarray | None = None) -> Callable[[int], tuple[Array, int]]:
    """Returns where an iteration's images are: ((2, N) order of its epoch and of the next, index of the first).

    The training set of n images is shuffled for every epoch and read without a gap: a batch may end one epoch and begin
    the next. The order depends on the key and the epoch alone.

    Args:
      stored: (N,) int32, an order that every epoch has instead.
    """
    same = None if stored is None else devices.put(np.stack([stored, stored]), devices.layout())
    orders = functools.lru_cache(2)(lambda epoch: step.orders(key, epoch, n) if same is None else same)

    def at(iteration: int) -> tuple[Array, int]:
        epoch, first = divmod(iteration * batch_size, n)
        return orders(epoch), first

    return at


def test_batch(problem: Problem | Streamed, first: int, size: int) -> Problem:
    """Returns a problem that has the `size` test images from `first` on among its own."""
    if not isinstance(problem, Streamed):
        return problem
    images, labels = _put_rows(problem.test, np.arange(first, first + size), devices.layout(size))
    return replace(problem.problem, test_images=images, test_labels=labels)


def _put_rows(split: Arrays, rows: np.ndarray, layout: Any) -> tuple[Array, Array]:
    return devices.put(split.images, layout, rows), devices.put(split.labels, layout, rows)


class _Ahead:
    """Gives batches that Grain reads, in threads of its own, and puts on the device while that is busy with others."""

    def __init__(self, problem: Streamed, at: Callable[[int], tuple[Array, int]], batch_size: int) -> None:
        self._problem, self._at, self._batch_size = problem, at, batch_size
        self._layout = devices.layout(batch_size)  # asked here: Grain's threads have no devices set
        self._next, self._coming = -1, iter(())

    def __call__(self, iteration: int) -> Batch:
        if iteration != self._next:
            import grain  # takes a second

            batches = grain.MapDataset.range(iteration, 2**31).map(self._read)
            self._coming = iter(batches.to_iter_dataset(grain.ReadOptions(AHEAD, AHEAD)))
        self._next = iteration + 1
        return next(self._coming), None, 0

    def _read(self, iteration: int) -> Problem:
        orders, first = self._at(iteration)
        rows = np.ravel(orders)[first : first + self._batch_size]  # JAX keeps the copy that it makes for NumPy
        images, labels = _put_rows(self._problem.train, rows, self._layout)
        return replace(self._problem.problem, train_images=images, train_labels=labels)
