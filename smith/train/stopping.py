"""Stopping in good order: on a signal, such as Ctrl-C or a scheduler's, and when the time is used up.

A signal ends the command at once, or, while a run is in hand, as soon as that has a checkpoint. Python hears signals
only between two of its own instructions, and so not while XLA compiles: a thread that hears them at once ends the
program after `GRACE` seconds, if it has not ended by itself. No file is damaged by that: they are written whole or not
at all, and the kernel drops the locks.
"""

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator

GRACE = 8.0  # seconds; schedulers kill some time after their SIGTERM
# SIGHUP says that the connection is gone; the last three are what batch systems send before the time is up.
SIGNALS = tuple(signal.Signals[f"SIG{name}"] for name in ("INT", "TERM", "HUP", "USR1", "USR2", "XCPU"))

GOES_ON = "the same command goes on from here"

_then = GOES_ON  # what comes of a stop
_asked = 0  # the number of the signal that came
_in_hand = False  # whether a run is


class Stopped(BaseException):
    """A signal asked the program to stop."""


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Inside, a signal ends the program with one line and status 128 + its number. A second Ctrl-C ends it at once.

    A SIGHUP that is ignored, as under nohup, stays so. Does nothing inside itself, and in any thread but the main one,
    which alone hears signals.
    """
    global _asked, _then
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is _heard:
        yield
        return
    _asked, _then = 0, GOES_ON
    reader, writer = os.pipe()  # to which the C code of Python writes a signal's number, whatever Python is doing
    os.set_blocking(writer, False)
    woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    kept = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else []
    before = {number: signal.signal(number, _heard) for number in SIGNALS if number not in kept}
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    try:
        yield
    except Stopped:
        sys.exit(_say(_asked))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        os.close(writer)  # which ends the thread
        _asked = 0


@contextlib.contextmanager
def run_in_hand() -> Iterator[None]:
    """Inside, a signal is only noted: `Deadline.passed` says so. At the end it has its effect."""
    global _in_hand
    _in_hand = True
    try:
        yield
    finally:
        _in_hand = False
    if _asked:
        raise Stopped


def begins_anew() -> None:
    """Says that the command, stopped, does not go on the next time from where it was."""
    global _then
    _then = "with --force the same command begins again"


def then() -> str:
    """Returns what the command does after a stop, in words."""
    return _then


class Deadline:
    """The time at which to stop, if there is one, or earlier if a signal says so."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = math.inf if seconds is None else time.perf_counter() + seconds

    def passed(self, upcoming: float = 0.0) -> bool:
        """Says whether to stop now, because what comes next takes `upcoming` seconds and would end too late."""
        return bool(_asked) or time.perf_counter() + upcoming >= self._end


def _heard(number: int, _: object) -> None:
    global _asked
    first, _asked = not _asked, _asked or number
    if first and not _in_hand:
        raise Stopped


def _watch(reader: int) -> None:
    """Ends the program some time after a signal, or on a second Ctrl-C, unless it has ended by itself."""
    with os.fdopen(reader, "rb", buffering=0) as heard:
        number = next((byte[0] for byte in iter(lambda: heard.read(1), b"") if byte[0] in SIGNALS), None)
        if number is None:
            return
        end = time.monotonic() + GRACE
        while select.select([heard], [], [], max(0.0, end - time.monotonic()))[0]:
            byte = heard.read(1)
            if not byte:
                return
            if byte[0] == signal.SIGINT:
                break
        try:
            _say(number)
        finally:
            os._exit(128 + number)


def _say(number: int) -> int:
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
    line = "smith: stopped; finished results are kept, and " + then()
    try:
        print(cursor + line, file=sys.stderr, flush=True)
    except OSError:  # the terminal is gone; what is still to be flushed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return 128 + number


def _forget() -> None:
    """A forked process does not write to its parent's pipe."""
    if signal.getsignal(signal.SIGINT) is _heard:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            if signal.getsignal(number) is _heard:
                signal.signal(number, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget)
