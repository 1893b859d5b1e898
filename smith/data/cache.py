"""The cache of datasets: each split decoded, in order and checked, in DATA_DIR/smith-cache/NAME-SPLIT.npz.

With the cache there, nothing else of a dataset is read, and TFDS and TensorFlow are not imported.
"""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

from smith import disk
from smith.data.arrays import Arrays, DatasetInfo, Split, in_order
from smith.errors import UserError


def cache_file(name: str, split: Split, data_dir: Path) -> Path:
    """Returns where a split is kept."""
    return data_dir / "smith-cache" / f"{name}-{split}.npz"


def load(name: str, info: DatasetInfo, split: Split, data_dir: Path) -> Arrays:
    """Returns a split from its cache, or else from the dataset's function, and then writes the cache.

    One process makes the cache while the others wait. Raises UserError as `smith.data.load` does.
    """
    file = cache_file(name, split, data_dir)
    arrays = _read(file, info, split)
    if arrays is None:
        with disk.waiting(file.with_name(f"{name}.lock")):  # of both splits, because preparing one prepares the other
            arrays = _read(file, info, split)
            if arrays is None:
                arrays = _make(name, info, split, data_dir)
                _write(file, arrays)
    return arrays


def _make(name: str, info: DatasetInfo, split: Split, data_dir: Path) -> Arrays:
    try:
        arrays = info.loader(split, data_dir)
    except OSError as error:
        raise UserError(f"can not read {name} {split}: {error}; repair it, or give another --data-dir") from error
    if fault := info.fault(arrays, split):
        raise UserError(
            f"{name} {split} in {data_dir}: {fault}; repair the data, or the dataset's declaration, "
            "or give another --data-dir"
        )
    return in_order(arrays)


def _read(file: Path, info: DatasetInfo, split: Split) -> Arrays | None:
    """Returns the arrays, or None where there is no cache or it was damaged. A damaged one is set aside.

    A cache without a digest was written elsewhere, in whatever order.
    """
    try:
        stream = open(file, "rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"can not read {file}: {error.strerror}; make it readable, or delete it") from error
    with stream:
        try:
            with np.load(stream, allow_pickle=False) as members:
                content = {key: members[key] for key in members.files}
            arrays = Arrays(content["images"], content["labels"])
            fault = info.fault(arrays, split)
            if not fault and str(content.get("sha256", _digest(arrays))) != _digest(arrays):
                fault = "sha256 differs"
        except Exception as error:  # zipfile, zlib and NumPy raise some ten kinds for bytes they can not read
            fault = str(error) or type(error).__name__
    if fault:
        _set_aside(file, fault)
        return None
    return Arrays(arrays.images, arrays.labels.astype(np.int32)) if "sha256" in content else in_order(arrays)


def _write(file: Path, arrays: Arrays) -> None:
    """Writes the cache. Without it the next start is slower, so a failure is told, not raised."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        disk.sweep(file.parent)
        with disk.whole(file) as part, part.open("wb") as stream:
            np.savez(stream, images=arrays.images, labels=arrays.labels, sha256=np.array(_digest(arrays)))
    except OSError as error:
        _say(f"{file}: not written ({error.strerror or error}); the dataset will be decoded again next time")


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(arrays.images).data)
    digest.update(np.ascontiguousarray(arrays.labels).data)
    return digest.hexdigest()


def _set_aside(file: Path, fault: str) -> None:
    aside = file.with_name(f"{file.name}.damaged")
    try:
        os.replace(file, aside)
        _say(f"{file}: damaged ({fault}); kept as {aside.name}, making it again")
    except OSError as error:
        _say(f"{file}: damaged ({fault}), and can not be moved ({error.strerror}); reading the original")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
