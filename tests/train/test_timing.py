"""Timing: what a clock measures, and what is estimated from results."""

import time
from types import SimpleNamespace

import pytest
from small import SMALL_RUN

from smith.run import Run, iterations
from smith.scales import SCALES
from smith.store import COLUMNS, Store, results
from smith.train import timing
from smith.train.loop import Point
from smith.train.places import Job
from smith.train.timing import Clock

# What a clock waits for; it takes no time.
LOSS = SimpleNamespace(block_until_ready=lambda: None)
STATE = SimpleNamespace(loss_sum=LOSS)


def point(iteration: int, **more) -> Point:
    return Point(iteration, STATE, loss=LOSS, **more)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def now(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def run_through(clock: Clock, now: list[float]) -> list[float]:
    """A first iteration of 10 s, then two of 1 s, a test of two batches of 3 s, and an iteration of 1 s."""
    steps = [(10, point(1)), (1, point(2)), (1, point(3)), (0, point(3, testing=True)), (3, point(3, testing=True))]
    steps += [(3, point(3, row={"test_loss": 1.0})), (1, point(4))]
    paces = []
    for seconds, reached in steps:
        now[0] += seconds
        paces.append(clock.saw(reached) / timing.AHEAD)
    return paces


def test_compilation_training_and_tests_are_measured_apart(now):
    clock = Clock({})
    run_through(clock, now)
    spent = {"seconds": 9.0, "compile_seconds": 10.0, "training_seconds": 3.0, "timed_iterations": 3}
    assert clock.read() == spent
    facts = timing.facts(SMALL_RUN, spent)
    assert facts == {"seconds": 9.0, "compile_seconds": 10.0, "images_per_second": 16.0}
    later = Clock(spent)
    run_through(later, now)
    assert later.read() == {name: 2 * value for name, value in spent.items()}


def test_compilation_does_not_count_as_how_long_an_iteration_takes(now):
    paces = run_through(Clock({}), now)
    assert paces[0] == 0 and paces[1:3] == [1, 1] and paces[4:6] == [3, 3] and paces[6] == pytest.approx(2.4)


def test_a_run_stopped_before_its_first_iteration_was_only_compiled(now):
    clock = Clock({})
    now[0] += 5
    assert clock.read() == {"seconds": 0, "compile_seconds": 5, "training_seconds": 0, "timed_iterations": 0}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path, SCALES["paper"])


def keep(store: Store, run: Run, seed: int, **facts: str) -> None:
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"iteration": run.iterations}]
    store.folder.mkdir(exist_ok=True)
    store.add(results.write(store.folder, run, seed, "done", rows, facts))


def test_an_estimate_is_made_from_the_newest_results_of_the_network(store):
    jobs = [Job(SMALL_RUN.replace(length=iterations(120)), seed) for seed in (1, 2)]
    assert timing.estimate(jobs, store) is None
    assert timing.estimate([], store) == 0
    keep(store, SMALL_RUN, 0, date="2026-01-02", seconds="6", compile_seconds="5")  # 12 iterations
    keep(store, SMALL_RUN, 3, date="2026-01-01", seconds="99", compile_seconds="99")
    assert timing.estimate(jobs, store) == pytest.approx(2 * 60 + 5)
    wide = SMALL_RUN.replace(network="shallow3", data="cifar10")
    assert timing.estimate([*jobs, Job(wide, 0)], store) is None


def test_results_that_say_nothing_of_time_or_are_foreign_are_no_matter(store):
    keep(store, SMALL_RUN, 0)
    found = store.find(SMALL_RUN, 0)
    assert found
    foreign = results.Result(found.description.replace("lenet", "nobodys"), 0, "done", found.columns, {"seconds": "1"})
    store.add(foreign)
    assert timing.estimate([Job(SMALL_RUN, 1)], store) is None
