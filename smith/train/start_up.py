"""What a process sets up before JAX starts."""

import os
from collections.abc import Iterable
from pathlib import Path

from smith.run import Run


def prepare(runs: Iterable[Run]) -> None:
    """Gets ready to train runs. Raises UserError for a solver that is not known."""
    from smith.networks import cpu

    cpu.prepare_process()
    import jax

    from smith.train.optim import SOLVERS

    for name in dict.fromkeys(run.solver for run in runs):
        SOLVERS[name]
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "smith" / "xla"))
