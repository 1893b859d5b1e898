"""Lengths of training, with their unit: `iterations(9_277)`, `epochs(95)`, or a plain fraction of the run.

Also durations in seconds, as people write and read them.
"""

import math
import re
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from smith.errors import UserError, unknown


@dataclass(frozen=True)
class Length:
    """A length of training. An iteration is one step on one batch, an epoch one pass over the training set."""

    value: float
    unit: Literal["iterations", "epochs"]

    def __post_init__(self) -> None:
        if self.unit not in (known := ("iterations", "epochs")):
            raise unknown("unit of a length", str(self.unit), known)
        if not (isinstance(self.value, Real) and 0 < self.value <= 1e308):
            raise UserError(f"a length must be a positive number, not {self.value} {self.unit}")

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"

    def __mul__(self, factor: float) -> "Length":
        return Length(self.value * factor, self.unit)


def iterations(n: float) -> Length:
    """A length of `n` iterations."""
    return Length(n, "iterations")


def epochs(n: float) -> Length:
    """A length of `n` epochs."""
    return Length(n, "epochs")


Time = Length | float
"""A point in a run or a part of it: a Length, or a fraction of the run's length (0 to 1)."""


def resolve(time: Time, total: int, iterations_per_epoch: float) -> int:
    """Returns `time` in whole iterations, rounded down as the author did (95 epochs of 97.656 are 9,277).

    total: iterations of the run, which a fraction refers to
    iterations_per_epoch: training images over batch size; not rounded

    Raises:
      UserError: a fraction outside 0 to 1.
    """
    if not isinstance(time, Length):
        if not (isinstance(time, Real) and 0 <= time <= 1):
            raise UserError(f"{time} is not a fraction of the run; give 0 to 1, or iterations(n) or epochs(n)")
        return math.floor(time * total + 1e-9)
    per_unit = iterations_per_epoch if time.unit == "epochs" else 1
    return max(1, math.floor(min(time.value, 1e18) * per_unit + 1e-9))


def seconds(text: str, option: str) -> float:
    """Reads a duration such as 8m, 90s or 1.5h. Raises UserError, which names the option, if it is not one."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match:
        raise UserError(f"{option} {text}: give a time such as 90s, 8m or 1.5h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def duration(seconds: float) -> str:
    """Returns a time for people: "45 s", "8 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
