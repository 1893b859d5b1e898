"""The devices that JAX computes on: starting them, sharing a batch among them, and what is said when they fail.

Where there are several, each has the whole dataset and the whole network, and its part of every batch. XLA adds up what
they find, so that a step is the same as on one device, but for the rounding.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from smith.errors import UserError
from smith.run import Run

Tree = Any  # a pytree of arrays

BATCH = "batch"  # the axis along which devices lie
INSTEAD = "JAX_PLATFORMS=cpu trains on the CPU"


def start(warn: Callable[[str], None]) -> None:
    """Starts JAX, and passes on what it says of plugins and drivers without their tracebacks.

    Raises:
      UserError: there is no such device as JAX_PLATFORMS asks for.
    """
    import jax

    heard: list[str] = []

    def hear(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        heard.append(_line(error) or _line(record.getMessage()))
        return False

    log, asked = logging.getLogger("jax._src.xla_bridge"), os.environ.get("JAX_PLATFORMS", "")
    log.addFilter(hear)
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the second where a platform's plugin is not installed
        said = "; ".join([*heard, _line(error).split(" (set JAX_PLATFORMS")[0]]).strip("; ")
        said = said or "there is no such device, or JAX is installed without it"
        raise UserError(f"JAX does not start with JAX_PLATFORMS={asked}: {said}; {INSTEAD}") from error
    finally:
        log.removeFilter(hear)
    for line in heard if asked != "cpu" else ():
        warn(f"JAX says: {line}")


@contextlib.contextmanager
def shared(count: int) -> Iterator[None]:
    """Computes on the first `count` devices, 0 for all there are, from here to the end. Raises UserError if too few."""
    import jax

    there = jax.devices()
    if count > len(there):
        raise UserError(f"--devices {count}: JAX has {len(there)}, {there[0].platform}")
    if (count or len(there)) == 1:
        yield
        return
    used = there[: count or None]
    with jax.set_mesh(jax.make_mesh((len(used),), (BATCH,), (jax.sharding.AxisType.Auto,), devices=used)):
        yield


def check(runs: Iterable[Run]) -> None:
    """Raises UserError for a run whose batch can not be shared equally."""
    for run in runs:
        if run.batch_size % count():
            fits = max(n for n in range(1, count()) if run.batch_size % n == 0)
            raise UserError(
                f"{run.key}: a batch of {run.batch_size} does not divide by {count()} devices: --devices {fits}"
            )


def count() -> int:
    """Returns how many devices share a batch here."""
    import jax

    return jax.sharding.get_abstract_mesh().size or 1


def layout(rows: int = 0) -> Any:
    """Returns how an array lies on the devices: divided among them if its rows can be, without rows whole on each.

    It is None for one device.
    """
    import jax

    axes = [BATCH] * _divides(rows)
    return jax.sharding.NamedSharding(jax.sharding.get_mesh(), jax.P(*axes)) if count() > 1 else None


def put(array: Any, layout: Any, rows: np.ndarray | None = None) -> Any:
    """Puts an array on the devices, or some of its rows. Reads what is for the devices of this process alone."""
    import jax

    if layout is None:
        return jax.device_put(array if rows is None else array[rows])
    shape = array.shape if rows is None else (len(rows), *array.shape[1:])
    read = array.__getitem__ if rows is None else lambda at: array[rows[at[0]]]
    return jax.make_array_from_callback(shape, layout, read)


def spread(array: Tree) -> Tree:
    """Divides an array among the devices, by its first axis if that can be; for compiled functions."""
    return _laid(array, BATCH) if count() > 1 and _divides(len(array)) else array


def everywhere(tree: Tree) -> Tree:
    """Gives every device the whole of each array; for compiled functions."""
    return _laid(tree) if count() > 1 else tree


def _divides(rows: int) -> bool:
    return rows > 0 and rows % count() == 0


def _laid(tree: Tree, *axes: str) -> Tree:
    import jax

    return jax.lax.with_sharding_constraint(tree, jax.P(*axes))


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Raises OSError for what goes wrong on a device: its memory is used up, or it is gone."""
    try:
        yield
    except RuntimeError as error:
        import jax

        if not isinstance(error, jax.errors.JaxRuntimeError):
            raise
        raise OSError(f"the device failed: {_line(error, 300)}; {INSTEAD}") from error


def _line(said: object, most: int = 1_000) -> str:
    return " ".join(str(said or "").split())[:most]
