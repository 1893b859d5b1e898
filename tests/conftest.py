"""Fixtures: small made-up datasets in the place where the program looks for its caches, and small runs on them.

Every process of a test run (scripts/test.sh starts one a core) computes on one thread, and all share one cache of
compiled programs, which stays for the next test run.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.abspath(".pytest_cache/d/xla"))  # --cache-clear removes it
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ |= {"NPROC": "1", "OPENBLAS_NUM_THREADS": "1"} if "PYTEST_XDIST_WORKER" in os.environ else {}

import filelock
import hypothesis
import numpy as np
import pytest

from smith import disk
from smith.data import DATASETS, SPLITS, Arrays, Split, cache, cache_file
from smith.networks.cpu import prepare_process
from smith.run import Run, iterations
from smith.schedules import Constant
from smith.train.step import Problem

prepare_process()
hypothesis.settings.register_profile("default", deadline=None)  # the first example compiles
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what is marked slow, and everything in tests/slow, unless --slow is given."""
    if config.getoption("--slow"):
        return
    folder = Path(__file__).parent / "slow"
    for item in items:
        if "slow" in item.keywords or folder in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


def made_up(name: str, split: Split, count: int) -> Arrays:
    """Returns so many images whose brightness tells their label, 0 to 9."""
    random = np.random.default_rng([len(name), len(split)])
    labels = random.integers(0, 10, count, dtype=np.uint8)
    noise = random.integers(0, 60, (count, *DATASETS[name].image_shape), dtype=np.uint8)
    return Arrays(noise + 19 * labels[:, None, None, None], labels.astype(np.int32))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with caches of full size, so that the program takes them for the published datasets."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # one for all processes of the test run
    folder = base / "made-up-data"
    with filelock.FileLock(base / "made-up-data.lock"):
        for name in ("mnist", "cifar10", "cifar100"):
            for split in SPLITS:
                arrays = partial(made_up, name, split, DATASETS[name].count(split))
                cache.kept(cache_file(name, split, folder), arrays, lambda *arrays: "")
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
    return Problem.put(name, made_up(name, "train", train_images), made_up(name, "test", test_images))


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
