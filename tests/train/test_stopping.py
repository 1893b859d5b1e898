"""Stopping: at a time, and on signals, whatever the program is doing. Real processes, without JAX."""

import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smith.train import stopping
from smith.train.stopping import Deadline, Stopped

LINE = "smith: stopped; finished results are kept, and the same command goes on from here\n"
ROOT = Path(__file__).resolve().parents[2]
EVERY = pytest.mark.parametrize(("number", "status"), [(number, 128 + number) for number in stopping.SIGNALS])
BOTH = pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])

PROGRAM = """
import os, signal, subprocess, sys, time
from smith.train import stopping
stopping.GRACE = 0.6

def ready():
    print("ready", flush=True)

with stopping.signals():
    {body}
print("the end", flush=True)
"""


class Program:
    """A process in which a signal may come when it has said that it is ready."""

    def __init__(self, body: str) -> None:
        code = PROGRAM.replace("{body}", body.replace("\n", "\n    "))
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout and self._process.stdout.readline() == "ready\n"

    def send(self, *numbers: int) -> tuple[int, str, str, float]:
        """Sends signals, a tenth of a second apart. Returns status, output, errors, and the seconds until it ended."""
        for number in numbers:
            time.sleep(0.1)  # so that it sleeps: what comes just before that does not wake it
            self._process.send_signal(number)
        before = time.monotonic()
        out, err = self._process.communicate(timeout=20)
        return self._process.returncode, out, err, time.monotonic() - before

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def program() -> Iterator[Callable[[str], Program]]:
    started = []

    def start(body: str) -> Program:
        started.append(Program(body))
        return started[-1]

    yield start
    for process in started:
        process.kill()


# --- signals ---


@EVERY
def test_a_signal_ends_the_program_at_once_with_one_line(program, number, status):
    ended = program("try:\n    ready()\n    time.sleep(20)\nfinally:\n    print('tidy', flush=True)").send(number)
    assert ended[:3] == (status, "tidy\n", LINE)


@EVERY
def test_a_run_in_hand_is_finished_first(program, number, status):
    body = """with stopping.run_in_hand():
    ready()
    while not stopping.Deadline().passed():
        time.sleep(0.01)
    time.sleep(0.1)
    print("kept", flush=True)
print("not reached")"""
    assert program(body).send(number)[:3] == (status, "kept\n", LINE)


@BOTH
def test_a_program_that_does_not_hear_ends_after_a_while(program, number, status):
    """A run in hand that never asks stands for a long compilation."""
    ended = program("with stopping.run_in_hand():\n    ready()\n    time.sleep(20)").send(number)
    assert ended[:3] == (status, "", LINE) and 0.3 < ended[3]


def test_what_connections_and_batch_systems_send_is_heard():
    assert {signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM} <= {*stopping.SIGNALS}


def test_nohup_keeps_its_word(program):
    """A SIGHUP that was ignored before stays so, and the program goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    running = program("ready()\ntime.sleep(0.5)")
    signal.signal(signal.SIGHUP, before)
    assert running.send(signal.SIGHUP)[:3] == (0, "the end\n", "")


HANGS_UP = """
import os, pty, sys
pid, terminal = pty.fork()
if not pid:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
assert b"ready" in os.read(terminal, 100)
os.close(terminal)  # the kernel sends a SIGHUP
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_the_status_is_right_when_the_terminal_is_gone():
    code = PROGRAM.replace("{body}", "ready()\n    time.sleep(20)")
    assert int(subprocess.check_output([sys.executable, "-c", HANGS_UP, code])) == 128 + signal.SIGHUP


def test_a_second_ctrl_c_ends_the_program_at_once_and_a_second_sigterm_does_not(program):
    body = "stopping.GRACE = {}\nwith stopping.run_in_hand():\n    ready()\n    time.sleep(20)"
    status, _, _, seconds = program(body.format(10)).send(signal.SIGINT, signal.SIGINT)
    assert status == 130 and seconds < 5
    status, _, _, seconds = program(body.format(0.8)).send(signal.SIGTERM, signal.SIGTERM)
    assert status == 143 and seconds > 0.5


ENTRY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["smith"].split(":")
SLOW_IMPORT = """
import sys, time
print("ready", flush=True)
time.sleep(0.5)
sys.path.remove({folder!r})
del sys.modules["tyro"]
import tyro
"""


@BOTH
@pytest.mark.parametrize(
    "start", [["-m", "smith"], ["-c", "from {} import {}; {}()".format(*ENTRY, ENTRY[1])]], ids=["module", "script"]
)
def test_a_signal_while_the_command_is_imported_ends_it_with_one_line(start, number, status, tmp_path):
    """Here the import of a library that the command needs takes long."""
    (tmp_path / "tyro.py").write_text(SLOW_IMPORT.format(folder=str(tmp_path)))
    search = os.pathsep.join([str(tmp_path), str(ROOT)])
    command, environment = [sys.executable, *start, "status"], os.environ | {"PYTHONPATH": search}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (status, "", LINE)


def test_children_hear_signals_as_ever(program):
    """Started by a command, or forked, they end; and the program that started them goes on."""
    body = """import warnings
child = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); import time; time.sleep(20)"], stdout=-1)
child.stdout.readline()
child.terminate()
print(child.wait(), flush=True)
warnings.simplefilter("ignore")
if not (pid := os.fork()):
    time.sleep(20)
time.sleep(0.1)
os.kill(pid, signal.SIGTERM)
print(os.waitpid(pid, 0)[1], flush=True)
time.sleep(0.1)
ready()"""
    code = PROGRAM.replace("{body}", body.replace("\n", "\n    "))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "-15\n15\nready\nthe end\n", "")


def test_everything_is_as_before_afterwards():
    def state() -> tuple:
        handlers = [signal.getsignal(number) for number in stopping.SIGNALS]
        return handlers, threading.active_count(), len(os.listdir("/proc/self/fd"))

    before = state()
    for _ in range(3):
        with stopping.signals(), stopping.signals():
            assert signal.getsignal(signal.SIGTERM) != before[0][1]
    with pytest.raises(SystemExit) as ended, stopping.signals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert ended.value.code == 143
    while threading.active_count() > before[1]:
        time.sleep(0.01)
    assert state() == before and not Deadline().passed()


def test_no_handler_of_ordinary_errors_swallows_a_stop():
    assert not issubclass(Stopped, Exception)


def test_another_thread_may_run_a_command_too():
    """There no signal is heard, and none is needed."""
    done = []

    def work() -> None:
        with stopping.signals():
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGTERM)]


# --- deadlines ---


def test_a_deadline_passes_when_its_seconds_are_over(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    deadline, never = Deadline(60), Deadline()
    for seconds, upcoming, passed in ((0, 0, False), (50, 0, False), (0, 9, False), (0, 10, True), (10, 0, True)):
        now[0] += seconds
        assert deadline.passed(upcoming) == passed
        assert not never.passed(upcoming)
    assert Deadline(0).passed()
