"""Results: one Parquet file per run and seed, written once, whole, never edited.

    results/<scale>/<run key>-seed<n>.parquet

One row per test, columns and units as in `COLUMNS`. The file's metadata has the run's JSON, the seed, how the run
ended, what it cost and where and with what it was made; `pandas.read_parquet(path)` is all that is needed for the rows.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smith.errors import UserError
from smith.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "1"

COLUMNS: dict[str, tuple[str, str]] = {  # name: (Arrow type, unit)
    "iteration": ("int64", "optimiser steps done when the test was made"),
    "epoch": ("float64", "passes over the training set"),
    "learning_rate": ("float64", "per iteration, at this iteration"),
    "momentum": ("float64", "fraction of the velocity kept per iteration"),
    "weight_decay": ("float64", "coefficient of the L2 gradient"),
    "train_loss": ("float64", "nats; mean over the iterations since the last test"),
    "test_loss": ("float64", "nats; mean over the test images"),
    "test_accuracy": ("float64", "fraction of the test images"),
}


class DamagedResult(Exception):
    """A file that is there but can not be read as a result. The message says why, in one line."""


@dataclass(frozen=True)
class Result:
    """One run with one seed, done.

    columns: the rows, as an array of float64 for each name of COLUMNS
    status: "done" or "diverged"
    facts: what else the file's metadata says: versions, device, git commit, date, seconds, images/s
    """

    run: Run
    seed: int
    status: str
    columns: Mapping[str, np.ndarray]
    facts: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, column: str) -> np.ndarray:
        """Returns a column; "loss_gap" is the test loss minus the training loss."""
        if column == "loss_gap":
            return self.columns["test_loss"] - self.columns["train_loss"]
        return self.columns[column]


def path_of(folder: Path, run: Run, seed: int) -> Path:
    """Returns where a result belongs in a scale's folder."""
    return folder / f"{run.key}-seed{seed}.parquet"


def make_folder(folder: Path, option: str = "--results-dir") -> None:
    """Makes sure that files can be written to a folder. Raises UserError, which names the option, if they can not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{uuid.uuid4().hex[:8]}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{folder}: nothing can be written there ({error.strerror}); choose {option}") from error


def _schema(metadata: Mapping[str, str]) -> "pa.Schema":
    import pyarrow as pa

    fields = [pa.field(name, kind, metadata={"unit": unit}) for name, (kind, unit) in COLUMNS.items()]
    return pa.schema(fields, metadata=dict(metadata))


def write(
    folder: Path, run: Run, seed: int, status: str, rows: Sequence[Mapping[str, float]], facts: Mapping[str, str]
) -> Path:
    """Writes a result whole: beside its place, synchronised, renamed. Returns its path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = {"schema_version": SCHEMA_VERSION, "run": run.to_json(), "seed": str(seed), "status": status}
    columns = {name: np.array([row[name] for row in rows], np.float64) for name in COLUMNS}
    metadata = {**facts, **own}
    metadata["sha256"] = _digest(metadata, columns)
    typed = {name: columns[name].astype(kind) for name, (kind, _) in COLUMNS.items()}
    table = pa.table(typed, schema=_schema(metadata))
    target = path_of(folder, run, seed)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with beside.open("wb") as file:
            pq.write_table(table, file, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _digest(metadata: Mapping[str, str], columns: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of all that a result says. Parquet's own checksums do not cover the metadata."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in COLUMNS:
        digest.update(columns[name].tobytes())
    return digest.hexdigest()


def read(path: Path) -> Result:
    """Reads a result.

    Raises:
      DamagedResult: the file is truncated, altered, of another schema, or not a result at all.
    """
    import pyarrow as pa

    try:
        metadata, columns = _content(path)
        version = metadata.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise DamagedResult(f"{path}: schema version {version}, this program reads {SCHEMA_VERSION}")
        if metadata.pop("sha256") != _digest({**metadata, "schema_version": SCHEMA_VERSION}, columns):
            raise DamagedResult(f"{path}: sha256 differs: the file was altered")
        run, seed, status = Run.from_json(metadata.pop("run")), int(metadata.pop("seed")), metadata.pop("status")
    except (OSError, ValueError, TypeError, KeyError, UserError, pa.ArrowException) as error:
        raise DamagedResult(f"{path}: {(str(error) or repr(error)).splitlines()[0]}") from error
    return Result(run, seed, status, columns, metadata)


def _content(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Returns a file's metadata and columns. Raises one of many errors if they can not be had."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, page_checksum_verification=True)
    raw = table.schema.metadata or {}
    metadata = {k.decode(): v.decode() for k, v in raw.items() if not k.startswith(b"ARROW")}
    if table.schema.names != list(COLUMNS):
        raise ValueError(f"columns {table.schema.names}")
    return metadata, {name: table[name].to_numpy().astype(np.float64) for name in COLUMNS}


def find(folder: Path, run: Run, seed: int) -> Result | None:
    """Returns the result of a run and seed, or None. Raises DamagedResult for one that can not be read."""
    path = path_of(folder, run, seed)
    if not path.exists():
        return None
    result = read(path)
    if (result.run, result.seed) != (run, seed):
        raise DamagedResult(f"{path}: the file holds another run than its name says")
    return result


def seeds(folder: Path, run: Run) -> list[Result]:
    """Returns the readable results of a run, by seed."""
    return sorted(_readable(folder.glob(f"{_glob_escaped(run.key)}-seed*.parquet"), run), key=lambda r: r.seed)


def _readable(paths: Iterator[Path], run: Run) -> Iterator[Result]:
    for path in paths:
        try:
            result = read(path)
        except DamagedResult:
            continue
        if result.run == run:
            yield result


def _glob_escaped(text: str) -> str:
    return text.replace("[", "[[]")


def set_aside(path: Path) -> Path:
    """Renames a damaged file, so that it is kept for inspection and no longer taken for a result."""
    target = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:6]}")
    path.rename(target)
    return target


def facts(**measured: Any) -> dict[str, str]:
    """Returns what a result's metadata says of its making: versions, device, git commit, and what was `measured`."""
    import datetime
    import platform

    import flax
    import jax
    import optax

    device = jax.devices()[0]
    versions = {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__}
    return {
        **versions,
        "python": platform.python_version(),
        "device": f"{device.platform}: {_processor() if device.platform == 'cpu' else device.device_kind}",
        "git_commit": git_commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in measured.items()},
    }


def _processor() -> str:
    """Returns the processor's name and how many cores this process may use."""
    import platform

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = lines[0] if lines else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def git_commit() -> str:
    """Returns the commit of the code, with "+" if files were changed since; "unknown" outside a checkout."""
    import subprocess

    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", "*.py") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
