"""Smith's 1cycle paper (arXiv:1803.09820), reproduced in JAX.

What people import, each name fetched from its module when it is first asked for:

    from smith import Run, Figure, Panel, OneCycle, CyclicalMomentum, epochs, iterations

Only `caffe_sgd` and `solver` import JAX and Optax when they are fetched; the others do when they are used, if at all.
"""

# ruff: noqa: F401

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # the table below, for editors and type checkers
    from smith.data import Arrays, dataset
    from smith.errors import UserError
    from smith.figure import Figure, Finals, Panel, Row, Sketch, Table
    from smith.legends import sweep
    from smith.lengths import Length, epochs, iterations
    from smith.metrics import metric
    from smith.networks import Options, network
    from smith.run import Run, Snapshot
    from smith.scales import Scale
    from smith.schedules import (
        Constant,
        CyclicalMomentum,
        Exponential,
        FastaiMomentum,
        FastaiOneCycle,
        Inverse,
        Join,
        Multistep,
        OneCycle,
        PyTorchMomentum,
        PyTorchOneCycle,
        RangeTest,
        Schedule,
        Triangular,
    )
    from smith.store import Result, Store, read
    from smith.train.optim import caffe_sgd, solver

_NAMES = {  # module: what it has for people
    "data": "Arrays dataset",
    "errors": "UserError",
    "figure": "Figure Finals Panel Row Sketch Table",
    "legends": "sweep",
    "lengths": "Length epochs iterations",
    "metrics": "metric",
    "networks": "Options network",
    "run": "Run Snapshot",
    "scales": "Scale",
    "schedules": "Constant CyclicalMomentum Exponential FastaiMomentum FastaiOneCycle Inverse Join Multistep "
    "OneCycle PyTorchMomentum PyTorchOneCycle RangeTest Schedule Triangular",
    "store": "Result Store read",
    "train.optim": "caffe_sgd solver",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'smith' has no attribute {name!r}")
    return getattr(importlib.import_module(f"smith.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
