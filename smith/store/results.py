"""The format of a result: one Parquet file per run and seed, written once, whole, never edited.

    results/<scale>/<run key>-seed<n>.parquet

One row per test; columns and units as in `COLUMNS`, and a column for each further metric of the run. The metadata has
the run's JSON, the seed, how the run ended, what it cost and what it was made with. `pandas.read_parquet(path)` reads
the rows. The file carries the SHA-256 of all its bytes, so that one flipped byte is noticed.
"""

import contextlib
import datetime
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smith import disk
from smith.errors import UserError
from smith.metrics import ALWAYS, FORMULAS, METRICS, quantity
from smith.run import Run, digest

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "2"
UNSIGNED = b"sha256:" + 64 * b"-"  # where a file's digest will be; the digest is of the bytes with this in its place

COLUMNS: dict[str, str] = {  # name: unit
    "iteration": "optimiser steps done when the test was made",
    "epoch": "passes over the training set",
    "learning_rate": "per iteration, at this iteration",
    "momentum": "fraction of the velocity kept per iteration",
    "weight_decay": "coefficient of the L2 gradient",
    "train_loss": quantity("train_loss").unit,
    **{name: METRICS[name].unit for name in ALWAYS},
}


class DamagedResult(Exception):
    """A file whose bytes are not those that were written, by their digest. The message says why, in one line."""


@dataclass(frozen=True)
class Result:
    """One run with one seed, done.

    description: the run's JSON
    status: "done" or "diverged"
    columns: (tests,) float64 for every column
    facts: what else the metadata says: versions, device, git commit, date, seconds, images per second
    """

    description: str
    seed: int
    status: str
    columns: Mapping[str, np.ndarray]
    facts: Mapping[str, str] = field(default_factory=dict)

    @functools.cached_property
    def run(self) -> Run:
        """The run. Raises UserError if it names a network, dataset, schedule or metric that is not registered."""
        return Run.from_json(self.description)

    def __getitem__(self, column: str) -> np.ndarray:
        """Returns a column, or what `smith.metrics.FORMULAS` makes of several."""
        return FORMULAS[column](self.columns) if column in FORMULAS else self.columns[column]


def path_of(folder: Path, run: Run, seed: int) -> Path:
    """Returns where a result belongs in a scale's folder."""
    return folder / f"{run.key}-seed{seed}.parquet"


ENDING = re.compile(r"-[^-]+-seed\d+\.parquet$")  # what `suffix` returns


def suffix(description: str, seed: int) -> str:
    """Returns how the name of a result's file ends: "-<digest of the run>-seed<n>.parquet"."""
    return f"-{digest(description)}-seed{seed}.parquet"


def write(
    folder: Path, run: Run, seed: int, status: str, rows: Sequence[Mapping[str, float]], facts: Mapping[str, str]
) -> Result:
    """Writes a result whole and returns it. Raises OSError where there is no room or no permission."""
    columns = {name: np.array([row[name] for row in rows], np.float64) for name in (*COLUMNS, *run.metrics)}
    result = Result(run.to_json(), seed, status, columns, dict(facts))
    content = _encode(result)
    with disk.whole(path_of(folder, run, seed)) as part:
        part.write_bytes(content)
    return result


def _encode(result: Result) -> bytes:
    """Returns the bytes of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = {"schema_version": SCHEMA_VERSION, "run": result.description, "seed": str(result.seed)}
    metadata = {**result.facts, **own, "status": result.status, "digest": UNSIGNED.decode()}
    kinds = {name: "int64" if name == "iteration" else "float64" for name in result.columns}
    units = {name: COLUMNS.get(name) or METRICS[name].unit for name in kinds}
    fields = [pa.field(name, kind, metadata={"unit": units[name]}) for name, kind in kinds.items()]
    columns = {name: result.columns[name].astype(kind) for name, kind in kinds.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=pa.schema(fields, metadata=metadata)), buffer, write_page_checksum=True)
    return signed(buffer.getvalue())


def signed(content: bytes) -> bytes:
    """Returns a file's bytes with their SHA-256 in the place that was kept for it."""
    return content.replace(UNSIGNED, b"sha256:" + hashlib.sha256(content).hexdigest().encode())


def read(path: Path | str) -> Result:
    """Reads a result. Raises as `opened` does."""
    with opened(Path(path)) as table:
        facts = {k.decode(): v.decode() for k, v in table.schema.metadata.items() if not k.startswith(b"ARROW")}
        del facts["digest"], facts["schema_version"]
        columns = {name: np.array(table[name].to_pylist(), np.float64) for name in table.column_names}  # without pandas
        return Result(facts.pop("run"), int(facts.pop("seed")), facts.pop("status"), columns, facts)


@contextlib.contextmanager
def opened(path: Path) -> "Iterator[pa.Table]":
    """Gives the table in a file of results.

    Raises:
      DamagedResult: the bytes are not those of the digest: the file is truncated, altered or not a result at all.
      UserError: the bytes are as they were written, and this program can not read them: they are of another version.
      OSError: the file can not be opened or read, which says nothing about its bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = path.read_bytes()
    signatures = re.findall(rb"sha256:[0-9a-f]{64}", content)
    if len(signatures) != 1:
        raise DamagedResult(f"{path}: not a result of this program, or altered")
    if signed(content.replace(signatures[0], UNSIGNED)) != content:
        raise DamagedResult(f"{path}: sha256 differs: the file was altered")
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)  # read_table imports pandas
        if (version := table.schema.metadata[b"schema_version"].decode()) != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this program reads {SCHEMA_VERSION}")
        yield table
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(f"{path}: of another version of smith ({reason})") from error


def facts(**measured: Any) -> dict[str, str]:
    """Returns what a result's metadata says of its making: versions, device, git commit, and what was `measured`."""
    import jax

    device = jax.devices()[0]
    return {
        **{name: importlib.metadata.version(name) for name in ("jax", "flax", "optax")},
        "python": platform.python_version(),
        "device": f"{device.platform}: {_processor() if device.platform == 'cpu' else device.device_kind}",
        "git_commit": _git_commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in measured.items()},
    }


def _processor() -> str:
    """Returns the processor's name and how many cores this process may use."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text() if info.exists() else "", re.MULTILINE)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{found[1] if found else platform.processor() or platform.machine()}, {cores} cores"


def _git_commit() -> str:
    """Returns the commit of the code, with "+" if files were changed since; "unknown" outside a checkout."""

    def git(*words: str) -> str:
        command, quiet = ["git", "-C", str(Path(__file__).parents[1]), *words], subprocess.DEVNULL
        return subprocess.check_output(command, stderr=quiet, timeout=10, text=True)

    try:
        return git("rev-parse", "HEAD").strip() + "+" * bool(git("status", "--porcelain", "--", "*.py"))
    except (OSError, subprocess.SubprocessError):
        return "unknown"
