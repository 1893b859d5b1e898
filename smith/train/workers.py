"""Several runs at the same time: each worker is a process that trains on its own share of the cores.

A small network leaves cores idle between its short parallel parts; as many runs as there are cores do not. The workers
share the work as any other processes do: through the locks in the results' folder.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from smith.errors import UserError
from smith.train import checkpoints, stopping
from smith.train.jobs import Job, Summary
from smith.train.progress import Display, Says

PATIENCE = 2 * stopping.GRACE  # seconds that a worker has to stop in good order

Work = tuple[Sequence[Job], Path, Path, dict[str, Any]]  # what `jobs.execute` takes, without the display


def check(workers: int, *, alone: Sequence[str] = ()) -> int:
    """Returns `workers` if it is a number of workers.

    Raises:
      UserError: it is not, or it is more than one and there is an option, in `alone`, that needs one run at a time.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: give a number of at least 1")
    if workers > 1 and alone:
        raise UserError(f"{alone[0]} goes from run to run in order: leave --workers out")
    return workers


def execute(
    workers: int, jobs: Sequence[Job], folder: Path, data_dir: Path, display: Display, **options: Any
) -> Summary:
    """Does what `jobs.execute` does, in so many processes, of which this one is the first.

    The others end when there is nothing left for them, and are stopped in good order if this one is.
    """
    if workers == 1:
        return jobs.execute(jobs, folder, data_dir, display, **options)
    others: list[Summary] = []
    with _others(workers, (jobs, folder, data_dir, options), display, others), _share(0, workers):
        first = jobs.execute(jobs, folder, data_dir, display, **options)
    return _together([first, *others], jobs, folder)


def _together(summaries: Sequence[Summary], jobs: Sequence[Job], folder: Path) -> Summary:
    """Returns what all did; each alone takes the others' runs for found, or for left."""
    missing = summaries[0].missing
    todo = jobs.missing(jobs, folder)
    trained = sum(summary.trained for summary in summaries)
    return Summary(
        trained=trained,
        diverged=sum(summary.diverged for summary in summaries),
        found=len(jobs) - len(todo) - trained,
        left=len(todo) - sum(count for _, count in missing.values()),
        begun=sum(checkpoints.exists(checkpoints.path_of(folder, job.run, job.seed)) for job in todo),
        missing=missing,
    )


@contextlib.contextmanager
def _others(workers: int, work: Work, display: Display, summaries: list[Summary]) -> Iterator[None]:
    """Starts the other processes, and waits for them at the end, or stops them if the first stops."""
    context = multiprocessing.get_context("spawn")  # a fork of JAX's threads would hang
    pipes = [context.Pipe(duplex=False) for _ in range(1, workers)]
    others = [context.Process(target=_work, args=(k, workers, pipe[1], work)) for k, pipe in enumerate(pipes, start=1)]
    listener = threading.Thread(target=_listen, args=([pipe[0] for pipe in pipes], display, summaries), daemon=True)
    try:
        for process in others:
            process.start()
        for _, theirs in pipes:
            theirs.close()  # so that a pipe ends with its process
        listener.start()
        yield
        for process in others:
            process.join()
        listener.join()
    finally:
        _stop([process for process in others if process.pid])


def _stop(processes: Sequence[Any]) -> None:
    """Stops those that still work, which keep checkpoints; kills one that does not stop."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()


def _listen(pipes: Sequence[Connection], display: Display, summaries: list[Summary]) -> None:
    """Shows what the others say, and keeps their summaries, until the last has ended."""
    left = list(pipes)
    while left:
        for pipe in wait(left):
            assert isinstance(pipe, Connection)
            try:
                said = pipe.recv()
            except (EOFError, OSError):
                left.remove(pipe)
                continue
            if isinstance(said, Summary):
                summaries.append(said)
            else:
                display.say(said[0], done=said[1])


@contextlib.contextmanager
def _share(number: int, workers: int) -> Iterator[None]:
    """Keeps this process to its share of the cores and of a GPU's memory: of JAX's, if it has not started yet."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / workers:.3f}")
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores(sorted(all_cores), number, workers))
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)


def cores(every: Sequence[int], number: int, workers: int) -> set[int]:
    """Returns the cores of a worker, by number from 0: every n-th for n workers, or one if there are more workers."""
    return set(every[number::workers]) or {every[number % len(every)]}


def _work(number: int, workers: int, pipe: Connection, work: Work) -> None:
    """What another process does."""
    jobs, folder, data_dir, options = work
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    try:
        with stopping.signals(), _share(number, workers):
            display = Says(lambda text, done: pipe.send((text, done)))
            pipe.send(jobs.execute(jobs, folder, data_dir, display, **options))
    except stopping.Stopped as stopped:
        sys.exit(stopped.status)
    except (UserError, OSError) as error:  # the first process meets it too, and says it, or does the rest alone
        with contextlib.suppress(OSError):
            pipe.send((f"smith: worker {number} ends: {error}", False))
        sys.exit(1)


def _end_with_the_first() -> None:
    """Stops this process if the first was killed."""
    first = multiprocessing.parent_process()
    assert first
    first.join()
    os.kill(os.getpid(), signal.SIGTERM)
