"""Small data sets as TFDS meets them: prepared, or as the originals' archives, served over HTTP on this machine.

    python tests/tfds_server.py mnist DATA_DIR

downloads, prepares and loads both splits through smith.data.load, in a process of its own: preparing imports
TensorFlow, which should not share a process with JAX. The archives have the published layout, so TFDS's own readers
run unchanged.
"""

import contextlib
import functools
import gzip
import hashlib
import io
import struct
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smith.data import DATASETS, Arrays, Split, load
from smith.data.arrays import SPLITS

COUNTS: dict[Split, int] = {"train": 15, "test": 6}  # CIFAR-10's training images come in five files


def small(name: str, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (N, height, width, channels) uint8, no two alike, and labels (N,) uint8; the same every time."""
    info, count = DATASETS[name], COUNTS[split]
    random = np.random.default_rng([len(name), count])
    images = random.integers(0, 256, (count, *info.image_shape), np.uint8)
    labels = random.permutation(np.linspace(0, info.classes - 1, count).astype(np.uint8))
    return images, labels


def _png(image: np.ndarray) -> io.BytesIO:
    stream = io.BytesIO()
    Image.fromarray(image.squeeze()).save(stream, "PNG")
    return io.BytesIO(stream.getvalue())


def write_prepared(name: str, data_dir: Path) -> None:
    """Writes the small set as TFDS leaves it after preparing, without TensorFlow: the images are already PNGs."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=str(data_dir))
    keys = set(builder.info.features)  # pyright: ignore

    def examples(split):
        for i, (image, label) in enumerate(zip(*small(name, split), strict=True)):
            example = {"image": _png(image), "label": int(label), "coarse_label": int(label) // 5, "id": f"{split}_{i}"}
            yield i, {key: example[key] for key in keys}

    builder._split_generators = lambda *_: {split: examples(split) for split in SPLITS}  # pyright: ignore
    builder.download_and_prepare(file_format="array_record")


def is_small(loaded: Arrays, name: str, split: Split) -> bool:
    """Whether every pixel and label is as `small` gave it, in whatever order: TFDS shuffles when it prepares."""

    def pairs(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
        return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))

    return pairs(loaded.images, loaded.labels) == pairs(*small(name, split))


def write_archives(name: str, folder: Path) -> None:
    """Writes the archives of mnist, cifar10 or cifar100 as their authors publish them."""
    folder.mkdir(parents=True)
    if name == "mnist":
        for split in SPLITS:
            images, labels = small(name, split)
            prefix = "train" if split == "train" else "t10k"
            header = struct.pack(">4I", 2051, *images.shape[:3])
            (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
            header = struct.pack(">2I", 2049, len(labels))
            (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))
        return
    inside, members = _cifar10_files() if name == "cifar10" else _cifar100_files()
    with tarfile.open(folder / f"cifar-{name[5:]}-binary.tar.gz", "w:gz") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(f"{inside}/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _cifar_rows(images: np.ndarray, *labels: np.ndarray) -> np.ndarray:
    """Returns (N, labels + 3072) uint8: the label bytes, then the red, the green and the blue plane."""
    return np.column_stack([*labels, images.transpose(0, 3, 1, 2).reshape(len(images), -1)])


def _cifar10_files() -> tuple[str, dict[str, bytes]]:
    batches = np.split(_cifar_rows(*small("cifar10", "train")), 5)
    files = {f"data_batch_{i}.bin": batch.tobytes() for i, batch in enumerate(batches, start=1)}
    files["test_batch.bin"] = _cifar_rows(*small("cifar10", "test")).tobytes()
    files["batches.meta.txt"] = "\n".join(f"class{i}" for i in range(10)).encode() + b"\n\n"
    return "cifar-10-batches-bin", files


def _cifar100_files() -> tuple[str, dict[str, bytes]]:
    files = {}
    for split in SPLITS:
        images, labels = small("cifar100", split)
        files[f"{split}.bin"] = _cifar_rows(images, labels // 5, labels).tobytes()
    for kind, count in (("coarse", 20), ("fine", 100)):
        files[f"{kind}_label_names.txt"] = "".join(f"{kind}{i}\n" for i in range(count)).encode()
    return "cifar-100-binary", files


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serves a folder on a free loopback port; gives its address, which ends in a slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def redirect(monkeypatch: Any, name: str, address: str, folder: Path) -> None:
    """Makes TFDS download from `address`, with the checksums of the archives in `folder` and their number of images."""
    from tensorflow_datasets.core import units
    from tensorflow_datasets.core.download import checksums
    from tensorflow_datasets.image_classification import cifar, mnist

    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    for file in folder.iterdir():
        content = file.read_bytes()
        known = checksums.UrlInfo(units.Size(len(content)), hashlib.sha256(content).hexdigest(), file.name)
        monkeypatch.setitem(checksums.get_all_url_infos(), address + file.name, known)
    if name == "mnist":
        monkeypatch.setattr(mnist.MNIST, "URL", address)
        monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", COUNTS["train"])
        monkeypatch.setattr(mnist, "_TEST_EXAMPLES", COUNTS["test"])
        return
    builder = cifar.Cifar10 if name == "cifar10" else cifar.Cifar100
    published: Any = builder._cifar_info.fget  # pyright: ignore
    url = f"{address}cifar-{name[5:]}-binary.tar.gz"
    monkeypatch.setattr(builder, "_cifar_info", property(lambda self: published(self)._replace(url=url)))


def main(name: str, data_dir: Path) -> None:
    import pytest

    folder = data_dir / "originals"
    write_archives(name, folder)
    with pytest.MonkeyPatch.context() as monkeypatch, serve(folder) as address:
        redirect(monkeypatch, name, address, folder)
        for split in SPLITS:
            print(split, load(name, split, data_dir, allow_partial=True).images.shape)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
