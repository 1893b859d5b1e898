"""Short training on the real images, where TFDS_DATA_DIR holds them prepared."""

import os
from pathlib import Path

import pytest

from smith import data
from smith.data import cache_file
from smith.run import Run, iterations
from smith.schedules import Multistep
from smith.train import loop

DATA_DIR = Path(os.environ.get("TFDS_DATA_DIR", "/nonexistent"))


def problem(name: str) -> loop.Problem:
    if not ((DATA_DIR / name).is_dir() or cache_file(name, "train", DATA_DIR).exists()):
        pytest.skip(f"TFDS_DATA_DIR does not hold {name}")
    return loop.Problem.put(name, data.load(name, "train", DATA_DIR), data.load(name, "test", DATA_DIR))


def test_lenet_learns_mnist_in_a_hundred_iterations() -> None:
    run = Run("mnist", "lenet", 64, iterations(100), lr=0.02, weight_decay=5e-4, solver="sgd", test_images=1000)
    (row,) = loop.train(run, 0, problem("mnist")).rows
    assert row["test_accuracy"] > 0.9


def test_shallow3_learns_cifar10_beyond_chance_in_a_hundred_iterations() -> None:
    run = Run(
        "cifar10", "shallow3", 64, iterations(100), lr=0.005, momentum=0.95, weight_decay=3.2e-3, test_images=1000
    )
    (row,) = loop.train(run, 0, problem("cifar10")).rows
    assert row["test_loss"] < 2.15  # chance is log 10 = 2.303, where it stays for the first iterations
    assert row["test_accuracy"] > 0.2


# (network, batch size, ghost batch size, iterations, learning rate); the paper's depths with --slow
DEEP = [
    ("resnet-8", 64, 16, 60, 0.05),
    ("resnet-8-relu", 64, 16, 60, 0.05),
    ("wide-8", 32, 16, 80, 0.05),
    ("densenet-10", 32, 16, 60, 0.05),
    pytest.param("resnet-56", 32, 16, 100, 0.05, marks=pytest.mark.slow),
    pytest.param("wide-32", 32, 16, 100, 0.05, marks=pytest.mark.slow),
    # The averages of these two keep 0.999, so that it takes hundreds of iterations until a test shows what was learnt.
    pytest.param("resnet-56-relu", 16, 16, 800, 0.01, marks=pytest.mark.slow),
    pytest.param("densenet-40", 16, 16, 400, 0.02, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("network", "batch_size", "ghost_batch_size", "length", "lr"), DEEP)
def test_deep_networks_learn_cifar10_beyond_chance(network, batch_size, ghost_batch_size, length, lr) -> None:
    run = Run(
        "cifar10",
        network,
        batch_size,
        iterations(length),
        lr=Multistep(lr, factor=0.1, at=(1 / 2,)),
        weight_decay=1e-4,
        ghost_batch_size=ghost_batch_size,
        mirror=True,
        test_images=500,
        test_every=iterations(length),
    )
    (row,) = loop.train(run, 0, problem("cifar10")).rows
    assert row["test_loss"] < 2.0  # chance is log 10 = 2.303
    assert row["test_accuracy"] > 0.25
