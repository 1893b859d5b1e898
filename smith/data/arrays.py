"""One split of a dataset in memory, and what a dataset says of its splits."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Preprocessing = Literal["mean_image", "divide_256", "none"]


class Arrays(NamedTuple):
    """One split of a dataset.

    images: (N, height, width, channels) uint8
    labels: (N,) int32; a dataset's function may return any integers
    """

    images: np.ndarray
    labels: np.ndarray


Loader = Callable[[Split, Path], Arrays]


@dataclass(frozen=True)
class DatasetInfo:
    """What there is to know about a dataset without reading it.

    image_shape: (height, width, channels)
    classes: labels are 0 to classes - 1
    train_images, test_images: how many images each split has
    preprocessing: "mean_image" subtracts the mean training image from pixels in 0..255, "divide_256" divides them by
      256, "none" leaves them as they are
    loader: reads a split: (split, data_dir) -> Arrays
    """

    image_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int
    preprocessing: Preprocessing
    loader: Loader

    def count(self, split: Split) -> int:
        """Returns the number of images in a split."""
        return self.train_images if split == "train" else self.test_images

    def fault(self, arrays: Arrays, split: Split) -> str:
        """Returns in what the arrays differ from this description, or ""."""
        images, labels = arrays
        if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
            return f"dtypes {images.dtype} and {labels.dtype}, not uint8 and integers"
        if images.shape[1:] != self.image_shape or labels.shape != images.shape[:1]:
            return f"shapes {images.shape} and {labels.shape}, not (N, {str(self.image_shape)[1:]} and (N,)"
        if len(labels) != self.count(split):
            return f"{len(labels)} images, not {self.count(split)}"
        if not 0 <= labels.min() <= labels.max() < self.classes:
            return f"labels {labels.min()} to {labels.max()}, not 0 to {self.classes - 1}"
        return ""


def mean_image(images: np.ndarray) -> np.ndarray:
    """Returns the mean over the images, (N, H, W, C) uint8 -> (H, W, C) float32.

    The sum is exact: float64 holds it, and NumPy converts a small buffer at a time, not all the images.
    """
    return images.mean(axis=0, dtype=np.float64).astype(np.float32)


def in_order(arrays: Arrays) -> Arrays:
    """Returns the images ordered by the SHA-256 of image and label.

    So a seed means the same wherever a dataset was prepared: TFDS keeps it in an order that depends on how it was
    written. Classes are mixed too.
    """
    images, labels = np.ascontiguousarray(arrays.images), arrays.labels.tolist()
    digests = [hashlib.sha256(i.tobytes() + _bytes(n)).digest() for i, n in zip(images, labels, strict=True)]
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)
    return Arrays(images[order], arrays.labels[order].astype(np.int32))


def _bytes(label: int) -> bytes:
    """One byte where that is enough: the orders of MNIST and CIFAR, and so all results, rest on it."""
    return label.to_bytes(1 if label < 256 else 4, "little")
