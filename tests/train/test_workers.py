"""Several processes of one command. A short program stands for `smith`."""

import os
import signal
import subprocess
import sys

import pytest

from smith.scales import SCALES
from smith.train import stopping, workers

FAKE = """
import os, sys, time
print(sys.argv[-1], sorted(os.sched_getaffinity(0)), os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"], flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def fake(monkeypatch):
    """Starts a program instead of `smith`: it says what it has, sleeps, and ends with a status. Gives the processes."""
    start, started = subprocess.Popen, []

    def popen(command, **options):
        assert command[:3] == [sys.executable, "-m", "smith"]
        started.append(start([sys.executable, "-c", FAKE, *command[3:]], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    return started


@pytest.mark.parametrize(
    ("every", "expected"),
    [([0, 1, 2, 3, 4], [{0, 3}, {1, 4}, {2}]), ([5, 7], [{5}, {7}, {5}]), ([3], [{3}, {3}, {3}])],
)
def test_each_worker_has_its_share_of_the_cores(every, expected):
    assert [workers.cores(every, number, 3) for number in range(3)] == expected


def test_by_itself_a_miniature_is_trained_one_run_a_core_on_a_cpu(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    mini, paper = SCALES["mini"], SCALES["paper"]
    assert [workers.by_itself(mini, todo) for todo in (0, 1, 2, 9)] == [1, 1, 2, 3]
    assert workers.by_itself(paper, 9) == 1


def test_what_went_wrong_is_said_once_though_every_worker_says_it(fake, monkeypatch, capfd):
    monkeypatch.setattr(sys.modules[__name__], "FAKE", "print('smith: no room'); print('one run'); raise SystemExit(1)")
    assert workers.execute(2, []) == 1
    out, err = capfd.readouterr()
    assert err == "smith: no room\n" and sorted(out.splitlines()) == ["[0] one run", "[1] one run"]


def test_lines_are_passed_on_and_the_worst_status_is_told(fake, capsys, monkeypatch):
    assert workers.execute(2, ["0.3", "0", "fig14"]) == 0
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [line[:10] for line in lines] == ["[0] fig14 ", "[1] fig14 "]
    assert all(line.endswith(" 0.450") for line in lines)
    assert workers.execute(3, ["0", "2", "fig14"]) == 2
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_stops_them_all(fake, number):
    """They get a SIGTERM, and are waited for."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with pytest.raises(SystemExit, match=f"{128 + number}"), stopping.signals():
        workers.execute(2, ["20", "0", "fig14"])
    signal.signal(signal.SIGALRM, before)
    assert [process.returncode for process in fake] == [-signal.SIGTERM, -signal.SIGTERM]
