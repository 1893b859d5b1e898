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

    tables = []
    for result in sorted(found, key=lambda result: (result.description, result.seed)):
        told = (result.description, result.seed, result.status, json.dumps(result.facts, sort_keys=True))
        own = {name: [value] * len(result["iteration"]) for name, value in zip(OWN, told, strict=True)}
        tables.append(pa.table({**own, **result.columns, "iteration": result["iteration"].astype(np.int64)}))
    metadata = {"schema_version": results.SCHEMA_VERSION, "digest": results.UNSIGNED.decode()}
    table = pa.concat_tables(tables, promote_options="default").combine_chunks().replace_schema_metadata(metadata)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return results.signed(buffer.getvalue())


def read(path: Path) -> list[Result]:
    """Reads a pack. Raises DamagedResult, UserError and OSError as `smith.store.results.read` does."""
    found = []
    with results.opened(path) as table:
        columns = {name: table[name].to_pylist() for name in table.column_names}
        keys = list(zip(*(columns.pop(name) for name in OWN), strict=True))
        for (run, seed, status, facts), places in itertools.groupby(range(len(keys)), keys.__getitem__):
            rows = list(places)
            own = {name: values[rows[0] : rows[-1] + 1] for name, values in columns.items()}
            arrays = {name: np.array(values, np.float64) for name, values in own.items() if values[0] is not None}
            found.append(Result(run, seed, status, arrays, json.loads(facts)))
    return found


def is_pack(path: Path) -> bool:
    """Says by its name whether a file of results is a pack."""
    return not re.search(r"-seed\d+\.parquet$", path.name)
