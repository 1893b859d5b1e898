"""Smith's 1cycle paper (arXiv:1803.09820), reproduced in JAX. What people import is in `smith.names`:

    from smith import Run, Figure, Panel, OneCycle, CyclicalMomentum, epochs, iterations

`caffe_sgd`, `solver`, `Task` and `tune` import JAX and Optax when they are asked for; the others do when they are used,
if at all.
"""

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smith import tune  # noqa: F401
    from smith.names import *  # noqa: F403
    from smith.train.optim import caffe_sgd, solver  # noqa: F401
    from smith.tune import Task  # noqa: F401

__version__ = "0.1.0"
WITH_JAX = {"caffe_sgd": "smith.train.optim", "solver": "smith.train.optim", "Task": "smith.tune"}


def __getattr__(name: str) -> Any:
    """Imports all names when the first is asked for: the program hears signals before. Modules come by themselves."""
    if importlib.util.find_spec(f"smith.{name}"):
        raise AttributeError(name)
    if name == "__all__":
        return [*WITH_JAX, *(name for name in vars(importlib.import_module("smith.names")) if name[0] != "_")]
    return getattr(importlib.import_module(WITH_JAX.get(name, "smith.names")), name)


def __dir__() -> list[str]:
    return [*globals(), *vars(importlib.import_module("smith.names")), *WITH_JAX]
