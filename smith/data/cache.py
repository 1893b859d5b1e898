"""The cache of datasets: each split decoded, checked and in order, in one npz file.

With that there, nothing else of a dataset is read, and neither TFDS nor TensorFlow is imported.
"""

import contextlib
import hashlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from smith import disk
from smith.data.arrays import Arrays
from smith.errors import UserError

Check = Callable[[np.ndarray, np.ndarray], None]  # raises ValueError if the arrays are not what they should be


def kept(file: Path, make: Callable[[], Arrays], check: Check) -> tuple[Arrays, str]:
    """Returns what the cache holds, or else what `make` returns, in order, and its SHA-256; then writes the cache.

    One process makes it while the others wait. A damaged cache is set aside. Raises UserError if it can not be opened.
    """
    if (found := _read(file, check)) is None:
        with disk.waiting(file.with_suffix(".lock")):
            if (found := _read(file, check)) is None:
                arrays = in_order(*make())
                found = arrays, write(file, *arrays)
    return found


def in_order(images: np.ndarray, labels: np.ndarray) -> Arrays:
    """Returns the images, and the labels as int32, ordered by the SHA-256 of each image and its label.

    So a seed means the same wherever a dataset was prepared: TFDS keeps it in an order that depends on how it was
    written. Classes are mixed too. The orders of MNIST and CIFAR, and with them all results, rest on the single byte
    of a label below 256.
    """
    numbers = [label.to_bytes(1 if label < 256 else 4, "little") for label in labels.tolist()]
    pairs = zip(np.ascontiguousarray(images), numbers, strict=True)
    digests = [hashlib.sha256(image.tobytes() + number).digest() for image, number in pairs]
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__))
    return Arrays(images[order], labels[order].astype(np.int32))


def _read(file: Path, check: Check) -> tuple[Arrays, str] | None:
    """Returns the arrays and their SHA-256, or None."""
    try:
        packed = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"can not read {file}: {error.strerror}; make it readable, or delete it") from error
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as content:
            arrays, said = Arrays(content["images"], content["labels"]), str(content.get("sha256", ""))
        check(*arrays)
        if not said or arrays.labels.dtype != np.int32:  # written elsewhere, or by an earlier version
            arrays = in_order(*arrays)
            return arrays, arrays.sha256
        if said != (digest := arrays.sha256):
            raise ValueError("sha256 differs")
        return arrays, digest
    except Exception as error:  # zipfile, zlib and NumPy raise some ten kinds for bytes that they can not read
        damage = str(error) or type(error).__name__
    with contextlib.suppress(OSError):
        os.replace(file, f"{file}.damaged")
    print(f"{file}: damaged ({damage}): set aside, and made again", file=sys.stderr, flush=True)


def write(file: Path, images: np.ndarray, labels: np.ndarray) -> str:
    """Writes the cache, and returns the SHA-256. Without a cache the next start is slower: a failure is only told."""
    digest = Arrays(images, labels).sha256
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        disk.sweep(file.parent)
        with disk.whole(file) as part, part.open("wb") as stream:
            np.savez(stream, images=images, labels=labels, sha256=np.array(digest))
    except OSError as error:
        print(f"{file}: not written ({error.strerror or error}); decoded again next time", file=sys.stderr, flush=True)
    return digest
