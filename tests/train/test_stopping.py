"""Stopping: what signals do, when they do it, and what happens to a program that does not hear them."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smith.train import stopping
from smith.train.stopping import Deadline, Stopped, asked, deferred, signals

ROOT = Path(stopping.__file__).parents[1]
BOTH = pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    """No test leaves a signal for the next, or a handler."""
    handlers = [signal.getsignal(number) for number in stopping.SIGNALS]
    stopping._asked = 0
    yield
    stopping._asked = 0
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == handlers
    woken = signal.set_wakeup_fd(-1)
    assert woken == -1


def send(number: int) -> None:
    os.kill(os.getpid(), number)


# Signals in this process.


@BOTH
def test_a_signal_raises_stopped_at_once(number, status):
    after = []
    with pytest.raises(Stopped) as caught, signals():
        send(number)
        after.append(1)
    assert caught.value.status == status
    assert after == []


def test_no_handler_of_ordinary_errors_swallows_a_stop():
    assert not issubclass(Stopped, Exception)
    with pytest.raises(Stopped), signals():
        try:
            send(signal.SIGTERM)
        except Exception:
            pass


@BOTH
def test_a_deferred_signal_raises_at_the_end(number, status):
    done = []
    with pytest.raises(Stopped) as caught, signals():
        with deferred():
            assert not asked()
            send(number)
            assert asked()
            done.append("work")
        done.append("after")
    assert caught.value.status == status
    assert done == ["work"]


def test_deferring_ends_with_its_block():
    with pytest.raises(Stopped), signals():
        with deferred():
            pass
        send(signal.SIGTERM)
        raise AssertionError("not heard")


def test_the_first_of_two_signals_counts():
    with pytest.raises(Stopped) as caught, signals():
        with deferred():
            send(signal.SIGINT)
            send(signal.SIGTERM)
    assert caught.value.status == 130


def test_an_error_in_a_deferred_block_is_told_and_deferring_ends():
    with pytest.raises(Stopped), signals():
        with pytest.raises(ValueError), deferred():
            raise ValueError
        send(signal.SIGTERM)
        raise AssertionError("not heard")


def test_an_error_after_a_deferred_signal_is_told():
    with pytest.raises(ValueError), signals(), deferred():
        send(signal.SIGTERM)
        raise ValueError


def test_without_a_signal_nothing_happens():
    with signals():
        with deferred():
            assert not asked()
    assert not asked()


def test_handlers_are_those_of_before_afterwards():
    heard = []
    before = {number: signal.signal(number, lambda n, _: heard.append(n)) for number in stopping.SIGNALS}
    try:
        with signals():
            pass
        for number in stopping.SIGNALS:
            with pytest.raises(Stopped), signals():
                send(number)
        for number in stopping.SIGNALS:
            send(number)
        assert heard == list(stopping.SIGNALS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_whoever_else_is_woken_by_signals_is_again_afterwards():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    try:
        with signals():
            pass
    finally:
        assert signal.set_wakeup_fd(-1) == writer
        os.close(reader), os.close(writer)


def test_a_new_context_does_not_remember_the_last_ones_signal():
    with pytest.raises(Stopped), signals():
        send(signal.SIGTERM)
    with signals():
        assert not asked()
        with deferred():
            pass


@pytest.mark.parametrize("stop", [True, False])
def test_a_context_leaves_no_thread_and_no_open_file(stop):
    def left() -> bool:
        return len(os.listdir("/dev/fd")) > descriptors or threading.active_count() > threads

    time.sleep(0.05)  # the threads of earlier tests end
    descriptors, threads = len(os.listdir("/dev/fd")), threading.active_count()
    for _ in range(3):
        try:
            with signals():
                if stop:
                    send(signal.SIGTERM)
        except Stopped:
            pass
    end = time.monotonic() + 5
    while left() and time.monotonic() < end:
        time.sleep(0.01)
    assert not left()


# Deadlines.


@pytest.fixture
def clock(monkeypatch) -> Callable[[float], None]:
    """Sets the time."""
    now = [50.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def test_a_deadline_passes_when_its_seconds_are_over(clock):
    deadline = Deadline(10)
    assert not deadline.passed()
    clock(59.9)
    assert not deadline.passed()
    clock(60)
    assert deadline.passed()


def test_a_deadline_takes_into_account_what_comes_next(clock):
    deadline = Deadline(10)
    clock(55)
    assert not deadline.passed(4.9)
    assert deadline.passed(5)
    assert deadline.passed(math.inf)


def test_a_deadline_of_no_seconds_has_passed():
    assert Deadline(0).passed()


def test_without_a_deadline_time_does_not_matter(clock):
    clock(1e12)
    assert not Deadline().passed(math.inf)


@pytest.mark.parametrize("seconds", [None, 1e9])
def test_a_signal_is_a_deadline(seconds):
    deadline = Deadline(seconds)
    with pytest.raises(Stopped), signals():
        with deferred():
            send(signal.SIGTERM)
            assert deadline.passed()


# Programs that do not hear, or are told twice.

HEAD = (
    "import ctypes, os, signal, sys, threading, time; from smith import stopping; from smith.train.stopping import *\n"
)
READY = "print('ready', flush=True)\n"


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Returns a function that starts Python with some code and returns when it says that it is ready."""
    started = []

    def start(code: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HEAD + code]
        started.append(subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


# A mutex locked twice: a library's call that lets other threads run, and that no signal interrupts.
DEADLOCK = (
    "libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256); libc.pthread_mutex_init(mutex, None)\n"
    "def deadlock():\n"
    "    threading.Timer(0.3, lambda: print('ready', flush=True)).start()\n"
    "    for _ in range(2): libc.pthread_mutex_lock(mutex)\n"
)
STUCK = f"stopping.GRACE = 0.5\n{DEADLOCK}with signals():\n    deadlock()"


@BOTH
def test_a_program_stuck_in_a_library_ends_after_a_while(program, number, status):
    process = program(STUCK)
    sent = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == status
    assert 0.5 <= time.monotonic() - sent < 5
    assert error == f"smith: {stopping.HOW_TO_GO_ON}\n"


def test_a_stuck_program_whose_terminal_is_gone_ends_too(program):
    process = program(STUCK)
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 143


def test_a_deferred_stop_of_a_stuck_program_ends_it_too(program):
    process = program(f"stopping.GRACE = 0.5\n{DEADLOCK}with signals(), deferred():\n    deadlock()")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 143


def test_a_program_that_hears_is_not_ended_by_force(program):
    code = (
        "stopping.GRACE = 0.4\n"
        "try:\n"
        f"    with signals():\n        {READY}        time.sleep(60)\n"
        "except Stopped as stop:\n"
        "    time.sleep(1); print('alive', stop.status)\n"
    )
    process = program(code)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, "alive 143\n", "")


def test_a_deferred_stop_in_time_is_not_ended_by_force(program):
    code = (
        "stopping.GRACE = 1.0\n"
        "try:\n"
        f"    with signals(), deferred():\n        {READY}"
        "        while not asked(): time.sleep(0.01)\n"
        "        time.sleep(0.3)\n"
        "except Stopped as stop:\n"
        "    time.sleep(1); print('alive', stop.status)\n"
    )
    process = program(code)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, "alive 130\n", "")


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_kills_at_once(program, first):
    code = (
        f"with signals(), deferred():\n    {READY}    while not asked(): time.sleep(0.01)\n    {READY}"
        "    while True: time.sleep(0.01)"
    )
    process = program(code)
    process.send_signal(first)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - sent < stopping.GRACE / 2


def test_a_second_sigterm_does_not_disturb_the_first(program):
    code = (
        "try:\n"
        f"    with signals(), deferred():\n        {READY}"
        f"        while not asked(): time.sleep(0.01)\n        {READY}        time.sleep(0.5)\n"
        "except Stopped as stop:\n"
        "    sys.exit(stop.status)\n"
    )
    process = program(code)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (143, "")


def test_a_signal_that_somebody_else_handles_does_not_end_the_program(program):
    code = (
        "stopping.GRACE = 0.3; heard = []; signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))\n"
        f"with signals():\n    {READY}"
        "    while not heard: time.sleep(0.01)\n"
        "    time.sleep(1); print('alive')\n"
    )
    process = program(code)
    process.send_signal(signal.SIGUSR1)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, "alive\n", "")


def test_a_stop_after_a_signal_that_somebody_else_handles_is_heard_too(program):
    code = f"stopping.GRACE = 0.5; signal.signal(signal.SIGUSR1, lambda *_: None)\n{DEADLOCK}"
    process = program(f"{code}with signals():\n    deadlock()")
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 143


def test_schedulers_leave_more_time_than_a_program_takes_to_end():
    assert 1 <= stopping.GRACE < 10  # `docker stop` gives ten seconds
