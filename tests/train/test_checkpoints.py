"""Checkpoints: they come back to the bit, damage is noticed, and what can not be written is told in one line."""

import errno
import json
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import flip

from smith.train import checkpoints
from smith.train.checkpoints import Checkpoint, DamagedCheckpoint, Keeper


class State(NamedTuple):
    params: dict
    count: jax.Array
    nothing: tuple = ()


STATE = State({"conv": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.array([jnp.nan, 0.1])}}, jnp.int32(7))
ROWS = [{"iteration": 4, "train_loss": 0.1 + 0.2, "test_loss": float("nan")}, {"iteration": 8, "train_loss": 1e-30}]
WHOLE = Checkpoint(8, STATE, last_test=8, rows=ROWS, timing={"seconds": 1.25, "timed_iterations": 7})


def at(iteration: int) -> Checkpoint:
    return Checkpoint(iteration, STATE)


def write(folder: Path, *kept: Checkpoint) -> list[Path]:
    keeper = Keeper(folder)
    for one in kept:
        keeper.keep(one)
    return checkpoints.saved(folder)


def load(path: Path) -> Checkpoint:
    return checkpoints.load(path, lambda: STATE)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    """Says whether two are equal, to the bit, nan included."""
    trees = [jax.tree.map(lambda leaf: np.asarray(leaf).tobytes(), found.state) for found in (one, other)]
    about = [json.dumps([found.rows, dict(found.timing), found.iteration, found.last_test]) for found in (one, other)]
    return trees[0] == trees[1] and about[0] == about[1]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Two checkpoints, of iterations 5 and 8."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    write(folder, at(5), WHOLE)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(original, tmp_path / "run"))


# --- written and read ---


def test_a_checkpoint_comes_back_as_it_was(original):
    assert [path.name for path in checkpoints.saved(original)] == ["000000005", "000000008"]
    found = checkpoints.newest(original, lambda: STATE, warn=pytest.fail)
    assert found and isinstance(found.state, State) and same(found, WHOLE)
    assert checkpoints.newest(original / "missing", lambda: STATE, warn=pytest.fail) is None


def test_the_last_two_are_kept_or_all(tmp_path):
    assert [path.name for path in write(tmp_path / "two", *map(at, (1, 2, 3)))] == ["000000002", "000000003"]
    for iteration in (3, 1, 2, 2):
        checkpoints.write(tmp_path / "all", at(iteration))
    assert [path.name for path in checkpoints.saved(tmp_path / "all")] == ["000000001", "000000002", "000000003"]


def test_nothing_is_there_by_its_name_before_it_is_whole(tmp_path, monkeypatch):
    """A process may be killed at any moment."""
    replace = os.replace
    seen = []
    monkeypatch.setattr(os, "replace", lambda *paths: (seen.append(os.listdir(tmp_path)), replace(*paths)))
    checkpoints.write(tmp_path, at(1))
    assert all(".part" in name for names in seen for name in names) and os.listdir(tmp_path) == ["000000001"]


def test_removing_the_last_removes_the_folder_around_it(folder):
    for path in checkpoints.saved(folder):
        assert folder.exists()
        checkpoints.remove(path)
    assert not folder.exists()


# --- damaged ---


def files(path: Path) -> list[Path]:
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def test_a_flipped_byte_is_noticed_in_every_file(folder, capfd):
    path = folder / "000000008"
    assert len(files(path)) > 10
    for file in files(path):
        for position in {0, file.stat().st_size // 2, file.stat().st_size - 1}:
            flip(file, position)
            with pytest.raises(DamagedCheckpoint, match="000000008"):
                load(path)
            flip(file, position)
    assert same(load(path), WHOLE)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["cut short", "missing", "one too many"])
def test_a_file_that_is_cut_short_missing_or_one_too_many_is_noticed(folder, how):
    path = folder / "000000008"
    largest = max(files(path / "state"), key=lambda file: file.stat().st_size)
    if how == "cut short":
        largest.write_bytes(largest.read_bytes()[:-1])
    elif how == "missing":
        largest.unlink()
    else:
        (path / "state" / "another").touch()
    with pytest.raises(DamagedCheckpoint, match="missing, altered or one too many"):
        checkpoints.check(path)


def test_a_damaged_one_is_told_and_removed_and_the_one_before_is_used(folder):
    flip(folder / "000000008" / "about" / "metadata", 20)
    told = []
    found = checkpoints.newest(folder, lambda: STATE, told.append)
    assert found and same(found, at(5))
    (line,) = told
    assert line.startswith(f"damaged checkpoint, removed: {folder}/000000008: ") and "\n" not in line
    assert os.listdir(folder) == ["000000005"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_one_that_can_not_be_read_now_is_not_damaged_and_not_removed(number, folder, monkeypatch):
    def fail(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch, pytest.raises(OSError, match=os.strerror(number)):
        patch.setattr(Path, "read_bytes", fail)
        checkpoints.newest(folder, lambda: STATE, pytest.fail)
    found = checkpoints.newest(folder, lambda: STATE, pytest.fail)
    assert found and same(found, WHOLE)


def test_arrays_of_another_network_are_not_used(original):
    """The same run may have them, in an older version of this program."""
    like = STATE._replace(params={"conv": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}})
    with pytest.raises(DamagedCheckpoint, match="not those of this run's network"):
        checkpoints.load(original / "000000008", lambda: jax.eval_shape(lambda: like))


def test_reading_unpickles_nothing(original, monkeypatch):
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", pytest.fail)
    load(original / "000000008")


# --- what can not be written ---


def test_a_full_disk_is_told_in_one_line(folder, monkeypatch, capfd):
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    keeper = Keeper(folder)
    with pytest.raises(OSError, match="no checkpoint can be written .No space left on device.") as caught:
        keeper.keep(at(9))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(folder)
    assert len(checkpoints.saved(folder)) == 2 and capfd.readouterr() == ("", "")


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        write(tmp_path / "file" / "run", at(1))


def test_a_failure_of_orbax_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("orbax.checkpoint.Checkpointer.save", lambda *_, **__: 1 / 0)
    with pytest.raises(OSError, match="no checkpoint can be written .division by zero."):
        checkpoints.write(tmp_path, at(1))
    assert os.listdir(tmp_path) == []


# --- how often ---


def test_one_is_due_every_so_often_and_less_often_if_it_takes_long(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    keeper = Keeper(tmp_path / "run", every=120)

    def due_after(*steps: tuple[float, bool]) -> None:
        for seconds, due in steps:
            now[0] += seconds
            assert keeper.due() == due

    due_after((0, False), (119, False), (1, True))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", lambda *_: now.__setitem__(0, now[0] + 2))  # it takes two seconds
        keeper.keep(at(1))
    due_after((0, False), (199, False), (2, True))
