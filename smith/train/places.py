"""Where the runs under way are, in a scale's folder of results.

    FOLDER/<key>-seed<n>.parquet                    results
    FOLDER/checkpoints/<key>-seed<n>/<iteration>/   of runs under way
    FOLDER/snapshots/<key>-seed<n>/<iteration>/     from which other runs start
    FOLDER/locks/<key>-seed<n>.lock                 of runs that a process has in hand

Several processes may work on one folder. Who writes or removes something of a run holds that run's lock.
"""

import itertools
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from smith import disk
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

    @property
    def line(self) -> "list[Job]":
        """The job, its parent, the parent's parent, and so on."""
        return [self, *(self.parent.line if self.parent else [])]


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

    def holding(self, job: Job) -> AbstractContextManager[bool]:
        """Holds a job's lock, if nobody else does. Gives whether it is held."""
        return disk.holding(self._locks / f"{job.name}.lock")

    def under_way(self) -> int:
        """Returns how many jobs a process has in hand now."""
        count = 0
        for path in disk.matching(self._locks, "*.lock"):
            with disk.holding(path) as free:  # and so removes the file that a killed process left
                count += not free
        return count

    def begun(self) -> dict[str, int]:
        """Returns the iterations done of each job under way, by the name of the folder of its checkpoints."""
        return {path.parent.name: int(path.name) for path in _saved(self._checkpoints)}

    def saved(self) -> list[Path]:
        """Returns every checkpoint and snapshot."""
        return [*_saved(self._checkpoints), *_saved(self._snapshots)]

    def tidy(self, finished: Iterable[Job], others: Iterable[Job]) -> None:
        """Removes what finished jobs needed, if no other job does and nobody has it in hand, and what is empty."""
        needed = {parent for job in others for parent in job.line[1:]}
        for job in finished:
            self._remove(job, self.checkpoints(job))
            for child, parent in itertools.pairwise(job.line):
                if parent not in needed:
                    way = self.checkpoints(parent, child.run.first_iteration)
                    self._remove(parent, self.snapshots(parent), way)
        self.under_way()  # which removes the files of locks that nobody holds
        for folder in (self._checkpoints, self._snapshots, self._locks):
            disk.sweep(folder)
            disk.remove_empty(folder)

    def _remove(self, job: Job, *paths: Path) -> None:
        if any(path.exists() for path in paths):
            with self.holding(job) as held:
                for path in paths if held else ():
                    checkpoints.remove(path)


def _saved(folder: Path) -> list[Path]:
    return [path for one in disk.matching(folder, "[!.]*") for path in checkpoints.saved(one)]
