"""Datasets that do not fit into memory: shards of decoded images on a disk, made once and read by memory map.

A shard is a file of 1,024 images, `train-00000.npy`, and one of what belongs to it, `train-00000.npz`; `train.npz` has
all labels and the mean image. The index is written last, so a preparation that was interrupted is never taken for a
whole one: the same command goes on with it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from smith import disk
from smith.data import folders, tfds
from smith.data.arrays import Arrays
from smith.errors import UserError

SIZE = 1024  # images in a shard
Source = folders.Listing | tfds.Records  # of a split: `names`, and `take` for some of them
BROKEN = 0.001  # of the files; with more of them than this a preparation ends


class Shards:
    """The images of a split, like an array (N, side, side, 3) uint8 of which one takes rows: `images[[5, 3, 8]]`.

    mean: (side, side, 3) float64, their mean image; sha256: their digest and that of their labels
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, parts: list[np.ndarray], mean: np.ndarray, sha256: str) -> None:
        self._parts, self.mean, self.sha256 = parts, mean, sha256
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self._ends, rows, side="right")
        for part in np.unique(which):
            here = which == part
            found[here] = self._parts[part][np.asarray(rows)[here] - (self._ends[part] - len(self._parts[part]))]
        return found


def read(folder: Path, split: str, side: int) -> Arrays:
    """Returns a split of a prepared dataset: `Shards` and labels (N,) int32, in the order of the files' paths.

    Raises UserError: it is not prepared, or not to its end, or at another size, or a shard is missing or cut off.
    """
    remedy = f"smith prepare {folder.name} FOLDER makes it from a folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG"
    try:
        index = json.loads((folder / "index.json").read_text())
    except FileNotFoundError:
        begun = "its preparation is not finished" if disk.matching(folder, "*.np?") else "it is not there"
        raise UserError(f"{folder}: {begun}: {remedy}") from None
    except ValueError as error:
        raise UserError(f"{folder}/index.json is damaged ({error}): {remedy}") from error
    if index["side"] != side:
        raise UserError(f"{folder} has images of {index['side']} pixels, not {side}: {remedy}")
    try:
        parts = [np.load(_images(folder, split, k), mmap_mode="r") for k in range(index[split]["shards"])]
        about = _about(folder / f"{split}.npz")
        if sum(map(len, parts)) != len(about["labels"]):
            raise ValueError("images and labels do not fit together")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: a file of {split} is damaged ({error}): {remedy}") from error
    images: Any = Shards(parts, about["mean"], index[split]["sha256"])
    return Arrays(images, about["labels"])


def prepare(source: Path, folder: Path, side: int, said: Callable[[str, int, int], None]) -> str:
    """Turns ImageNet, as folders or as TFDS has it, into shards, on all cores. Returns a line on what there is then.

    Shards that are there are kept. Files that are no images are left out and named.

    Args:
      source: with train/CLASS/*.JPEG and val/CLASS/*.JPEG (see `smith.data.folders`), or that of imagenet2012 in TFDS
      folder: where the shards go
      said: is told (split, shards done, shards in all) after each

    Raises UserError: as `folders.listed` and `tfds.prepared` do; too little room on the disk; more than 0.1 % of the
      files are broken.
    """
    splits = tfds.prepared(source) or {split: folders.listed(source, split) for split in folders.NAMES}
    disk.make_folder(folder, "--data-dir")
    with disk.waiting(folder / "prepare.lock"):
        files = sum(len(of.names) for of in splits.values())
        _check_room(folder, files * side * side * 3)
        (folder / "index.json").unlink(missing_ok=True)
        index, broken = dict[str, Any](side=side), dict[str, str]()
        for split, of in splits.items():
            count, digest, labels = -(-len(of.names) // SIZE), hashlib.sha256(), np.empty(0, np.int32)
            total = np.zeros((side, side, 3), np.int64)
            for k in range(count):
                about = _shard(folder, split, k, of, side)
                broken |= json.loads(str(about["broken"]))
                digest.update(str(about["sha256"]).encode())
                labels = np.append(labels, about["labels"])
                total += about["total"]
                said(split, k + 1, count)
            _write(folder / f"{split}.npz", labels=labels, mean=total / max(1, len(labels)))
            index[split] = {"shards": count, "sha256": digest.hexdigest()}
        if len(broken) > BROKEN * files:
            raise UserError(f"{source}: {folders.broken_files(broken, files)}; at most 0.1 % may be")
        with disk.whole(folder / "index.json") as part:
            part.write_text(json.dumps(index, indent=1))
    left_out = f"; left out: {folders.broken_files(broken, files)}" if broken else ""
    return f"{folder}: {files - len(broken):,} images of {side} x {side} pixels{left_out}"


def _shard(folder: Path, split: str, k: int, source: Source, side: int) -> dict[str, np.ndarray]:
    """Returns what is known of a shard: labels, sum of its images, broken files, digest. Makes it if need be."""
    file, some = _images(folder, split, k), slice(k * SIZE, (k + 1) * SIZE)
    of = hashlib.sha256("\n".join([str(side), *source.names[some]]).encode()).hexdigest()
    try:
        about = _about(file.with_suffix(".npz"))
        if str(about["of"]) == of and len(np.load(file, mmap_mode="r")) == len(about["labels"]):
            return about
    except (OSError, ValueError, KeyError):
        pass  # there is none, or none that can be read
    arrays, broken = source.take(some, side)
    about = {
        "labels": arrays.labels,
        "total": arrays.images.sum(axis=0, dtype=np.int64),
        "broken": np.array(json.dumps(broken)),
        "sha256": np.array(arrays.sha256),
        "of": np.array(of),
    }
    with disk.whole(file) as part, part.open("wb") as stream:
        np.save(stream, arrays.images)
    _write(file.with_suffix(".npz"), **about)
    return about


def _images(folder: Path, split: str, k: int) -> Path:
    return folder / f"{split}-{k:05d}.npy"


def _about(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def _write(path: Path, **arrays: Any) -> None:
    with disk.whole(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def _check_room(folder: Path, needed: int) -> None:
    needed -= sum(path.stat().st_size for path in disk.matching(folder, "*.npy"))
    if needed > (free := shutil.disk_usage(folder).free):
        needs = f"{folder} needs {needed / 1e9:.1f} GB and has {free / 1e9:.1f}"
        raise UserError(f"{needs}: say with --data-dir where there is room")
