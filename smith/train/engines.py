"""The same command many times, started elsewhere: by Slurm, or as processes of this machine. The engine is submitit.

An engine starts workers, and starts them again when their time is up. It knows nothing of the runs: each worker is a
plain `smith run`, and the locks in the folder of results share the runs out. What a worker leaves undone, another one
takes up from its checkpoint.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smith.errors import UserError

ENGINES = ("slurm", "local")
RESTARTS = 1_000  # times that a worker may use up its time
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
      engine: of `ENGINES`.
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
