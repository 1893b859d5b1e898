"""Checkpoints: runs under way, on disk. Orbax writes them in the background, keeps the last two, and reads them.

    FOLDER/<iteration>/state/          the arrays
    FOLDER/<iteration>/about/          as JSON: the run, the seed, the rows so far
    FOLDER/<iteration>/manifest.json   the SHA-256 of every other file; written last, and compared before any is read

What a killed process left half-written is never read, and is removed when the next one is written. Nothing that is read
is ever executed.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smith import disk
from smith.errors import UserError
from smith.run import Run, differences

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

Tree = Any  # a pytree of arrays

KEPT = 2  # checkpoints of a run; the older ones are removed
SHARE = 0.01  # of the training time, which checkpoints may cost
MARGIN = 2**20  # bytes that a checkpoint may need beyond its arrays
MANIFEST, ITERATION = "manifest.json", 9 * "[0-9]"


class DamagedCheckpoint(OSError):
    """A checkpoint that can not be read, or is not as it was written. The message says why, in one line."""


class Checkpoint(NamedTuple):
    """A run under way.

    iteration: iterations done
    state: a pytree of arrays
    last_test: the iteration of the last test, None if there was none (see `smith.train.loop.Point`)
    rows: what the tests so far measured
    timing: seconds spent so far, by kind, and iterations timed
    """

    run: Run
    seed: int
    iteration: int
    state: Tree
    last_test: int | None = None
    rows: Sequence[Mapping[str, float]] = ()
    timing: Mapping[str, float] = {}


class Keeper:
    """Writes the checkpoints of a run and seed. Only who holds the run's lock may have one."""

    def __init__(self, folder: Path, every: float = 0.0, kept: int | None = KEPT) -> None:
        """folder: of this run and seed alone; every: seconds from one to the next; kept: how many, None for all."""
        self._folder, self._every, self._kept = folder, every, kept
        self._manager: ocp.CheckpointManager | None = None
        self._iteration = -1  # of the last one
        self._started: float | None = None  # when the one was begun that is being written
        self._last, self._cost = time.perf_counter(), 0.0  # when the last one was written, and how long that took

    def due(self) -> bool:
        """Says whether it is time for one. Raises OSError if the last one could not be written."""
        if self._manager and self._started is not None:
            if self._manager.is_saving_in_progress():
                return False
            self.wait()
        return time.perf_counter() - self._last >= max(self._every, self._cost / SHARE)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Copies a checkpoint and writes it in the background, unless the last one was of the same iteration.

        Raises OSError if there is no room, or no permission.
        """
        import jax

        self.wait()
        if checkpoint.iteration == self._iteration:
            return
        self._iteration, self._started = checkpoint.iteration, time.perf_counter()
        arrays = jax.tree.map(np.array, jax.device_get(checkpoint.state))  # what the next step does not touch
        with self._telling():
            manager = self._manager = self._manager or self._open()
            if shutil.disk_usage(self._folder).free < sum(array.nbytes for array in jax.tree.leaves(arrays)) + MARGIN:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # before Orbax fills the disk
            args = _orbax().args
            about = checkpoint._asdict() | {"run": checkpoint.run.to_json(), "rows": list(checkpoint.rows)}
            del about["state"]
            both = args.Composite(state=args.StandardSave(arrays), about=args.JsonSave(about))
            manager.save(checkpoint.iteration, args=both, force=True)

    def wait(self) -> None:
        """Waits until the last one is on the disk. Raises OSError if it could not be written."""
        if self._manager and self._started is not None:
            started, self._started = self._started, None
            with self._telling():
                self._manager.wait_until_finished()
                path = self._folder / name(self._iteration)
                with disk.whole(path / MANIFEST) as part:
                    part.write_text(json.dumps(_digests(path)))
            self._last = time.perf_counter()
            self._cost = self._last - started

    def close(self) -> None:
        """Does what `wait` does, and ends Orbax's threads."""
        try:
            self.wait()
        finally:
            if self._manager:
                self._manager.close()

    def _open(self) -> "ocp.CheckpointManager":
        ocp = _orbax()
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(parents=True, exist_ok=True)  # again: another process may have removed the empty parent
        for path in set(disk.matching(self._folder, ITERATION)) - set(saved(self._folder)):
            disk.remove(path)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._kept,
            step_format_fixed_length=len(name(0)),
            cleanup_tmp_directories=True,
            save_root_metadata=False,
        )
        return ocp.CheckpointManager(self._folder.resolve(), options=options)

    @contextlib.contextmanager
    def _telling(self) -> Any:
        """Turns every error into an OSError of one line."""
        try:
            yield
        except Exception as error:
            self._started = None
            reason = isinstance(error, OSError) and error.strerror or _first_line(error)
            number = isinstance(error, OSError) and error.errno or errno.EIO
            raise OSError(number, f"no checkpoint can be written ({reason})", str(self._folder)) from error


def newest(
    folder: Path, run: Run, seed: int, like: Callable[[], Tree], warn: Callable[[str], None]
) -> Checkpoint | None:
    """Returns the newest checkpoint in a folder that can be read. Damaged ones are told, and removed.

    Only who holds the run's lock may do this. Arguments and errors as in `load`.
    """
    for path in reversed(saved(folder)):
        try:
            return load(path, run, seed, like)
        except DamagedCheckpoint as error:
            warn(f"damaged checkpoint, removed: {error}")
            disk.remove(path)
    return None


def load(path: Path, run: Run, seed: int, like: Callable[[], Tree]) -> Checkpoint:
    """Reads a checkpoint of a run and seed.

    Args:
      like: returns a state with the structure, shapes and types of the run's; its values are not used.

    Raises:
      DamagedCheckpoint: it is not as it was written, or its arrays are not those of such a state.
      UserError: it is of another run or seed. The message says what differs.
    """
    import jax

    check(path)
    args = _orbax().args
    about = dict(_restored(path, about=args.JsonRestore()).about)
    differing = differences(Run.from_json(about.pop("run")), run)
    differing += [f"seed {about['seed']}, not {seed}"] if about["seed"] != seed else []
    if differing:
        raise UserError(f"{path} is of another run ({'; '.join(differing):.300}): move it away, or remove it")
    expected = like()
    state = _restored(path, state=args.StandardRestore(expected)).state
    alike = jax.tree.map(lambda one, other: (one.shape, one.dtype) == (other.shape, other.dtype), state, expected)
    if not all(jax.tree.leaves(alike)):
        raise DamagedCheckpoint(f"{path}: its arrays are not those of this run's network")
    return Checkpoint(run, state=state, **about)


def check(path: Path) -> None:
    """Compares every file of a checkpoint with its manifest. Raises DamagedCheckpoint if one is not as it was."""
    try:
        stated, found = json.loads((path / MANIFEST).read_bytes()), _digests(path)
    except (OSError, ValueError) as error:
        raise DamagedCheckpoint(f"{path}: it can not be compared with its manifest") from error
    if stated != found:
        raise DamagedCheckpoint(f"{path}: a file is missing, altered or one too many")


def _restored(path: Path, **items: Any) -> Any:
    """Returns items of a checkpoint as Orbax reads them. Raises DamagedCheckpoint if it can not."""
    ocp = _orbax()
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            return checkpointer.restore(path.resolve(), args=ocp.args.Composite(**items))
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise DamagedCheckpoint(f"{path}: {_first_line(error)}") from error


def _digests(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file but the manifest, by its path."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file != path / MANIFEST]
    return {file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _orbax() -> Any:
    """Returns Orbax, which logs no error that it raises too."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)
    return ocp


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]


def name(iteration: int) -> str:
    """Returns what the checkpoint at an iteration is called."""
    return f"{iteration:09d}"


def saved(folder: Path) -> list[Path]:
    """Returns the complete checkpoints in a folder, oldest first."""
    return [path for path in disk.matching(folder, ITERATION) if complete(path)]


def complete(path: Path) -> bool:
    """Says whether a checkpoint is there, damaged or not, and not half-written."""
    return (path / MANIFEST).exists()


def remove(path: Path) -> None:
    """Removes a checkpoint, or a folder of them, and the folder it was in if that is empty."""
    disk.remove(path)
    disk.remove_empty(path.parent)
