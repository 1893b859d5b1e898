"""Packs: results that were moved into one file per experiment read back the same, and none is lost on the way."""

from unittest.mock import Mock

import numpy as np
import pytest
from small import flip

from smith import metrics
from smith.errors import UserError
from smith.run import iterations
from smith.scales import SCALES
from smith.store import DamagedResult, Store, packs, write

HEAD = dict.fromkeys(("iteration", "epoch", "learning_rate", "momentum", "weight_decay"), 1.0)


def row(iteration: int, **values: float) -> dict[str, float]:
    return HEAD | {"train_loss": np.nan, "test_loss": 1 / 3, "test_accuracy": 0.1} | {"iteration": iteration} | values


@pytest.fixture
def runs(small_run):
    metrics.metric("packed_share", unit="made up", label="l", short="s", guess=lambda classes: 1.0)(lambda x, y: y)
    return small_run, small_run.replace(lr=0.02, metrics=("packed_share",)), small_run.replace(length=iterations(9))


@pytest.fixture
def folder(tmp_path, runs):
    """Returns a scale's folder with results of three runs, one of which has a further metric and one diverged."""
    folder = tmp_path / "paper"
    folder.mkdir()
    for seed in range(2):
        write(folder, runs[0], seed, "done", [row(2), row(4)], {"device": "cpu", "seconds": "1.5"})
        write(folder, runs[1], seed, "done", [row(4, packed_share=0.5)], {"note": 'a "word" µ'})
    write(folder, runs[2], 0, "diverged", [row(3, test_loss=np.inf)], {})
    return folder


def store_of(folder) -> Store:
    return Store(folder.parent, SCALES["paper"])


def everything(folder) -> dict:
    return {
        (r.description, r.seed): (r.status, r.facts, {name: values.tobytes() for name, values in r.columns.items()})
        for r in store_of(folder).all()
    }


def test_packed_results_read_back_the_same_and_their_own_files_go(folder, runs):
    before = everything(folder)
    assert len(before) == 5
    said = store_of(folder).pack({"fig01": runs[:1], "fig02": runs})
    assert said.startswith(f"{folder}: 5 results in packs, 0.0 MB")
    assert sorted(path.name for path in folder.glob("*.parquet")) == ["fig01.parquet", "fig02.parquet"]
    assert everything(folder) == before
    assert len(packs.read(folder / "fig01.parquet")) == 2  # what both ask for goes with the first
    assert store_of(folder).pack({"fig01": runs[:1], "fig02": runs}) == said and everything(folder) == before


def test_what_nobody_asks_for_any_longer_stays_in_its_pack(folder, runs):
    before = everything(folder)
    store_of(folder).pack({"fig01": runs})
    store_of(folder).pack({"fig01": runs[:1]})
    assert everything(folder) == before


def test_a_result_that_was_trained_again_wins_over_its_pack_and_goes_into_the_next(folder, runs):
    store_of(folder).pack({"fig01": runs})
    write(folder, runs[0], 0, "done", [row(4, test_loss=0.25)], {})
    for _ in range(2):
        assert store_of(folder).find(runs[0], 0)["test_loss"].tolist() == [0.25]
        store_of(folder).pack({"fig01": runs})


def test_the_newest_of_several_results_wins_wherever_it_is(folder, runs):
    """In a pack that asks for it no longer, in two packs, or in an old file beside a newer pack."""
    asked, others = {"fig02": [runs[0]]}, {"fig01": [runs[0], runs[1]]}
    store_of(folder).pack(others)
    for year, packs_asked in ((2031, {"fig01": [runs[1]]}), (2032, asked), (2033, {"fig01": [runs[1]], **asked})):
        write(folder, runs[0], 0, "done", [row(4, test_loss=year)], {"date": f"{year}-01-01"})
        store_of(folder).pack(packs_asked)
        assert store_of(folder).find(runs[0], 0)["test_loss"].tolist() == [year]
    write(folder, runs[0], 0, "done", [row(4, test_loss=0)], {"date": "2030-01-01"})
    assert store_of(folder).find(runs[0], 0)["test_loss"].tolist() == [2033]


def test_a_file_that_was_written_since_the_store_was_read_is_not_packed_away(folder, runs):
    store = store_of(folder)
    assert len(store.all()) == 5
    write(folder, runs[0], 0, "done", [row(4, test_loss=9)], {"date": "2031-01-01"})
    store.pack({"fig01": runs})
    assert store_of(folder).find(runs[0], 0)["test_loss"].tolist() == [9]


def test_a_run_that_another_process_trained_and_packed_is_found(folder, runs):
    store, fresh = store_of(folder), runs[2].replace(lr=0.5)
    assert not store.find(fresh, 0)
    write(folder, fresh, 0, "done", [row(4)], {})
    store_of(folder).pack({"fig01": [*runs, fresh]})
    assert store.look_again(fresh, 0)


def test_a_flipped_byte_is_noticed_and_the_pack_is_never_written_over(folder, runs):
    store_of(folder).pack({"fig01": runs})
    path = folder / "fig01.parquet"
    flip(path)
    content = path.read_bytes()
    with pytest.raises(DamagedResult, match=r"fig01.parquet: sha256 differs"):
        packs.read(path)
    store = store_of(folder)
    assert store.all() == [] and path in store.damaged
    write(folder, runs[0], 0, "done", [row(4)], {})
    store_of(folder).pack({"fig01": runs})
    assert path.read_bytes() == content and len(list(folder.glob("*-seed0.parquet"))) == 1


def test_a_pack_that_can_not_be_read_here_is_never_written_over(folder, runs, monkeypatch):
    store_of(folder).pack({"fig01": runs})
    path = folder / "fig01.parquet"
    content = path.read_bytes()
    write(folder, runs[0], 0, "done", [row(4)], {})
    with monkeypatch.context() as patch:
        patch.setattr(packs, "read", Mock(side_effect=UserError("fig01.parquet: schema version 9")))
        store_of(folder).pack({"fig01": runs})
    assert path.read_bytes() == content and len(list(folder.glob("*-seed0.parquet"))) == 1


def test_any_data_frame_can_read_a_pack(folder, runs):
    import pyarrow.parquet

    store_of(folder).pack({"fig01": runs})
    rows = pyarrow.parquet.read_table(folder / "fig01.parquet").to_pylist()
    assert len(rows) == 7 and [r["seed"] for r in rows if r["packed_share"] == 0.5] == [0, 1]
