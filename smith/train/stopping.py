"""Stopping in good order: on SIGTERM, on Ctrl-C, and when the time is used up.

Python hears a signal between two of its own instructions, and so not while XLA compiles. A thread that hears it at once
ends the program after `GRACE` seconds if it has not ended by itself. Nothing is lost then but the work since the last
checkpoint: files are written whole or not at all, and a dead process's locks are taken over.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

GRACE = 8.0  # seconds; schedulers kill some time after their SIGTERM
SIGNALS = (signal.SIGINT, signal.SIGTERM)
HOW_TO_GO_ON = "stopped; finished results are kept, and the same command goes on from here"


class Stopped(BaseException):
    """A signal asked the program to stop. `status` is what it should exit with, 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


_asked = 0  # the number of the signal that came
_deferring = False


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM raise `Stopped`, at once or at the end of `deferred`. A second Ctrl-C kills."""
    global _asked
    _asked = 0
    before = {number: signal.signal(number, _heard) for number in SIGNALS}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(reader, ended), daemon=True).start()
    try:
        yield
    finally:
        _asked = 0
        signal.set_wakeup_fd(woken)
        ended.set()
        os.close(writer)  # which ends the thread, if no signal came
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal is only noted: `asked` says so, and `Stopped` is raised at the end."""
    global _deferring
    _deferring = True
    try:
        yield
    finally:
        _deferring = False
    if _asked:
        raise Stopped(_asked)


def asked() -> bool:
    """Says whether a signal came."""
    return bool(_asked)


class Deadline:
    """The time at which to stop, if there is one, or earlier if a signal says so."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.perf_counter() + seconds

    def passed(self, upcoming: float = 0.0) -> bool:
        """Says whether to stop now, because what comes next takes `upcoming` seconds and would end too late."""
        return asked() or (self._end is not None and time.perf_counter() + upcoming >= self._end)


def _heard(number: int, _: object) -> None:
    global _asked
    if _asked:  # it is being seen to; only a second Ctrl-C is for people who can not wait
        if number == signal.SIGINT:
            os._exit(128 + number)
        return
    _asked = number
    if not _deferring:
        raise Stopped(number)


def _watch(reader: int, ended: threading.Event) -> None:
    """Ends the program some time after a signal, unless it has ended by itself."""
    with os.fdopen(reader, "rb", buffering=0) as heard:  # open to the end: another signal may be written to it
        number = next((byte[0] for byte in iter(lambda: heard.read(1), b"") if byte[0] in SIGNALS), 0)
        if number and not ended.wait(GRACE):
            try:
                print(f"smith: {HOW_TO_GO_ON}", file=sys.stderr, flush=True)
            finally:
                os._exit(128 + number)
