"""Several runs at the same time: so many processes of the same command, each on its share of the cores.

A small network leaves cores idle between its short parallel parts; as many runs as there are cores do not. The
processes share the work as any others do: through the locks in the results' folder.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from smith.errors import UserError
from smith.scales import Scale


def check(workers: int, alone: Sequence[str] = ()) -> None:
    """Raises UserError if an option, in `alone`, needs one run at a time."""
    if workers > 1 and alone:
        raise UserError(f"{alone[0]} trains one run at a time: leave --workers out")


def by_itself(scale: Scale, todo: int) -> int:
    """Returns how many workers train so many runs if nobody says: one a core in miniature, else one.

    A run in miniature does not fill two cores. Where a GPU is there, or cores can not be assigned, it is one too.
    """
    gpu = Path("/dev/nvidia0").exists() and os.environ.get("JAX_PLATFORMS") != "cpu"
    if scale.name != "mini" or gpu or not hasattr(os, "sched_getaffinity"):
        return 1
    return max(1, min(len(os.sched_getaffinity(0)), todo))


def execute(workers: int, arguments: Sequence[str]) -> int:
    """Runs `smith ARGUMENTS` in so many processes, and prints their lines. Returns the worst of their exit statuses.

    A signal stops them all in good order. Each ends by itself then, at the latest after `stopping.GRACE` seconds.
    """
    processes: list[subprocess.Popen[str]] = []
    said: set[str] = set()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number in range(workers):
                processes.append(_start(number, workers, arguments))
            statuses = list(pool.map(_pass_on, processes, range(workers), [said] * workers))
        finally:
            for process in processes:
                process.terminate()  # does nothing to one that has ended
    return max(status if status >= 0 else 128 - status for status in statuses)  # negative: the number of a signal


def _start(number: int, workers: int, arguments: Sequence[str]) -> "subprocess.Popen[str]":
    """Starts a process on its share of the cores and of a GPU's memory."""
    process = subprocess.Popen(
        [sys.executable, "-m", "smith", *arguments],
        env={"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / workers:.3f}"} | os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process.pid, cores(sorted(os.sched_getaffinity(0)), number, workers))
    return process


def cores(every: Sequence[int], number: int, workers: int) -> set[int]:
    """Returns the cores of a worker, by number from 0: every n-th for n workers, or one if there are more workers."""
    return set(every[number::workers]) or {every[number % len(every)]}


def _pass_on(process: "subprocess.Popen[str]", number: int, said: set[str]) -> int:
    """Prints the lines of a process until it has ended; what went wrong once, though every process says it.

    Returns its status.
    """
    assert process.stdout
    with process.stdout as lines:
        for line in lines:
            if not line.startswith("smith: "):
                print(f"[{number}] {line}", end="", flush=True)
            elif line not in said:
                said.add(line)
                print(line, end="", file=sys.stderr, flush=True)
    return process.wait()
