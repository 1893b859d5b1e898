"""Traces: what the tests of a run measured, on an axis that results of every scale and published curves share.

The axis is the part of the training that is done, 0 to 1: a shortened run, a run with other learning rates and a curve
that the paper shows over learning rates are then read at the same places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smith.analysis.curves import between
from smith.analysis.seeds import Line, guess, padded
from smith.run import Run
from smith.schedules import RangeTest
from smith.store.results import Result

READ = ("test_loss", "test_accuracy", "train_loss")


@dataclass(frozen=True)
class Trace:
    """What the tests of a run measured, with one seed or with many.

    run: the run of the protocol
    guesses: what guessing gives in each quantity
    lines: each quantity's places, (tests,) from 0 to 1, and values, (..., tests); finite
    """

    run: Run
    guesses: Mapping[str, float]
    lines: Mapping[str, Line]

    def between(self, name: str, start: float, end: float) -> Line:
        """Returns the tests of a quantity at places from `start` to `end`, these included."""
        place, values = self.lines[name]
        there = between(place, start, end)
        return place[there], values[..., there]

    def rate(self, place: np.ndarray) -> np.ndarray:
        """Returns the learning rate of the protocol's range test at places of it."""
        test = self.run.lr
        assert isinstance(test, RangeTest)
        if test.exponential:
            return test.start * (test.stop / test.start) ** place
        return test.start + (test.stop - test.start) * place


def trace(run: Run, result: Result) -> Trace:
    """Returns the trace of a result of a run of the protocol; from where it diverged on it guesses."""
    end, lines = result.run.iterations, {name: padded(result, name) for name in READ}
    if "sharpness" in run.metrics:  # where there is none, as after an explosion, it is the one before
        places, values = padded(result, "stability")
        there = np.isfinite(values)
        known = (places[there], values[there]) if there.any() else (places[:1], values[:1])
        lines["stability"] = lines["test_loss"][0], np.interp(lines["test_loss"][0], *known)
    return Trace(
        run,
        {name: guess(result.run, name) for name in lines},
        {name: (iterations / end, values) for name, (iterations, values) in lines.items()},
    )


def stacked(traces: Sequence[Trace]) -> Trace:
    """Returns the traces of several seeds of a run as one, at the tests of the first: others may have other batches."""
    first = traces[0]
    lines = {
        name: (place, np.stack([np.interp(place, *trace.lines[name]) for trace in traces]))
        for name, (place, _) in first.lines.items()
    }
    return Trace(first.run, first.guesses, lines)


def published_trace(run: Run, axis: str, columns: Mapping[str, Line]) -> Trace:
    """Returns the trace of curves that the paper shows of a run.

    axis: what their x is: "iteration", "learning_rate" or "momentum", which a range test raises
    columns: x and y of each quantity that is shown
    """
    guesses = {name: guess(run, name) for name in columns}
    lines = {name: (_place(run, axis, x), y) for name, (x, y) in columns.items()}
    return Trace(run, guesses, lines)


def _place(run: Run, axis: str, x: np.ndarray) -> np.ndarray:
    if axis == "iteration":
        return x / run.iterations
    test = run.lr if axis == "learning_rate" else run.momentum
    assert isinstance(test, RangeTest)
    return (x - test.start) / (test.stop - test.start)
