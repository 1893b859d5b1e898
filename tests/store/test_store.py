"""The store: each file read once, runs of the protocol asked for, damaged and foreign files told apart."""

import dataclasses
import errno
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from small import write_result

from smith import replicates, schedules
from smith.errors import UserError
from smith.run import iterations
from smith.scales import SCALES
from smith.schedules import Schedule
from smith.store import Store, results


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path, SCALES["smoke"])


# --- finding ---


def test_results_of_a_run_of_the_protocol_come_by_seed(store, small_run):
    for seed in (10, 2, 0):
        write_result(store, small_run, seed)
    write_result(store, small_run.replace(weight_decay=0.0), 5)
    assert [result.seed for result in store.results(small_run)] == [0, 2, 10]
    assert all(result.run == store.scale.apply(small_run) for result in store.results(small_run))
    assert store.results(small_run.replace(lr=0.02)) == []
    assert len(store.all()) == 4
    trained = store.trained(small_run, 2)
    assert store.find(trained, 2) and not store.find(trained, 4) and not store.find(small_run, 2)


def test_a_folder_that_is_not_there_has_no_results(tmp_path, small_run):
    nowhere = Store(tmp_path / "nowhere", SCALES["paper"])
    assert nowhere.results(small_run) == nowhere.all() == nowhere.foreign() == nowhere.aside() == []


def test_every_file_is_read_once_and_a_scale_applied_once(store, small_run, monkeypatch):
    applied, apply = [], store.scale.apply
    store.scale = dataclasses.replace(store.scale, apply=lambda run: applied.append(run) or apply(run))
    for seed in range(3):
        write_result(store, small_run, seed)
    read, opened = results.read, []
    monkeypatch.setattr(results, "read", lambda path: opened.append(path) or read(path))
    for _ in range(3):
        store.results(small_run)
        store.find(store.trained(small_run), 1)
        store.all()
    assert len(opened) == 3 and applied == [small_run]


def test_a_result_that_another_process_wrote_is_found_by_looking_again(store, small_run):
    assert store.all() == []
    write_result(store, small_run)
    trained = store.trained(small_run)
    assert store.find(trained, 0) is None
    assert store.look_again(trained, 0) is store.find(trained, 0) is not None


def test_a_result_that_was_just_written_is_added(store, small_run):
    assert store.results(small_run) == []
    result = results.read(write_result(store, small_run))
    store.add(result)
    assert store.results(small_run) == [result]


# --- files that are not what they should be ---


def test_a_damaged_file_is_no_result_and_is_set_aside_with_its_bytes(store, small_run):
    write_result(store, small_run, 1)
    path = write_result(store, small_run, 0)
    path.write_bytes(path.read_bytes()[:-1])
    content = path.read_bytes()
    assert [result.seed for result in store.results(small_run)] == [1]
    assert list(store.damaged) == [path] and str(path) in store.damaged[path]
    aside = store.set_aside(path)
    assert aside.read_bytes() == content and store.aside() == [aside]
    assert not path.exists() and not store.damaged and not Store(store.root, store.scale).damaged


def misnamed(path: Path, monkeypatch) -> Path:
    return path.rename(path.with_name(path.name.replace("seed0", "seed4")))


def folder_instead(path: Path, monkeypatch) -> Path:
    path.unlink()
    path.mkdir()
    return path


def fails(number: int, path: Path, monkeypatch) -> Path:
    """Reading the file fails with this error, as it does without permission or where a network disk is gone."""
    read = Path.read_bytes

    def failing(one: Path) -> bytes:
        if one == path:
            raise OSError(number, os.strerror(number))
        return read(one)

    monkeypatch.setattr(Path, "read_bytes", failing)
    return path


ERRORS = {os.strerror(number): partial(fails, number) for number in (errno.EACCES, errno.EIO, errno.ESTALE)}
OUT_OF_REACH = {"another run than its name says": misnamed, "Is a directory": folder_instead, **ERRORS}


@pytest.mark.parametrize("what", OUT_OF_REACH)
def test_a_file_that_may_be_whole_is_not_damaged_and_nothing_is_trained_in_its_place(
    what, store, small_run, monkeypatch
):
    path = OUT_OF_REACH[what](write_result(store, small_run), monkeypatch)
    assert store.all() == [] and not store.damaged and what in store.unreadable[path]
    store.check(set())
    with pytest.raises(UserError, match=f"{path.name}: .*{what}; it may be whole and is left alone"):
        store.check({path})


@pytest.mark.parametrize("what", ERRORS)
def test_any_run_may_be_in_a_pack_that_can_not_be_read(what, store, small_run, monkeypatch):
    write_result(store, small_run)
    store.pack({"one": [small_run]})
    again = Store(store.root, store.scale)
    OUT_OF_REACH[what](store.folder / "one.parquet", monkeypatch)
    assert again.all() == [] and not again.damaged
    with pytest.raises(UserError, match=f"one.parquet: {what}"):
        again.check(set())


def test_a_folder_that_can_not_be_read_is_not_empty(store, small_run, monkeypatch):
    write_result(store, small_run)
    monkeypatch.setattr(os, "listdir", lambda _: open(store.folder))
    with pytest.raises(OSError):
        store.all()


def test_a_result_that_names_an_unknown_schedule_is_foreign_and_keeps_its_rows(store, small_run, monkeypatch):
    @dataclass(frozen=True)
    class Strange(Schedule):
        def formula(self, total, per_epoch):
            return lambda t: 0 * t

    write_result(store, small_run.replace(lr=Strange()))
    assert store.foreign() == []
    monkeypatch.delitem(schedules.SCHEDULES, "Strange")
    elsewhere = Store(store.root, store.scale)
    (line,) = elsewhere.foreign()
    assert "unknown schedule 'Strange'" in line and "\n" not in line
    assert not elsewhere.damaged and elsewhere.all()[0]["test_loss"].tolist() == [0.5, 0.5]
    with pytest.raises(UserError, match="Strange"):
        elsewhere.all()[0].run  # noqa: B018


# --- recipes and names ---


def test_the_authors_four_runs_are_found_apart_from_plain_seeds(store, small_run):
    run = small_run.replace(batch_size=32, length=iterations(100))
    four = Store(store.root, store.scale, "author")
    for seed in (0, 2):
        write_result(four, run, seed)
    write_result(store, run, 1)
    fresh = Store(store.root, store.scale, "author")
    assert [result.seed for result in fresh.results(run)] == [0, 2]
    assert [result.seed for result in Store(store.root, store.scale).results(run)] == [1]
    assert fresh.results(run)[1].run == store.scale.apply(replicates.author(run, 2))


def test_figures_of_a_scale_or_a_recipe_have_a_folder_of_their_own(tmp_path):
    def folder(scale: str, recipe: str = "seeds") -> str:
        return str(Store(tmp_path, SCALES[scale], recipe).figures_folder(Path("f")))

    assert [folder("paper"), folder("mini"), folder("paper", "author")] == ["f", "f/mini", "f/paper-author"]
    here, there = (Store(Path(root), SCALES["mini"], "author") for root in ("results", "my results"))
    assert here.command("fig09", "fig14") == "smith run fig09 fig14 --scale mini --recipe author"
    assert there.command("fig09") == "smith run fig09 --scale mini --recipe author --results-dir 'my results'"
    with pytest.raises(UserError, match="unknown recipe"):
        Store(tmp_path, SCALES["mini"], "autor")
