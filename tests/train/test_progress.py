"""What a person sees: lines, and a bar on a terminal."""

import io
import os
import pty
import subprocess
import sys

import jax.numpy as jnp
from small import SMALL_RUN

from smith.train import progress
from smith.train.loop import Point
from smith.train.progress import Display

ROW = {"test_loss": 1.5, "test_accuracy": 0.25}


def test_elsewhere_than_on_a_terminal_there_is_a_line_for_each_event(capsys):
    with Display() as display:
        display.plan(2, 1)
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
        f"done     {SMALL_RUN.key} seed 0: test loss 1.5, accuracy 0.2500, 0 s",
        "waiting for 1 run that other processes train",
    ]


def test_a_quiet_display_says_nothing(capsys):
    with Display(quiet=True) as display:
        display.plan(1, 0)
        display.begin(SMALL_RUN, 0)
        display.saw(Point(6, None, loss=jnp.float32(2.0)))
    assert capsys.readouterr() == ("", "")


def test_the_bar_says_what_a_person_wants_to_know(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "REFRESH", 0.0)
    for name, value in {"COLUMNS": "160", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with Display() as display:
        display.plan(3, 0)
        display.begin(SMALL_RUN, 2)
        for iteration in (3, 4, 5):
            display.saw(Point(iteration, None, loss=jnp.float32(iteration / 10)))
        display.saw(Point(5, None, loss=jnp.float32(0.5), row=ROW))
        display._bars.refresh()
    shown = terminal.getvalue()
    assert "lenet mnist, seed 2" in shown and "5/12" in shown and "0/3" in shown
    assert "train loss 0.500  test loss 1.500, accuracy 0.250" in shown


def test_a_stop_by_force_shows_the_cursor_again():
    """The bar hides it."""
    code = "from smith.train import stopping; stopping._say(2)"
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    assert b"\x1b[?25hsmith: stopped" in os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)
