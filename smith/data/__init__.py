"""The data sets, as arrays in memory."""

from smith.data.arrays import (
    DATASETS,
    Arrays,
    DatasetInfo,
    Split,
    cache_file,
    default_data_dir,
    load,
    mean_image,
    prepare,
)

__all__ = [
    "DATASETS",
    "Arrays",
    "DatasetInfo",
    "Split",
    "cache_file",
    "default_data_dir",
    "load",
    "mean_image",
    "prepare",
]
