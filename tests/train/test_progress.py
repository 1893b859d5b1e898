"""What a person sees: lines, and a bar on a terminal."""

import errno
import io
import itertools
import os
import pty
import re
import subprocess
import sys

import jax.numpy as jnp
import pytest
from small import SMALL_RUN

from smith.train import progress
from smith.train.loop import Point
from smith.train.progress import Ahead, Display

ROW = {"test_loss": 1.5, "test_accuracy": 0.25}


def test_elsewhere_than_on_a_terminal_there_is_a_line_for_each_event(capsys):
    with Display() as display:
        display.plan(2, 1, lambda _: Ahead(1, 2, 480))
        display.begin(SMALL_RUN, 0)
        display.resumed(5)
        display.saw(Point(6, None, loss=jnp.float32(2.0)))
        display.warn("damaged result: /results [old]/x: kept")
        display.end(SMALL_RUN, 0, "done", ROW)
        display.waiting(1)
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        "2 runs to train, 1 found",
        "goes on from its checkpoint at iteration 5",
        "smith: damaged result: /results [old]/x: kept",
        f"done     {SMALL_RUN.key} seed 0: test loss 1.5, accuracy 0.2500, 0 s; 1/2, about 8 min left",
        "waiting for 1 run that other processes train",
    ]


def test_a_quiet_display_says_nothing(capsys):
    with Display(quiet=True) as display:
        display.plan(1, 0)
        display.begin(SMALL_RUN, 0)
        display.saw(Point(6, None, loss=jnp.float32(2.0)))
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A terminal; one that is gone can not be written."""

    gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def a_terminal(monkeypatch, columns: int) -> Terminal:
    """Puts a terminal in the place of stderr."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    for name, value in {"COLUMNS": str(columns), "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    return terminal


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_the_bars_say_what_a_person_wants_to_know_at_every_width(columns, monkeypatch):
    terminal, ticks = a_terminal(monkeypatch, columns), itertools.count()
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(ticks)))
    with Display() as display:
        display.plan(3, 0, lambda pace: Ahead(0, 3, pace and 7200))
        display.begin(SMALL_RUN, 2)
        for iteration in (3, 4, 5):
            display.saw(Point(iteration, None, loss=jnp.float32(iteration / 10)))
        display.saw(Point(5, None, loss=jnp.float32(0.5), row=ROW))
        display._bars.refresh()
        shown = [re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", line) for line in terminal.getvalue().splitlines()]
        display.end(SMALL_RUN, 2, "done", ROW)
    series, run = shown[-2:]
    assert max(map(len, shown)) <= columns
    for line, words in ((series, ("all runs", "0/3", "2.0 h left")), (run, ("lenet", "5/12", " s left", "train"))):
        assert re.search("[━╸╺]{10}", line) and all(word in line for word in words), line
    whole = "lenet mnist, seed 2 " in run, "train loss 0.500  test loss 1.500, accuracy 0.250" in run
    assert whole == (columns > 60, columns > 120)


def test_training_goes_on_when_the_terminal_is_gone(monkeypatch):
    terminal = a_terminal(monkeypatch, 80)
    with Display() as display:
        display.plan(1, 0)
        terminal.gone = True
        display.begin(SMALL_RUN, 0)
        display.saw(Point(3, None, loss=jnp.float32(0.1)))
        display.end(SMALL_RUN, 0, "done", ROW)


def test_a_stop_by_force_shows_the_cursor_again():
    """The bar hides it."""
    code = "from smith.train import stopping; stopping._say(2)"
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    assert b"\x1b[?25hsmith: stopped" in os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)
