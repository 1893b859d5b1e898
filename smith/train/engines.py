"""The same command many times, started elsewhere: by Slurm, on a Ray cluster, or as processes of this machine.

An engine starts workers, and starts them again when their time is up. It knows nothing of the runs: each worker is a
plain `smith run`, and the locks in the folder of results share the runs out. What a worker leaves undone, another one
takes up from its checkpoint. Slurm and this machine are submitit's business.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smith.errors import UserError
from smith.train import stopping

ENGINES = ("slurm", "ray", "local")
RESTARTS = 1_000  # times that a worker may use up its time
POLL = 0.5  # seconds between two looks at whether a signal came
NOTICE = 90  # seconds between the signal that the time is up and the end


class Worker:
    """A `smith run`, as submitit wants it: called to begin, and asked for a checkpoint before its time is up."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Runs to the end. Raises RuntimeError if that is no good one."""
        self._process = subprocess.Popen([sys.executable, "-m", "smith", *self._words])
        self._wait()
        status = self._process.wait()
        if status > 128:  # a signal, which ends this process too
            time.sleep(NOTICE)
        if status:
            raise RuntimeError(f"smith {' '.join(self._words)} ended with status {status}")

    def checkpoint(self) -> Any:
        """Stops with a checkpoint, and returns what goes on from there."""
        from submitit.helpers import DelayedSubmission

        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._wait()
        return DelayedSubmission(Worker(self._words))

    def _wait(self) -> None:
        """Waits for the end. A signal's handler may do so while it interrupts another wait; `Popen.wait` would lock."""
        assert self._process
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)


def submit(words: Sequence[str], workers: int, engine: str, folder: Path, **resources: Any) -> list[Any]:
    """Starts workers. Returns submitit's jobs.

    Args:
      words: of `smith`, such as run fig07.
      engine: "slurm" or "local".
      folder: for what the workers say.
      resources: parameters of `submitit.AutoExecutor`; those that are 0 or "" are left to the engine.

    Raises:
      UserError: submitit is not installed; there is no Slurm; it refuses.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UserError("smith submit needs submitit: pip install 'submitit>=1.5'") from error
    try:
        executor = submitit.AutoExecutor(folder, engine, **{f"{engine}_max_num_timeout": RESTARTS})
        executor.update_parameters(name="smith", **{name: value for name, value in resources.items() if value})
        with executor.batch():
            return [executor.submit(Worker(words)) for _ in range(workers)]
    except (RuntimeError, ValueError, OSError) as error:
        line = " ".join(str(error).split())[:300]
        raise UserError(
            f"{engine} does not take the workers ({line}); --engine local starts them on this machine"
        ) from error


def submit_to_ray(words: Sequence[str], workers: int, folder: Path, address: str, gpus: float, cpus: int) -> None:
    """Starts workers on a Ray cluster, and waits for their end.

    A worker that is lost, with its machine or by a signal, is started again.

    Args:
      words: of `smith`, such as run fig07.
      folder: for what the workers say.
      address: of the cluster; empty for one on this machine, that ends with the workers.
      gpus, cpus: of a worker; a part of a GPU is shared.

    Raises UserError: Ray is not installed, or can not be reached; the cluster has too little; a worker ended badly.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("--engine ray needs Ray: pip install 'ray>=2.40'") from error
    share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * gpus:g}"} if 0 < gpus < 1 else {}
    needs = {"CPU": cpus or 1, "GPU": gpus}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if at := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):  # Ray itself ends the process where nobody answers
            socket.create_connection((at[1], int(at[2])), timeout=10).close()
        ray.init(address or "local", include_dashboard=None if address else False, logging_level="ERROR")
        has = ray.cluster_resources()
        if not address and (short := [f"{n:g} {kind}" for kind, n in needs.items() if n > has.get(kind, 0)]):
            raise UserError(f"this machine has no {' and '.join(short)} for a worker: ask for less")
        work = ray.remote(num_cpus=needs["CPU"], num_gpus=gpus, max_retries=-1)(_work)
        here = Path.cwd()  # a cluster's processes have a folder of their own
        tasks = [work.remote(words, here, here / folder / f"ray-{k}.log", share) for k in range(workers)]
        stop = stopping.Deadline()
        with stopping.run_in_hand():  # Ray loses what a signal's handler raises while it waits
            while tasks and not stop.passed():
                ended, tasks = ray.wait(tasks, timeout=POLL)
                ray.get(ended)
            for task in tasks:
                ray.cancel(task)
            if tasks:  # some seconds for a checkpoint each
                ray.wait(tasks, num_returns=len(tasks), timeout=stopping.GRACE - 3)
    except ray.exceptions.RayTaskError as error:  # is of the cause's class too
        raise UserError(f"{error.cause}; what the workers said is in {folder}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"--address {address}: no Ray cluster is to be had there ({error})") from error
    finally:
        ray.shutdown()


def _work(words: Sequence[str], place: Path, log: Path, environment: dict[str, str]) -> None:
    """Does a worker's work, again if a signal ended it. Raises RuntimeError if it ends badly by itself."""
    command = [sys.executable, "-m", "smith", *words]
    for _ in range(RESTARTS):
        with log.open("ab") as said:
            process = subprocess.Popen(command, cwd=place, env={**os.environ, **environment}, stdout=said, stderr=said)
        try:
            while (status := process.poll()) is None:
                time.sleep(POLL)  # what Ray raises is not heard in a longer wait
        except BaseException:  # the command was stopped, and so this is: the run in hand gets a checkpoint
            process.terminate()
            process.wait()
            raise
        if status >= 0:
            break
    if status:
        raise RuntimeError(f"smith {' '.join(words)} ended with status {status}")
