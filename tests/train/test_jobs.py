"""Jobs: what is trained, in which order, what is kept, and what is removed when."""

import contextlib
import functools
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import numpy as np
import pytest
from small import DEEP
from small import SMALL_RUN as WHOLE_MNIST

from smith import data, disk, metrics
from smith.errors import UserError
from smith.run import Run, Snapshot, iterations
from smith.scales import SCALES
from smith.store import Result, Store, results
from smith.train import checkpoints, jobs, loop, settings, stopping
from smith.train.jobs import Job, Summary
from smith.train.places import Places
from smith.train.progress import Display

LOADED = functools.cache(data.load)
SMALL_RUN = WHOLE_MNIST.replace(width=1 / 8, train_images=500)
CHILD = SMALL_RUN.replace(weight_decay=1e-2, start=Snapshot(SMALL_RUN, at=iterations(5)))
HOT = SMALL_RUN.replace(lr=1e6)
PARENT = Job(SMALL_RUN, 0)


class Seen(Display):
    """A display that shows nothing and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []
        self.resumptions: list[int] = []
        self.waited = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def resumed(self, iteration: int) -> None:
        self.resumptions.append(iteration)

    def waiting(self, count: int) -> None:
        self.waited += 1

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.said if line.startswith("smith: ")]


class Stopping:
    """A deadline that has passed when it was asked so many times in training."""

    def __init__(self, after: int) -> None:
        self.left = after

    def passed(self, upcoming: float = 0.0) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch) -> None:
    """The datasets are read once for all tests."""
    monkeypatch.setattr(data, "load", LOADED)


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def folder(root) -> Path:
    return root / "paper"


@pytest.fixture
def execute(data_dir, root) -> Callable[..., Summary]:
    """Trains runs with the made-up data in a folder of its own, from what is in the folder at that moment."""

    def call(*runs: Run, seen: Display | None = None, seeds: int = 1, **options) -> Summary:
        planned = [Job(run, seed) for seed in range(seeds) for run in runs]
        return jobs.execute(planned, Store(root, SCALES["paper"]), data_dir, seen or Seen(), **options)

    return call


@pytest.fixture
def stopped(execute, monkeypatch) -> Callable[..., Summary]:
    """Does what `execute` does, but stops at the n-th point at which it may stop."""

    def call(after: int, *runs: Run, **options) -> Summary:
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "Deadline", lambda _: Stopping(after))
            return execute(*runs, **options)

    return call


@pytest.fixture
def trained(monkeypatch) -> list[tuple[Run, int | None, int | None]]:
    """(run, where it began, where it was to end) of every training that there is in a test."""
    calls = []
    train = loop.train

    def spy(run, seed, problem, begin=None, until=None):
        calls.append((run, begin and begin.iteration, until))
        return train(run, seed, problem, begin, until)

    monkeypatch.setattr(loop, "train", spy)
    return calls


@pytest.fixture
def result(root) -> Callable[..., Result]:
    def find(run: Run, seed: int = 0) -> Result:
        found = Store(root, SCALES["paper"]).find(run, seed)
        assert found
        return found

    return find


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(*runs: Run) -> list[str]:
    return sorted(results.path_of(Path(), run, 0).name for run in runs)


def same(one: Result, other: Result) -> bool:
    """Says whether two results have the same numbers, to the bit."""
    columns = [{name: values.tobytes() for name, values in found.columns.items()} for found in (one, other)]
    return columns[0] == columns[1] and one.status == other.status


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory) -> Callable[[Run], Result]:
    """Returns the result of a run that nothing interrupted."""

    @functools.cache
    def train(run: Run) -> Result:
        store = Store(tmp_path_factory.mktemp("undisturbed"), SCALES["paper"])
        jobs.execute([Job(run, 0)], store, data_dir, Seen())
        found = store.find(run, 0)
        assert found
        return found

    return train


# --- which jobs there are ---


def test_a_plan_has_every_run_with_one_seed_before_the_next_seed_and_each_once(root):
    store = Store(root, SCALES["paper"])
    runs = [SMALL_RUN.replace(weight_decay=wd) for wd in (0.0, 1e-4, 1e-3)]
    planned = jobs.plan([*runs, runs[1]], store, seeds=2)
    assert planned == [Job(run, seed) for seed in (0, 1) for run in runs]
    assert jobs.missing(planned, store) == planned


def test_a_plan_is_made_at_the_scale_and_by_the_recipe_of_the_store(root):
    run = WHOLE_MNIST.replace(length=iterations(1000), batch_size=512)
    (job,) = jobs.plan([run], Store(root, SCALES["smoke"]), seeds=1)
    assert job.run.iterations == 6
    sizes = [job.run.batch_size for job in jobs.plan([run], Store(root, SCALES["paper"], "author"), seeds=4)]
    assert sizes == [512, 516, 520, 524]


def test_an_unknown_solver_is_told_before_anything_is_trained(execute, folder):
    with pytest.raises(UserError, match="unknown solver 'sdg': did you mean 'sgd'"):
        execute(SMALL_RUN, SMALL_RUN.replace(solver="sdg"))
    assert files(folder) == []


# --- training what is missing ---


def test_a_job_is_trained_and_its_result_written(execute, folder, result):
    seen = Seen()
    assert execute(SMALL_RUN, seen=seen) == Summary(trained=1)
    assert files(folder) == names(SMALL_RUN)
    found = result(SMALL_RUN)
    assert found["iteration"].tolist() == [4, 8, 12] and found.status == "done"
    assert {"jax", "device", "git_commit", "date", "seconds", "compile_seconds"} <= set(found.facts)
    assert float(found.facts["images_per_second"]) > 0
    assert seen.said[0] == "1 run to train, 0 found" and seen.said[1].startswith(f"done     {SMALL_RUN.key} seed 0: ")


def test_what_has_a_result_is_not_trained_again_unless_forced(execute, folder, trained, result):
    execute(SMALL_RUN)
    before = result(SMALL_RUN)
    assert execute(SMALL_RUN, SMALL_RUN.replace(weight_decay=0.0)) == Summary(trained=1, found=1)
    assert len(trained) == 2
    path = results.path_of(folder, SMALL_RUN, 0)
    old = path.stat().st_ino
    assert execute(SMALL_RUN, force=True) == Summary(trained=1)
    assert path.stat().st_ino != old and same(result(SMALL_RUN), before)


def test_a_run_that_diverges_has_a_result_and_the_next_is_trained_unless_it_shall_stop_everything(execute, result):
    halted = f"{HOT.key} seed 0"
    assert execute(HOT, SMALL_RUN, stop_on_divergence=True) == Summary(trained=1, diverged=1, left=1, halted=halted)
    assert execute(HOT, SMALL_RUN) == Summary(trained=1, found=1)
    assert result(HOT).status == "diverged" and "params/conv1/kernel" in result(HOT).facts["non_finite"].split()


def test_a_damaged_result_is_told_set_aside_and_trained_again(execute, folder, undisturbed, result):
    execute(SMALL_RUN)
    path = results.path_of(folder, SMALL_RUN, 0)
    path.write_bytes(path.read_bytes()[:-10])
    seen = Seen()
    assert execute(SMALL_RUN, seen=seen) == Summary(trained=1)
    aside = next(folder.glob("*.damaged-*"))
    assert seen.warnings == [next(line for line in seen.said if str(path) in line and aside.name in line)]
    assert same(result(SMALL_RUN), undisturbed(SMALL_RUN))


def test_a_result_that_can_not_be_opened_is_an_error(execute, folder):
    results.path_of(folder, SMALL_RUN, 0).mkdir(parents=True)
    with pytest.raises(UserError, match="Is a directory; it may be whole"):
        execute(SMALL_RUN)


def test_a_result_says_its_data_and_the_settings_it_was_made_with(execute, result, data_dir, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.setenv("JAX_DUMP_IR_DIR", "/somewhere")
    whole = SMALL_RUN.replace(train_images=None)
    execute(SMALL_RUN, whole)
    facts = result(whole).facts
    loaded = {split: data.load("mnist", split, data_dir) for split in data.SPLITS}
    assert all(facts[f"{split}_sha256"] == arrays.sha256 for split, arrays in loaded.items())
    assert facts["matmul_precision"] == "default" and "/somewhere" not in facts["environment"]
    assert json.loads(facts["environment"])["XLA_FLAGS"].startswith("--xla_cpu_enable_fast_math=false")
    part = data.select(SMALL_RUN.selection, "train", data_dir)
    assert result(SMALL_RUN).facts["train_sha256"] == part.sha256 != facts["train_sha256"]


@pytest.mark.parametrize("name", settings.NEEDED)
def test_a_setting_with_which_results_are_others_is_refused(name, execute, monkeypatch):
    value, why = settings.NEEDED[name]
    other = "rbg" if isinstance(value, str) else not value if isinstance(value, bool) else 7
    monkeypatch.setattr(type(jax.config), name, property(lambda _: other), raising=False)
    with pytest.raises(UserError, match=f"{name} is {other}, and {why}: unset {name.upper()}"):
        execute(SMALL_RUN)


def test_runs_on_a_dataset_that_is_not_to_be_had_are_left_out(execute, monkeypatch):
    def load(name, *rest):
        if name == "cifar10":
            raise UserError("cifar10 is not to be had")
        return LOADED(name, *rest)

    monkeypatch.setattr(data, "load", load)
    other = SMALL_RUN.replace(data="cifar10", network="shallow3")
    missing = {"cifar10": ("cifar10 is not to be had", 2)}
    assert execute(other, SMALL_RUN, other.replace(lr=0.2)) == Summary(trained=1, missing=missing)
    with pytest.raises(UserError, match="cifar10 is not to be had"):
        execute(other)


def test_a_part_of_a_dataset_that_is_not_to_be_had_leaves_the_other_parts(execute):
    more = SMALL_RUN.replace(train_images=60_000)  # there are as many in mnist, and fewer in what stands for it here
    done = execute(more, SMALL_RUN, more.replace(lr=0.02))
    assert done.trained == 1 and done.missing["mnist"][1] == 2


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_trained(execute, root, trained):
    root.touch()
    with pytest.raises(OSError, match="nothing can be written there .*--results-dir"):
        execute(SMALL_RUN)
    assert trained == []


def test_jax_keeps_what_it_compiled_where_the_environment_says(monkeypatch, tmp_path):
    import jax

    told = []
    monkeypatch.setattr(jax.config, "update", lambda name, value: told.append((name, value)))
    jobs.prepare([SMALL_RUN])
    assert told == []  # the tests' own
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jobs.prepare([SMALL_RUN])
    assert told == [("jax_compilation_cache_dir", str(tmp_path / "smith" / "xla"))]


# --- stopped, and gone on with ---


def test_a_budget_of_nothing_leaves_everything(execute, folder, trained):
    assert execute(SMALL_RUN, CHILD, budget=0) == Summary(left=2)
    assert trained == [] and files(folder) == []


@pytest.mark.parametrize("after", range(4, 8))
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not_been(execute, stopped, undisturbed, result, folder, after):
    """At an iteration, before a test, in it, and after it."""
    assert stopped(after, SMALL_RUN) == Summary(left=1, begun=1)
    assert files(folder) == ["checkpoints"]
    seen = Seen()
    assert execute(SMALL_RUN, seen=seen) == Summary(trained=1)
    assert seen.resumptions and files(folder) == names(SMALL_RUN)
    assert same(result(SMALL_RUN), undisturbed(SMALL_RUN))


def test_a_run_with_batch_statistics_dropout_and_another_solver_goes_on_the_same(execute, stopped, undisturbed, result):
    stopped(7, DEEP)
    assert execute(DEEP).trained == 1
    assert same(result(DEEP), undisturbed(DEEP))


def test_a_damaged_checkpoint_costs_only_time(execute, stopped, undisturbed, result, folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    stopped(9, SMALL_RUN, checkpoint_every=0.0)
    first, second = checkpoints.saved(Places(folder).checkpoints(PARENT))
    (second / "state" / "_METADATA").unlink()
    seen = Seen()
    assert execute(SMALL_RUN, seen=seen).trained == 1
    assert seen.resumptions == [int(first.name)] and len(seen.warnings) == 1 and str(second) in seen.warnings[0]
    assert same(result(SMALL_RUN), undisturbed(SMALL_RUN))


def test_a_signal_stops_a_run_with_a_checkpoint(execute, folder, monkeypatch):
    class CtrlC(Seen):
        def saw(self, point) -> None:
            super().saw(point)
            if point.iteration == 6:
                monkeypatch.setattr(stopping, "_asked", 2)

    with pytest.raises(stopping.Stopped):
        execute(SMALL_RUN, CHILD, seen=CtrlC())
    assert [int(path.name) for path in checkpoints.saved(Places(folder).checkpoints(PARENT))] == [6]
    monkeypatch.setattr(stopping, "_asked", 0)
    seen = Seen()
    assert execute(SMALL_RUN, CHILD, seen=seen) == Summary(trained=2)
    assert seen.resumptions == [6] and files(folder) == names(SMALL_RUN, CHILD)


# --- runs that start from a snapshot ---


def test_a_parent_is_trained_once_and_its_child_starts_from_it_and_alone_it_has_it_trained_up_to_there(
    execute, folder, trained, result
):
    assert execute(SMALL_RUN, CHILD) == Summary(trained=2)
    assert trained == [(SMALL_RUN, None, None), (CHILD, 5, None)]
    assert files(folder) == names(SMALL_RUN, CHILD)
    assert result(CHILD)["iteration"].tolist() == [5, 8, 12]
    assert math.isnan(result(CHILD)["train_loss"][0]) and np.isfinite(result(CHILD)["test_loss"]).all()
    before, again = result(CHILD), (folder / names(SMALL_RUN)[0]).read_bytes()
    assert execute(CHILD, force=True) == Summary(trained=1)
    assert trained[2:] == [(SMALL_RUN, None, 5), (CHILD, 5, None)]
    assert same(result(CHILD), before) and (folder / names(SMALL_RUN)[0]).read_bytes() == again
    assert files(folder) == names(SMALL_RUN, CHILD)


def test_children_share_a_snapshot_which_goes_in_the_end(execute, folder, trained):
    place, there = Places(folder).snapshot(PARENT, 5), []

    class Looking(Seen):
        def end(self, *args) -> None:
            there.append(place.exists())

    assert execute(SMALL_RUN, CHILD, CHILD.replace(weight_decay=0.0), seen=Looking()).trained == 3
    assert len(trained) == 3 and there == [True, True, True]
    assert not (folder / "snapshots").exists()


def test_a_child_stopped_before_and_after_it_began_goes_on(execute, stopped, undisturbed, result, folder, trained):
    while stopped(4, CHILD).left:  # on the way to the snapshot too
        pass
    assert len(trained) > 4 and same(result(CHILD), undisturbed(CHILD))
    assert files(folder) == names(CHILD)


def test_the_parents_own_checkpoint_stays_while_a_snapshot_is_made(execute, stopped, folder, result, undisturbed):
    stopped(12, SMALL_RUN)
    execute(CHILD)
    seen = Seen()
    assert execute(SMALL_RUN, seen=seen).trained == 1
    assert seen.resumptions[0] > 5 and same(result(SMALL_RUN), undisturbed(SMALL_RUN))


def test_a_damaged_snapshot_is_told_and_made_again(execute, stopped, folder, result, undisturbed):
    stopped(21, SMALL_RUN, CHILD)
    place = Places(folder).snapshot(PARENT, 5)
    (place / "state" / "_METADATA").write_text("{}")
    checkpoints.remove(Places(folder).checkpoints(Job(CHILD, 0)))
    seen = Seen()
    execute(SMALL_RUN, CHILD, seen=seen)
    (warning,) = seen.warnings
    assert "damaged snapshot, made again" in warning and str(place) in warning
    assert same(result(CHILD), undisturbed(CHILD)) and files(folder) == names(SMALL_RUN, CHILD)


def test_a_child_ends_as_diverged_if_its_parent_diverged_before_the_snapshot(execute, result):
    words = {"unit": "fraction", "label": "Largest", "short": "Largest", "guess": lambda classes: 0.5}
    metrics.metric("test_jobs_orphan", **words)(lambda logits, labels: logits.max(-1))
    orphan = CHILD.replace(start=Snapshot(HOT, at=iterations(9)), metrics=("test_jobs_orphan",))
    assert execute(HOT, orphan, SMALL_RUN) == Summary(trained=3, diverged=2)
    assert result(orphan).status == "diverged" and result(orphan)["iteration"].tolist() == [4]
    assert np.isnan(result(orphan)["test_jobs_orphan"]).all()


def test_a_grandchild_has_the_whole_line_before_it_trained_and_cleared_away(execute, folder, trained, result):
    grandchild = CHILD.replace(weight_decay=2e-2, start=Snapshot(CHILD, at=iterations(8)))
    assert execute(grandchild) == Summary(trained=1)
    assert trained == [(SMALL_RUN, None, 5), (CHILD, 5, 8), (grandchild, 8, None)]
    alone = result(grandchild)
    assert execute(SMALL_RUN, CHILD, grandchild, force=True) == Summary(trained=3)
    assert same(result(grandchild), alone) and files(folder) == names(SMALL_RUN, CHILD, grandchild)


def test_a_child_is_the_same_where_its_parent_diverges_in_the_test_of_the_snapshot(execute, result):
    parent = SMALL_RUN.replace(lr=1e12)
    child = parent.replace(lr=0.0, start=Snapshot(parent, iterations(4)))
    execute(child)
    alone = result(child)
    execute(parent, child, force=True)
    assert same(result(child), alone)


# --- several processes on one folder: a lock that is held stands for another process ---


@pytest.fixture
def held(folder) -> Iterable[Callable[[Job], Callable[[], None]]]:
    """Makes another process have a job in hand. Returns what makes it end."""
    locks = contextlib.ExitStack()

    def hold(job: Job) -> Callable[[], None]:
        lock = contextlib.ExitStack()
        assert lock.enter_context(disk.holding(folder / "locks" / f"{job.name}.lock"))
        return locks.enter_context(lock).close

    yield hold
    locks.close()


class Waiting(Seen):
    """When there is nothing left but to wait, something happens elsewhere."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self.happens = happens

    def waiting(self, count: int) -> None:
        super().waiting(count)
        self.happens()


def test_what_another_process_trains_is_waited_for(execute, held, root, trained, undisturbed, monkeypatch):
    """It begins before this one, and ends after this one has trained all else."""
    monkeypatch.setattr(jobs, "POLL", 0.0)
    found, release = undisturbed(SMALL_RUN), held(PARENT)
    trained.clear()

    def ends() -> None:
        rows = [{name: values[k] for name, values in found.columns.items()} for k in range(3)]
        results.write(root / "paper", SMALL_RUN, 0, "done", rows, found.facts)
        release()

    other, seen = SMALL_RUN.replace(lr=0.02), Waiting(ends)
    assert execute(SMALL_RUN, other, seen=seen) == Summary(trained=1, found=1)
    assert [run for run, *_ in trained] == [other] and seen.waited == 1


def test_a_child_waits_for_the_process_that_trains_its_parent(execute, held, monkeypatch, trained):
    monkeypatch.setattr(jobs, "POLL", 0.0)
    assert execute(CHILD, seen=Waiting(held(PARENT))) == Summary(trained=1)
    assert trained == [(SMALL_RUN, None, 5), (CHILD, 5, None)]


def test_a_child_with_a_snapshot_does_not_wait_for_its_parent(execute, stopped, held, trained, folder):
    assert stopped(18, SMALL_RUN, CHILD).left == 2 and checkpoints.saved(Places(folder).snapshots(PARENT))
    held(PARENT)
    assert execute(CHILD) == Summary(trained=1)
    assert trained[-1] == (CHILD, 5, None)
    assert checkpoints.saved(Places(folder).snapshots(PARENT))  # its parent's process may have other children


def test_a_plain_run_beside_a_forced_one_removes_nothing_of_it(execute, stopped, held, folder):
    """The result of before is there, and so are the forced one's checkpoints, whose lock it holds."""
    execute(SMALL_RUN)
    stopped(5, SMALL_RUN, force=True)
    release = held(PARENT)
    assert execute(SMALL_RUN) == Summary(found=1)
    assert checkpoints.saved(Places(folder).checkpoints(PARENT))
    release()
    assert execute(SMALL_RUN) == Summary(found=1)
    assert files(folder) == names(SMALL_RUN)


def test_what_a_killed_process_left_behind_a_result_is_removed(execute, stopped, folder):
    """It was killed after it had written the results of a child and of its parent."""
    stopped(24, SMALL_RUN, CHILD)
    keep = Path(str(folder) + "-kept")
    folder.rename(keep)
    execute(SMALL_RUN, CHILD)
    for name in ("checkpoints", "snapshots"):
        (keep / name).rename(folder / name)
    (folder / "locks").mkdir()
    (folder / "locks" / f"{PARENT.name}.lock").touch()
    assert files(folder / "checkpoints") and files(folder / "snapshots")
    assert execute(SMALL_RUN, CHILD) == Summary(found=2)
    assert files(folder) == names(SMALL_RUN, CHILD)
