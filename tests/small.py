"""Small made-up datasets, a small run on one of them, and made-up results."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smith.data import DATASETS, Arrays, Split
from smith.run import Run, Snapshot, iterations
from smith.schedules import Constant
from smith.store import COLUMNS, Store, results
from smith.train.step import Problem

SMALL_RUN = Run(
    data="mnist",
    network="lenet",
    batch_size=16,
    length=iterations(12),
    lr=Constant(0.01),
    momentum=0.9,
    weight_decay=5e-4,
    solver="sgd",
    test_every=iterations(4),
    test_images=100,
)  # a second: 12 iterations of 16 images, tested every 4 on 100 images
DEEP = SMALL_RUN.replace(  # with batch statistics, dropout and another solver; a test that uses it compiles it for all
    data="cifar10",
    network="densenet-7",
    lr=1e-3,
    solver="adamw",
    ghost_batch_size=8,
    mirror=True,
    image_side=16,
    train_images=200,
)
FAMILY = (SMALL_RUN, SMALL_RUN.replace(weight_decay=1e-2, start=Snapshot(SMALL_RUN, at=iterations(5))))


def made_up(name: str, split: Split, count: int) -> Arrays:
    """Returns so many images whose brightness tells their label, 0 to 9."""
    random = np.random.default_rng([len(name), len(split)])
    labels = random.integers(0, 10, count, dtype=np.uint8)
    noise = random.integers(0, 60, (min(count, 1_000), *DATASETS[name].image_shape), dtype=np.uint8)
    images = np.resize(noise, (count, *noise.shape[1:]))  # the same noise again: it takes seconds to draw
    images += np.uint8(19) * labels.astype(np.uint8)[:, None, None, None]
    return Arrays(images, labels.astype(np.int32))


def problem_of(name: str, train_images: int, test_images: int) -> Problem:
    """Returns a made-up dataset of so many images."""
    return Problem.put(name, made_up(name, "train", train_images), made_up(name, "test", test_images))


def write_result(store: Store, run: Run, seed: int = 0, **facts: str) -> Path:
    """Writes a made-up result of two tests for a run of the protocol, as another process does. Returns its file."""
    trained = store.trained(run, seed)
    store.folder.mkdir(parents=True, exist_ok=True)
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"iteration": iteration} for iteration in (3, 6)]
    results.write(store.folder, trained, seed, "done", rows, facts)
    return results.path_of(store.folder, trained, seed)


def flip(path: Path, position: int | None = None) -> None:
    """Flips a bit of a file, in its middle if nothing else is said."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 1
    path.write_bytes(content)


def slow(*cases: Any) -> list[Any]:
    """Returns cases of a parametrised test, one value or a tuple each, that are run with --slow only."""
    return [pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=pytest.mark.slow) for one in cases]
