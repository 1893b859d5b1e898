"""The format of a result: what is in a file, that it is written whole, and that a damaged one is refused."""

import datetime
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from smith import metrics
from smith.errors import UserError
from smith.store import Store, results
from smith.store.results import COLUMNS, DamagedResult

FACTS = {"jax": "0.10.2", "device": "cpu: made up, 2 cores", "date": "2018-03-26T00:00:00+00:00", "seconds": "1.5"}
INTEGERS = {"iteration"}


def made_up_rows(count: int = 3, seed: int = 0, names=tuple(COLUMNS)) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    return [{name: 4 * (i + 1) if name in INTEGERS else float(random.normal()) for name in names} for i in range(count)]


def damage_of(path: Path) -> str:
    """Returns why a file is refused."""
    with pytest.raises(DamagedResult) as caught:
        results.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.fixture
def written(tmp_path, small_run) -> Path:
    """A result of three made-up rows."""
    results.write(tmp_path, small_run, 3, "done", made_up_rows(), FACTS)
    return results.path_of(tmp_path, small_run, 3)


# --- what is in a file ---


def test_what_is_written_is_read_back(written, small_run):
    result = results.read(written)
    assert (result.run, result.seed, result.status, result.facts) == (small_run, 3, "done", FACTS)
    assert results.read(str(written)).run == small_run
    given = results.write(written.parent, small_run, 3, "done", made_up_rows(), FACTS)
    assert (given.description, given.facts, list(written.parent.iterdir())) == (result.description, FACTS, [written])
    for name in COLUMNS:
        assert result[name].dtype == np.float64
        assert result[name].tolist() == given[name].tolist() == [row[name] for row in made_up_rows()]
    assert result["loss_gap"] == pytest.approx(result["test_loss"] - result["train_loss"])
    assert result["test_error"] == pytest.approx(1 - result["test_accuracy"])


def test_a_result_has_a_column_for_each_further_metric_of_its_run(tmp_path, small_run):
    metrics.metric("made_up", unit="made up", label="l", short="s", guess=lambda classes: 1.0)(lambda x, y: y)
    run = small_run.replace(metrics=("made_up",))
    rows = made_up_rows(names=(*COLUMNS, "made_up"))
    results.write(tmp_path, run, 0, "done", rows, FACTS)
    result = results.read(results.path_of(tmp_path, run, 0))
    assert list(result.columns) == [*COLUMNS, "made_up"] and result["made_up"].tolist() == [r["made_up"] for r in rows]
    assert pq.read_schema(results.path_of(tmp_path, run, 0)).field("made_up").metadata == {b"unit": b"made up"}


def test_values_that_are_not_finite_are_kept(tmp_path, small_run):
    rows = made_up_rows()
    rows[-1] |= {"train_loss": np.nan, "test_loss": np.inf, "test_accuracy": -np.inf}
    results.write(tmp_path, small_run, 0, "diverged", rows, {})
    result = results.read(results.path_of(tmp_path, small_run, 0))
    assert result.status == "diverged"
    assert np.isnan(result["train_loss"][-1])
    assert (result["test_loss"][-1], result["test_accuracy"][-1]) == (np.inf, -np.inf)
    assert np.isfinite(result["test_loss"][:-1]).all()


def test_columns_have_their_names_types_and_units(written):
    schema = pq.read_schema(written)
    first, last = ["iteration", "epoch", "learning_rate", "momentum", "weight_decay"], ["test_loss", "test_accuracy"]
    assert schema.names == [*first, "train_loss", *last]
    for field in schema:
        assert str(field.type) == ("int64" if field.name in INTEGERS else "double")
        assert field.metadata[b"unit"].decode() == COLUMNS[field.name] != ""


def test_metadata_say_how_the_result_was_made(tmp_path, small_run):
    facts = results.facts(seconds=1.25, images_per_second=100)
    results.write(tmp_path, small_run, 7, "done", made_up_rows(), facts)
    schema = pq.read_schema(results.path_of(tmp_path, small_run, 7))
    metadata = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    wanted = {"run", "seed", "status", "jax", "flax", "optax", "python", "device", "git_commit", "date", "seconds"}
    assert wanted <= metadata.keys()
    assert json.loads(metadata["run"])["network"] == "lenet"
    assert (metadata["seed"], metadata["status"], metadata["seconds"]) == ("7", "done", "1.25")
    assert metadata["device"].startswith("cpu: ")
    assert datetime.datetime.fromisoformat(metadata["date"]).utcoffset() == datetime.timedelta(0)
    assert re.fullmatch(r"[0-9a-f]{40}\+?|unknown", metadata["git_commit"])


def test_pandas_reads_the_rows(written):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(written)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["test_loss"].tolist() == [row["test_loss"] for row in made_up_rows()]


# --- written whole ---


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(("where", "name"), [(pq, "write_table"), (os, "fsync"), (os, "replace")])
def test_a_write_that_fails_keeps_the_result_there_was(where, name, error, written, small_run, monkeypatch):
    before = written.read_bytes()

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(where, name, fail)
    with pytest.raises(type(error)):
        results.write(written.parent, small_run, 3, "done", made_up_rows(seed=1), FACTS)
    assert list(written.parent.iterdir()) == [written] and written.read_bytes() == before
    monkeypatch.undo()
    results.write(written.parent, small_run, 3, "done", made_up_rows(seed=1), FACTS)
    assert list(written.parent.iterdir()) == [written]
    assert results.read(written)["epoch"].tolist() == [row["epoch"] for row in made_up_rows(seed=1)]


# --- damaged files ---


def test_a_truncated_file_is_damaged(written):
    whole = written.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        written.write_bytes(whole[:length])
        damage_of(written)


def test_a_flipped_byte_is_noticed_wherever_it_is(written):
    whole, random = written.read_bytes(), np.random.default_rng(0)
    for position in range(int(random.integers(7)), len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= int(random.integers(1, 256))
        written.write_bytes(damaged)
        damage_of(written)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"iteration,test_loss\n200,1.2\n", bytes(5000)])
def test_a_file_of_another_kind_is_damaged(content, written):
    written.write_bytes(content)
    damage_of(written)


def of_schema_9(path: Path) -> None:
    """Makes a result one of another version of the format, with its digest."""
    metadata = pq.read_schema(path).metadata | {b"schema_version": b"9", b"digest": results.UNSIGNED}
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    path.write_bytes(results.signed(path.read_bytes()))


def test_a_whole_file_of_another_schema_is_not_damaged(written, small_run):
    of_schema_9(written)
    with pytest.raises(UserError, match="schema version 9, this program reads 2"):
        results.read(written)
    written.rename(results.path_of(written.parent, small_run, 0))
    store = Store(written.parent.parent, SimpleNamespace(name=written.parent.name, seeds=1))  # pyright: ignore
    assert store.all() == [] and not store.damaged and "schema version 9" in " ".join(store.unreadable.values())
