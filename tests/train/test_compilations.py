"""Compile once: one step and one test serve all runs of the same network, batch size, solver and so on."""

from collections import Counter

import jax
import jax.monitoring
import numpy as np
import pytest

from smith.run import Snapshot, iterations
from smith.schedules import CyclicalMomentum, OneCycle, RangeTest
from smith.train import step
from smith.train.loop import Point, train
from smith.train.step import program_of

COMPILED = "/jax/core/compile/backend_compile_duration"  # also when the persistent cache has the program


@pytest.fixture
def compiled():
    """Counts what is compiled, as if nothing had been before."""
    step.train_step.clear_cache()
    step.eval_step.clear_cache()
    counts: Counter[str] = Counter()

    def count(event: str, _: float, **about: str | int) -> None:
        if event == COMPILED:
            counts[str(about["fun_name"])] += 1

    jax.monitoring.register_event_duration_secs_listener(count)
    yield lambda: (counts["jit(train_step)"], counts["jit(eval_step)"])
    jax.monitoring.unregister_event_duration_listener(count)


def test_hyperparameters_lengths_seeds_and_resuming_compile_nothing_new(run, mnist, compiled):
    others = [
        run.replace(lr=OneCycle(0.001, 0.01, 0.45), momentum=CyclicalMomentum(0.95, 0.85)),
        run.replace(lr=0.02, momentum=0.5, weight_decay=RangeTest(0, 1e-3)),
        run.replace(length=iterations(7), test_every=iterations(2)),
        run.replace(start=Snapshot(run, iterations(5))),
    ]
    points = [Point(p.iteration, jax.tree.map(np.array, p.state), p.last_test) for p in train(run, 0, mnist)]
    assert compiled() == (1, 1)
    list(train(run, 1, mnist))
    list(train(run, 0, mnist, points[6]))
    for other in others:
        assert program_of(other) == program_of(run)
        list(train(other, 3, mnist, Point(5, points[4].state) if other.start else None))
    assert compiled() == (1, 1)


def test_another_batch_size_or_solver_is_compiled_and_going_back_is_not(run, mnist, compiled):
    for other in (run, run.replace(batch_size=8), run.replace(solver="nesterov"), run.replace(lr=0.02)):
        list(train(other, 0, mnist, until=5))
    assert compiled() == (3, 3)
