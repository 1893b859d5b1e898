"""Real processes: killed at any moment, deaf, short of time, on a real full disk. Minutes."""

import itertools
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from processes import ALWAYS, ROOT
from small import FAMILY, SMALL_RUN

from smith.run import Run, iterations


@pytest.mark.parametrize("more", [(), ALWAYS], ids=["without checkpoints", "with checkpoints"])
def test_a_command_killed_at_any_change_of_a_file_ends_as_if_it_had_not_been(more, place, undisturbed):
    """Killed at every fifth change without checkpoints, at every 17th with them; the next command finishes it."""
    for number in itertools.count(1, 17 if more else 5):
        process = place.start(*FAMILY, more=more, often=[], killed_at_change=[number, str(place.root)])
        if process.wait() == 0:
            break
        assert process.wait() == -signal.SIGKILL, process.err
        place.finish(*FAMILY)
        place.assert_as(undisturbed)
        shutil.rmtree(place.results)
        shutil.rmtree(place.figures, ignore_errors=True)
    print(f"killed at {number - 1} changes")
    assert number > 30


def test_a_command_killed_again_and_again_at_a_later_change_ends_as_if_it_had_not_been(place, undisturbed):
    """Each process finds what the one before left."""
    for number in itertools.count(1, 7):
        process = place.start(*FAMILY, more=ALWAYS, often=[], killed_at_change=[number, str(place.root)])
        if process.wait() == 0:
            break
        assert process.wait() == -signal.SIGKILL, process.err
    place.assert_as(undisturbed)
    assert number > 30


def test_a_command_killed_at_random_moments_ends_as_if_it_had_not_been(place, undisturbed):
    rng, killed = random.Random(12), 0
    while killed < 12:
        process = place.start(*FAMILY, more=ALWAYS, often=[], slow=[0.05])
        time.sleep(rng.uniform(0.5, 6))
        process.send(signal.SIGKILL)
        if process.wait() == 0:
            place.assert_as(undisturbed)
            shutil.rmtree(place.results)
        else:
            killed += 1
    place.finish(*FAMILY)
    place.assert_as(undisturbed)


def test_what_a_killed_command_had_in_hand_is_taken_over(place, undisturbed):
    first, second = (place.start(*FAMILY, more=("--seeds", "2", *ALWAYS), often=[], slow=[0.1]) for _ in range(2))
    second.reaches(lambda: len({path.parent for path in place.checkpoints()}) == 2)
    second.send(signal.SIGKILL)
    assert second.wait() == -signal.SIGKILL and first.wait() == 0, first.err
    assert len(first.done) + len(second.done) == 4
    assert place.columns().items() >= undisturbed.columns().items() and not list(place.folder.glob("*/"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"])
def test_a_signal_during_a_long_compilation_ends_it_in_time(number, status, place, monkeypatch):
    """Python hears nothing while XLA compiles a DenseNet, which takes more than the ten seconds there are."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(place.root / "no programs"))
    process = place.start(Run("cifar10", "densenet-40", 16, iterations(20), lr=0.1))
    process.reaches(lambda: list(place.folder.glob("locks/*")))
    time.sleep(8)
    before = time.monotonic()
    process.send(number)
    assert process.wait() == status and time.monotonic() - before < 10
    assert process.err.splitlines()[-1].startswith("smith: stopped")


def test_a_budget_is_kept_and_the_next_call_goes_on(place):
    run = SMALL_RUN.replace(length=iterations(4000), test_every=iterations(1000))
    place.start(run, more=("--budget", "5s")).wait()  # compiles
    reached = 0
    for _ in range(2):
        before = time.monotonic()
        process = place.finish(run, more=("--budget", "10s"), slow=[0.02])
        assert time.monotonic() - before < 16 and "the budget is used up" in process.out
        now = max(int(path.name) for path in place.checkpoints())
        assert now > reached
        reached = now
    assert "goes on from its checkpoint at iteration" in process.err


def test_compiled_programs_cut_short_by_a_killed_process_are_compiled_again(place, undisturbed, monkeypatch):
    cache = place.root / "xla"
    shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], cache)
    for path in cache.iterdir():
        os.truncate(path, path.stat().st_size // 2)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    place.finish(*FAMILY)
    place.assert_as(undisturbed)


def test_workers_share_the_work(place, undisturbed):
    words = ("run", str(place.root / "mine.py"), "--scale", "paper", "--seeds", "1", "--workers", "2")
    process = place.start(*FAMILY)  # writes mine.py
    process.end()
    shutil.rmtree(place.results, ignore_errors=True)
    folders = {"results": place.results, "figures": place.figures, "data": place.data_dir}
    command = [sys.executable, "-m", "smith", *words]
    command += [word for name, folder in folders.items() for word in (f"--{name}-dir", str(folder))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended
    assert len(re.findall(r"^\[[01]\] done ", ended.stdout, re.MULTILINE)) == 2
    assert place.files() == undisturbed.files()  # on fewer cores the last bits of the numbers differ


REAL_DISKS = {  # what is done first to a disk of 2 MB, less than a checkpoint of LeNet; the words of the error
    "a checkpoint": ("true", "No space left"),
    "a result": ("cat /dev/zero > fill; truncate -s -4096 fill", "No space left"),
    "a lock": ("cat /dev/zero > fill", "No space left"),
    "read-only": ("mount -o remount,ro $DISK", "Read-only"),
}


@pytest.mark.parametrize("disk", REAL_DISKS)
def test_a_real_disk_that_takes_no_more_is_told_in_one_line(disk, place):
    """The disk goes with the process."""
    if subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        pytest.skip("no file systems can be mounted here")
    first, error = REAL_DISKS[disk]
    place.start(SMALL_RUN).end()  # writes mine.py
    shutil.rmtree(place.results, ignore_errors=True)
    place.results.mkdir()
    tricks = "{}" if disk == "a result" else '{"often": []}'
    words = ["run", str(place.root / "mine.py"), "--scale", "paper", "--seeds", "1", "--no-draw"]
    words += ["--results-dir", str(place.results), "--data-dir", str(place.data_dir)]
    words += ["--figures-dir", str(place.figures), *(ALWAYS if disk == "a checkpoint" else ())]
    program = shlex.join([sys.executable, str(ROOT / "tests" / "processes.py"), tricks, *words])
    script = f"mount -t tmpfs -o size=2m none $DISK || exit 9; (cd $DISK; {first}) 2> /dev/null; {program}"
    environment = os.environ | {"DISK": str(place.results), "PYTHONPATH": str(ROOT)}
    command = ["unshare", "-m", "sh", "-c", script]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 1, ended
    told = [line for line in ended.stderr.splitlines() if not re.match(r"\d+ runs? to train", line)]
    assert len(told) == 1 and told[0].startswith("smith: ") and error in told[0]
