"""Short training on the real images, where TFDS_DATA_DIR holds them prepared."""

import os
from pathlib import Path

import pytest

from smith import data, training
from smith.data import cache_file
from smith.run import Run, iterations

DATA_DIR = Path(os.environ.get("TFDS_DATA_DIR", "/nonexistent"))


def problem(name: str) -> training.Problem:
    if not ((DATA_DIR / name).is_dir() or cache_file(name, "train", DATA_DIR).exists()):
        pytest.skip(f"TFDS_DATA_DIR does not hold {name}")
    return training.Problem.put(name, data.load(name, "train", DATA_DIR), data.load(name, "test", DATA_DIR))


def test_lenet_learns_mnist_in_a_hundred_iterations() -> None:
    run = Run("mnist", "lenet", 64, iterations(100), lr=0.02, weight_decay=5e-4, solver="sgd", test_images=1000)
    (row,) = training.train(run, 0, problem("mnist")).rows
    assert row["test_accuracy"] > 0.9


def test_shallow3_learns_cifar10_beyond_chance_in_a_hundred_iterations() -> None:
    run = Run(
        "cifar10", "shallow3", 64, iterations(100), lr=0.005, momentum=0.95, weight_decay=3.2e-3, test_images=1000
    )
    (row,) = training.train(run, 0, problem("cifar10")).rows
    assert row["test_loss"] < 2.15  # chance is log 10 = 2.303, where it stays for the first iterations
    assert row["test_accuracy"] > 0.2
