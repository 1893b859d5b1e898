"""The published images, where TFDS_DATA_DIR holds them, and what the networks learn from them in a short while."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from small import slow

from smith.data import SPLITS, Arrays, Selection, Split, cache_file, load, stored_order
from smith.run import Run, iterations
from smith.schedules import Multistep
from smith.train import loop
from smith.train.step import Problem

DATA_DIR = Path(os.environ.get("TFDS_DATA_DIR", "/nonexistent"))

# The first digits of the SHA-256 over all images and then all labels. Results depend on their order: it never changes.
PUBLISHED = {
    ("mnist", "train"): "497dcd6976cbfd72",
    ("mnist", "test"): "e0e2007fb225eb62",
    ("cifar10", "train"): "09a1914bd1fca313",
    ("cifar10", "test"): "eb0998a91db120a3",
    ("cifar100", "train"): "384da35a3732aca0",
    ("cifar100", "test"): "0d90fda2c158af75",
}


def real(name: str, split: Split) -> Arrays:
    if not ((DATA_DIR / name).is_dir() or cache_file(name, split, DATA_DIR).exists()):
        pytest.skip(f"TFDS_DATA_DIR does not hold {name}")
    return load(name, split, DATA_DIR)


def last_test(run: Run) -> dict[str, float]:
    """Trains a run and returns its last row."""
    problem = Problem.put(run.data, *(real(run.data, split) for split in SPLITS))
    return [point.row for point in loop.train(run, 0, problem) if point.row][-1]


SLOW = ("cifar100", "train")  # to read; its test images are in the same format
KEYS = [*(key for key in PUBLISHED if key != SLOW), *slow(SLOW)]


@pytest.mark.parametrize(("name", "split"), KEYS)
def test_the_published_images_in_their_order(name, split):
    images, labels = real(name, split)
    digest = hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    assert digest[:16] == PUBLISHED[name, split] and labels.dtype == np.int32


def test_mnist_in_its_stored_order_is_the_published_file():
    order = stored_order(Selection("mnist"), 60_000)
    assert sorted(order) == list(range(60_000))
    images, labels = real("mnist", "train")
    assert labels[order[:10]].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    head = np.array([2051, 60_000, 28, 28], ">i4").tobytes()  # of the file train-images-idx3-ubyte
    digest = hashlib.md5(head + images[order].tobytes(), usedforsecurity=False).hexdigest()
    assert digest == "6bbc9ace898e44ae57da46a324031adb"


def test_lenet_learns_mnist_in_a_hundred_iterations():
    run = Run("mnist", "lenet", 64, iterations(100), lr=0.02, weight_decay=5e-4, solver="sgd", test_images=1000,
              width=1 / 4)  # fmt: skip
    assert last_test(run)["test_accuracy"] > 0.9


# (network, batch size, iterations, learning rate). The averages of the last two keep 0.999, so that it takes hundreds
# of iterations until a test shows what was learnt.
DEEP = [
    ("resnet-56", 32, 100, 0.05),
    ("wide-32", 32, 100, 0.05),
    ("resnet-56-relu", 16, 800, 0.01),
    ("densenet-40", 16, 400, 0.02),
]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "batch_size", "length", "lr"), DEEP)
def test_deep_networks_learn_cifar10_beyond_chance(network, batch_size, length, lr):
    schedule, length = Multistep(lr, factor=0.1, at=(1 / 2,)), iterations(length)
    options = {"ghost_batch_size": 16, "mirror": True, "test_images": 500, "test_every": length}
    row = last_test(Run("cifar10", network, batch_size, length, lr=schedule, weight_decay=1e-4, **options))
    assert row["test_loss"] < 2.0  # chance is log 10 = 2.303
    assert row["test_accuracy"] > 0.25
