"""From descriptions to result files: which runs are missing, and each of them from its lock to its result."""

import contextlib
import functools
import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from smith import disk
from smith.data import Selection
from smith.errors import UserError
from smith.run import Run
from smith.store import Store, packs, results
from smith.train import checkpoints, devices, hosts, settings, stopping, timing
from smith.train.checkpoints import Checkpoint, DamagedCheckpoint, Keeper
from smith.train.places import Job, Places
from smith.train.progress import Display
from smith.train.queue import Queue
from smith.train.stopping import Deadline

if TYPE_CHECKING:
    from smith.train.feed import Datasets
    from smith.train.step import TrainState

POLL = 1.0  # seconds between two looks at runs that other processes have in hand


@dataclass
class Summary:
    """What `execute` did: numbers of runs by how they went, and what is left.

    found: runs that had a result, or have one now from another process
    begun: of those left, the ones that were stopped and have a checkpoint
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


def plan(runs: Iterable[Run], store: Store, seeds: int, first: int = 0) -> list[Job]:
    """Returns the jobs for runs of the protocol: each with the first seed, then each with the second, and so on."""
    described, numbers = list(runs), range(first, first + seeds)
    return list(dict.fromkeys(Job(store.trained(run, seed), seed) for seed in numbers for run in described))


def missing(jobs: Iterable[Job], store: Store) -> list[Job]:
    """Returns the jobs without a result."""
    return [job for job in jobs if not store.find(job.run, job.seed)]


def execute(
    jobs: Sequence[Job],
    store: Store,
    data_dir: Path,
    display: Display,
    *,
    budget: float | None = None,
    force: bool = False,
    checkpoint_every: float = 120.0,
    stop_on_divergence: bool = False,
    device_count: int = 1,
) -> Summary:
    """Trains the jobs that have no result and writes a result for each.

    Args:
      data_dir: where the datasets are.
      budget: seconds after which to stop; the run in hand is kept in a checkpoint, from which the next call goes on.
      force: trains also the jobs that have a result, which is replaced.
      checkpoint_every: seconds between two checkpoints of a run.
      stop_on_divergence: begins no further run when one has diverged.
      device_count: how many devices share each batch; 0 for all.

    Runs on a dataset that is not to be had are left out and counted, as long as there are others.

    Raises:
      UserError: an unknown solver; no device, or too few; a batch that does not divide by them; no data for any job; a
        file that can not be read may have a result.
      OSError: no room or no permission to write.
      Stopped: a signal came (see `smith.train.stopping`).
    """
    deadline, places = Deadline(budget), Places(store.folder)
    disk.make_folder(store.folder, "--results-dir")
    todo = list(jobs) if force else missing(jobs, store)
    if todo:
        store.check({results.path_of(store.folder, job.run, job.seed) for job in todo})
    found = len(jobs) - len(todo)
    owner = Owner(store, places, data_dir, display, deadline, checkpoint_every, force, set(todo))
    series = timing.Series(todo, store)
    display.plan(len(todo), found, lambda now: series.ahead(owner.todo, now))
    for path, line in store.damaged.items():
        if todo and packs.is_pack(path):
            display.warn(f"damaged, what it held is trained again: {line}")
    count, halted = Counter[str](), ""
    if todo:
        prepare(job.run for job in todo)
        devices.start(display.warn)
        with devices.shared(device_count):
            devices.check(job.run for job in todo)
            count, halted = _attempt_all(todo, owner, stop_on_divergence)
    places.tidy(set(jobs) - owner.todo, owner.todo)
    trained, found = count["done"] + count["diverged"], found + count["found"]
    left = count["left"] + count["stopped"]
    if owner.missing and not (trained or found or left):
        raise UserError("; ".join(reason for reason, _ in owner.missing.values()))
    return Summary(trained, count["diverged"], found, left, count["stopped"], owner.missing, halted)


def follow(data_dir: Path) -> None:
    """Trains what another process tells (see `smith.train.hosts`). Raises UserError if there is no data for it."""
    from smith.train.feed import Datasets

    with devices.shared(0):
        hosts.follow(Datasets(data_dir).of, _like)


def _attempt_all(todo: Sequence[Job], owner: "Owner", stop_on_divergence: bool) -> tuple[Counter[str], str]:
    """Attempts each job, and again those that are busy. Returns how they went, and which one halted the rest."""
    count, halted, told = Counter[str](), "", 0
    while todo:
        busy, queue = [], Queue(todo)
        for job in queue:
            status = "left" if halted else owner.attempt(job)
            queue.saw(job, status)
            if status == "busy":
                busy.append(job)
            if status == "diverged" and stop_on_divergence:
                halted = f"{job.run.key} seed {job.seed}"
            count[status] += 1
        if len(busy) == len(todo):
            if len(busy) != told:
                owner.display.waiting(len(busy))
            told = len(busy)
            time.sleep(POLL)
        todo = busy
    return count, halted


def prepare(runs: Iterable[Run]) -> None:
    """Sets up what JAX needs before it starts. Raises UserError for a setting or a solver that can not be."""
    settings.prepare()
    import jax

    from smith.train.optim import SOLVERS

    for name in dict.fromkeys(run.solver for run in runs):
        SOLVERS[name]
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "smith" / "xla"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # forty small programs take two seconds


class Outcome(NamedTuple):
    """How a training ended.

    status: "done", "diverged" or "stopped"; "busy" if it did not begin, because another process has the parent in hand
    spent: seconds by kind, and the iterations that were timed (see `smith.train.timing.Clock`)
    not_finite: which losses, parameters and batch statistics were not finite
    """

    status: str
    rows: Sequence[Mapping[str, float]] = ()
    spent: Mapping[str, float] = {}
    not_finite: Sequence[str] = ()


@dataclass
class Owner:
    """Has one job after another in hand, and keeps the dataset on the device from one to the next.

    every: seconds between two checkpoints
    todo: the jobs that have no result yet
    missing: dataset that is not to be had -> (reason, how many jobs needed it)
    """

    store: Store
    places: Places
    data_dir: Path
    display: Display
    deadline: Deadline
    every: float
    force: bool
    todo: set[Job]
    missing: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._refused: dict[Selection, str] = {}  # parts of datasets that are not to be had -> the reasons
        self._compiling = timing.past(self.store).compiling

    def attempt(self, job: Job) -> str:
        """Trains a job and writes its result, unless another process does.

        Returns:
          "done" or "diverged": as the result says.
          "stopped": it was time, and a checkpoint is kept. "left": it was time before the job began.
          "found": it has a result. "missing": its dataset is not to be had.
          "busy": another process has it, or the run that it starts from, in hand.
        """
        if self.deadline.passed(self._compiling.get(timing.program(job.run), 0.0)):
            return "left"
        with self.places.holding(job) as held:
            if not held:
                return "busy"
            if self._has_result(job) and not self.force:
                self.todo.discard(job)
                return "found"
            if not self._data_is_there(job.run):
                return "missing"
            self.display.begin(job.run, job.seed)
            with stopping.run_in_hand():
                return self._train(job)

    def _has_result(self, job: Job) -> bool:
        """Says whether a job has a result. A damaged one is told and set aside."""
        if self.store.look_again(job.run, job.seed):
            return True
        path = results.path_of(self.store.folder, job.run, job.seed)
        if path in self.store.damaged and disk.there(path):
            line, kept = self.store.damaged[path], self.store.set_aside(path)
            self.display.warn(f"damaged result: {line}; kept as {kept.name}, trained again")
        else:
            self.store.check({path})
        return False

    @functools.cached_property
    def datasets(self) -> "Datasets":
        """The dataset that is kept on the device."""
        from smith.train.feed import Datasets

        return Datasets(self.data_dir)

    def _data_is_there(self, run: Run) -> bool:
        """Puts a run's part of a dataset on the device, and says whether it is to be had. Tries once for each part."""
        reason = self._refused.get(run.selection, "")
        try:
            if not reason:
                self.datasets.of(run)
                return True
        except UserError as error:
            reason = self._refused[run.selection] = str(error)
        self.missing[run.data] = reason, self.missing.get(run.data, ("", 0))[1] + 1
        return False

    def _train(self, job: Job) -> str:
        """Trains a job whose lock is held, and writes its result. Returns its status.

        A run also ends as diverged if its parent diverged before the snapshot.
        """
        run, folder = job.run, self.places.checkpoints(job)
        if self.force:
            checkpoints.remove(folder)
        outcome = self._go_on(job, folder)
        if outcome.status not in ("done", "diverged"):
            return outcome.status
        rows = [{**dict.fromkeys(run.metrics, math.nan), **row} for row in outcome.rows]  # a parent may lack some
        told = {"non_finite": " ".join(outcome.not_finite)} if outcome.not_finite else {}
        told |= {
            "device_count": devices.count(),
            **timing.facts(run, outcome.spent),
            **settings.facts(),
            **self.datasets.digests,
        }
        facts = results.facts(**told)
        self.store.add(results.write(self.store.folder, run, job.seed, outcome.status, rows, facts))
        self._compiling[timing.program(run)] = 0.0
        self.todo.discard(job)
        checkpoints.remove(folder)
        self.display.end(run, job.seed, outcome.status, rows[-1])
        return outcome.status

    def _snapshot(self, job: Job) -> Checkpoint | Outcome | None:
        """Returns the snapshot that a job starts from, after training its parent up to there if need be.

        Returns the parent's outcome if there is none, and None if the job has no parent.
        """
        parent, at, found = job.parent, job.run.first_iteration, None
        if not parent:
            return None
        place, folder = self.places.snapshot(parent, at), self.places.checkpoints(parent, at)
        try:
            if checkpoints.complete(place):
                found = checkpoints.load(place, partial(_like, parent.run))
        except DamagedCheckpoint as error:
            self.display.warn(f"damaged snapshot, made again: {error}")
        if not found:
            with self.places.holding(parent) as held:
                if not held:
                    return Outcome("busy")
                outcome = self._go_on(parent, folder, until=at)
                if outcome.status in ("busy", "stopped") or not checkpoints.complete(place):
                    return outcome
                checkpoints.remove(folder)
                found = checkpoints.load(place, partial(_like, parent.run))
        return Checkpoint(found.iteration, found.state)

    def _go_on(self, job: Job, folder: Path, until: int | None = None) -> Outcome:
        """Trains a job as `_run` does: from its newest checkpoint that can be read, or from where it starts."""
        if begin := checkpoints.newest(folder, partial(_like, job.run), self.display.warn):
            self.display.resumed(begin.iteration)
        begin = begin or self._snapshot(job)
        return begin if isinstance(begin, Outcome) else self._run(job, begin, folder, until)

    def _run(self, job: Job, begin: Checkpoint | None, folder: Path, until: int | None = None) -> Outcome:
        """Trains a run from a checkpoint, or from fresh parameters, to its end or to iteration `until`.

        Writes checkpoints to `folder`, and the snapshots that other jobs start from.
        """
        from smith.train import loop

        problem, start = self.datasets.of(job.run), None
        rows, clock, kept = [], timing.Clock(begin.timing if begin else {}), begin.iteration if begin else 0
        if begin:
            rows, start = list(begin.rows), loop.Point(begin.iteration, begin.state, begin.last_test)
        wanted = {child.run.first_iteration for child in self.todo if child.parent == job} if until is None else {until}
        wanted = {at for at in wanted if until or not checkpoints.complete(self.places.snapshot(job, at))}
        keeper = Keeper(folder, self.every)
        with contextlib.closing(hosts.train(job.run, job.seed, problem, start, until)) as points:
            for point in itertools.chain([start] if start else [], points):
                upcoming = clock.saw(point)
                self.display.saw(point)
                if point.row:
                    rows.append(point.row)
                if point.diverged:
                    return Outcome("diverged", rows, clock.read(), point.diverged)
                here = Checkpoint(point.iteration, point.state, point.last_test, rows, clock.read())
                if point.iteration in wanted:
                    wanted.remove(point.iteration)
                    checkpoints.write(self.places.snapshots(job), here)
                stop = self.deadline.passed(upcoming)
                if point.iteration > kept and (stop or keeper.due()):
                    keeper.keep(here)
                    kept = point.iteration
                if stop:
                    return Outcome("stopped", rows, clock.read())
        return Outcome("done", rows, clock.read())


def _like(run: Run) -> "TrainState":
    """Returns the shapes and types of a run's arrays."""
    import jax

    from smith.train import step

    program = step.program_of(run)
    return jax.eval_shape(lambda key: step.init(program, key), step.keys_of(0).init)
