"""Result files: what is in them, that they are written whole, and that a damaged one is never taken for a result."""

import datetime
import hashlib
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smith.store import results
from smith.store.results import COLUMNS, DamagedResult, Result

SOURCE = Path(results.__file__).parent
FACTS = {"jax": "0.10.2", "device": "cpu: made up, 2 cores", "date": "2018-03-26T00:00:00+00:00", "seconds": "1.5"}
INTEGERS = {"iteration"}


def made_up_rows(count: int = 3, seed: int = 0) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    return [
        {name: 4 * (i + 1) if name in INTEGERS else float(random.normal()) for name in COLUMNS} for i in range(count)
    ]


def equal(one: Result, other: Result) -> bool:
    told = [(r.run, r.seed, r.status, dict(r.facts), list(r.columns)) for r in (one, other)]
    return told[0] == told[1] and all(np.array_equal(one[c], other[c], equal_nan=True) for c in COLUMNS)


def damage_of(path: Path) -> str:
    """Returns why a file is refused."""
    with pytest.raises(DamagedResult) as caught:
        results.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.fixture
def written(tmp_path, small_run) -> Path:
    return results.write(tmp_path, small_run, 3, "done", made_up_rows(), FACTS)


# --- what is in a file ---


def test_what_is_written_is_read_back(written, small_run):
    result = results.read(written)
    assert (result.run, result.seed, result.status, result.facts) == (small_run, 3, "done", FACTS)
    for name in COLUMNS:
        assert result[name].dtype == np.float64
        assert result[name].tolist() == [row[name] for row in made_up_rows()]


def test_values_that_are_not_finite_are_kept(tmp_path, small_run):
    rows = made_up_rows()
    rows[-1] |= {"train_loss": np.nan, "test_loss": np.inf, "test_accuracy": -np.inf}
    result = results.read(results.write(tmp_path, small_run, 0, "diverged", rows, {}))
    assert result.status == "diverged"
    assert np.isnan(result["train_loss"][-1])
    assert (result["test_loss"][-1], result["test_accuracy"][-1]) == (np.inf, -np.inf)
    assert np.isfinite(result["test_loss"][:-1]).all()


def test_columns_have_their_names_types_and_units(written):
    schema = pq.read_schema(written)
    assert schema.names == [
        "iteration",
        "epoch",
        "learning_rate",
        "momentum",
        "weight_decay",
        "train_loss",
        "test_loss",
        "test_accuracy",
    ]
    for field in schema:
        kind, unit = COLUMNS[field.name]
        assert str(field.type).replace("double", "float64") == kind
        assert field.metadata[b"unit"].decode() == unit != ""


def test_metadata_say_how_the_result_was_made(tmp_path, small_run):
    facts = results.facts(seconds=1.25, images_per_second=100)
    path = results.write(tmp_path, small_run, 7, "done", made_up_rows(), facts)
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
    wanted = {"run", "seed", "status", "jax", "flax", "optax", "python", "device", "git_commit", "date", "seconds"}
    assert wanted <= metadata.keys()
    assert json.loads(metadata["run"])["network"] == "lenet"
    assert (metadata["seed"], metadata["status"], metadata["seconds"]) == ("7", "done", "1.25")
    assert metadata["device"].startswith("cpu: ")
    assert datetime.datetime.fromisoformat(metadata["date"]).utcoffset() == datetime.timedelta(0)
    assert re.fullmatch(r"[0-9a-f]{40}\+?|unknown", metadata["git_commit"])


def test_git_commit_is_unknown_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    assert results.git_commit() == "unknown"


def test_pandas_reads_the_rows(written):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(written)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["test_loss"].tolist() == [row["test_loss"] for row in made_up_rows()]


def test_nothing_is_pickled():
    for file in SOURCE.rglob("*.py"):
        code = file.read_text().replace("allow_pickle=False", "")
        assert not re.search(r"pickle|joblib|dill", code), file


# --- written whole ---


def test_the_folder_holds_the_result_and_nothing_else(written):
    assert list(written.parent.iterdir()) == [written]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(("where", "name"), [(pq, "write_table"), (os, "fsync"), (os, "replace")])
def test_a_write_that_fails_leaves_nothing(where, name, error, tmp_path, small_run, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(where, name, fail)
    with pytest.raises(type(error)):
        results.write(tmp_path, small_run, 0, "done", made_up_rows(), FACTS)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_keeps_the_result_there_was(written, small_run, monkeypatch):
    before = written.read_bytes()

    def fail(table, file, **_):
        file.write(b"half a fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="No space"):
        results.write(written.parent, small_run, 3, "done", made_up_rows(seed=1), FACTS)
    assert list(written.parent.iterdir()) == [written]
    assert written.read_bytes() == before


def test_a_second_result_of_the_same_job_replaces_the_first(written, small_run):
    results.write(written.parent, small_run, 3, "done", made_up_rows(seed=1), FACTS)
    assert list(written.parent.iterdir()) == [written]
    assert results.read(written)["epoch"].tolist() == [row["epoch"] for row in made_up_rows(seed=1)]


def test_a_folder_is_made_and_no_probe_left_in_it(tmp_path):
    results.make_folder(tmp_path / "a" / "b")
    results.make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_with_the_option(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="nothing can be written there .*choose --results-dir") as caught:
        results.make_folder(tmp_path / "file" / "results")
    assert "\n" not in str(caught.value)


# --- damaged files ---


def test_a_truncated_file_is_damaged(written):
    whole = written.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        written.write_bytes(whole[:length])
        damage_of(written)


def test_every_flipped_byte_is_noticed(written):
    whole = written.read_bytes()
    for position, flip in enumerate(np.random.default_rng(0).integers(1, 256, len(whole)).tolist()):
        damaged = bytearray(whole)
        damaged[position] ^= flip
        written.write_bytes(damaged)
        damage_of(written)


def test_none_of_a_thousand_mixed_damages_is_taken_for_a_result(written):
    whole, random = written.read_bytes(), np.random.default_rng(1)
    for _ in range(1000):
        damaged = bytearray(whole[: random.integers(0, len(whole) + 1)])
        for position in random.integers(0, len(damaged), random.integers(0, 4)) if damaged else ():
            damaged[position] = random.integers(0, 256)
        if random.random() < 0.2:
            damaged += random.bytes(random.integers(1, 50))
        if bytes(damaged) != whole:
            written.write_bytes(damaged)
            damage_of(written)


def old(written: Path) -> None:
    """Rewrites a result as the first version of the schema had it: signed for its content, not its bytes."""
    table = pq.read_table(written)
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    metadata |= {"schema_version": "1"}
    del metadata["digest"]
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in COLUMNS:
        digest.update(table[name].to_numpy().astype(np.float64).tobytes())
    pq.write_table(table.replace_schema_metadata(metadata | {"sha256": digest.hexdigest()}), written)


def test_results_of_the_first_schema_are_read(written):
    expected = results.read(written)
    old(written)
    assert equal(results.read(written), expected)
    kept = list((SOURCE.parent / "results").glob("*/*.parquet"))
    assert all(results.read(path).status in ("done", "diverged") for path in kept)


def test_a_flipped_byte_in_the_first_schema_is_noticed_or_does_not_matter(written):
    old(written)
    whole, expected = written.read_bytes(), results.read(written)
    random = np.random.default_rng(0)
    for position, flip in zip(random.integers(0, len(whole), 500), random.integers(1, 256, 500), strict=True):
        damaged = bytearray(whole)
        damaged[position] ^= flip
        written.write_bytes(damaged)
        try:
            result = results.read(written)
        except DamagedResult as error:
            assert "\n" not in str(error)
        else:
            assert equal(result, expected), f"byte {position} flipped with {flip}"


def test_a_bomb_is_refused_by_its_row_count_before_it_is_read(written):
    many = pa.chunked_array([pa.array(np.zeros(2_000_000))] * 10)  # 1.3 GB in memory, kilobytes in the file
    table = pq.read_table(written)
    kinds = {field.name: field.type for field in table.schema}
    bomb = pa.table({name: many.cast(kind) for name, kind in kinds.items()})
    write_signed(bomb.replace_schema_metadata(table.schema.metadata), written)
    assert written.stat().st_size < results.MOST_BYTES
    before = pa.total_allocated_bytes()
    del many, bomb
    assert "20000000 rows: more than a result has" in damage_of(written)
    assert pa.total_allocated_bytes() <= before


def test_a_file_that_is_too_large_is_not_opened(written):
    with written.open("r+b") as file:
        file.truncate(results.MOST_BYTES + 1)
    assert "larger than 64 MiB" in damage_of(written)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_what_is_not_a_plain_file_is_not_opened(kind, written):
    elsewhere = written.with_name("elsewhere")
    written.rename(elsewhere)
    if kind == "link":
        written.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(written)
    elif kind == "folder":
        written.mkdir()
    else:
        written.symlink_to("/dev/zero")
    assert "not a plain file" in damage_of(written)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"iteration,test_loss\n200,1.2\n", bytes(5000)])
def test_a_file_of_another_kind_is_damaged(content, written):
    written.write_bytes(content)
    damage_of(written)


def with_metadata(table: pa.Table, **changes: str | bytes | None) -> pa.Table:
    """Returns a table with some metadata changed, or removed where None."""
    metadata = table.schema.metadata | {key.encode(): value for key, value in changes.items()}
    return table.replace_schema_metadata({k: v for k, v in metadata.items() if v is not None})


def write_signed(table: pa.Table, path: Path) -> None:
    """Writes a file that claims to be whole, as somebody can who knows how."""
    if b"digest" in (table.schema.metadata or {}):
        table = with_metadata(table, digest=results.UNSIGNED)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    path.write_bytes(results._signed(buffer.getvalue()))


OTHERS = {
    "a later schema": (lambda t: with_metadata(t, schema_version="3"), "schema version 3, this program reads 1 and 2"),
    "an earlier schema": (lambda t: with_metadata(t, schema_version="1"), "not signed as its schema version is"),
    "no signature": (lambda t: with_metadata(t, digest=None), "not signed as its schema version is"),
    "two signatures": (lambda t: with_metadata(t, sha256=results.UNSIGNED), "no result of this program"),
    "no schema version": (lambda t: with_metadata(t, schema_version=None), "schema version None"),
    "no metadata": (lambda t: t.replace_schema_metadata(None), "schema version None"),
    "no run": (lambda t: with_metadata(t, run=None), ""),
    "no seed": (lambda t: with_metadata(t, seed=None), ""),
    "no status": (lambda t: with_metadata(t, status=None), ""),
    "seed of letters": (lambda t: with_metadata(t, seed="three"), ""),
    "half a run": (lambda t: with_metadata(t, run='{"type":"Run"'), ""),
    "another type of run": (lambda t: with_metadata(t, run='{"type":"Jog"}'), ""),
    "an impossible run": (
        lambda t: with_metadata(t, run=t.schema.metadata[b"run"].decode().replace("lenet", "linnet")),
        "",
    ),
    "bytes that are no text": (lambda t: with_metadata(t, device=b"\xff\xfe"), ""),
    "a missing column": (lambda t: t.drop_columns(["momentum"]), "columns"),
    "a further column": (lambda t: t.append_column("top5", t["test_accuracy"]), "columns"),
    "another order": (lambda t: t.select(list(reversed(t.column_names))), "columns"),
    "a column of text": (lambda t: t.set_column(1, "epoch", pa.array(["one", "two", "three"])), ""),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_parquet_file_that_is_no_result_is_damaged(other, written):
    change, reason = OTHERS[other]
    write_signed(change(pq.read_table(written)), written)
    assert reason in damage_of(written)


# --- finding ---


def test_find_returns_the_result_or_none(written, small_run):
    found = results.find(written.parent, small_run, 3)
    assert found and equal(found, results.read(written))
    assert results.find(written.parent, small_run, 4) is None
    assert results.find(written.parent, small_run.replace(batch_size=17), 3) is None
    assert results.find(written.parent / "nowhere", small_run, 3) is None


def test_find_refuses_a_file_that_holds_another_run_than_its_name_says(written, small_run):
    for run, seed in ((small_run, 4), (small_run.replace(weight_decay=0.0), 3)):
        path = results.path_of(written.parent, run, seed)
        path.write_bytes(written.read_bytes())
        with pytest.raises(DamagedResult, match="another run than its name says"):
            results.find(written.parent, run, seed)


def test_find_reports_a_damaged_file(written, small_run):
    written.write_bytes(b"")
    with pytest.raises(DamagedResult):
        results.find(written.parent, small_run, 3)


def test_seeds_are_in_order_without_damaged_files_and_other_runs(tmp_path, small_run):
    for seed in (10, 2, 0, 1):
        results.write(tmp_path, small_run, seed, "done", made_up_rows(), FACTS)
    results.write(tmp_path, small_run.replace(weight_decay=0.0), 5, "done", made_up_rows(), FACTS)
    results.path_of(tmp_path, small_run, 1).write_bytes(b"")
    assert [r.seed for r in results.seeds(tmp_path, small_run)] == [0, 2, 10]
    assert results.seeds(tmp_path / "nowhere", small_run) == []


def test_a_file_set_aside_keeps_its_bytes_and_is_no_result_any_more(written, small_run):
    content = written.read_bytes()
    aside = results.set_aside(written)
    assert aside.read_bytes() == content and aside.parent == written.parent
    assert results.find(written.parent, small_run, 3) is None
    assert results.seeds(written.parent, small_run) == []
