"""What people import from `smith`, all of it at once when the first name is asked for."""

# ruff: noqa: F401

from smith.data import Arrays, dataset
from smith.errors import UserError
from smith.figure import Figure, Finals, Panel, Row, Sketch, Table
from smith.frames import results
from smith.legends import sweep
from smith.lengths import Length, epochs, iterations
from smith.metrics import metric
from smith.networks import Options, network
from smith.policies import (
    FastaiMomentum,
    FastaiOneCycle,
    OptaxOneCycle,
    PyTorchMomentum,
    PyTorchOneCycle,
    WarmupStableDecay,
)
from smith.run import Run, Snapshot
from smith.scales import Scale
from smith.schedules import (
    Constant,
    CyclicalMomentum,
    Exponential,
    Inverse,
    Join,
    Multistep,
    OneCycle,
    RangeTest,
    Schedule,
    Triangular,
)
from smith.store import Result, Store, read
