"""The engine: what is trained, in which order, what is kept, and what happens when something goes wrong."""

import functools
import math
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from smith import data, scales
from smith.cli import experiments
from smith.run import Run, Snapshot, iterations
from smith.store import results
from smith.store.results import COLUMNS
from smith.train import checkpoints, loop, stopping
from smith.train import jobs as engine
from smith.train.jobs import Job, Summary
from smith.train.progress import Display

LOADED = functools.cache(data.load)


class Seen(Display):
    """A display that shows nothing and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.planned: list[tuple[int, int]] = []
        self.begun: list[tuple[Run, int]] = []
        self.ended: list[str] = []
        self.warnings: list[str] = []
        self.tests = 0
        self.resumptions: list[int] = []

    def resumed(self, iteration: int) -> None:
        self.resumptions.append(iteration)

    def plan(self, todo: int, found: int) -> None:
        self.planned.append((todo, found))

    def begin(self, run: Run, seed: int) -> None:
        super().begin(run, seed)
        self.begun.append((run, seed))

    def tested(self, row: dict[str, float]) -> None:
        super().tested(row)
        self.tests += 1

    def end(self, run: Run, seed: int, status: str) -> None:
        super().end(run, seed, status)
        self.ended.append(status)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch, tmp_path_factory) -> None:
    """The datasets are read once for all tests, and JAX's settings are left alone."""
    monkeypatch.setattr(data, "load", LOADED)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "xla"))


@pytest.fixture
def trained(monkeypatch) -> list[tuple[Run, int, int | None]]:
    """(run, seed, until) of every training that there is in a test."""
    calls = []
    train = loop.train

    def spy(run, seed, problem, **options):
        calls.append((run, seed, options.get("until")))
        return train(run, seed, problem, **options)

    monkeypatch.setattr(loop, "train", spy)
    return calls


@pytest.fixture
def execute(data_dir, tmp_path):
    """Calls `engine.execute` with the made-up data and a folder of its own."""

    def call(runs, seen: Seen | None = None, seeds: int = 1, **options) -> Summary:
        jobs = [Job(run, seed) for seed in range(seeds) for run in runs]
        return engine.execute(jobs, tmp_path / "results", data_dir, seen or Seen(), **options)

    return call


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def child(small_run) -> Run:
    """A run that continues `small_run` after its fifth iteration with another weight decay."""
    return small_run.replace(weight_decay=1e-2, start=Snapshot(small_run, at=iterations(5)))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def name(run: Run, seed: int = 0) -> str:
    return results.path_of(Path(), run, seed).name


# --- which jobs there are ---


def test_a_plan_has_every_run_with_one_seed_before_the_next_seed(small_run):
    runs = [small_run.replace(weight_decay=wd) for wd in (0.0, 1e-4, 1e-3)]
    jobs = engine.plan([*runs, runs[1]], scales.named("paper"), seeds=2)
    assert jobs == [Job(run, seed) for seed in (0, 1) for run in runs]


@pytest.mark.parametrize("scale", scales.SCALES.values(), ids=scales.SCALES)
def test_a_plan_has_parents_before_their_children(scale):
    jobs = engine.plan([run for figure in experiments(["all"]) for run in figure.runs()], scale, seeds=2)
    children = [job for job in jobs if job.run.start]
    assert children
    for job in children:
        assert jobs.index(Job(job.run.start.run, job.seed)) < jobs.index(job)
    assert len(set(jobs)) == len(jobs)


def test_runs_that_a_scale_makes_equal_are_planned_once(small_run):
    runs = [small_run.replace(batch_size=n, length=iterations(1000)) for n in (500, 512)]
    assert len(engine.plan(runs, scales.named("smoke"), seeds=1)) == 1


def test_missing_are_the_jobs_without_a_file(small_run, folder):
    jobs = [Job(small_run, seed) for seed in range(3)]
    assert engine.missing(jobs, folder) == jobs
    folder.mkdir()
    results.path_of(folder, small_run, 1).touch()
    assert engine.missing(jobs, folder) == [jobs[0], jobs[2]]


# --- training what is missing ---


def test_a_job_is_trained_and_its_result_written(execute, small_run, folder):
    seen = Seen()
    assert execute([small_run], seen) == Summary(trained=1)
    assert files(folder) == [name(small_run)]
    result = results.find(folder, small_run, 0)
    assert result and result.status == "done"
    assert result["iteration"].tolist() == [4, 8, 12]
    assert all(np.isfinite(result[column]).all() for column in COLUMNS)
    for fact in ("seconds", "compile_seconds", "images_per_second"):
        assert float(result.facts[fact]) >= 0
    assert result.facts.keys() >= {"jax", "flax", "optax", "python", "device", "git_commit", "date"}
    assert (seen.planned, seen.begun, seen.ended) == ([(1, 0)], [(small_run, 0)], ["done"])
    assert seen.tests == 3 and seen.warnings == []


def test_what_has_a_result_is_not_trained_again(execute, small_run, folder, trained):
    execute([small_run])
    before = (folder / name(small_run)).read_bytes()
    seen = Seen()
    assert execute([small_run], seen) == Summary(found=1)
    assert len(trained) == 1 and seen.planned == [(0, 1)]
    assert (folder / name(small_run)).read_bytes() == before


def test_the_same_job_gives_the_same_numbers_whatever_was_trained_before(execute, small_run, folder):
    execute([small_run.replace(weight_decay=0.0), small_run])
    first = results.find(folder, small_run, 0)
    execute([small_run], force=True)
    second = results.find(folder, small_run, 0)
    assert first and second
    for column in COLUMNS:
        np.testing.assert_array_equal(first[column], second[column])


def test_jobs_are_trained_in_their_order(execute, small_run, trained):
    other = small_run.replace(weight_decay=0.0)
    assert execute([small_run, other], seeds=2).trained == 4
    assert trained == [(small_run, 0, None), (other, 0, None), (small_run, 1, None), (other, 1, None)]


def test_a_run_that_diverges_has_a_result_and_the_next_is_trained(execute, small_run, folder):
    hot = small_run.replace(lr=1e6)
    assert execute([hot, small_run]) == Summary(trained=2, diverged=1)
    result = results.find(folder, hot, 0)
    assert result and result.status == "diverged"
    assert result["iteration"][-1] < 12 and not np.isfinite(result["test_loss"][-1])


def test_a_run_that_diverges_can_stop_everything(execute, small_run, folder):
    hot = small_run.replace(lr=1e6)
    done = execute([hot, small_run], seeds=2, stop_on_divergence=True)
    assert done == Summary(trained=1, diverged=1, left=3, halted=f"{hot.key} seed 0")
    result = results.find(folder, hot, 0)
    assert result and "params/dense2/kernel" in result.facts["non_finite"].split()


def test_a_damaged_result_is_reported_set_aside_and_trained_again(execute, small_run, folder):
    execute([small_run])
    path = folder / name(small_run)
    path.write_bytes(path.read_bytes()[:-100])
    damaged, seen = path.read_bytes(), Seen()
    assert execute([small_run], seen) == Summary(trained=1)
    (warning,) = seen.warnings
    (aside,) = set(files(folder)) - {path.name}
    assert path.name in warning and aside in warning and "\n" not in warning
    assert (folder / aside).read_bytes() == damaged
    assert results.find(folder, small_run, 0)
    assert execute([small_run]) == Summary(found=1)


def test_a_result_under_a_wrong_name_is_set_aside(execute, small_run, folder):
    execute([small_run])
    other = small_run.replace(weight_decay=0.0)
    (folder / name(small_run)).rename(folder / name(other))
    seen = Seen()
    assert execute([other], seen) == Summary(trained=1)
    assert "another run than its name says" in seen.warnings[0]


def test_force_trains_again_and_replaces_the_result(execute, small_run, folder, trained):
    execute([small_run])
    results.write(folder, small_run, 0, "done", [dict.fromkeys(COLUMNS, 1)], {})
    assert execute([small_run], force=True) == Summary(trained=1)
    assert len(trained) == 2
    assert files(folder) == [name(small_run)]
    assert len(results.read(folder / name(small_run))["iteration"]) == 3


def test_a_budget_of_nothing_leaves_everything(execute, small_run, folder, trained):
    assert execute([small_run], seeds=3, budget=0.0) == Summary(left=3)
    assert trained == [] and files(folder) == []


class Timed(Seen):
    """Time passes at the tests alone: a second in each."""

    def __init__(self, monkeypatch) -> None:
        super().__init__()
        self.now = 100.0
        monkeypatch.setattr(stopping.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(engine, "COMPILE_SECONDS", 0.0)

    def tested(self, row: dict[str, float]) -> None:
        super().tested(row)
        self.now += 1


def test_a_budget_ends_in_the_middle_of_a_run_which_the_next_call_finishes(execute, small_run, folder, monkeypatch):
    execute([small_run], seeds=3)
    undisturbed = [results.find(folder, small_run, seed) for seed in range(3)]
    shutil.rmtree(folder)
    assert execute([small_run], Timed(monkeypatch), seeds=3, budget=4.5) == Summary(trained=1, left=2, begun=1)
    assert files(folder) == sorted([name(small_run), "checkpoints"])
    seen = Seen()
    assert execute([small_run], seen, seeds=3) == Summary(trained=2, found=1)
    assert seen.tests == 4 and seen.resumptions == [8]
    assert files(folder) == [name(small_run, seed) for seed in range(3)]
    for one, other in zip(undisturbed, (results.find(folder, small_run, seed) for seed in range(3)), strict=True):
        assert all(np.array_equal(one[column], other[column]) for column in COLUMNS)


def test_no_run_is_begun_that_would_not_be_compiled_in_time(execute, small_run, trained, monkeypatch):
    seen = Timed(monkeypatch)
    execute([small_run], seen, seeds=1)
    monkeypatch.setattr(engine, "_compile_seconds", lambda _: {engine._program(small_run): 5.0})
    assert execute([small_run], seen, seeds=3, budget=4.5) == Summary(found=1, left=2)
    assert len(trained) == 1
    assert execute([small_run], seen, seeds=3, budget=5.5) == Summary(found=1, trained=2)


# --- runs that start from a snapshot ---


def test_a_parent_is_trained_once_and_its_child_starts_from_it(execute, small_run, child, folder, trained):
    assert execute([small_run, child]) == Summary(trained=2)
    assert trained == [(small_run, 0, None), (child, 0, None)]
    assert files(folder) == sorted([name(small_run), name(child)])
    result = results.find(folder, child, 0)
    assert result and result["iteration"].tolist() == [5, 8, 12]


def test_a_child_that_changes_nothing_ends_as_its_parent_does(execute, small_run, folder):
    same = small_run.replace(start=Snapshot(small_run, at=iterations(5)))
    execute([small_run, same])
    parent, continued = results.find(folder, small_run, 0), results.find(folder, same, 0)
    assert parent and continued
    for column in COLUMNS:
        np.testing.assert_array_equal(parent[column][-1], continued[column][-1])


def test_a_child_without_a_snapshot_has_its_parent_trained_up_to_it(execute, small_run, child, folder, trained):
    execute([small_run])
    before = (folder / name(small_run)).read_bytes()
    assert execute([small_run, child]) == Summary(trained=1, found=1)
    assert trained[1:] == [(small_run, 0, 5), (child, 0, None)]
    assert files(folder) == sorted([name(small_run), name(child)])
    assert (folder / name(small_run)).read_bytes() == before


def test_a_child_is_the_same_whether_its_parent_ran_to_the_end_or_not(execute, small_run, child, folder):
    execute([small_run, child])
    first = results.find(folder, child, 0)
    execute([child], force=True)
    second = results.find(folder, child, 0)
    assert first and second
    for column in ("test_loss", "test_accuracy"):
        np.testing.assert_array_equal(first[column], second[column])


def test_children_share_a_snapshot_which_goes_with_the_last(execute, small_run, child, folder, trained):
    other = child.replace(weight_decay=0.0)
    place = checkpoints.snapshot_of(folder, child, 0)
    there = []

    class Looking(Seen):
        def end(self, run: Run, seed: int, status: str) -> None:
            super().end(run, seed, status)
            there.append(place.exists())

    assert execute([small_run, child, other], Looking()).trained == 3
    assert len(trained) == 3 and there == [True, True, False]
    assert not (folder / "snapshots").exists()


def test_a_snapshot_outlives_a_budget_that_ends_before_the_child(
    execute, small_run, child, folder, trained, monkeypatch
):
    assert execute([small_run, child], Timed(monkeypatch), budget=2.5) == Summary(trained=1, left=1)
    assert files(folder) == sorted([name(small_run), "snapshots"])
    assert execute([small_run, child]) == Summary(trained=1, found=1)
    assert [run for run, *_ in trained] == [small_run, child]
    assert files(folder) == sorted([name(small_run), name(child)])


def test_each_seed_has_its_own_snapshot(execute, small_run, child, folder):
    execute([small_run, child], seeds=2)
    first, second = (results.find(folder, child, seed) for seed in (0, 1))
    assert first and second and first["test_loss"][0] != second["test_loss"][0]
    assert not (folder / "snapshots").exists()


def test_a_parent_that_diverges_before_the_snapshot_does_not_stop_the_other_runs(execute, small_run, child, folder):
    hot = small_run.replace(lr=1e6)
    orphan = child.replace(lr=1e6, start=Snapshot(hot, at=iterations(9)))
    execute([hot, orphan, small_run])
    assert results.find(folder, small_run, 0)


# --- when something goes wrong ---


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_trained(data_dir, small_run, tmp_path, trained):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="nothing can be written there"):
        engine.execute([Job(small_run, 0)], tmp_path / "file" / "results", data_dir, Seen())
    assert trained == []


class Stopping(Seen):
    """Ctrl-C comes at the `at`-th test."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def tested(self, row: dict[str, float]) -> None:
        super().tested(row)
        if self.tests == self.at:
            raise KeyboardInterrupt


def test_ctrl_c_leaves_no_partial_file(execute, small_run, folder):
    with pytest.raises(KeyboardInterrupt):
        execute([small_run], Stopping(at=2))
    assert files(folder) == []


def test_ctrl_c_keeps_what_is_finished_and_the_same_call_goes_on(execute, small_run, child, folder):
    with pytest.raises(KeyboardInterrupt):
        execute([small_run, child], Stopping(at=5))
    assert files(folder) == sorted([name(small_run), "snapshots"])
    assert execute([small_run, child]) == Summary(trained=1, found=1)
    assert files(folder) == sorted([name(small_run), name(child)])


def test_ctrl_c_while_a_result_is_written_leaves_no_partial_file(execute, small_run, folder, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        execute([small_run])
    assert files(folder) == []


def test_jax_keeps_what_it_compiled_where_the_environment_says(monkeypatch, tmp_path):
    option = "jax_compilation_cache_dir"
    before = getattr(jax.config, option)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        engine._compilation_cache()
        assert getattr(jax.config, option) == before
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        engine._compilation_cache()
        assert getattr(jax.config, option) == str(tmp_path / "smith" / "xla")
    finally:
        jax.config.update(option, before)


# --- how long it will take ---


def test_an_estimate_is_positive_and_additive(small_run, child):
    jobs = [Job(small_run, 0), Job(small_run, 1), Job(child, 0)]
    fixed = engine.START_UP_SECONDS + engine.COMPILE_SECONDS  # all three share a program
    alone = [engine.estimate([job], engine.RATES) for job in jobs]
    assert all(seconds > fixed > 0 for seconds in alone)
    together = engine.estimate(jobs, engine.RATES)
    assert math.isclose(together - fixed, sum(seconds - fixed for seconds in alone))
    assert engine.estimate([], engine.RATES) == 0


def test_an_estimate_follows_the_rate_and_counts_a_child_from_its_snapshot(small_run, child):
    def work(run: Run, rate: float) -> float:
        fixed = engine.START_UP_SECONDS + engine.COMPILE_SECONDS
        return engine.estimate([Job(run, 0)], {("lenet", 1.0): rate}) - fixed

    assert math.isclose(work(small_run, 100.0), 2 * work(small_run, 200.0))
    assert math.isclose(work(child, 100.0), work(small_run, 100.0) * 7 / 12)


def test_a_width_without_a_rate_is_estimated_from_the_work():
    narrow, wide = (Run("cifar10", "shallow3", 16, iterations(100), lr=0.1, width=width) for width in (0.5, 2.0))
    rates: engine.Rates = {("shallow3", 1.0): 100.0, ("shallow3", 0.5): 400.0}
    quick, slow = (engine.estimate([Job(run, 0)], rates) for run in (narrow, wide))
    fixed = engine.START_UP_SECONDS + engine.COMPILE_SECONDS
    assert math.isclose(slow - fixed, 16 * (quick - fixed))


def test_every_program_is_compiled_once_in_an_estimate(small_run):
    jobs = [Job(small_run.replace(batch_size=size, lr=lr), 0) for size in (16, 32) for lr in (0.1, 0.2)]
    long = {("lenet", 1.0): 1e12}
    assert math.isclose(engine.estimate(jobs, long), engine.START_UP_SECONDS + 2 * engine.COMPILE_SECONDS, rel_tol=1e-6)


@pytest.mark.parametrize("scale", scales.SCALES.values(), ids=scales.SCALES)
def test_every_network_has_a_first_rate(scale):
    runs = [scale.apply(run) for figure in experiments(["all"]) for run in figure.runs()]
    assert {(run.network, 1.0) for run in runs} <= engine.RATES.keys()


def test_measured_rates_are_those_of_the_newest_readable_result(small_run, folder):
    assert engine.measured_rates(folder) == engine.RATES
    folder.mkdir()
    rows = [dict.fromkeys(COLUMNS, 1)]
    for seed, rate in enumerate(("50.5", "70.5", "0.0")):
        path = results.write(folder, small_run, seed, "done", rows, {"images_per_second": rate})
        os.utime(path, (0, 1000 - seed))
    results.write(folder, small_run, 9, "done", rows, {})
    (folder / "damaged.parquet").touch()
    assert engine.measured_rates(folder) == engine.RATES | {("lenet", 1.0): 50.5}
