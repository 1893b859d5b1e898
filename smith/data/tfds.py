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
from typing import Any

import numpy as np

from smith.data.arrays import Arrays, Split
from smith.errors import UserError

RECORDS_AT_ONCE = 1000  # decoded together: several times faster than one by one, and little memory


def read(name: str, split: Split, data_dir: Path) -> Arrays:
    """Returns a split of a TFDS dataset whose records have an "image" and a "label".

    Args:
      name: TFDS's own, of any dataset whose images have one size

    Raises:
      UserError: TFDS is missing; what is prepared can not be read; it can not be downloaded or prepared.
    """
    elsewhere = "point --data-dir or TFDS_DATA_DIR at a folder that has it prepared"
    with _quiet():
        with _told(f"can not find {name} in {data_dir}", f"install the requirements, or {elsewhere}"):
            import tensorflow_datasets as tfds

            builder: Any = tfds.builder(name, data_dir=os.fspath(data_dir))
        if not builder.is_prepared():
            remedy = f"pip install -r requirements-prepare.txt (to prepare only), or {elsewhere}"
            with _told(f"{name} is not prepared in {data_dir}, and TensorFlow is needed for that", remedy):
                _import_tensorflow()
            print(f"{name}: downloading and preparing in {data_dir} (once; minutes)", file=sys.stderr, flush=True)
            with _told(f"can not prepare {name} in {data_dir}", f"try again, or {elsewhere}"):
                config = tfds.download.DownloadConfig(try_download_gcs=False)
                builder.download_and_prepare(file_format="array_record", download_config=config)
        with _told(f"can not read {builder.data_dir}", f"delete it to have it made again, or {elsewhere}"):
            return _decode(builder.as_data_source(split))


def _decode(source: Any) -> Arrays:
    """Returns every record of a TFDS data source."""
    images = np.empty((len(source), *source[0]["image"].shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), RECORDS_AT_ONCE):
        numbers = list(range(start, min(start + RECORDS_AT_ONCE, len(source))))
        records = source.__getitems__(numbers)
        images[numbers] = np.stack([record["image"] for record in records])
        labels[numbers] = [record["label"] for record in records]
    return Arrays(images, labels)


def _import_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines and without the GPU, whose memory it would take from JAX."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    import tensorflow

    with contextlib.suppress(RuntimeError):  # it is in use already, with the devices that its user gave it
        tensorflow.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def _told(what: str, remedy: str) -> Iterator[None]:
    """Turns whatever TFDS raises into one line that names the innermost cause."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while inner := cause.__cause__ or cause.__context__:
            cause = inner
        reason = (str(cause).splitlines() or [type(cause).__name__])[0].rstrip(":.")
        raise UserError(f"{what} ({reason}): {remedy}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps log lines below an error to TFDS and the libraries that it uses."""
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
