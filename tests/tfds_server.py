"""Small datasets as TFDS meets them: prepared, or as MNIST's original archives, served over HTTP on this machine.

    python tests/tfds_server.py DATA_DIR

downloads and prepares MNIST through smith.data, in a process of its own: preparing imports TensorFlow, which should not
share a process with JAX. The archives have the published layout, so TFDS's own readers run unchanged.
"""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import io
import struct
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smith.data import DATASETS, SPLITS, Arrays, Split, folders, prepare

COUNTS: dict[Split, int] = {"train": 15, "test": 6}


def small(name: str, split: Split) -> Arrays:
    """Returns random images, no two alike, and labels of uint8 up to the last class; the same every time."""
    info, count = DATASETS[name], COUNTS[split]
    random = np.random.default_rng([len(name), count])
    images = random.integers(0, 256, (count, *info.image_shape), np.uint8)
    return Arrays(images, random.permutation(np.linspace(0, info.classes - 1, count).astype(np.uint8)))


def expect_small(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Declares that a dataset has as many images as `small` gives, and not the published ones."""
    info = dataclasses.replace(DATASETS[name], train_images=COUNTS["train"], test_images=COUNTS["test"], sha256=None)
    info.loader = DATASETS[name].loader
    monkeypatch.setitem(DATASETS, name, info)


def write_prepared(name: str, data_dir: Path) -> None:
    """Writes the small set as TFDS leaves it after preparing, without TensorFlow: the images are PNGs already."""
    import tensorflow_datasets as tfds

    def png(image: np.ndarray) -> io.BytesIO:
        stream = io.BytesIO()
        Image.fromarray(image.squeeze()).save(stream, "PNG")
        return io.BytesIO(stream.getvalue())

    def examples(split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (image, label) in enumerate(zip(*small(name, split), strict=True)):
            example = {"image": png(image), "label": int(label), "coarse_label": int(label) // 5, "id": f"{split}_{i}"}
            yield i, {key: example[key] for key in builder.info.features}

    builder: Any = tfds.builder(name, data_dir=str(data_dir))
    builder._split_generators = lambda *_: {split: examples(split) for split in SPLITS}
    builder.download_and_prepare(file_format="array_record")


def write_imagenet(source: Path, data_dir: Path, broken: str = "") -> None:
    """Writes folders of images as TFDS leaves imagenet2012, their bytes as they are; one may be no image."""
    import tensorflow_datasets as tfds

    def examples(listing: folders.Listing) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, label in zip(listing.names, listing.labels, strict=True):
            image = b"no image" if name == broken else (listing.folder / name).read_bytes()
            yield name, {"image": io.BytesIO(image), "label": int(label), "file_name": name}

    builder: Any = tfds.builder("imagenet2012", data_dir=str(data_dir))
    splits = {"train": "train", "validation": "test"}
    builder._split_generators = lambda *_: {k: examples(folders.listed(source, split)) for k, split in splits.items()}
    builder.download_and_prepare(file_format="array_record")


def write_archives(folder: Path) -> None:
    """Writes the small MNIST as its authors publish it."""
    folder.mkdir(parents=True)
    for split, prefix in zip(SPLITS, ("train", "t10k"), strict=True):
        images, labels = small("mnist", split)
        files = {
            "images-idx3": struct.pack(">4I", 2051, *images.shape[:3]) + images.tobytes(),
            "labels-idx1": struct.pack(">2I", 2049, len(labels)) + labels.tobytes(),
        }
        for kind, content in files.items():
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))


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


def redirect(monkeypatch: pytest.MonkeyPatch, address: str, folder: Path) -> None:
    """Makes TFDS download MNIST from an address, at once or not at all, with the checksums of the files in a folder."""
    from tensorflow_datasets.core import units
    from tensorflow_datasets.core.download import checksums, downloader
    from tensorflow_datasets.image_classification import mnist

    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    for file in folder.iterdir():
        content = file.read_bytes()
        known = checksums.UrlInfo(units.Size(len(content)), hashlib.sha256(content).hexdigest(), file.name)
        monkeypatch.setitem(checksums.get_all_url_infos(), address + file.name, known)
    monkeypatch.setattr(downloader, "MAX_RETRIES", 0)
    monkeypatch.setattr(mnist.MNIST, "URL", address)
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", COUNTS["train"])
    monkeypatch.setattr(mnist, "_TEST_EXAMPLES", COUNTS["test"])


def main(data_dir: Path) -> None:
    folder = data_dir / "originals"
    write_archives(folder)
    with pytest.MonkeyPatch.context() as monkeypatch, serve(folder) as address:
        redirect(monkeypatch, address, folder)
        expect_small(monkeypatch, "mnist")
        prepare(["mnist"], data_dir)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
