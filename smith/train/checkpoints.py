"""Checkpoints: runs under way, on disk. Orbax writes and reads the arrays.

    FOLDER/<iteration>/state/           the arrays
    FOLDER/<iteration>/about/metadata   as JSON: the rows so far, and what they took
    FOLDER/<iteration>/manifest.json    the SHA-256 of every other file, which is compared before any is read

Each is written beside its place and then renamed: it is there whole or not at all. Nothing that is read is executed.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from smith import disk

Tree = Any  # a pytree of arrays
Like = Callable[[], Tree]  # returns a state with the run's structure, shapes and types; its values are not used

KEPT = 2  # checkpoints of a run; the older ones are removed
SHARE = 0.01  # of the training time, which checkpoints may cost
MARGIN = 2**20  # bytes that a checkpoint may need beyond its arrays
MANIFEST, ABOUT = "manifest.json", ("iteration", "last_test", "rows", "timing")


class DamagedCheckpoint(Exception):
    """A checkpoint that is not as it was written, or not of this program. The message says why, in one line."""


class Checkpoint(NamedTuple):
    """A run under way.

    iteration: iterations done
    state: a pytree of arrays
    last_test: the iteration of the last test, None if there was none (see `smith.train.loop.Point`)
    rows: what the tests so far measured
    timing: seconds spent so far, by kind, and iterations timed
    """

    iteration: int
    state: Tree
    last_test: int | None = None
    rows: Sequence[Mapping[str, float]] = ()
    timing: Mapping[str, float] = {}


class Keeper:
    """Keeps the last checkpoints of a run and seed. Only who holds the run's lock may have one."""

    def __init__(self, folder: Path, every: float = 0.0) -> None:
        """folder: of this run and seed alone; every: seconds from one to the next."""
        self._folder, self._every = folder, every
        self._next = time.perf_counter() + every

    def due(self) -> bool:
        """Says whether it is time for one."""
        return time.perf_counter() >= self._next

    def keep(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, as `write` does, and removes the older ones."""
        before = time.perf_counter()
        write(self._folder, checkpoint)
        for path in saved(self._folder)[:-KEPT]:
            disk.remove(path)
        now = time.perf_counter()
        self._next = now + max(self._every, (now - before) / SHARE)


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint to a folder. Raises OSError, in one line, if there is no room, or no permission."""
    import jax

    arrays = jax.device_get(checkpoint.state)
    about = {name: getattr(checkpoint, name) for name in ABOUT}
    try:
        with disk.whole(folder / name(checkpoint.iteration)) as part:
            with contextlib.suppress(FileNotFoundError):
                (part / "about").mkdir(parents=True)
            (part / "about").mkdir(parents=True, exist_ok=True)  # again: somebody may have removed an empty parent
            if shutil.disk_usage(part).free < sum(array.nbytes for array in jax.tree.leaves(arrays)) + MARGIN:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # before Orbax fills the disk
            (part / "about" / "metadata").write_text(json.dumps(about))
            with _orbax() as (orbax, args):
                orbax.save((part / "state").resolve(), args=args.StandardSave(arrays))
            (part / MANIFEST).write_text(json.dumps(_digests(part)))
    except Exception as error:  # Orbax and TensorStore raise many kinds
        number, reason = getattr(error, "errno", None) or errno.EIO, getattr(error, "strerror", None) or _line(error)
        raise OSError(number, f"no checkpoint can be written ({reason})", str(folder)) from error


def newest(folder: Path, like: Like, warn: Callable[[str], None]) -> Checkpoint | None:
    """Returns the newest checkpoint in a folder that is not damaged. Damaged ones are told, and removed.

    Only who holds the run's lock may do this. Raises OSError, and removes nothing, if a file can not be opened or read.
    """
    for path in reversed(saved(folder)):
        try:
            return load(path, like)
        except DamagedCheckpoint as error:
            warn(f"damaged checkpoint, removed: {error}")
            disk.remove(path)
    return None


def load(path: Path, like: Like) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
      DamagedCheckpoint: it is not as it was written, or its arrays are not those that the run has now.
      OSError: a file can not be opened or read, which says nothing about its bytes.
    """
    import jax

    check(path)
    try:
        about, expected = json.loads((path / "about" / "metadata").read_text()), like()
    except FileNotFoundError as error:
        raise DamagedCheckpoint(f"{path}: it was removed while it was read") from error
    try:
        with _orbax() as (orbax, args):
            state = orbax.restore((path / "state").resolve(), args=args.StandardRestore(expected))
    except Exception as error:
        raise DamagedCheckpoint(f"{path}: {_line(error)}") from error
    alike = jax.tree.map(lambda one, other: (one.shape, one.dtype) == (other.shape, other.dtype), state, expected)
    if not all(jax.tree.leaves(alike)):
        raise DamagedCheckpoint(f"{path}: its arrays are not those of this run's network")
    return Checkpoint(state=state, **{name: about[name] for name in ABOUT})


def check(path: Path) -> None:
    """Compares every file of a checkpoint with its manifest. Raises DamagedCheckpoint if one is not as it was."""
    try:
        stated, found = json.loads((path / MANIFEST).read_bytes()), _digests(path)
    except (FileNotFoundError, ValueError) as error:
        raise DamagedCheckpoint(f"{path}: it can not be compared with its manifest") from error
    if stated != found:
        raise DamagedCheckpoint(f"{path}: a file is missing, altered or one too many")


def _digests(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file but the manifest, by its path."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file != path / MANIFEST]
    return {file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@contextlib.contextmanager
def _orbax() -> Iterator[tuple[Any, Any]]:
    """Gives what writes and reads arrays, and the kinds of its arguments. It logs no error that it raises too."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)
    alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="leader")
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
        yield checkpointer, ocp.args


def _line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]


def name(iteration: int) -> str:
    """Returns what the checkpoint at an iteration is called."""
    return f"{iteration:09d}"


def saved(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, oldest first."""
    return [path for path in disk.matching(folder, 9 * "[0-9]") if complete(path)]


def complete(path: Path) -> bool:
    """Says whether a checkpoint is there, damaged or not."""
    return disk.there(path / MANIFEST)


def remove(path: Path) -> None:
    """Removes a checkpoint, or a folder of them, and the folder it was in if that is empty."""
    disk.remove(path)
    disk.remove_empty(path.parent)
