"""The datasets by name, as arrays in memory.

    train = load("cifar10", "train", default_data_dir())
    train.images  # (50000, 32, 32, 3) uint8
    train.labels  # (50000,) int32

A dataset is a function that returns one of its splits. It may be written in any file:

    @dataset("stripes", image_shape=(32, 32, 3), classes=2, train_images=1_000, test_images=200)
    def stripes(split: Split, data_dir: Path) -> Arrays:
        content = np.load(data_dir / f"stripes-{split}.npz")
        return Arrays(content["images"], content["labels"])

It is called once: what it returns is checked and kept in DATA_DIR/smith-cache (see `smith.data.cache`). Delete the
files there after changing the function.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

from smith.data import cache, tfds
from smith.data.arrays import SPLITS, Arrays, DatasetInfo, Loader, Preprocessing, Split, in_order, mean_image
from smith.data.cache import cache_file
from smith.errors import unknown
from smith.registry import Registry

__all__ = [
    "DATASETS",
    "SPLITS",
    "Arrays",
    "DatasetInfo",
    "Split",
    "cache_file",
    "dataset",
    "default_data_dir",
    "in_order",
    "load",
    "mean_image",
    "prepare",
]

DATASETS: Registry[DatasetInfo] = Registry("dataset")


def dataset(
    name: str,
    *,
    image_shape: tuple[int, int, int],
    classes: int,
    train_images: int,
    test_images: int,
    preprocessing: Preprocessing = "mean_image",
) -> Callable[[Loader], Loader]:
    """Registers a function (split, data_dir) -> Arrays as a dataset. For the arguments see `DatasetInfo`.

    Raises:
      UserError: the name belongs to another function, or there is no such preprocessing.
    """
    if preprocessing not in get_args(Preprocessing):
        raise unknown("preprocessing", preprocessing, get_args(Preprocessing))

    def register(loader: Loader) -> Loader:
        info = DatasetInfo(image_shape, classes, train_images, test_images, preprocessing, loader)
        DATASETS.add(name, info, loader)
        return loader

    return register


@dataset(
    "mnist", image_shape=(28, 28, 1), classes=10, train_images=60_000, test_images=10_000, preprocessing="divide_256"
)
def mnist(split: Split, data_dir: Path) -> Arrays:
    """The handwritten digits of LeCun, Cortes and Burges."""
    return tfds.read("mnist", split, data_dir)


@dataset("cifar10", image_shape=(32, 32, 3), classes=10, train_images=50_000, test_images=10_000)
def cifar10(split: Split, data_dir: Path) -> Arrays:
    """Krizhevsky's tiny images of ten classes."""
    return tfds.read("cifar10", split, data_dir)


@dataset("cifar100", image_shape=(32, 32, 3), classes=100, train_images=50_000, test_images=10_000)
def cifar100(split: Split, data_dir: Path) -> Arrays:
    """Krizhevsky's tiny images of a hundred classes."""
    return tfds.read("cifar100", split, data_dir)


def default_data_dir() -> Path:
    """Returns the folder that TFDS uses when none is given: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def load(name: str, split: Split, data_dir: Path) -> Arrays:
    """Returns one split, its images ordered by their digests (see `in_order`).

    Raises:
      UserError: an unknown name or split; arrays that are not as the dataset is declared; data that can not be read,
        downloaded or prepared.
    """
    info = DATASETS[name]
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    return cache.load(name, info, split, data_dir.expanduser())


def prepare(names: Iterable[str], data_dir: Path) -> None:
    """Loads both splits of each dataset, so that they are cached, and prints a line for each. Raises as `load` does."""
    for name, _ in [(name, DATASETS[name]) for name in names]:  # an unknown last name is told before the first download
        train, test = (len(load(name, split, data_dir).labels) for split in SPLITS)
        print(f"{name}: {train} training and {test} test images in {data_dir}", flush=True)
