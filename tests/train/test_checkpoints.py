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
from small import SMALL_RUN

from smith.errors import UserError
from smith.train import checkpoints
from smith.train.checkpoints import Checkpoint, DamagedCheckpoint, Keeper


class State(NamedTuple):
    params: dict
    count: jax.Array
    nothing: tuple = ()


STATE = State({"conv": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.array([jnp.nan, 0.1])}}, jnp.int32(7))
ROWS = [{"iteration": 4, "train_loss": 0.1 + 0.2, "test_loss": float("nan")}, {"iteration": 8, "train_loss": 1e-30}]
WHOLE = Checkpoint(SMALL_RUN, 3, 8, STATE, last_test=8, rows=ROWS, timing={"seconds": 1.25, "timed_iterations": 7})


def at(iteration: int) -> Checkpoint:
    return Checkpoint(SMALL_RUN, 3, iteration, STATE)


def write(folder: Path, *kept: Checkpoint) -> list[Path]:
    keeper = Keeper(folder)
    for one in kept:
        keeper.keep(one)
    keeper.close()
    return checkpoints.saved(folder)


def load(path: Path) -> Checkpoint:
    return checkpoints.load(path, SMALL_RUN, 3, lambda: STATE)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    """Says whether two are equal, to the bit, nan included."""
    trees = [jax.tree.map(lambda leaf: np.asarray(leaf).tobytes(), found.state) for found in (one, other)]
    about = [json.dumps([found.rows, dict(found.timing), found.iteration, found.last_test]) for found in (one, other)]
    return trees[0] == trees[1] and about[0] == about[1] and (one.run, one.seed) == (other.run, other.seed)


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
    found = load(original / "000000008")
    assert isinstance(found.state, State) and same(found, WHOLE)


def test_the_newest_is_found(folder):
    found = checkpoints.newest(folder, SMALL_RUN, 3, lambda: STATE, warn=pytest.fail)
    assert found and same(found, WHOLE)
    assert checkpoints.newest(folder / "missing", SMALL_RUN, 3, lambda: STATE, warn=pytest.fail) is None


def test_what_is_kept_is_the_state_of_that_moment(tmp_path):
    """The next step uses the device's memory again, while the checkpoint is written."""
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros(1_000_000)
    keeper = Keeper(tmp_path)
    keeper.keep(Checkpoint(SMALL_RUN, 3, 1, {"x": x}))
    for _ in range(20):
        x = step(x)
    keeper.close()
    assert not checkpoints.load(tmp_path / "000000001", SMALL_RUN, 3, lambda: {"x": x}).state["x"].any()


def test_the_last_two_are_kept_or_all(tmp_path):
    assert [path.name for path in write(tmp_path / "two", *map(at, (1, 2, 3)))] == ["000000002", "000000003"]
    keeper = Keeper(tmp_path / "all", kept=None)
    for iteration in (3, 1, 2, 2):
        keeper.keep(at(iteration))
    keeper.close()
    assert len(checkpoints.saved(tmp_path / "all")) == 3


def test_a_half_written_one_is_not_read_and_goes_with_the_next(folder):
    """That is what a killed process leaves."""
    half = folder / "000000009.orbax-checkpoint-tmp"
    (folder / "000000005").rename(half)
    found = checkpoints.newest(folder, SMALL_RUN, 3, lambda: STATE, warn=pytest.fail)
    assert found and found.iteration == 8 and half.exists()
    assert [path.name for path in write(folder, at(10))] == ["000000008", "000000010"]
    assert sorted(os.listdir(folder)) == ["000000008", "000000010"]


def test_removing_the_last_removes_the_folder_around_it(folder):
    for path in checkpoints.saved(folder):
        assert folder.exists()
        checkpoints.remove(path)
    assert not folder.exists()


# --- damaged, or of another run ---


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


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
    found = checkpoints.newest(folder, SMALL_RUN, 3, lambda: STATE, told.append)
    assert found and same(found, at(5))
    (line,) = told
    assert line.startswith(f"damaged checkpoint, removed: {folder}/000000008: ") and "\n" not in line
    assert os.listdir(folder) == ["000000005"]


def test_arrays_of_another_network_are_not_used(original):
    """The same run may have them, in an older version of this program."""
    like = STATE._replace(params={"conv": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}})
    with pytest.raises(DamagedCheckpoint, match="not those of this run's network"):
        checkpoints.load(original / "000000008", SMALL_RUN, 3, lambda: jax.eval_shape(lambda: like))


@pytest.mark.parametrize(
    ("run", "seed", "words"),
    [
        (SMALL_RUN, 4, "seed 3, not 4"),
        (SMALL_RUN.replace(lr=0.02), 3, "lr 0.01, not 0.02"),
        (
            SMALL_RUN.replace(network="shallow3", data="cifar10"),
            3,
            "network lenet, not shallow3",
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(folder, run, seed, words):
    with pytest.raises(UserError) as caught:
        checkpoints.newest(folder, run, seed, lambda: STATE, warn=pytest.fail)
    assert words in str(caught.value) and str(folder) in str(caught.value)
    assert len(checkpoints.saved(folder)) == 2


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
    keeper.close()
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(folder)
    assert len(checkpoints.saved(folder)) == 2 and capfd.readouterr() == ("", "")


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        write(tmp_path / "file" / "run", at(1))


def test_a_failure_in_the_background_is_told_at_the_next_occasion(tmp_path, monkeypatch):
    keeper = Keeper(tmp_path / "run")
    keeper.keep(at(1))
    monkeypatch.setattr(keeper._manager, "wait_until_finished", lambda: 1 / 0)
    with pytest.raises(OSError, match="division by zero"):
        keeper.keep(at(2))


# --- how often ---


class Clock:
    """The time, which passes when it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def test_one_is_due_every_so_often_and_less_often_if_it_takes_long(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)
    keeper = Keeper(tmp_path / "run", every=120)
    for seconds, due in ((0, False), (119, False), (1, True)):
        clock.now += seconds
        assert keeper.due() == due
    keeper.keep(at(1))
    clock.now += 2.0  # it takes two seconds
    keeper.wait()
    for seconds, due in ((0, False), (199, False), (2, True)):
        clock.now += seconds
        assert keeper.due() == due
    keeper.close()


def test_none_is_due_while_one_is_written(tmp_path, monkeypatch):
    keeper = Keeper(tmp_path / "run")
    assert keeper.due()
    keeper.keep(at(1))
    assert keeper._manager
    monkeypatch.setattr(keeper._manager, "is_saving_in_progress", lambda: True)
    assert not keeper.due()
    keeper.close()
