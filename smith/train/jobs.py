"""From descriptions to result files: which runs are missing, in which order, trained and written one by one."""

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smith import networks, replicates
from smith.data import DATASETS
from smith.errors import UserError
from smith.replicates import Recipe
from smith.run import Run
from smith.scales import Scale
from smith.store import results
from smith.train import checkpoints
from smith.train.progress import Display
from smith.train.stopping import Deadline
from smith.train.trainer import Job, Trainer

Rates = dict[tuple[str, float], float]  # (network, width): training images per second

# On 2 cores of an AMD EPYC (Zen 4), for the first estimate; as soon as there are results of this scale, their own rates
# are used.
# A test image costs about a quarter of a training image.
RATES: Rates = {
    ("shallow3", 1.0): 1400.0,
    ("lenet", 1.0): 5000.0,
    ("resnet-8", 1.0): 1300.0,
    ("resnet-56", 1.0): 74.0,
    ("resnet-8-relu", 1.0): 880.0,
    ("resnet-56-relu", 1.0): 68.0,
    ("wide-8", 0.5): 700.0,
    ("wide-8", 1.0): 270.0,
    ("wide-32", 1.0): 41.0,
    ("densenet-10", 1.0): 310.0,
    ("densenet-40", 1.0): 14.0,
}
START_UP_SECONDS, COMPILE_SECONDS = 8.0, 4.0  # imports and data; each network with its batch size
POLL_SECONDS = 1.0  # between two looks at runs that other processes have in hand
TEST_COST = 1 / 4


@dataclass
class Summary:
    """What `execute` did: numbers of runs by how they went, and what is left.

    found: runs that had a result, or have one now from another process
    begun: of those left, the ones that have a checkpoint
    missing: dataset that is neither here nor to be had -> (reason, how many runs need it)
    halted: the run that diverged, if that was to stop everything, else ""
    """

    trained: int = 0
    diverged: int = 0
    found: int = 0
    left: int = 0
    begun: int = 0
    missing: dict[str, tuple[str, int]] = field(default_factory=dict)
    halted: str = ""


def plan(runs: Iterable[Run], scale: Scale, seeds: int, recipe: Recipe = replicates.seeds) -> list[Job]:
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
    checkpoint_every: float = 120.0,
    stop_on_divergence: bool = False,
) -> Summary:
    """Trains the jobs that have no result and writes a result for each.

    Other processes may do the same in the same folder at the same time: each job is trained by one of them.

    Args:
      folder: the scale's folder of results.
      data_dir: where the datasets are.
      budget: seconds after which to stop; the run in hand is kept in a checkpoint, from which the next call goes on.
      force: trains also the jobs that have a result, which is replaced.
      checkpoint_every: seconds between two checkpoints of a run.
      stop_on_divergence: begins no further run when one has diverged.

    Runs on a dataset that is not to be had are left out and counted, as long as there are others.

    Raises:
      UserError: no data for any of the jobs; a checkpoint of another run in the place of one's own.
      OSError: no room or no permission to write.
      Stopped: a signal came (inside `smith.train.stopping.signals`); the run in hand is kept in a checkpoint.
    """
    deadline = Deadline(budget)
    results.make_folder(folder)
    trainer = Trainer(folder, data_dir, jobs, display, deadline, checkpoint_every)
    todo = [job for job in jobs if force or not _usable(folder, job, display)]
    for job in todo if force else ():
        checkpoints.remove(checkpoints.path_of(folder, job.run, job.seed))
    for job in [job for job in jobs if job not in set(todo)]:
        trainer.finished(job)
    trainer.tidy()
    display.plan(len(todo), len(jobs) - len(todo))
    if todo:
        networks.keep_freed_memory()  # before JAX starts its threads
        _compilation_cache()
    summary = Summary(found=len(jobs) - len(todo))
    compiling = _compile_seconds(folder)
    told = False
    while todo and not summary.halted:
        busy: list[Job] = []
        for job in todo:
            program = _program(job.run)
            if summary.halted or deadline.passed(compiling.get(program, COMPILE_SECONDS)):
                status = "left"
            elif reason := trainer.unavailable(job.run.data):
                summary.missing[job.run.data] = reason, summary.missing.get(job.run.data, ("", 0))[1] + 1
                continue
            else:
                status = trainer.attempt(job, force=force)
            _count(summary, job, status, display, stop_on_divergence)
            if status in ("done", "diverged"):
                compiling[program] = 0.0
            if status == "busy":
                busy.append(job)
        if len(busy) == len(todo):
            if not told:
                display.waiting(len(busy), trainer.holder(busy[0]))
            told = True
            time.sleep(POLL_SECONDS)
        todo = busy
    trainer.tidy()
    if summary.missing and not summary.trained and not summary.found:
        raise UserError("; ".join(reason for reason, _ in summary.missing.values()))
    return summary


def _count(summary: Summary, job: Job, status: str, display: Display, stop_on_divergence: bool) -> None:
    """Adds what became of a job."""
    if status in ("done", "diverged"):
        display.end(job.run, job.seed, status)
        summary.trained += 1
        summary.diverged += status == "diverged"
        if status == "diverged" and stop_on_divergence:
            summary.halted = f"{job.run.key} seed {job.seed}"
    summary.found += status == "found"
    summary.left += status in ("left", "stopped")
    summary.begun += status == "stopped"


def _program(run: Run) -> tuple[str, float, int]:
    return run.network, run.width, run.batch_size


def _compile_seconds(folder: Path) -> dict[tuple[str, float, int], float]:
    """Returns how long each program took to its first iteration, as the folder's results say."""
    found = results.check(folder)[0]
    return {_program(result.run): float(result.facts.get("compile_seconds", COMPILE_SECONDS)) for result in found}


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
