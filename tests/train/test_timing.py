"""Timing: what a clock measures, and what is estimated from results."""

import time
from types import SimpleNamespace

import pytest
from small import SMALL_RUN

from smith import experiments
from smith.run import Run, iterations
from smith.scales import SCALES
from smith.store import COLUMNS, Store, results
from smith.train import timing
from smith.train.loop import Point
from smith.train.places import Job
from smith.train.progress import Pace
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
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"iteration": iteration} for iteration in run.when_tested()]
    store.folder.mkdir(exist_ok=True)
    store.add(results.write(store.folder, run, seed, "done", rows, facts))


def test_an_estimate_is_made_from_the_newest_results_of_the_network(store):
    jobs = [Job(SMALL_RUN.replace(length=iterations(120)), seed) for seed in (1, 2)]
    assert timing.estimate(jobs, timing.past(store)) is None
    assert timing.estimate([], timing.past(store)) == 0
    keep(store, SMALL_RUN, 0, date="2026-01-02", seconds="6", compile_seconds="5")  # 12 iterations
    keep(store, SMALL_RUN, 3, date="2026-01-01", seconds="99", compile_seconds="99")
    assert timing.estimate(jobs, timing.past(store)) == pytest.approx(2 * 60 + 5)
    wide = SMALL_RUN.replace(network="shallow3", data="cifar10")
    assert timing.estimate([*jobs, Job(wide, 0)], timing.past(store)) is None


def test_what_is_not_measured_is_estimated_by_its_arithmetic(store):
    """As fast as the networks that are, or the run that is under way; or as fast as is assumed."""
    job, cost = Job(SMALL_RUN.replace(network="shallow3", data="cifar10"), 0), {"lenet": 1e6, "shallow3": 5e6}

    def estimate(*now: Pace, **more) -> float | None:
        return timing.estimate([job], timing.past(store), *now, count=lambda run: cost[run.network], **more)

    images = 12 * 16 + 3 * 100 / 3  # of three tests, each image a third of the work
    assert estimate() is None
    assert estimate(assumed=1e9) == pytest.approx(5e6 * images / 1e9)
    assert estimate(Pace(SMALL_RUN, 2.0)) == pytest.approx(5 * images / 16 * 2)
    assert estimate(Pace(job.run, 2.0)) == pytest.approx(images / 16 * 2)
    keep(store, SMALL_RUN, 0, date="2026-01-02", seconds="6")
    assert estimate() == pytest.approx(5 * 6)
    cost["lenet"] = 1e5
    assert estimate() is None  # so small a network does not say how fast a large one is


def test_the_arithmetic_of_the_paper(store):
    """As docs/performance.md has it, by another count: that of a compiled step."""
    described = {run.network: run for one in experiments.find(["all"]) for run in one.shows.runs() if run.width == 1}
    counted = {network: timing.flops(described[network]) / 1e9 for network in ("shallow3", "lenet", "densenet-40")}
    assert counted == pytest.approx({"shallow3": 0.06, "lenet": 0.013, "densenet-40": 1.8}, rel=0.2)


def test_a_series_counts_what_anybody_has_trained_and_goes_by_how_long_that_took(store, now):
    jobs = [Job(SMALL_RUN, seed) for seed in range(8)]
    keep(store, SMALL_RUN, 9, seconds="6", date="2026-01-01")
    series = timing.Series(jobs, store)
    assert series.ahead(jobs) == (0, 8, 8 * 6) and str(series.ahead(jobs)) == "0/8, about 48 s left"
    for seed in (0, 1):  # one by this process, one by another
        results.write(store.folder, SMALL_RUN, seed, "done", [dict.fromkeys(COLUMNS, 0.5)], {})
    now[0] += 6  # two processes
    assert series.ahead(jobs[1:]) == (2, 8, 6 * 3)
    assert store.find(SMALL_RUN, 1)  # what another process measured counts too
    assert str(series.ahead([])) == "8/8"


def test_results_that_say_nothing_of_time_or_are_foreign_are_no_matter(store):
    keep(store, SMALL_RUN, 0)
    found = store.find(SMALL_RUN, 0)
    assert found
    foreign = results.Result(found.description.replace("lenet", "nobodys"), 0, "done", found.columns, {"seconds": "1"})
    store.add(foreign)
    assert timing.estimate([Job(SMALL_RUN, 1)], timing.past(store)) is None
