"""Scales: how much of the paper's training is done. Each turns a run of the protocol into the run that is trained.

Everything is cut in proportion: step sizes, the times of drops, snapshots. Learning rates and other values stay.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smith.errors import unknown
from smith.lengths import Length, iterations
from smith.run import Run, Snapshot


@dataclass(frozen=True)
class Scale:
    """One scale.

    name, what: what it is called, and what it is, in a few words for the figures and the help text
    seeds: how many seeds it trains unless told otherwise
    length: run of the protocol -> iterations trained
    batch_size: run of the protocol -> batch size trained
    network: name of a network -> name of the one trained
    width: run of the protocol -> width of the network trained
    tests: at most how many tests a run makes
    test_images: how many test images a test uses; None for all
    """

    name: str
    what: str
    seeds: int
    length: Callable[[Run], int] = lambda run: run.iterations
    batch_size: Callable[[Run], int] = lambda run: run.batch_size
    network: Callable[[str], str] = lambda name: name
    width: Callable[[Run], float] = lambda run: run.width
    tests: int | None = None
    test_images: int | None = None

    def apply(self, run: Run) -> Run:
        """Returns the run at this scale. Raises UserError if a step size is cut to less than an iteration."""
        if self.name == "paper":
            return run
        target = min(run.iterations, self.length(run))
        cut = functools.partial(self._cut, run, target)
        every = max(cut(run.test_every).value, math.ceil(target / (self.tests or target)))
        batch_size = self.batch_size(run)
        changes = {
            "network": self.network(run.network),
            "width": self.width(run),
            "length": iterations(target),
            "batch_size": batch_size,
            "ghost_batch_size": _ghost_batch_size(run, batch_size),
            "test_every": iterations(every),
            "test_images": min((n for n in (run.test_images, self.test_images) if n), default=None),
        }
        return Run(**{f.name: cut(getattr(run, f.name)) for f in dataclasses.fields(run)} | changes)

    def _cut(self, run: Run, target: int, value: Any) -> Any:
        """Cuts all lengths in a description, at any depth, to iterations of the shorter run."""
        cut = functools.partial(self._cut, run, target)
        if isinstance(value, Length):
            return iterations(max(1, run.count(value) * target // run.iterations))
        if isinstance(value, Snapshot):
            return Snapshot(self.apply(value.run), cut(value.at))
        if isinstance(value, tuple):
            return tuple(map(cut, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes = {f.name: cut(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return dataclasses.replace(value, **changes)
        return value


def _ghost_batch_size(run: Run, batch_size: int) -> int | None:
    """Returns the ghost batch size of a smaller batch: as many ghost batches, or as nearly as divides it."""
    if run.ghost_batch_size is None:
        return None
    ghosts = run.batch_size // run.ghost_batch_size
    return batch_size // max(k for k in range(1, ghosts + 1) if batch_size % k == 0)


def _shallow(network: str) -> str:
    """Returns the network that stands for a deep one at the scales that a CPU trains in seconds."""
    return re.sub(r"-\d+", "-10" if network.startswith("densenet") else "-8", network)


def _deep(run: Run) -> bool:
    return _shallow(run.network) != run.network


def _quick_length(run: Run) -> int:
    return min(max(run.iterations // 200, 40), 80) if _deep(run) else min(max(run.iterations // 60, 120), 300)


def _quick_batch_size(run: Run) -> int:
    """Returns the power of two nearest to a fraction of the batch size."""
    if run.network == "lenet":
        return 256
    whole = 2 ** round(math.log2(run.batch_size))
    return min(max(whole // 16 if _deep(run) else min(whole // 8, 64), 2), run.batch_size)


_SMOKE = Scale(
    "smoke",
    "6 iterations of 16 images, deep networks at depth 8 or 10: a test of the code, not of the paper",
    seeds=1,
    length=lambda run: 6,
    batch_size=lambda run: 16,
    network=_shallow,
    tests=2,
    test_images=100,
)
_QUICK = Scale(
    "quick",
    "1/60 of the iterations (120 to 300), batches of 64 or fewer (LeNet 256), 1,000 test images; for the deep "
    "networks resnet-8, wide-8 (half as wide) and densenet-10, 40 to 80 iterations, 1/16 of the batch",
    seeds=1,
    length=_quick_length,
    batch_size=_quick_batch_size,
    network=_shallow,
    width=lambda run: run.width / 2 if run.network.startswith("wide") else run.width,
    tests=10,
    test_images=1000,
)
_SHORT = Scale("short", "a tenth of the iterations", seeds=2, length=lambda run: run.iterations // 10, tests=40)
_PAPER = Scale("paper", "the paper's protocol", seeds=4)
SCALES: dict[str, Scale] = {scale.name: scale for scale in (_SMOKE, _QUICK, _SHORT, _PAPER)}


def named(name: str) -> Scale:
    """Returns a scale by name. Raises UserError with the nearest known one."""
    if name not in SCALES:
        raise unknown("scale", name, SCALES)
    return SCALES[name]
