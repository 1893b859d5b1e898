"""Where the runs under way are, in a scale's folder of results.

    FOLDER/<key>-seed<n>.parquet                    results
    FOLDER/checkpoints/<key>-seed<n>/<iteration>/   of runs under way
    FOLDER/snapshots/<key>-seed<n>/<iteration>/     from which other runs start
    FOLDER/locks/<key>-seed<n>.lock                 of runs that a process has in hand

Several processes may work on one folder. Who writes or removes something of a run holds that run's lock.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smith import disk
from smith.disk import Lock
from smith.run import Run
from smith.train import checkpoints


@dataclass(frozen=True)
class Job:
    """One run with one seed."""

    run: Run
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.run.key}-seed{self.seed}"

    @property
    def parent(self) -> "Job | None":
        """The job from whose snapshot it starts, if it does."""
        return Job(self.run.start.run, self.seed) if self.run.start else None


class Places:
    """The places in one folder."""

    def __init__(self, folder: Path) -> None:
        self._checkpoints, self._snapshots = folder / "checkpoints", folder / "snapshots"
        self._locks = folder / "locks"

    def checkpoints(self, job: Job, until: int | None = None) -> Path:
        """Returns where a job's checkpoints are, or those of its way to a snapshot at iteration `until`."""
        return self._checkpoints / (job.name if until is None else f"{job.name}-to{until}")

    def snapshots(self, parent: Job) -> Path:
        """Returns where the snapshots of a job are from which others start."""
        return self._snapshots / parent.name

    def snapshot(self, parent: Job, at: int) -> Path:
        """Returns where the snapshot at an iteration is."""
        return self.snapshots(parent) / checkpoints.name(at)

    @contextlib.contextmanager
    def holding(self, job: Job) -> Iterator[bool]:
        """Holds a job's lock, if nobody else does. Gives whether it is held."""
        lock = Lock(self._locks / f"{job.name}.lock")
        held = lock.acquire()
        try:
            yield held
        finally:
            if held:
                lock.release()

    def under_way(self) -> list[Path]:
        """Returns the folders with checkpoints and snapshots."""
        return [path for folder in (self._checkpoints, self._snapshots) for path in disk.matching(folder, "*-seed*")]

    def tidy(self) -> None:
        """Removes the files of locks that nobody holds, old parts, and folders in which nothing is left."""
        for path in disk.matching(self._locks, "*.lock"):
            lock = Lock(path)
            if lock.acquire():
                lock.release()
        for folder in (self._checkpoints, self._snapshots, self._locks):
            disk.sweep(folder)
            disk.remove_empty(folder)
