"""In which order a process takes the runs that are left, when others take some of them too."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from smith.train.places import Job


class Queue:
    """Gives jobs seed by seed, and of a seed those first that share the program and the dataset of the last one.

    So a process compiles little, and of several each has programs of its own, as long as there are enough of them: it
    leaves those that another one has in hand for the end.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._groups: dict[Any, deque[Job]] = {}
        self._mine: Any = None
        self._others: set[Any] = set()
        for job in jobs:
            self._groups.setdefault(_group(job), deque()).append(job)

    def __iter__(self) -> Iterator[Job]:
        while self._groups:
            chosen = self._mine
            if chosen not in self._groups:
                free = (group for group in self._groups if group not in self._others)
                chosen = next(free, next(iter(self._groups)))
            jobs = self._groups[chosen]
            job = jobs.popleft()
            if not jobs:
                del self._groups[chosen]
            yield job

    def saw(self, job: Job, status: str) -> None:
        """Takes note of how a job went (see `smith.train.jobs.Owner.attempt`)."""
        if status in ("busy", "found"):
            self._others.add(_group(job))
        else:
            self._mine = _group(job)


def _group(job: Job) -> Any:
    return job.seed, job.run.network, job.run.options, job.run.batch_size, job.run.selection
