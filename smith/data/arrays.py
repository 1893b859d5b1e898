"""MNIST, CIFAR-10 and CIFAR-100 as uint8 arrays in memory.

    train = load("cifar10", "train", default_data_dir())
    train.images  # (50000, 32, 32, 3) uint8
    train.labels  # (50000,) uint8

Source: TensorFlow Datasets (TFDS), which downloads the originals, compares their checksums and prepares them. That
needs TensorFlow, once. The decoded arrays are kept beside the prepared files, in DATA_DIR/smith-cache/NAME-SPLIT.npz;
with those there, neither TFDS nor TensorFlow is imported.
"""

import contextlib
import hashlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from smith import disk
from smith.errors import UserError, unknown

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

RECORDS_AT_ONCE = 1000  # decoded together: several times faster than one by one, and little memory
CONNECT_SECONDS, READ_SECONDS, RETRIES = 10, 60, 2  # TFDS alone waits without a limit, and tries eleven times


@dataclass(frozen=True)
class Arrays:
    """One split of a data set.

    images: (N, height, width, channels) uint8
    labels: (N,) uint8
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class DatasetInfo:
    """What the published data set holds. image_shape: (height, width, channels)."""

    image_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int

    def count(self, split: Split) -> int:
        """Returns the number of images in a split."""
        return self.train_images if split == "train" else self.test_images


DATASETS: dict[str, DatasetInfo] = {
    "mnist": DatasetInfo((28, 28, 1), classes=10, train_images=60_000, test_images=10_000),
    "cifar10": DatasetInfo((32, 32, 3), classes=10, train_images=50_000, test_images=10_000),
    "cifar100": DatasetInfo((32, 32, 3), classes=100, train_images=50_000, test_images=10_000),
}


def default_data_dir() -> Path:
    """Returns the folder TFDS uses when none is given: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def load(name: str, split: Split, data_dir: Path, *, allow_partial: bool = False) -> Arrays:
    """Returns one split, from the cache or else from TFDS (which may download it); writes the cache.

    The images come in an order of their own (see `in_order`). With allow_partial, fewer images than published will do.

    Raises UserError: an unknown name or split; a wrong number of images; a data set that is neither here nor to be had.
    """
    info = _known(name)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    data_dir = Path(data_dir).expanduser()
    file = cache_file(name, split, data_dir)
    arrays = _read_cache(file, info)
    if arrays is None:
        with disk.waiting(file.with_suffix(".lock")):  # one process makes the cache, the others read it then
            arrays = _read_cache(file, info)
            if arrays is None:
                disk.sweep(file.parent)
                arrays = _read_tfds(name, split, data_dir)
                _check_count(arrays, name, split, data_dir / name, allow_partial)
                _write_cache(file, arrays)
                return arrays
    _check_count(arrays, name, split, file, allow_partial)
    return arrays


def prepare(names: Iterable[str], data_dir: Path, *, allow_partial: bool = False) -> None:
    """Loads both splits of each data set, so that the caches are there; prints a line for each. Raises like `load`."""
    names = list(names)
    for name in names:
        _known(name)  # a misspelt last name is told before the first download
    for name in names:
        train, test = (len(load(name, split, data_dir, allow_partial=allow_partial).labels) for split in SPLITS)
        print(f"{name}: {train} training and {test} test images in {data_dir}", flush=True)


def mean_image(images: np.ndarray) -> np.ndarray:
    """Returns the mean over the images, (N, H, W, C) uint8 -> (H, W, C) float32.

    The sum is exact: float64 holds it, and NumPy converts a small buffer at a time, not all the images.
    """
    return images.mean(axis=0, dtype=np.float64).astype(np.float32)


def in_order(arrays: Arrays) -> Arrays:
    """Returns the images ordered by their SHA-256, so that a seed means the same wherever the files were prepared.

    TFDS keeps them in an order that depends on how they were written. By digest, classes are mixed too.
    """
    images = np.ascontiguousarray(arrays.images)
    digests = [hashlib.sha256(i.tobytes() + bytes([n])).digest() for i, n in zip(images, arrays.labels, strict=True)]
    order = np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)
    return Arrays(arrays.images[order], arrays.labels[order])


def cache_file(name: str, split: Split, data_dir: Path) -> Path:
    """Returns where the decoded arrays of a split are kept."""
    return data_dir / "smith-cache" / f"{name}-{split}.npz"


def _known(name: str) -> DatasetInfo:
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    return DATASETS[name]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check_count(arrays: Arrays, name: str, split: Split, where: Path, allow_partial: bool) -> None:
    expected, found = DATASETS[name].count(split), len(arrays.labels)
    if found == expected or (allow_partial and 0 < found < expected):
        return
    raise UserError(
        f"{name} {split}: expected {expected} images, found {found} in {where}; "
        "delete it to have it made again, or give another --data-dir"
    )


# --- the cache ---


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


def _read_cache(file: Path, info: DatasetInfo) -> Arrays | None:
    """Returns the arrays, or None where there is no cache or it was damaged (it is then set aside).

    Raises UserError if the file is there and cannot be opened.
    """
    try:
        stream = open(file, "rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; make it readable, or delete it") from error
    with stream:
        try:
            with np.load(stream, allow_pickle=False) as members:
                content = {key: members[key] for key in members.files}
            damage = _damage(content, info)
        except Exception as error:  # zipfile, zlib and NumPy raise some ten kinds for bytes they cannot read
            content, damage = {}, str(error) or type(error).__name__
    if damage:
        _set_aside(file, damage)
        return None
    arrays = Arrays(content["images"], content["labels"])
    return arrays if "sha256" in content else in_order(arrays)


def _damage(content: dict[str, np.ndarray], info: DatasetInfo) -> str:
    """Returns what is wrong with a cache's content, or "". A cache written elsewhere may lack the digest."""
    if missing := {"images", "labels"} - content.keys():
        return f"no {' and '.join(sorted(missing))}"
    images, labels = content["images"], content["labels"]
    if images.dtype != np.uint8 or labels.dtype != np.uint8:
        return f"dtypes {images.dtype} and {labels.dtype}, not uint8"
    if labels.shape != (len(labels),) or images.shape != (len(labels), *info.image_shape):
        return f"shapes {images.shape} and {labels.shape}"
    if len(labels) and labels.max() >= info.classes:
        return f"label {labels.max()}, of {info.classes} classes"
    if "sha256" in content and str(content["sha256"]) != _digest(images, labels):
        return "sha256 differs"
    return ""


def _set_aside(file: Path, damage: str) -> None:
    aside = file.with_name(file.name + ".damaged")
    try:
        os.replace(file, aside)
        _say(f"{file}: damaged ({damage}); kept as {aside.name}, making it again")
    except OSError as error:
        _say(f"{file}: damaged ({damage}), and cannot be moved ({error.strerror}); reading the original")


def _write_cache(file: Path, arrays: Arrays) -> None:
    """Writes the cache whole or not at all. Without it the next start is slower, so a failure is told, not raised."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sha256 = np.array(_digest(arrays.images, arrays.labels))
        with disk.whole(file) as part, part.open("wb") as stream:
            np.savez(stream, images=arrays.images, labels=arrays.labels, sha256=sha256)
    except OSError as error:
        _say(f"{file}: not written ({error.strerror or error}); the data set will be decoded again next time")


# --- TensorFlow Datasets: imported only in these functions, because that takes seconds ---


def _read_tfds(name: str, split: Split, data_dir: Path) -> Arrays:
    """Returns a split decoded from the prepared files, after preparing them if need be."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"{name} is not cached in {data_dir}, and tensorflow_datasets is missing: {error}") from error
    with _quiet():
        try:
            builder: Any = tfds.builder(name, data_dir=os.fspath(data_dir))
            prepared = builder.is_prepared()
        except OSError as error:
            raise UserError(f"cannot read the data folder {data_dir}: {error.strerror or error}") from error
        if not prepared:
            _download(builder, name, data_dir)
            builder = tfds.builder(name, data_dir=os.fspath(data_dir))  # it may be another process that prepared it
        try:
            return _decode(builder.as_data_source(split), DATASETS[name])
        except NotImplementedError as error:
            raise UserError(
                f"{builder.data_dir} holds {builder.info.file_format.value} files, and only array_record is read here; "
                "give another --data-dir, or delete it to have it made again"
            ) from error
        except Exception as error:  # whatever array_record and the PNG decoder raise for damaged bytes
            remedy = "install the requirements" if isinstance(error, ImportError) else "delete it to have it made again"
            raise UserError(f"cannot read {builder.data_dir} ({_one_line(error)}); {remedy}") from error


def _decode(source: Any, info: DatasetInfo) -> Arrays:
    """Returns every record of a TFDS data source."""
    images = np.empty((len(source), *info.image_shape), np.uint8)
    labels = np.empty(len(source), np.uint8)
    for start in range(0, len(source), RECORDS_AT_ONCE):
        numbers = list(range(start, min(start + RECORDS_AT_ONCE, len(source))))
        records = source.__getitems__(numbers)
        images[numbers] = np.stack([record["image"] for record in records])
        labels[numbers] = [record["label"] for record in records]
    if damage := _damage({"images": images, "labels": labels}, info):
        raise ValueError(damage)
    return in_order(Arrays(images, labels))


def _download(builder: Any, name: str, data_dir: Path) -> None:
    """Lets TFDS download, compare the checksums and prepare. Raises UserError where any of it fails."""
    from tensorflow_datasets import download

    elsewhere = "point TFDS_DATA_DIR or --data-dir at a folder that has it prepared"
    try:
        _import_tensorflow()
    except ImportError as error:
        raise UserError(
            f"{name} is not prepared in {data_dir}, and preparing it needs TensorFlow ({_one_line(error)}): "
            f"pip install -r requirements-prepare.txt (needed only to prepare), or {elsewhere}"
        ) from error
    _say(f"{name}: downloading and preparing in {data_dir} (once; minutes)")
    config = download.DownloadConfig(try_download_gcs=False)
    try:
        with _impatient():
            builder.download_and_prepare(file_format="array_record", download_config=config)
    except Exception as error:
        if not builder.is_prepared():  # where it is, another process was faster, and that made this one fail
            raise _explain(error, name, data_dir, elsewhere) from error


def _explain(error: Exception, name: str, data_dir: Path, elsewhere: str) -> Exception:
    """Returns the one-line error for what can go wrong on the way to the prepared files, or else the error itself."""
    from requests.exceptions import RequestException
    from tensorflow_datasets import download
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    reason = _one_line(error)
    if isinstance(error, NonMatchingChecksumError):
        return UserError(f"cannot use the download of {name}: {reason}; try again, or {elsewhere}")
    if isinstance(error, RequestException | download.DownloadError):  # before OSError, which RequestException is
        return UserError(f"cannot download {name} ({reason}), and it is not prepared in {data_dir}: {elsewhere}")
    if isinstance(error, OSError) or isinstance(error.__cause__, OSError):  # TFDS's ExtractError has it as its cause
        return UserError(f"cannot write {name} to {data_dir} ({reason}); make room there, or give another --data-dir")
    return error


def _one_line(error: BaseException) -> str:
    """Returns the first line of the innermost cause: "[Errno 111] Connection refused", not the retries around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    lines = str(error).splitlines()
    return lines[0].rstrip(":.") if lines else type(error).__name__


def _import_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines and without the GPU, whose memory it would take from JAX."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # JAX sets the same
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    tensorflow = importlib.import_module("tensorflow")
    with contextlib.suppress(RuntimeError):  # already in use here, with the devices its user gave it
        tensorflow.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS: its banners on stdout, its progress bars, and log lines below an error."""
    import tensorflow_datasets as tfds

    levels = {logger: logger.level for logger in map(logging.getLogger, ("absl", "urllib3"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        tfds.enable_progress_bar()


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Limits how long a download waits: without a network TFDS needs minutes to say so, behind some firewalls hours."""
    import requests
    from tensorflow_datasets.core.download import downloader

    get, retries = requests.Session.get, downloader.MAX_RETRIES
    requests.Session.get = partialmethod(get, timeout=(CONNECT_SECONDS, READ_SECONDS))  # pyright: ignore
    downloader.MAX_RETRIES = RETRIES
    try:
        yield
    finally:
        requests.Session.get, downloader.MAX_RETRIES = get, retries
