"""Fixtures: small made-up datasets in the place where the program looks for its caches, and small runs on them."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import numpy as np
import pytest

from smith import disk
from smith.data import DATASETS, Arrays, cache_file
from smith.run import Run, iterations
from smith.schedules import Constant
from smith.train.step import Problem

hypothesis.settings.register_profile("default", deadline=None)  # the first example compiles
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


def made_up(name: str, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (count, height, width, channels) uint8 whose brightness tells their label, and labels uint8."""
    random = np.random.default_rng([len(name), len(split)])
    labels = random.integers(0, 10, count, dtype=np.uint8)
    noise = random.integers(0, 60, (count, *DATASETS[name].image_shape), dtype=np.uint8)
    return noise + 19 * labels[:, None, None, None], labels


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory):
    """A data folder with caches of full size, so that the program takes them for the published datasets."""
    folder = tmp_path_factory.mktemp("data")
    for name in DATASETS:
        for split in ("train", "test"):
            file = cache_file(name, split, folder)
            file.parent.mkdir(exist_ok=True)
            images, labels = made_up(name, split, DATASETS[name].count(split))
            np.savez(file, images=images, labels=labels)
    return folder


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


@pytest.fixture
def small_run() -> Run:
    return SMALL_RUN


def problem_of(name: str, train_images: int, test_images: int) -> Problem:
    """Returns a made-up dataset of so many images."""
    counts = {"train": train_images, "test": test_images}
    return Problem.put(name, *(Arrays(*made_up(name, split, count)) for split, count in counts.items()))


@pytest.fixture
def remover() -> Iterator[Callable[[Path], None]]:
    """Makes another thread remove folders again and again while they are empty, as other processes do."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def start(*folders: Path) -> None:
        def remove() -> None:
            while not ended.is_set():
                for folder in folders:
                    disk.remove_empty(folder)
                time.sleep(1e-5)

        threads.append(threading.Thread(target=remove))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()
