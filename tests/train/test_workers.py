"""Workers: real processes that share the runs of one command, and end with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL_RUN

from smith.errors import UserError
from smith.store import results
from smith.train import workers
from smith.train.jobs import Job, Summary
from smith.train.progress import Display

ROOT = Path(__file__).resolve().parent.parent
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path: Path, data_dir: Path) -> Iterator[Start]:
    """Starts `smith run fig14` in a process group of its own, which is killed at the end."""
    started: list[subprocess.Popen] = []

    def begin(*options: str) -> subprocess.Popen:
        folders = ["--results-dir", str(tmp_path / "results"), "--figures-dir", str(tmp_path / "figures")]
        words = [sys.executable, "-m", "smith", "run", "fig14", "--data-dir", str(data_dir), *folders, *options]
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def alive(group: int) -> bool:
    """Says whether a process of a group is still there and no zombie."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return bool(members(group))


def members(group: int) -> list[int]:
    """Returns the living processes of a group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, process_group = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(process_group) == group and state != "Z":
            found.append(int(entry.name))
    return found


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ([0, 1], [{0}, {1}]),
        ([4, 5, 6, 7, 8], [{4, 7}, {5, 8}, {6}]),
        ([3], [{3}, {3}]),
        ([0, 1], [{0}, {1}, {0}]),
    ],
)
def test_each_worker_has_its_share_of_the_cores(every, expected):
    assert [workers.cores(every, number, len(expected)) for number in range(len(expected))] == expected


def test_a_number_of_workers_is_at_least_one():
    assert workers.check(3) == 3
    with pytest.raises(UserError, match=r"--workers 0: give a number of at least 1"):
        workers.check(0)


def test_what_needs_one_run_at_a_time_has_one_worker():
    assert workers.check(1, alone=["--force"]) == 1
    with pytest.raises(UserError, match="--force goes from run to run in order: leave --workers out"):
        workers.check(2, alone=["--force"])


@pytest.mark.parametrize("option", [["--force"], ["--on-divergence", "stop"]])
def test_such_an_option_ends_the_command_with_one_line(start, option):
    process = start("--scale", "smoke", "--workers", "2", *option)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert error == f"smith: {' '.join(option)} goes from run to run in order: leave --workers out\n"


def test_two_workers_train_what_one_would(start, tmp_path):
    both = start("--scale", "smoke", "--workers", "2")
    out, error = both.communicate(timeout=120)
    assert both.returncode == 0, error
    assert "6 runs trained, 0 diverged; 0 were there; 0 left" in out
    assert error.count("done ") == 6
    found = results.check(tmp_path / "results" / "smoke")
    out, _ = start("--scale", "smoke", "--workers", "2").communicate(timeout=120)
    assert "0 runs trained, 0 diverged; 6 were there; 0 left" in out
    (tmp_path / "results").rename(tmp_path / "both")
    alone = start("--scale", "smoke")
    alone.communicate(timeout=120)
    expected = results.check(tmp_path / "results" / "smoke")
    assert (len(found[0]), found[1], expected[1]) == (6, [], [])
    for ours, theirs in zip(found[0], expected[0], strict=True):
        assert (ours.run, ours.seed, ours.status) == (theirs.run, theirs.seed, theirs.status)
        for column in results.COLUMNS:
            np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-4, atol=1e-5)


def test_the_budget_is_everybodys_and_what_is_begun_is_counted(start, tmp_path):
    out, error = start("--scale", "paper", "--workers", "2", "--budget", "12s", "--seeds", "1").communicate(timeout=120)
    begun = list((tmp_path / "results" / "paper" / "checkpoints").glob("*-seed*"))
    assert f"0 runs trained, 0 diverged; 0 were there; 6 left ({len(begun)} begun)" in out, error
    assert len(begun) == 2


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
class TestEnds:
    """How it ends when a process does."""

    def started(self, start: Start, tmp_path: Path) -> subprocess.Popen:
        """Returns a command whose two processes both train."""
        process = start("--scale", "paper", "--seeds", "1", "--workers", "2")
        until(lambda: len(list((tmp_path / "results" / "paper" / "locks").glob("*"))) >= 2)
        return process

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_a_signal_to_the_first_ends_all_in_good_order(self, start, tmp_path, number, status):
        process = self.started(start, tmp_path)
        time.sleep(3)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
        assert process.returncode == status, error
        until(lambda: not alive(process.pid), 20)
        assert not list((tmp_path / "results" / "paper" / "locks").glob("*.lock"))

    def test_a_ctrl_c_at_the_terminal_goes_to_all_and_ends_them_once(self, start, tmp_path):
        process = self.started(start, tmp_path)
        time.sleep(3)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in error
        until(lambda: not alive(process.pid), 20)

    def test_the_others_end_when_the_first_is_killed(self, start, tmp_path):
        process = self.started(start, tmp_path)
        process.kill()
        until(lambda: not alive(process.pid), 30)

    def test_the_first_trains_what_a_killed_worker_had_in_hand(self, start, tmp_path):
        process = start("--scale", "smoke", "--workers", "2")
        locks = tmp_path / "results" / "smoke" / "locks"
        until(lambda: len(list(locks.glob("*.lock"))) >= 2)
        for member in members(process.pid):
            command = Path(f"/proc/{member}/cmdline").read_bytes()
            if b"spawn_main" in command:
                os.kill(member, signal.SIGKILL)
        out, error = process.communicate(timeout=100)
        assert process.returncode == 0, error
        assert "6 runs trained, 0 diverged; 0 were there; 0 left" in out


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes can not be kept to cores here")
def test_after_the_work_or_an_error_the_first_process_has_its_cores_back(tmp_path, data_dir):
    cores, quiet = os.sched_getaffinity(0), Display(quiet=True)
    jobs = [Job(SMALL_RUN, 0), Job(SMALL_RUN, 1)]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError):
        workers.execute(2, jobs, tmp_path / "results", empty / "nothing", quiet)
    assert os.sched_getaffinity(0) == cores
    summary = workers.execute(2, jobs, tmp_path / "results", data_dir, quiet)
    assert summary == Summary(trained=2)
    assert os.sched_getaffinity(0) == cores
