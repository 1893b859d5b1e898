"""How long a run will still take, and what is shown of it."""

import math

import pytest

from smith.run import Run, epochs, iterations
from smith.train.progress import Display, Remaining


def long_run(**changes) -> Run:
    return Run("mnist", "lenet", 64, iterations(1000), lr=0.1, test_every=iterations(100)).replace(**changes)


def simulate(remaining: Remaining, run: Run, until: int, step: float, test: float, now: float = 50.0) -> float:
    """Tells what `train` would, at a fixed time for each step and test. Returns the time at the end."""
    for t in range(until + 1):
        if t and t % run.count(run.test_every) == 0:
            remaining.testing(now)
            now += test
            remaining.tested(now)
        if t % 20 == 0 and t:
            remaining.iterated(t, now)
        now += step if t else 30.0  # the first one is compiled
    return now


@pytest.mark.parametrize("test", [0.0, 0.5, 20.0, 300.0])
@pytest.mark.parametrize("changes", [{}, {"test_every": epochs(1 / 9)}, {"test_every": iterations(37)}])
def test_after_a_tenth_of_the_run_the_estimate_is_within_a_fifth(test, changes):
    run = long_run(**changes)
    remaining = Remaining(run)
    simulate(remaining, run, 140, step=0.4, test=test)
    tests = 1000 // run.count(run.test_every) - 140 // run.count(run.test_every)
    assert remaining.seconds() == pytest.approx(860 * 0.4 + tests * test, rel=0.2)
    assert remaining.rate() == pytest.approx(1 / 0.4, rel=0.01)


def test_nothing_is_estimated_before_two_reports():
    remaining = Remaining(long_run())
    assert (remaining.rate(), remaining.seconds()) == (0.0, math.inf)
    remaining.iterated(20, 100.0)
    assert (remaining.rate(), remaining.seconds()) == (0.0, math.inf)
    remaining.iterated(40, 110.0)
    assert (remaining.rate(), remaining.seconds()) == (2.0, 480.0)


def test_a_resumed_run_is_estimated_from_where_it_went_on():
    remaining = Remaining(long_run())
    remaining.iterated(800, 100.0)
    remaining.iterated(900, 150.0)
    assert (remaining.rate(), remaining.seconds()) == (2.0, 50.0)


def test_the_bar_says_what_a_person_wants_to_know():
    display = Display(quiet=True)
    display.begin(long_run(), 0)
    display.iterated(20, 2.0)
    assert "left" not in display._note()
    display.testing()
    display.tested({"test_loss": 1.25, "test_accuracy": 0.5})
    display.iterated(40, 1.5)
    for words in ("it/s", "images/s", "train loss 1.500", "test loss 1.250, accuracy 0.500", "left"):
        assert words in display._note()
