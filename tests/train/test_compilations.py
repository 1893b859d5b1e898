"""Compile once: a step and a test for each network, batch size and precision, in a whole run of experiments."""

import functools
from collections import Counter

import jax.monitoring
import pytest
from conftest import made_up

from smith import data, scales
from smith.cli import experiments
from smith.data import Arrays
from smith.run import Run, iterations
from smith.train import jobs as engine
from smith.train import step as programs
from smith.train.jobs import Summary
from smith.train.progress import Display

COMPILED = "/jax/core/compile/backend_compile_duration"  # also when the persistent cache has the program
STEP, TEST = "jit(step)", "jit(evaluate)"

Key = tuple[object, ...]  # what a program is for: see `key`


class Counting(Display):
    """A display that shows nothing and counts what is compiled while each program's runs are trained."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.compiled: dict[Key, Counter[str]] = {}
        self.summary = Summary()
        self._now: Counter[str] = Counter()

    def begin(self, run: Run, seed: int) -> None:
        super().begin(run, seed)
        self._now = self.compiled.setdefault(key(run), Counter())

    def count(self, event: str, _: float, **about: str | int) -> None:
        """JAX says that something took time."""
        if event == COMPILED:
            self._now[str(about["fun_name"])] += 1


def key(run: Run) -> Key:
    """Returns what runs have in common that may share a compiled step. Precision is float32 in all of them."""
    return run.network, data.DATASETS[run.data].classes, run.batch_size, run.solver, run.options, run.mirror


@pytest.fixture
def execute(monkeypatch, tmp_path):
    """Trains runs on a few made-up images, as if nothing had been compiled before; returns what was compiled."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "xla"))
    monkeypatch.setattr(programs, "compiled", functools.cache(programs.compiled.__wrapped__))
    monkeypatch.setattr(data, "load", lambda name, split, _: Arrays(*made_up(name, split, 150)))
    counting = Counting()
    jax.monitoring.register_event_duration_secs_listener(counting.count)

    def call(runs: list[Run], seeds: int = 1) -> Counting:
        jobs = engine.plan(runs, scales.named("paper"), seeds)
        counting.summary = engine.execute(jobs, tmp_path / "results", tmp_path, counting)
        return counting

    yield call
    jax.monitoring.unregister_event_duration_listener(counting.count)


def smoke_runs(*figures: str) -> list[Run]:
    described = [run for figure in experiments(figures) for run in figure.runs()]
    return list(dict.fromkeys(scales.named("smoke").apply(run) for run in described))


def test_the_step_and_the_test_are_compiled_once_for_all_runs_of_several_figures(execute):
    """Figures 7 and 9 share shallow3, and figure 12 goes on from snapshots of it and of resnet-8."""
    runs = smoke_runs("fig07", "fig09", "fig12", "fig14")
    counting = execute(runs)
    assert counting.summary.trained == len(runs) > 6 * len(counting.compiled)
    assert counting.compiled.keys() == {key(run) for run in runs}
    assert {network for network, *_ in counting.compiled} == {"shallow3", "lenet", "resnet-8"}
    for program, counts in counting.compiled.items():
        assert (counts[STEP], counts[TEST]) == (1, 1), program


def test_another_seed_compiles_nothing(execute, small_run):
    counting = execute([small_run], seeds=3)
    counts = counting.compiled[key(small_run)]
    assert counting.summary.trained == 3 and (counts[STEP], counts[TEST]) == (1, 1)


def test_another_batch_size_or_solver_is_compiled_and_going_back_is_not(execute, small_run):
    other = [small_run.replace(batch_size=8), small_run.replace(solver="nesterov")]
    again = small_run.replace(lr=0.02, length=iterations(8))
    compiled = execute([small_run, *other, again]).compiled
    assert [(counts[STEP], counts[TEST]) for counts in compiled.values()] == [(1, 1)] * 3


def test_a_run_that_goes_on_from_a_checkpoint_compiles_nothing(execute, small_run, monkeypatch):
    asked = iter(range(1000))
    monkeypatch.setattr(engine.Deadline, "passed", lambda *_: next(asked) == 9)  # after the test at iteration 4
    assert execute([small_run]).summary == Summary(left=1, begun=1)
    counting = execute([small_run])
    counts = counting.compiled[key(small_run)]
    assert counting.summary == Summary(trained=1) and (counts[STEP], counts[TEST]) == (1, 1)


def test_a_program_made_for_every_run_would_be_seen(execute, small_run, monkeypatch):
    monkeypatch.setattr(programs, "compiled", programs.compiled.__wrapped__)
    counts = execute([small_run, small_run.replace(lr=0.02)]).compiled[key(small_run)]
    assert counts[STEP] == counts[TEST] == 2
