"""Packs: the results of one experiment at one scale in one file, for keeping. They read back the same.

    results/<scale>/<experiment>.parquet

One row per test, as in a result's own file. Four columns come before: the run's JSON, the seed, how the run ended, and
the facts of its making as JSON. `pandas.read_parquet(path)` reads it. The file carries the SHA-256 of all its bytes.
"""

import io
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smith.store import results
from smith.store.results import Result

OWN = ("run", "seed", "status", "facts")


def encode(found: Sequence[Result]) -> bytes:
    """Returns the bytes of a pack. found: results with at least one test"""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(found, key=lambda result: (result.description, result.seed))
    lengths = [len(result["iteration"]) for result in ordered]
    told = {
        "run": [result.description for result in ordered],
        "seed": [result.seed for result in ordered],
        "status": [result.status for result in ordered],
        "facts": [json.dumps(result.facts, sort_keys=True) for result in ordered],
    }
    columns = {name: pa.array(np.repeat(np.array(values, object), lengths)) for name, values in told.items()}
    for name in dict.fromkeys(name for result in ordered for name in result.columns):
        kind = pa.int64() if name == "iteration" else pa.float64()
        parts = zip(ordered, lengths, strict=True)
        columns[name] = pa.concat_arrays(
            [pa.array(r[name], pa.float64()).cast(kind) if name in r.columns else pa.nulls(n, kind) for r, n in parts]
        )
    metadata = {"schema_version": results.SCHEMA_VERSION, "digest": results.UNSIGNED.decode()}
    buffer = io.BytesIO()
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return results.signed(buffer.getvalue())


def read(path: Path) -> list[Result]:
    """Reads a pack. Raises DamagedResult, UserError and OSError as `smith.store.results.read` does."""
    found = []
    with results.opened(path) as table:
        columns = {name: table[name].to_pylist() for name in table.column_names}
        keys = list(zip(*(columns.pop(name) for name in OWN), strict=True))
        for key, rows in itertools.groupby(range(len(keys)), keys.__getitem__):
            run, seed, status, facts = key
            first, *rest = rows
            end = rest[-1] + 1 if rest else first + 1
            own = {name: values[first:end] for name, values in columns.items() if values[first] is not None}
            arrays = {name: np.array(values, np.float64) for name, values in own.items()}
            found.append(Result(run, seed, status, arrays, json.loads(facts)))
    return found


def is_pack(path: Path) -> bool:
    """Says by its name whether a file of results is a pack."""
    return not re.search(r"-seed\d+\.parquet$", path.name)
