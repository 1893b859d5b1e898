"""Datasets from TensorFlow Datasets (TFDS).

TFDS downloads the originals, compares their checksums and prepares them, for which it needs TensorFlow. To read what is
prepared it does not. Both are imported where they are used, because that takes seconds.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from smith.data import folders
from smith.data.arrays import Arrays
from smith.errors import UserError

AT_ONCE = 1000  # records decoded together: several times faster than one by one, and little memory


def read(name: str, split: str, data_dir: Path) -> Arrays:
    """Returns a split of a TFDS dataset whose records have an "image", all of one size, and a "label".

    Raises UserError: TFDS is missing; what is prepared can not be read; it can not be downloaded or prepared.
    """
    step, remedy = "look for", "install requirements.txt"
    try:
        with _quiet():
            import tensorflow_datasets as tfds

            builder: Any = tfds.builder(name, data_dir=os.fspath(data_dir))
            if not builder.is_prepared():
                step, remedy = "prepare", "pip install -r requirements-prepare.txt"
                _import_tensorflow()
                remedy = "try again"
                print(f"{name}: downloading and preparing in {data_dir} (once; minutes)", file=sys.stderr, flush=True)
                tfds.disable_progress_bar()
                config = tfds.download.DownloadConfig(try_download_gcs=False)
                builder.download_and_prepare(file_format="array_record", download_config=config)
            step, remedy = "read", f"delete {builder.data_dir} to have it made again"
            return _decode(builder.as_data_source(split))
    except Exception as error:
        elsewhere = "or point --data-dir or TFDS_DATA_DIR at a folder that has it prepared"
        raise UserError(f"can not {step} {name} in {data_dir} ({_cause(error)}): {remedy}, {elsewhere}") from error


def _decode(source: Any) -> Arrays:
    images = np.empty((len(source), *source[0]["image"].shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), AT_ONCE):
        places = range(start, min(start + AT_ONCE, len(source)))
        records = source.__getitems__(list(places))
        images[places] = [record["image"] for record in records]
        labels[places] = [record["label"] for record in records]
    return Arrays(images, labels)


class Records(NamedTuple):
    """A split of a dataset that TFDS prepared, its images still encoded.

    source: its records; names: what each is called in a message
    """

    source: Any
    names: list[str]

    def take(self, some: slice, side: int) -> folders.Taken:
        """Returns some of the images, as `folders.Listing.take` does."""
        records = self.source.__getitems__([*range(len(self.names))[some]])
        labels = np.array([record["label"] for record in records], np.int32)
        return folders.taken([record["image"] for record in records], labels, self.names[some], side)


def prepared(folder: Path) -> dict[str, Records] | None:
    """Returns the splits of ImageNet as TFDS prepared it, or None if the folder is none of its.

    folder: a version's, or that of the dataset with one version in it, such as imagenet2012

    Raises UserError: it can not be read, or is in another format than ArrayRecord.
    """
    if not (facts := [*folder.glob("dataset_info.json"), *sorted(folder.glob("*/dataset_info.json"))]):
        return None
    place = facts[-1].parent
    try:
        with _quiet():
            import tensorflow_datasets as tfds

            builder: Any = tfds.builder_from_directory(place)
            found = {}
            for split, name in (("train", "train"), ("test", "validation")):
                source = builder.as_data_source(name, decoders={"image": tfds.decode.SkipDecoding()})
                found[split] = Records(source, [f"{builder.info.full_name} {name} {k}" for k in range(len(source))])
            return found
    except Exception as error:
        remedy = "TFDS has to prepare it with file_format='array_record'"
        raise UserError(f"can not read {place} ({_cause(error)}): {remedy}") from error


def _import_tensorflow() -> None:
    """Imports TensorFlow without its first lines, and keeps it off the GPU, whose memory it would take from JAX."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow

    with contextlib.suppress(RuntimeError):  # it is in use already, with the devices that its user gave it
        tensorflow.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back log lines below an error: advice of TFDS (absl), and each attempt of a download (urllib3)."""
    with contextlib.ExitStack() as stack:
        for logger in map(logging.getLogger, ("absl", "urllib3")):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        yield


def _cause(error: BaseException) -> str:
    """Returns the first line of the innermost cause: "Connection refused", not the attempts around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":.")
