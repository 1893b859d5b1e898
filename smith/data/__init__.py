"""The datasets by name, as arrays in memory or streamed from a disk.

A dataset is a function that returns one of its splits. It may be in any file: see docs/extending.md. It is called once:
what it returns is checked, and kept in DATA_DIR/smith-cache. Delete that file after changing the function.

Other data under the name of a published dataset are refused, by their SHA-256. For tests there may be made-up ones:
in a data folder that has a file smith-cache/made-up. A result records the digest of what was trained on in any case.
"""

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from smith.data import cache, folders, shards, tfds
from smith.data.arrays import Arrays, derive
from smith.errors import UserError, check_name, unknown
from smith.registry import Registry

Split = Literal["train", "test"]
Preprocessing = Literal["mean_image", "divide_256", "none", "as_it_is"]
SPLITS: tuple[Split, ...] = get_args(Split)
Loader = Callable[[Split, Path], Arrays]

DATASETS: Registry["DatasetInfo"] = Registry("dataset")


@dataclass(eq=False)
class DatasetInfo:
    """What there is to know about a dataset without reading it; `dataset` decorates the function that reads it.

    image_shape: (height, width, channels), or the shape of whatever an example is
    classes: labels count from 0 to below this; 0 if they are not classes
    preprocessing: "mean_image" subtracts the mean training image from pixels in 0..255, "divide_256" divides them by
      256, "none" leaves them, as float32; "as_it_is" leaves also the type
    arrays: the splits, of a dataset that is in memory and has no loader
    loss: (outputs, labels) -> losses, as `smith.metrics.total` takes them; None for cross-entropy
    guess: the loss of guessing; None for that of guessing classes
    streamed: its loader returns `smith.data.shards.Shards`, which are read while training; files that could not be
      decoded may be missing from the number of images
    order: a .npy file of the training images in the order of the dataset's own files: the place of each among those
      that `load` returns; None: not known

    Raises:
      UserError: the name belongs to another dataset, or the preprocessing is not known.
    """

    name: str
    _: KW_ONLY
    image_shape: tuple[int, ...]
    classes: int
    train_images: int
    test_images: int
    preprocessing: Preprocessing = "mean_image"
    sha256: tuple[str, str] | None = None  # of both splits as `load` returns them; None: they may be any
    arrays: Mapping[Split, Arrays] | None = None
    loss: Callable[[Any, Any], Any] | None = None
    guess: float | None = None
    streamed: bool = False
    order: Path | None = None
    loader: Loader = field(init=False)

    def __post_init__(self) -> None:
        if self.preprocessing not in get_args(Preprocessing):
            raise unknown("preprocessing", self.preprocessing, get_args(Preprocessing))

    def __call__(self, loader: Loader) -> Loader:
        check_name("dataset", self.name)
        counts = *self.image_shape, self.classes, self.train_images, self.test_images
        if not all(isinstance(n, Integral) and n > 0 for n in counts) or self.classes < 2:
            raise UserError(f"dataset {self.name}: give whole numbers for image_shape, classes (at least 2) and images")
        self.image_shape = tuple(self.image_shape)
        self.loader = loader
        return DATASETS.add(self.name, self, loader)

    def count(self, split: Split) -> int:
        return self.train_images if split == "train" else self.test_images

    def check(self, split: Split, images: np.ndarray, labels: np.ndarray) -> None:
        """Raises ValueError if a split is not as described here."""
        shape = (len(images) if self.streamed else self.count(split), *self.image_shape)
        if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
            raise ValueError(f"images {images.dtype} and labels {labels.dtype}, not uint8 and integers")
        if images.shape != shape or labels.shape != shape[:1]:
            raise ValueError(f"images {images.shape} and labels {labels.shape}, not {shape} and {shape[:1]}")
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ValueError(f"labels {labels.min()} to {labels.max()}, not 0 to {self.classes - 1}")


dataset = DatasetInfo  # as a decorator


CIFAR10 = (
    "49607bbf11932cd04ca2bb25f9a1f312d41bb73124fe1ecaff7cd0ccd61bb0ba",
    "40e9ea7731c0c62bff4e798e05b482e3c9c3cc28ed87e997815ac3833ae9cd8e",
)
CIFAR100 = (
    "25f933f55b9d6c0fe3537de121b8853b912712dc6fcd33ff7f666a3bf2849512",
    "4eb2ae5c67ac5409866584adb54a7052e4afed3a74db9fb2d88f061b40d71b10",
)
MNIST = (
    "f1d4bf6658424057799c625d5fbb23e7fe05581a291894d4f73db3a918ea0b33",
    "16a69cca60c351e6a30ae0621253305937cc5ab3c15d67a806f34c9710efd569",
)


@dataset("cifar10", image_shape=(32, 32, 3), classes=10, train_images=50_000, test_images=10_000, sha256=CIFAR10)
def cifar10(split: Split, data_dir: Path) -> Arrays:
    return tfds.read("cifar10", split, data_dir)


@dataset("cifar100", image_shape=(32, 32, 3), classes=100, train_images=50_000, test_images=10_000, sha256=CIFAR100)
def cifar100(split: Split, data_dir: Path) -> Arrays:
    return tfds.read("cifar100", split, data_dir)


@dataset("mnist", image_shape=(28, 28, 1), classes=10, train_images=60_000, test_images=10_000,
         preprocessing="divide_256", sha256=MNIST, order=Path(__file__).with_name("mnist_order.npy"))  # fmt: skip
def mnist(split: Split, data_dir: Path) -> Arrays:
    return tfds.read("mnist", split, data_dir)


@dataset("imagenet", image_shape=(256, 256, 3), classes=1000, train_images=1_281_167, test_images=50_000, streamed=True)
def imagenet(split: Split, data_dir: Path) -> Arrays:
    """Reads what `smith prepare imagenet FOLDER` made of ImageNet: 252 GB of pixels, or JPEG files."""
    return shards.read(data_dir / "imagenet", split, 256)


@dataset("tinyimagenet40", image_shape=(64, 64, 3), classes=40, train_images=20_000, test_images=2_000)
def tinyimagenet40(split: Split, data_dir: Path) -> Arrays:
    """Reads a stand-in for ImageNet: every fifth class of Tiny-ImageNet-200 by name, in ImageNet's folders."""
    if not (folder := data_dir / "tinyimagenet40").is_dir():
        what = "every fifth class by name of Tiny-ImageNet-200, as train/CLASS/*.JPEG and val/CLASS/*.JPEG"
        raise UserError(f"{folder} is not there: put {what} there (64 x 64 pixels; 40 classes)")
    return folders.read(folder, split, 64)


def default_data_dir() -> Path:
    """Returns the folder that TFDS uses when none is given: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def cache_file(name: str, split: Split, data_dir: Path) -> Path:
    """Returns where a split is kept once it was loaded."""
    return data_dir / "smith-cache" / f"{name}-{split}.npz"


def load(name: str, split: Split, data_dir: Path) -> Arrays:
    """Returns one split, its images in the order of their digests (see `smith.data.cache.in_order`).

    Raises UserError: an unknown name or split; data that are not as declared or not the published ones, or can not be
      read or prepared.
    """
    info, folder = DATASETS[name], data_dir.expanduser()
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if info.arrays:
        return info.arrays[split]

    def make() -> Arrays:
        try:
            images, labels = info.loader(split, folder)
            arrays = Arrays(images if info.streamed else np.asarray(images), np.asarray(labels))
            info.check(split, *arrays)
            return arrays
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{name} {split} in {folder} is not right ({error}): mend it, or its function") from error

    if info.streamed:
        return make()
    file = cache_file(name, split, folder)
    arrays, found = cache.kept(file, make, functools.partial(info.check, split))
    pinned = info.sha256[SPLITS.index(split)] if info.sha256 else None
    if pinned and found != pinned and not file.with_name("made-up").exists():
        advice = f"delete {file} and {folder / name}, or register your own data under a name of their own"
        raise UserError(f"{name} {split} is not the published one (sha256 {found[:12]}, not {pinned[:12]}): {advice}")
    return arrays


def stored_order(part: "Selection", n: int) -> np.ndarray:
    """Returns the order in which n training images are stored: (n,) int32, their places among those of `select`.

    That of the dataset's own files where it is known (see `DatasetInfo`); else, and of a part, as `select` has them.

    Raises UserError: the dataset's file of it can not be read, or has not each place once.
    """
    places, file = np.arange(n, dtype=np.int32), None if any(part[1:3]) else DATASETS[part.name].order
    if file is None:
        return places
    try:
        order = np.load(file, allow_pickle=False).astype(np.int32)
        if not np.array_equal(np.sort(order), places):
            raise ValueError(f"not each of the places 0 to {n - 1} once")
        return order
    except (OSError, ValueError) as error:
        raise UserError(f"the order of {part.name}, {file}: {error}: mend the file, or leave order out") from error


class Selection(NamedTuple):
    """A part of a dataset (see `smith.run.Run`)."""

    name: str
    classes: int | None = None
    train_images: int | None = None
    image_side: int | None = None


def select(part: Selection, split: Split, data_dir: Path) -> Arrays:
    """Returns a split of a part of a dataset. Of the test images it takes all of the classes. Raises as `load` does."""
    if not any(part[1:]):
        return load(part.name, split, data_dir)
    if DATASETS[part.name].streamed:
        raise UserError(f"{part.name} is streamed: leave classes, train_images and image_side out")
    images = part.train_images if split == "train" else None
    return derive(load(part.name, split, data_dir), classes=part.classes, images=images, side=part.image_side)


def prepare(names: Iterable[str], data_dir: Path) -> None:
    """Loads both splits of each dataset, so that they are cached, and prints a line for each. Raises as `load` does."""
    for name, info in [(name, DATASETS[name]) for name in names]:  # an unknown last name is told before the first
        for split in SPLITS:
            load(name, split, data_dir)
        print(f"{name}: {info.train_images} training and {info.test_images} test images in {data_dir}", flush=True)
