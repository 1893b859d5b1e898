"""Real processes: killed, stopped, two at once, on a full disk. What takes longer is in slow/test_disasters.py."""

import errno
import os
import shutil
import signal

import pytest
from processes import ALWAYS
from small import FAMILY

STOPPED = "smith: stopped; finished results are kept, and the same command goes on from here"


def test_a_killed_command_ends_as_if_it_had_not_been(place, undisturbed):
    """Killed in the training of the child, before its parent has a result or after it."""
    process = place.start(*FAMILY, more=ALWAYS, often=[], slow=[0.1])
    process.reaches(lambda: list(place.folder.glob("checkpoints/*from5*/[0-9]*/manifest.json")))
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert "goes on from its checkpoint" in place.finish(*FAMILY).err
    place.assert_as(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_training_leaves_a_checkpoint_from_which_the_next_call_goes_on(number, place, undisturbed):
    process = place.start(*FAMILY, more=ALWAYS, often=[], slow=[0.1])
    process.reaches(place.checkpoints)
    process.send(number)
    assert process.wait(60) == 128 + number and process.err.splitlines()[1:] == [STOPPED]
    kept = max(int(path.name) for path in place.checkpoints())
    assert f"goes on from its checkpoint at iteration {kept}\n" in place.finish(*FAMILY).err
    place.assert_as(undisturbed)


@pytest.mark.slow
def test_two_commands_share_the_work_and_train_nothing_twice(place, undisturbed):
    more = ("--seeds", "2", "--no-draw")
    both = [place.start(*FAMILY, more=more, slow=[0.02]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0], [process.err for process in both]
    assert len([key for process in both for key in process.done]) == 4
    assert all(place.columns()[name] == columns for name, columns in undisturbed.columns().items())
    assert [path.suffix for path in place.folder.iterdir()] == [".parquet"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("words", [r"\.parquet", "/checkpoints/"], ids=["a result", "a checkpoint"])
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(place, undisturbed, words):
    shutil.copytree(undisturbed.results, place.results)
    before = place.columns()
    process = place.start(*FAMILY, more=("--seeds", "2", "--no-draw", *ALWAYS), often=[], failing=[words])
    assert process.wait() == 1
    _, *told = process.err.splitlines()
    assert len(told) == 1 and told[0].startswith("smith: ") and os.strerror(errno.ENOSPC) in told[0]
    assert place.columns() == before and not list(place.root.rglob("*.part")) and not list(place.folder.glob("locks"))
