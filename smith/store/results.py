"""Results: one Parquet file per run and seed, written once, whole, never edited.

    results/<scale>/<run key>-seed<n>.parquet

One row per test, columns and units as in `COLUMNS`. The file's metadata has the run's JSON, the seed, how the run
ended, what it cost and where and with what it was made; `pandas.read_parquet(path)` is all that is needed for the rows.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smith import disk
from smith.errors import UserError
from smith.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "2"
UNSIGNED = b"sha256:" + 64 * b"-"  # where a file's digest will be; the digest is of the bytes with this in its place
MOST_ROWS, MOST_BYTES = 100_000, 64 * 2**20  # of a result; the longest run of the paper is tested a few hundred times

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
    """Makes sure that files can be written to a folder, and removes what killed processes left half-written in it.

    Raises OSError, which names the option, if nothing can be written there.
    """
    try:
        disk.make_folder(folder)
        with disk.whole(folder / ".probe") as probe:
            probe.touch()
        (folder / ".probe").unlink(missing_ok=True)
    except OSError as error:
        reason = f"nothing can be written there ({error.strerror}); choose {option}"
        raise OSError(error.errno, reason, str(folder)) from error


def _schema(metadata: Mapping[str, str]) -> "pa.Schema":
    import pyarrow as pa

    fields = [pa.field(name, kind, metadata={"unit": unit}) for name, (kind, unit) in COLUMNS.items()]
    return pa.schema(fields, metadata=dict(metadata))


def write(
    folder: Path, run: Run, seed: int, status: str, rows: Sequence[Mapping[str, float]], facts: Mapping[str, str]
) -> Path:
    """Writes a result whole. Returns its path. Raises OSError where there is no room or no permission."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = {"schema_version": SCHEMA_VERSION, "run": run.to_json(), "seed": str(seed), "status": status}
    columns = {name: np.array([row[name] for row in rows], kind) for name, (kind, _) in COLUMNS.items()}
    table = pa.table(columns, schema=_schema({**facts, **own, "digest": UNSIGNED.decode()}))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True)
    target = path_of(folder, run, seed)
    with disk.whole(target) as part:
        part.write_bytes(_signed(buffer.getvalue()))
    return target


def _signed(content: bytes) -> bytes:
    """Returns a file's bytes with their SHA-256 in the place that was kept for it."""
    return content.replace(UNSIGNED, b"sha256:" + hashlib.sha256(content).hexdigest().encode())


def _check_signature(content: bytes) -> None:
    """Raises ValueError if any byte of a file was altered. Looks at nothing else, so that it is safe to do first."""
    signatures = re.findall(rb"sha256:[0-9a-f]{64}", content)
    if len(signatures) != 1:
        raise ValueError("no result of this program, or one that was altered")
    if _signed(content.replace(signatures[0], UNSIGNED)) != content:
        raise ValueError("sha256 differs: the file was altered")


def read(path: Path) -> Result:
    """Reads a result.

    Raises:
      DamagedResult: the file is truncated, altered, of another schema, too large, or not a result at all.
    """
    import pyarrow as pa

    try:
        if disk.regular(path) > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES // 2**20} MiB")
        content = path.read_bytes()
        signed = b"sha256:" in content  # as all are but those of version 1
        if signed:
            _check_signature(content)
        metadata, columns = _content(content)
        version = metadata.pop("schema_version", None)
        if version not in ("1", SCHEMA_VERSION):
            raise ValueError(f"schema version {version}, this program reads 1 and {SCHEMA_VERSION}")
        if signed != (version == SCHEMA_VERSION):
            raise ValueError("not signed as its schema version is: the file was altered")
        if not signed:
            _check_old(metadata, columns)
        run, seed, status = Run.from_json(metadata.pop("run")), int(metadata.pop("seed")), metadata.pop("status")
    except (OSError, ValueError, TypeError, KeyError, UserError, pa.ArrowException) as error:
        raise DamagedResult(f"{path}: {(str(error) or repr(error)).splitlines()[0]}") from error
    return Result(run, seed, status, columns, metadata)


def _content(content: bytes) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Returns a file's metadata and columns. Raises one of many errors if they can not be had."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pa.BufferReader(content)
    with pq.ParquetFile(source, page_checksum_verification=True, thrift_container_size_limit=MOST_ROWS) as file:
        about = file.metadata
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        if about.num_rows > MOST_ROWS or sum(group.total_byte_size for group in groups) > MOST_BYTES:
            raise ValueError(f"{about.num_rows} rows: more than a result has")
        if file.schema_arrow.names != list(COLUMNS):
            raise ValueError(f"columns {file.schema_arrow.names}")
        table = file.read()
    raw = table.schema.metadata or {}
    metadata = {k.decode(): v.decode() for k, v in raw.items() if not k.startswith(b"ARROW")}
    metadata.pop("digest", None)
    return metadata, {name: np.array(table[name].to_pylist(), np.float64) for name in COLUMNS}  # to_numpy loads pandas


def _check_old(metadata: dict[str, str], columns: Mapping[str, np.ndarray]) -> None:
    """Checks a result of schema version 1, whose digest is of what it says and not of its bytes. Raises ValueError."""
    stated = metadata.pop("sha256")
    digest = hashlib.sha256(json.dumps({**metadata, "schema_version": "1"}, sort_keys=True).encode())
    for name in COLUMNS:
        digest.update(columns[name].tobytes())
    if stated != digest.hexdigest():
        raise ValueError("sha256 differs: the file was altered")


def find(folder: Path, run: Run, seed: int) -> Result | None:
    """Returns the result of a run and seed, or None. Raises DamagedResult for one that can not be read."""
    path = path_of(folder, run, seed)
    if not os.path.lexists(path):
        return None
    result = read(path)
    _check_name(path, result)
    return result


def seeds(folder: Path, run: Run) -> list[Result]:
    """Returns the readable results of a run, by seed. Damaged ones are left out; `check` tells them."""
    found = []
    for path in folder.glob(f"{_glob_escaped(run.key)}-seed*.parquet"):
        with contextlib.suppress(DamagedResult):
            found.append(read(path))
    return sorted((result for result in found if result.run == run), key=lambda result: result.seed)


def check(folder: Path) -> tuple[list[Result], list[str]]:
    """Reads every result in a folder, and compares it with its name.

    Returns:
      The results, and a line for each file that is damaged, was set aside, or says that it is another run than its
      name says.
    """
    found, damaged = [], []
    for path in sorted(folder.glob("*.parquet")):
        try:
            result = read(path)
            _check_name(path, result)
            found.append(result)
        except DamagedResult as error:
            damaged.append(str(error))
    return found, damaged + [f"{path}: set aside" for path in sorted(folder.glob("*.damaged-*"))]


def _check_name(path: Path, result: Result) -> None:
    if path.name != path_of(path.parent, result.run, result.seed).name:
        raise DamagedResult(f"{path}: the file holds another run than its name says")


def _glob_escaped(text: str) -> str:
    return text.replace("[", "[[]")


def set_aside(path: Path) -> Path:
    """Renames a damaged file, so that it is kept for inspection and no longer taken for a result."""
    target = path.with_name(f"{path.name}.damaged-{secrets.token_hex(3)}")
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
