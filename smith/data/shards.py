"""Datasets that do not fit into memory: shards of images on a disk, made once.

A shard is a file of 1,024 images and one of what belongs to it, `train-00000.npz`; `train.npz` has all labels and the
mean image. The images are pixels, read by memory map (`train-00000.npy`), or JPEG files, decoded while training
(`train-00000.array_record`). The index is written last, so a preparation that was interrupted is never taken for a
whole one: the same command goes on with it.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from smith import disk
from smith.data import folders, tfds
from smith.data.arrays import Arrays
from smith.errors import UserError

SIZE = 1024  # images in a shard
SMALLER = 7  # about so many times JPEG files of quality 95 take less room than pixels
Source = folders.Listing | tfds.Records  # of a split: `names`, and `take` for some of them
DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, EOFError, zipfile.BadZipFile)
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


class Jpegs(Shards):
    """The same of images that are kept as JPEG files: `images[rows]` decodes them, on all cores."""

    def __init__(self, paths: list[str], side: int, mean: np.ndarray, sha256: str) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self._records, self.mean, self.sha256 = ArrayRecordDataSource(paths), mean, sha256
        self.shape = (len(self._records), side, side, 3)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        found, broken = folders.decoded(self._records.__getitems__([int(row) for row in rows]), self.shape[1])
        if broken:
            raise UserError(f"image {rows[min(broken)]} of a prepared dataset is damaged: prepare it again")
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
    if (has := index.get("side")) != side:
        raise UserError(f"{folder} has images of {has} pixels, not {side}: {remedy}")
    try:
        about, sha256 = _about(folder / f"{split}.npz"), index[split]["sha256"]
        paths = _files(folder, split, index)
        images: Any
        if index.get("jpeg"):
            images = Jpegs([str(path) for path in paths], side, about["mean"], sha256)
        else:
            images = Shards([np.load(path, mmap_mode="r") for path in paths], about["mean"], sha256)
        if len(images) != len(about["labels"]):
            raise ValueError("images and labels do not fit together")
    except DAMAGE as error:
        raise UserError(f"{folder}: a file of {split} is damaged ({error}): {remedy}") from error
    return Arrays(images, about["labels"])


def prepare(
    source: Path, folder: Path, side: int, said: Callable[[str, int, int], None], jpeg: int | None = None
) -> str:
    """Turns ImageNet, as folders or as TFDS has it, into shards, on all cores. Returns a line on what there is then.

    Shards that are there are kept, others of an earlier preparation removed. Files that are no images are left out and
    named.

    Args:
      source: with train/CLASS/*.JPEG and val/CLASS/*.JPEG (see `smith.data.folders`), or that of imagenet2012 in TFDS
      folder: where the shards go
      said: is told (split, shards done, shards in all) after each
      jpeg: the quality of the JPEG files that the images are kept as; None for pixels

    Raises UserError: as `folders.listed` and `tfds.prepared` do; too little room on the disk; more than 0.1 % of the
      files are broken.
    """
    splits = tfds.prepared(source) or {split: folders.listed(source, split) for split in folders.NAMES}
    disk.make_folder(folder, "--data-dir")
    with disk.waiting(folder / "prepare.lock"):
        files = sum(len(of.names) for of in splits.values())
        _check_room(folder, files * side * side * 3 // (SMALLER if jpeg else 1), jpeg)
        (folder / "index.json").unlink(missing_ok=True)
        index, broken = dict[str, Any](side=side, jpeg=jpeg), dict[str, str]()
        for split, of in splits.items():
            count, digest, labels = -(-len(of.names) // SIZE), hashlib.sha256(), np.empty(0, np.int32)
            total = np.zeros((side, side, 3), np.int64)
            for k in range(count):
                about = _shard(folder, split, k, of, side, jpeg)
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
        _remove_others(folder, index)
    left_out = f"; left out: {folders.broken_files(broken, files)}" if broken else ""
    return f"{folder}: {files - len(broken):,} images of {side} x {side} pixels{left_out}"


def _remove_others(folder: Path, index: dict[str, Any]) -> None:
    """Removes the shards of an earlier preparation, of the other kind or of more images."""
    for split in folders.NAMES:
        needed = {*_files(folder, split, index)}
        needed |= {file.with_suffix(".npz") for file in needed}
        for path in {*disk.matching(folder, f"{split}-{5 * '[0-9]'}.*")} - needed:
            disk.remove(path)


def _shard(folder: Path, split: str, k: int, source: Source, side: int, jpeg: int | None) -> dict[str, np.ndarray]:
    """Returns what is known of a shard: labels, sum of its images, broken files, digest. Makes it if need be."""
    file, some = _images(folder, split, k, jpeg), slice(k * SIZE, (k + 1) * SIZE)
    of = hashlib.sha256("\n".join([f"{side} {jpeg}", *source.names[some]]).encode()).hexdigest()
    try:
        about = _about(file.with_suffix(".npz"))
        known = not isinstance(source, folders.Listing) or np.array_equal(about["labels"], source.labels[some])
        whole = known and str(about["of"]) == of and file.is_file() and file.stat().st_size == about["bytes"]
        if whole and str(about["broken"]) == "{}":
            return about
    except DAMAGE:
        pass  # there is none, or none that can be read
    (images, labels), broken = source.take(some, side)
    with disk.whole(file) as part:
        if jpeg:
            images = _write_jpegs(part, images, jpeg)
        else:
            with part.open("wb") as stream:
                np.save(stream, images)
    about = {
        "labels": labels,
        "total": images.sum(axis=0, dtype=np.int64),
        "broken": np.array(json.dumps(broken)),
        "sha256": np.array(Arrays(images, labels).sha256),
        "of": np.array(of),
        "bytes": np.array(file.stat().st_size),
    }
    _write(file.with_suffix(".npz"), **about)
    return about


def _write_jpegs(path: Path, images: np.ndarray, quality: int) -> np.ndarray:
    """Writes images as JPEG files and returns them as they come back."""
    from array_record.python.array_record_module import ArrayRecordWriter

    files, writer = folders.encoded(images, quality), ArrayRecordWriter(str(path), "group_size:1")
    for file in files:
        writer.write(file)
    writer.close()
    return folders.decoded(files, images.shape[1])[0]


def _files(folder: Path, split: str, index: dict[str, Any]) -> list[Path]:
    """Returns the files of images that an index says there are of a split."""
    return [_images(folder, split, k, index.get("jpeg")) for k in range(index[split]["shards"])]


def _images(folder: Path, split: str, k: int, jpeg: int | None) -> Path:
    return folder / f"{split}-{k:05d}.{_ending(jpeg)}"


def _ending(jpeg: int | None) -> str:
    return "array_record" if jpeg else "npy"


def _about(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def _write(path: Path, **arrays: Any) -> None:
    with disk.whole(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def _check_room(folder: Path, needed: int, jpeg: int | None) -> None:
    needed -= sum(path.stat().st_size for path in disk.matching(folder, f"*.{_ending(jpeg)}"))
    if needed > (free := shutil.disk_usage(folder).free):
        needs = f"{folder} needs {needed / 1e9:.1f} GB and has {free / 1e9:.1f}"
        raise UserError(f"{needs}: say with --data-dir where there is room")
