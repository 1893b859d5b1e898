"""A user's data as arrays: from arrays, or from anything that gives one example, or one batch, after another."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from smith.data import Arrays
from smith.errors import UserError

MOST = 8e9  # bytes in memory
TAKES = (
    "give (inputs, labels) as arrays, a tfds.data_source, a Hugging Face Dataset, a Grain MapDataset or DataLoader, "
    "or any iterable of (input, label) or of dictionaries"
)


def arrays(source: Any, what: str, batched: bool | None = None) -> Arrays:
    """Returns a split as arrays: inputs (N, ...) as they are, of at most 32 bits, and labels (N, ...).

    Args:
      source: (inputs, labels), a mapping of two arrays, or an iterable of pairs or of mappings of two.
      what: what to call it in messages: "training data".
      batched: whether an iterable gives batches; None to see that by the first label, which then has an axis.

    Raises:
      UserError: another kind of source, one that can be read only once, an empty one, one that does not fit into
        memory, inputs and labels that differ in number, or examples that differ in shape.
    """
    pair = isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], tuple | Mapping)  # no examples
    if pair or isinstance(source, Mapping):
        inputs, labels = (_array(part, what) for part in _pair(source, what))
    else:
        inputs, labels = _joined(source, what, batched)
    if not inputs.ndim or not labels.ndim or len(inputs) != len(labels):
        count = " and ".join(str(len(part)) if part.ndim else "one" for part in (inputs, labels))
        raise UserError(f"{what}: {count} inputs and labels: give as many of both")
    if not len(inputs):
        raise UserError(f"{what}: there are none; {TAKES}")
    return Arrays(_of_32_bits(inputs, what), _of_32_bits(labels, what))


def _array(values: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UserError(f"{what}: no array can be made of it ({error}): give all examples one shape") from error


def _of_32_bits(values: np.ndarray, what: str) -> np.ndarray:
    if jnp.issubdtype(values.dtype, jnp.floating):
        with np.errstate(over="ignore"):
            values = values.astype(np.float32) if values.dtype not in (np.float16, np.float32) else values
        if not np.isfinite(values).all():
            raise UserError(f"{what}: some values are not finite in float32: mend or leave out these examples")
        return values
    if values.dtype.kind not in "biu":
        raise UserError(f"{what}: values of type {values.dtype}: give numbers")
    if values.dtype.kind == "b" or values.dtype.itemsize > 4:
        if values.size and not -(2**31) <= values.min() <= values.max() < 2**31:
            raise UserError(f"{what}: values from {values.min()} to {values.max()}: give numbers of 32 bits")
        return values.astype(np.int32)
    return values


def _pair(item: Any, what: str) -> tuple[Any, Any]:
    """Returns input and label of an example or a batch."""
    if isinstance(item, Mapping):
        names = [name for name in item if name in ("label", "labels", "target", "targets", "y")]
        others = [name for name in item if name not in names and name not in ("id", "tfds_id", "index")]
        if len(names) != 1 or len(others) != 1:
            raise UserError(f"{what}: which of {', '.join(map(str, item))} is the label? {TAKES}")
        return item[others[0]], item[names[0]]
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise UserError(f"{what}: a {type(item).__name__} is no pair of input and label; {TAKES}")


def _joined(source: Any, what: str, batched: bool | None) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels, size = [], [], 0
    for item in _items(source, what):
        x, y = (_array(part, what) for part in _pair(item, what))
        size += x.nbytes + y.nbytes
        if size > MOST:
            raise UserError(f"{what}: more than {MOST / 1e9:g} GB, or no end: give a part that fits into memory")
        inputs.append(x)
        labels.append(y)
    if not inputs:
        raise UserError(f"{what}: there are none; {TAKES}")
    batched = labels[0].ndim > 0 and inputs[0].shape[:1] == labels[0].shape[:1] if batched is None else batched
    try:
        join = np.concatenate if batched else np.stack
        return join(inputs), join(labels)
    except ValueError as error:
        raise UserError(f"{what}: examples differ in shape ({error}): give them all one shape") from error


def _items(source: Any, what: str) -> Iterator[Any]:
    if hasattr(source, "with_format"):  # Hugging Face's: arrays instead of lists
        source = source.with_format("numpy")
    if isinstance(source, Iterator):
        raise UserError(
            f"{what}: a {type(source).__name__} can be read only once: give what it was made from, or a list"
        )
    if hasattr(source, "__len__") and len(source) == sys.maxsize:  # Grain's repeat()
        raise UserError(f"{what}: it has no end: leave repeat() out")
    if not isinstance(source, Iterable) and not hasattr(source, "__getitem__"):
        raise UserError(f"{what}: a {type(source).__name__} is not known here; {TAKES}")
    return iter(source)
