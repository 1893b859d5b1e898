"""Checkpoints: a training run under way, on disk. Arrays by Orbax, the rest as JSON, in one small wrapper.

    FOLDER/about.json     the run, the seed, the iteration, the rows so far
    FOLDER/state/         the arrays, as Orbax writes them
    FOLDER/manifest.json  the SHA-256 of every other file

A folder gets its name when all of this is on the disk. It is read only if every file is as the manifest says, and the
arrays have the shapes that the run's have. Nothing in it is ever executed.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smith import disk
from smith.errors import UserError
from smith.run import Run, differences

if TYPE_CHECKING:
    import jax

Tree = Any  # a pytree of arrays

FORMAT = "1"
KEPT = 2  # checkpoints of a run; the older ones are removed
SHARE = 0.01  # of the training time, which checkpoints may cost
MARGIN = 2**20  # bytes that a checkpoint may need beyond its arrays
SPARE_BYTES = 64 * 2**20  # that a folder may be larger than its arrays

_orbax = threading.Lock()  # its threads wait for one another's signals: one thing at a time


class DamagedCheckpoint(Exception):
    """A folder that can not be read as a checkpoint. The message says why, in one line."""


@dataclass(frozen=True)
class Checkpoint:
    """A run under way.

    iteration: iterations done
    state: the program's arrays; `None` where only the rest was read
    rows: the tests made so far; at `iteration` itself there may be one or not
    last_test: the iteration since which the training loss is summed
    timing: seconds spent so far, by kind, and iterations timed
    """

    run: Run
    seed: int
    iteration: int
    state: Tree
    rows: list[dict[str, float]] = field(default_factory=list)
    last_test: int = 0
    timing: Mapping[str, float] = field(default_factory=dict)


def names(state: Tree) -> list[str]:
    """Returns the path of every array, such as params/conv1/kernel."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def to_host(state: Tree) -> Tree:
    """Returns a copy of the arrays in NumPy, which what happens to the device's arrays does not touch."""
    import jax

    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), jax.device_get(state))


def save(folder: Path, checkpoint: Checkpoint, above: int = 1) -> None:
    """Writes a checkpoint, whole or not at all, and up to `above` folders above it.

    Raises OSError where there is no room or no permission, or where the folders above those have gone.
    """
    import orbax.checkpoint as ocp

    about = {
        "format": FORMAT,
        "run": checkpoint.run.to_json(),
        "seed": checkpoint.seed,
        "iteration": checkpoint.iteration,
        "last_test": checkpoint.last_test,
        "timing": dict(checkpoint.timing),
        "rows": checkpoint.rows,
    }
    flat = _flat(to_host(checkpoint.state))
    with disk.whole(folder) as part:
        disk.make(part, above)
        if shutil.disk_usage(part).free < sum(array.nbytes for array in flat.values()) + MARGIN:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))  # before Orbax fills the disk
        try:
            with _orbax, _quiet(), ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save((part / "state").resolve(), flat)
        except ValueError as error:  # which is how TensorStore says that the disk is full
            code = int(match[1]) if (match := re.search(r"os_error_code='(\d+)'", str(error))) else errno.EIO
            raise OSError(code, os.strerror(code), str(folder)) from error
        (part / "about.json").write_text(json.dumps(about))
        (part / "manifest.json").write_text(json.dumps({"files": _digests(part)}, sort_keys=True))


def read_about(folder: Path) -> Checkpoint:
    """Reads a checkpoint without its arrays, after comparing every file with the manifest.

    Raises:
      DamagedCheckpoint: a file is missing, altered or one too many; links; another format.
    """
    try:
        _check_files(folder)
        about = json.loads((folder / "about.json").read_text())
        if about["format"] != FORMAT:
            raise ValueError(f"checkpoint format {about['format']!r:.40}, this program reads {FORMAT}")
        run = Run.from_json(about["run"])
        numbers = {name: int(about[name]) for name in ("seed", "iteration", "last_test")}
        if not run.first_iteration <= numbers["last_test"] <= numbers["iteration"] <= run.iterations:
            raise ValueError("its iteration is not one of its run's")
        rows = [{str(name): float(value) for name, value in row.items()} for row in about["rows"]]
        timing = {str(name): float(value) for name, value in about["timing"].items()}
        return Checkpoint(run, state=None, rows=rows, timing=timing, **numbers)
    except (
        OSError,
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        UserError,
    ) as e:
        raise DamagedCheckpoint(f"{folder}: {_first_line(e)}") from e


def load(folder: Path, run: Run, seed: int, like: Tree) -> Checkpoint:
    """Reads a checkpoint of a run and seed.

    Args:
      like: a state of the run's structure, shapes and types, whose values are not used.

    Raises:
      DamagedCheckpoint: see `read_about`; or the arrays are not those of such a state.
      UserError: it is of another run or seed; the message says what differs.
    """
    import jax
    import orbax.checkpoint as ocp

    about = read_about(folder)
    differing = differences(about.run, run) + ([f"seed {about.seed}, not {seed}"] if about.seed != seed else [])
    if differing:
        what = " ".join("; ".join(differing).split())
        raise UserError(f"{folder} is of another run ({what:.300}): move it away, or remove it")
    expected = _flat(jax.eval_shape(lambda: like))
    size = sum(array.size * array.dtype.itemsize for array in expected.values())
    if sum(path.lstat().st_size for path in folder.rglob("*")) > size + SPARE_BYTES:
        raise DamagedCheckpoint(f"{folder}: too large for its arrays")
    try:
        with _orbax, _quiet(), ocp.StandardCheckpointer() as checkpointer:
            state = (folder / "state").resolve()
            _check_shapes(checkpointer.metadata(state).item_metadata, expected)
            flat = checkpointer.restore(state, {name: np.empty(a.shape, a.dtype) for name, a in expected.items()})
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise DamagedCheckpoint(f"{folder}: {_first_line(error)}") from error
    arrays = jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in expected])
    return Checkpoint(run, seed, about.iteration, arrays, about.rows, about.last_test, about.timing)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax from printing the errors that it raises too."""
    logger, hook = logging.getLogger("absl"), threading.excepthook
    disabled, logger.disabled = logger.disabled, True
    threading.excepthook = lambda _: None  # its threads end with what is raised here
    try:
        yield
    finally:
        logger.disabled, threading.excepthook = disabled, hook


def _flat(state: Tree) -> dict[str, Any]:
    """Returns the arrays by their path, which is how they are named on disk."""
    import jax

    return dict(zip(names(state), jax.tree.leaves(state), strict=True))


def _check_shapes(found: Any, expected: Mapping[str, "jax.ShapeDtypeStruct"]) -> None:
    """Compares what the folder says of its arrays, before anything is allocated for them."""
    shapes = {name: (array.shape, array.dtype) for name, array in expected.items()}
    if {name: (tuple(array.shape), np.dtype(array.dtype)) for name, array in found.items()} != shapes:
        raise ValueError("its arrays are not those of this run's network")
    for array in found.values():
        if array.storage and tuple(array.storage.chunk_shape) != tuple(array.shape):
            raise ValueError("its arrays are in pieces of another size")


def _digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file. Raises OSError for what is neither a file nor a folder."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    for path in found:
        disk.regular(path)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in found}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(folder: Path) -> None:
    for name in ("manifest.json", "about.json"):
        if disk.regular(folder / name) > SPARE_BYTES:
            raise ValueError(f"{name} is too large")
    stated = json.loads((folder / "manifest.json").read_text())
    found = _digests(folder)
    found.pop("manifest.json")
    if stated != {"files": found}:
        raise ValueError("a file is missing, altered or one too many")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]


class Keeper:
    """The checkpoints of one run and seed: written in the background, the last two kept, removed in the end."""

    def __init__(self, folder: Path, every: float) -> None:
        """Args: folder: for this run and seed alone; every: seconds between two checkpoints, at least."""
        self._folder, self._every = folder, every
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving: Future[None] | None = None
        self._last, self._cost = time.perf_counter(), 0.0

    def newest(self, run: Run, seed: int, like: Tree, latest: int, warn: Callable[[str], None]) -> Checkpoint | None:
        """Returns the newest checkpoint that can be read, not later than `latest`. Damaged ones are told and left.

        Raises UserError for a checkpoint of another run (see `load`).
        """
        for folder in reversed([path for path in saved(self._folder) if int(path.name) <= latest]):
            try:
                return load(folder, run, seed, like)
            except DamagedCheckpoint as error:
                warn(f"damaged checkpoint, not used: {error}")
        return None

    def due(self) -> bool:
        """Says whether it is time: `every` seconds after the last, and more if saving took more than its share.

        Raises OSError if the last one could not be written.
        """
        if self._saving and self._saving.done():
            self._saving.result()
            self._saving = None
        return not self._saving and time.perf_counter() - self._last >= max(self._every, self._cost / SHARE)

    def keep(self, checkpoint: Checkpoint, *, wait: bool = False) -> None:
        """Copies the arrays and writes them in the background; with wait, returns when they are on the disk."""
        started = time.perf_counter()
        copied = Checkpoint(**{**vars(checkpoint), "state": to_host(checkpoint.state), "rows": list(checkpoint.rows)})
        self._finish()
        self._saving = self._thread.submit(self._save, copied, started)
        if wait:
            self._finish()

    def close(self) -> None:
        """Waits for what is being written."""
        try:
            self._finish()
        finally:
            self._thread.shutdown()

    def _finish(self) -> None:
        if self._saving:
            saving, self._saving = self._saving, None
            saving.result()

    def _save(self, checkpoint: Checkpoint, started: float) -> None:
        save(self._folder / f"{checkpoint.iteration:09d}", checkpoint, above=2)
        older = [folder for folder in saved(self._folder) if int(folder.name) <= checkpoint.iteration]
        for folder in saved(self._folder):
            if folder not in older[-KEPT:]:  # later ones were damaged, or of no use for a snapshot
                disk.remove(folder)
        self._last = time.perf_counter()
        self._cost = self._last - started


def saved(folder: Path) -> list[Path]:
    """Returns the checkpoints in a run's folder, oldest first."""
    return [path for path in disk.matching(folder, "[0-9]" * 9) if path.is_dir()]


def remove(folder: Path) -> None:
    """Removes a run's checkpoints, or one snapshot, and the folder they were in if it is empty."""
    disk.remove(folder)
    disk.remove_empty(folder.parent)


def path_of(folder: Path, run: Run, seed: int) -> Path:
    """Returns where the checkpoints of a run and seed are, in a scale's folder of results."""
    return folder / "checkpoints" / f"{run.key}-seed{seed}"


def snapshot_of(folder: Path, run: Run, seed: int) -> Path:
    """Returns where the snapshot is kept that `run` starts from, in a scale's folder of results."""
    assert run.start
    return folder / "snapshots" / f"{run.start.run.key}-seed{seed}-at{run.first_iteration}"


def exists(folder: Path) -> bool:
    """Says whether there is a checkpoint, readable or not."""
    return os.path.lexists(folder)
