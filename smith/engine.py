"""From descriptions to result files: which runs are missing, in which order, trained and written one by one."""

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smith import networks, recipes, results
from smith.data import DATASETS
from smith.errors import UserError
from smith.progress import Display
from smith.recipes import Recipe
from smith.run import Run
from smith.scales import Scale

if TYPE_CHECKING:
    from smith import training

Rates = dict[tuple[str, float], float]  # (network, width): training images per second

# On 2 cores of an AMD EPYC (Zen 4), for the first estimate; as soon as there are results of this scale, their own rates
# are used. Those of resnet-56-relu, wide-32 and densenet-40 are not measured but scaled by work from shallower ones.
# A test image costs about a quarter of a training image.
RATES: Rates = {
    ("shallow3", 1.0): 1400.0,
    ("lenet", 1.0): 5000.0,
    ("resnet-8", 1.0): 1300.0,
    ("resnet-56", 1.0): 88.0,
    ("resnet-8-relu", 1.0): 880.0,
    ("resnet-56-relu", 1.0): 90.0,
    ("wide-8", 0.5): 700.0,
    ("wide-8", 1.0): 270.0,
    ("wide-32", 1.0): 40.0,
    ("densenet-10", 1.0): 310.0,
    ("densenet-40", 1.0): 20.0,
}
START_UP_SECONDS, COMPILE_SECONDS = 8.0, 4.0  # imports and data; each network with its batch size
TEST_COST = 1 / 4


@dataclass(frozen=True)
class Job:
    """One run with one seed."""

    run: Run
    seed: int


@dataclass
class Summary:
    """What `execute` did: numbers of runs by how they went, and what is left.

    missing: dataset that is neither here nor to be had -> (reason, how many runs need it)
    """

    trained: int = 0
    diverged: int = 0
    found: int = 0
    left: int = 0
    missing: dict[str, tuple[str, int]] = field(default_factory=dict)


def plan(runs: Iterable[Run], scale: Scale, seeds: int, recipe: Recipe = recipes.seeds) -> list[Job]:
    """Returns the jobs at a scale: every run with its first seed, then every run with the second, and so on.

    Parents of snapshots come before the runs that start from them. What a seed changes beside itself, the recipe says.
    """
    described = list(runs)
    return list(dict.fromkeys(Job(scale.apply(recipe(run, seed)), seed) for seed in range(seeds) for run in described))


def missing(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """Returns the jobs without a result file."""
    return [job for job in jobs if not results.path_of(folder, job.run, job.seed).exists()]


def estimate(jobs: Iterable[Job], rates: Rates) -> float:
    """Returns how many seconds the jobs will take, at so many training images per second for each network and width.

    A width without a rate has that of width 1 over its square, a depth without one that of another over their ratio,
    which is how the work grows.
    """
    seconds, programs = 0.0, set()
    for run in (job.run for job in jobs):
        steps = run.iterations - run.first_iteration
        tests = steps / run.count(run.test_every) * (run.test_images or DATASETS[run.data].test_images)
        seconds += (steps * run.batch_size + tests * TEST_COST) / _rate(run, rates)
        programs.add((run.network, run.width, run.batch_size))
    return seconds + START_UP_SECONDS + COMPILE_SECONDS * len(programs) if programs else 0.0


def _rate(run: Run, rates: Rates) -> float:
    if (run.network, run.width) in rates:
        return rates[run.network, run.width]
    known = [name for name, width in rates if width == 1 and _family(name)[0] == _family(run.network)[0]]
    nearest = run.network if run.network in known else known[-1]
    return rates[nearest, 1.0] * _family(nearest)[1] / _family(run.network)[1] / run.width**2


def _family(network: str) -> tuple[str, int]:
    """Returns a network's name without its depth, and its depth, or 1 if the name has none."""
    depth = re.search(r"-(\d+)", network)
    return re.sub(r"-\d+", "", network), int(depth[1]) if depth else 1


def measured_rates(folder: Path) -> Rates:
    """Returns images per second: from the folder's newest result if there is one, else `RATES`."""
    rates = dict(RATES)
    for path in sorted(folder.glob("*.parquet"), key=lambda p: p.stat().st_mtime):
        try:
            result = results.read(path)
        except results.DamagedResult:
            continue
        if rate := float(result.facts.get("images_per_second", 0)):
            rates[result.run.network, result.run.width] = rate
    return rates


def execute(
    jobs: Sequence[Job],
    folder: Path,
    data_dir: Path,
    display: Display,
    *,
    budget: float | None = None,
    force: bool = False,
) -> Summary:
    """Trains the jobs that have no result and writes a result for each.

    Args:
      folder: the scale's folder of results.
      data_dir: where the datasets are.
      budget: seconds after which no further run is begun; the one in hand is finished.
      force: trains also the jobs that have a result, which is replaced.

    Runs on a dataset that is not to be had are left out and counted, as long as there are others.

    Raises:
      UserError: no data for any of the jobs, a folder that can not be written.
    """
    results.make_folder(folder)
    todo = [job for job in jobs if force or not _usable(folder, job, display)]
    summary = Summary(found=len(jobs) - len(todo))
    display.plan(len(todo), summary.found)
    if todo:
        networks.keep_freed_memory()  # before JAX starts its threads
        _compilation_cache()
    trainer = _Trainer(folder, data_dir, todo)
    started = time.perf_counter()
    for done, job in enumerate(todo):
        if budget is not None and time.perf_counter() - started >= budget:
            summary.left = len(todo) - done
            break
        if reason := trainer.unavailable(job.run.data):
            summary.missing[job.run.data] = reason, summary.missing.get(job.run.data, ("", 0))[1] + 1
            continue
        display.begin(job.run, job.seed)
        status = trainer.train(job, display)
        display.end(job.run, job.seed, status)
        summary.trained += 1
        summary.diverged += status == "diverged"
    if summary.missing and not summary.trained and not summary.found:
        raise UserError("; ".join(reason for reason, _ in summary.missing.values()))
    return summary


def _compilation_cache() -> None:
    """Turns JAX's persistent compilation cache on, unless the environment says where it is to be."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "smith" / "xla"))


def _usable(folder: Path, job: Job, display: Display) -> bool:
    """Says whether a job's result is there. One that can not be read is reported and set aside."""
    try:
        return results.find(folder, job.run, job.seed) is not None
    except results.DamagedResult as error:
        kept = results.set_aside(results.path_of(folder, job.run, job.seed))
        display.warn(f"damaged result: {error}; kept as {kept.name}, trained again")
        return False


class _Trainer:
    """Trains jobs, keeping the dataset on the device from one to the next, and the snapshots that others start from."""

    def __init__(self, folder: Path, data_dir: Path, jobs: Sequence[Job]) -> None:
        self._folder, self._data_dir, self._jobs = folder, data_dir, list(jobs)
        self._problem = None
        self._unavailable: dict[str, str] = {}

    def unavailable(self, name: str) -> str:
        """Loads a dataset, and returns the reason if it is not to be had, else "". Tries once for each dataset."""
        if name not in self._unavailable:
            try:
                self._data(name)
            except UserError as error:
                self._unavailable[name] = str(error)
        return self._unavailable.get(name, "")

    def train(self, job: Job, display: Display) -> str:
        """Trains one job and writes its result. Returns its status."""
        outcome = self._outcome(job, display)
        steps = max(0, int(outcome.rows[-1]["iteration"]) - job.run.first_iteration - 1)  # the first one is not timed
        measured = results.facts(
            seconds=round(outcome.seconds, 3),
            compile_seconds=round(outcome.compile_seconds, 3),
            images_per_second=round(steps * job.run.batch_size / max(outcome.training_seconds, 1e-9), 1),
        )
        results.write(self._folder, job.run, job.seed, outcome.status, outcome.rows, measured)
        self._jobs.remove(job)
        self._clean(job)
        return outcome.status

    def _data(self, name: str):
        from smith import data, training

        if self._problem is None or self._problem.name != name:
            self._problem = None  # one at a time
            splits = [data.load(name, split, self._data_dir) for split in ("train", "test")]
            self._problem = training.Problem.put(name, *splits)
        return self._problem

    def _place(self, run: Run, seed: int) -> Path:
        """Returns where the snapshot is kept that `run` starts from."""
        assert run.start
        return self._folder / "snapshots" / f"{run.start.run.key}-seed{seed}-at{run.first_iteration}"

    def _wanted(self, job: Job) -> dict[int, Path]:
        """Returns the snapshots that jobs still to come need from this one: iteration -> folder."""
        children = (j for j in self._jobs if j.seed == job.seed and j.run.start and j.run.start.run == job.run)
        return {child.run.first_iteration: self._place(child.run, child.seed) for child in children}

    def _outcome(self, job: Job, display: Display) -> "training.Outcome":
        """Trains one job. One whose parent diverges before the snapshot ends as its parent did."""
        from smith import training

        parent = self._make_snapshot(job, display) if job.run.start else None
        if parent and parent.status == "diverged":
            return parent
        start = self._place(job.run, job.seed) if job.run.start else None
        data, wanted = self._data(job.run.data), self._wanted(job)
        return training.train(job.run, job.seed, data, watcher=display, start=start, snapshots=wanted)

    def _make_snapshot(self, job: Job, display: Display) -> "training.Outcome | None":
        """Trains the parent up to the snapshot that a job starts from, if that is not there. Returns how it went."""
        from smith import checkpoints, training

        assert job.run.start
        place, parent, at = self._place(job.run, job.seed), job.run.start.run, job.run.first_iteration
        if checkpoints.exists(place):
            return None
        data = self._data(parent.data)
        return training.train(parent, job.seed, data, watcher=display, snapshots={at: place}, until=at)

    def _clean(self, job: Job) -> None:
        """Removes the job's snapshot once no other job needs it."""
        from smith import checkpoints

        if not job.run.start:
            return
        place = self._place(job.run, job.seed)
        if not any(j.run.start and self._place(j.run, j.seed) == place for j in self._jobs):
            checkpoints.remove(place)
            if place.parent.exists() and not any(place.parent.iterdir()):
                place.parent.rmdir()
