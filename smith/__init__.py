"""Smith's 1cycle paper (arXiv:1803.09820), reproduced in JAX. What people import is here:

    from smith import Run, Figure, Panel, OneCycle, CyclicalMomentum, epochs, iterations

`caffe_sgd` and `solver` import JAX and Optax when they are asked for; the others do when they are used, if at all.
"""

# ruff: noqa: F401

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from smith.train.optim import caffe_sgd, solver

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in ("caffe_sgd", "solver"):
        raise AttributeError(f"module 'smith' has no attribute {name!r}")
    from smith.train import optim

    return getattr(optim, name)
