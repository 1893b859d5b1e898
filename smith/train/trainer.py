"""One job after another: its data, its snapshot, its checkpoints, its result, and what is to be removed afterwards.

FOLDER/<key>-seed<n>.parquet         results
FOLDER/checkpoints/<key>-seed<n>/    of runs under way
FOLDER/snapshots/<key>-seed<n>-at<i> that other runs start from
FOLDER/locks/<key>-seed<n>.lock      of runs that a process has in hand
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smith import disk, locks
from smith.errors import UserError
from smith.locks import Lock
from smith.run import Run
from smith.store import results
from smith.train import checkpoints, stopping
from smith.train.checkpoints import DamagedCheckpoint, Keeper
from smith.train.progress import Display
from smith.train.stopping import Deadline

if TYPE_CHECKING:
    from smith.train import loop
    from smith.train.step import Problem


@dataclass(frozen=True)
class Job:
    """One run with one seed."""

    run: Run
    seed: int


class Trainer:
    """Trains jobs, keeping the dataset on the device from one to the next."""

    def __init__(
        self, folder: Path, data_dir: Path, jobs: Iterable[Job], display: Display, deadline: Deadline, every: float
    ) -> None:
        """jobs: all that are planned; every: seconds between two checkpoints."""
        self._folder, self._data_dir, self._display = folder, data_dir, display
        self._deadline, self._every = deadline, every
        self._left = dict.fromkeys(jobs)  # in their order
        self._problem: Problem | None = None
        self._unavailable: dict[str, str] = {}

    def unavailable(self, name: str) -> str:
        """Loads a dataset, and returns the reason if it is not to be had, else "". Tries once for each dataset."""
        if name not in self._unavailable:
            try:
                self._data(name)
            except UserError as error:
                self._unavailable[name] = str(error)
        return self._unavailable.get(name, "")

    def holder(self, job: Job) -> str:
        """Returns who has a job in hand, or the run it starts from."""
        return self._lock(job).holder() or (self._lock(self._parent(job)).holder() if job.run.start else "")

    def attempt(self, job: Job, *, force: bool) -> str:
        """Trains a job and writes its result, unless another process does.

        Returns:
          "done" or "diverged", as the result says; "found", if it has one; "busy", if another process has the job or
          the run it starts from in hand; "stopped", if it was time, and a checkpoint is kept.
        """
        with self._locked(job) as held:
            if not held:
                return "busy"
            if not force and results.path_of(self._folder, job.run, job.seed).exists():
                self.finished(job)
                return "found"
            self._display.begin(job.run, job.seed)
            with stopping.deferred():
                return self._train(job)

    def finished(self, job: Job) -> None:
        """A job has a result: removes what is no longer needed."""
        self._left.pop(job, None)
        checkpoints.remove(checkpoints.path_of(self._folder, job.run, job.seed))
        if job.run.start:
            place = checkpoints.snapshot_of(self._folder, job.run, job.seed)
            if place not in self._places(self._left):
                checkpoints.remove(place)

    def tidy(self) -> None:
        """Removes what killed processes left half-written or locked."""
        locks.sweep(self._folder / "locks")
        for folder in (*disk.matching(self._folder, "checkpoints/*"), *(self._folder / name for name in FOLDERS)):
            disk.sweep(folder)
            disk.remove_empty(folder)

    def _data(self, name: str) -> "Problem":
        from smith import data
        from smith.train.step import Problem

        if self._problem is None or self._problem.name != name:
            self._problem = None  # one at a time
            splits = [data.load(name, split, self._data_dir) for split in ("train", "test")]
            self._problem = Problem.put(name, *splits)
        return self._problem

    def _lock(self, job: Job) -> Lock:
        return Lock(self._folder / "locks" / f"{job.run.key}-seed{job.seed}.lock")

    @contextlib.contextmanager
    def _locked(self, job: Job) -> Iterator[bool]:
        lock = self._lock(job)
        held = lock.acquire()
        try:
            yield held
        finally:
            if held:
                lock.release()

    @staticmethod
    def _parent(job: Job) -> Job:
        assert job.run.start
        return Job(job.run.start.run, job.seed)

    def _places(self, jobs: Iterable[Job]) -> dict[Path, int]:
        """Returns the snapshots that jobs start from: folder -> iteration."""
        children = [job for job in jobs if job.run.start]
        return {checkpoints.snapshot_of(self._folder, c.run, c.seed): c.run.first_iteration for c in children}

    def _train(self, job: Job) -> str:
        """Trains a job and writes its result. Returns its status."""
        outcome = self._outcome(job)
        if isinstance(outcome, str) or outcome.status == "stopped":
            return outcome if isinstance(outcome, str) else outcome.status
        rate = outcome.timed_iterations * job.run.batch_size / max(outcome.training_seconds, 1e-9)
        measured = results.facts(
            seconds=round(outcome.seconds, 3),
            compile_seconds=round(outcome.compile_seconds, 3),
            images_per_second=round(rate, 1),
            **({"non_finite": " ".join(outcome.non_finite)} if outcome.non_finite else {}),
        )
        results.write(self._folder, job.run, job.seed, outcome.status, outcome.rows, measured)
        self.finished(job)
        return outcome.status

    def _outcome(self, job: Job) -> "loop.Outcome | str":
        """Trains one job; "busy" if it can not begin yet. One whose parent diverges before the snapshot ends so too."""
        wanted = {at: place for place, at in self._places(self._children(job)).items() if not checkpoints.exists(place)}
        if not job.run.start:
            return self._run(job, snapshots=wanted)
        place = checkpoints.snapshot_of(self._folder, job.run, job.seed)
        for _ in range(2):
            parent = None if checkpoints.exists(place) else self._make_snapshot(job, place)
            if parent and (isinstance(parent, str) or parent.status != "done"):
                return parent
            try:
                return self._run(job, start=place, snapshots=wanted)
            except DamagedCheckpoint as error:
                self._display.warn(f"damaged snapshot, made again: {error}")
                checkpoints.remove(place)
        raise OSError(f"{place} can not be written so that it can be read")

    def _make_snapshot(self, job: Job, place: Path) -> "loop.Outcome | str":
        """Trains the parent up to the snapshot that a job starts from, unless another process does: "busy"."""
        parent, at = self._parent(job), job.run.first_iteration
        with self._locked(parent) as held:
            if not held:
                return "busy"
            outcome = self._run(parent, snapshots={at: place}, until=at)
            if outcome.status == "done":
                checkpoints.remove(checkpoints.path_of(self._folder, parent.run, parent.seed))
            return outcome

    def _children(self, job: Job) -> list[Job]:
        return [j for j in self._left if j.run.start and self._parent(j) == job]

    def _run(self, job: Job, **options: Any) -> "loop.Outcome":
        from smith.train import loop

        keeper = Keeper(checkpoints.path_of(self._folder, job.run, job.seed), self._every)
        try:
            problem, stop = self._data(job.run.data), self._deadline.passed
            return loop.train(job.run, job.seed, problem, watcher=self._display, keeper=keeper, stop=stop, **options)
        finally:
            keeper.close()


FOLDERS = ("checkpoints", "snapshots", "locks")
