"""Scales: how much of the paper's training is done. Each turns a run of the protocol into the run that is trained.

Everything is cut in proportion: step sizes, the times of drops, snapshots. Learning rates and other values stay.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smith.errors import UserError, unknown
from smith.lengths import Length, iterations
from smith.run import Run, Snapshot


@dataclass(frozen=True)
class Scale:
    """One scale.

    name, what: what it is called, and what it is, in a few words for the figures and the help text
    seeds: how many seeds it trains unless told otherwise
    length: iterations of the protocol -> iterations trained
    batch_size: run of the protocol -> batch size trained
    tests: at most how many tests a run makes
    test_images: how many test images a test uses; None for all
    """

    name: str
    what: str
    seeds: int
    length: Callable[[int], int] = lambda n: n
    batch_size: Callable[[Run], int] = lambda run: run.batch_size
    tests: int | None = None
    test_images: int | None = None

    def apply(self, run: Run) -> Run:
        """Returns the run at this scale.

        Raises:
          UserError: a step size is cut to less than an iteration.
        """
        if self.name == "paper":
            return run
        target = min(run.iterations, self.length(run.iterations))
        cut = _Cut(run, target, self)
        every = max(cut(run.test_every).value, math.ceil(target / (self.tests or target)))
        fields = {f.name: cut(getattr(run, f.name)) for f in dataclasses.fields(run)}
        return Run(
            **fields
            | {
                "length": iterations(target),
                "batch_size": self.batch_size(run),
                "test_every": iterations(every),
                "test_images": self.test_images,
            }
        )


@dataclass(frozen=True)
class _Cut:
    """Cuts all lengths in a description, at any depth, to iterations of the shorter run."""

    run: Run
    target: int
    scale: Scale

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Length):
            return self._length(value)
        if isinstance(value, Snapshot):
            return Snapshot(self.scale.apply(value.run), self._length(value.at))
        if isinstance(value, tuple):
            return tuple(self(v) for v in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(
                value, **{f.name: self(getattr(value, f.name)) for f in dataclasses.fields(value)}
            )
        return value

    def _length(self, length: Length) -> Length:
        return iterations(max(1, self.run.count(length) * self.target // self.run.iterations))


SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            "smoke",
            "a few iterations: a test of the code, not of the paper",
            seeds=1,
            length=lambda n: 6,
            batch_size=lambda run: 16,
            tests=2,
            test_images=100,
        ),
        Scale(
            "quick",
            "1/50 of the iterations (200 to 400), batches of 64 (LeNet 256), 1,000 test images",
            seeds=1,
            length=lambda n: min(max(n // 50, 200), 400),
            batch_size=lambda run: 256 if run.network == "lenet" else 64,
            tests=12,
            test_images=1000,
        ),
        Scale("short", "a tenth of the iterations", seeds=2, length=lambda n: n // 10, tests=40),
        Scale("paper", "the paper's protocol", seeds=4),
    )
}


def named(name: str) -> Scale:
    """Returns a scale by name. Raises UserError with the nearest known one."""
    if name not in SCALES:
        raise unknown("scale", name, SCALES)
    return SCALES[name]


def check_seeds(seeds: int) -> int:
    """Returns `seeds` if it is a number of seeds. Raises UserError if it is not."""
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: give a number of at least 1")
    return seeds
