"""Policies that others made, beside the author's: PyTorch's, fastai's and Optax's 1cycle, and WSD with its kin."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smith.errors import UserError
from smith.rules import Anneal, Divisor, Rate, Shape, Share
from smith.schedules import Schedule, jnp

if TYPE_CHECKING:
    from jax import Array

    from smith.schedules import Formula


def _phases(values: tuple[float, ...], ends: tuple[float, ...], shape: Anneal = "cosine") -> Formula:
    """Returns a function that goes from value to value, reaching `values[i]` at `ends[i]`; constant outside."""

    def value(t: Array) -> Array:
        result = jnp.full_like(t, values[0])
        for (start, begin), (stop, end) in itertools.pairwise(zip(values, ends, strict=True)):
            share = jnp.clip((t - begin) / max(end - begin, 1e-9), 0, 1)
            share = (1 - jnp.cos(math.pi * share)) / 2 if shape == "cosine" else share
            result = jnp.where(t >= begin, start + (stop - start) * share, result)
        return result

    return value


def _pytorch(of: PyTorchOneCycle | PyTorchMomentum, total: int, start: float, peak: float, end: float) -> Formula:
    """Returns the value of OneCycleLR, whose last value is that of the last iteration, not that of the run's end."""
    top, last = of.pct_start * total - 1, total - 1
    if of.three_phase:
        return _phases((start, peak, start, end), (0, top, 2 * top, last), of.anneal)
    return _phases((start, peak, end), (0, top, last), of.anneal)


@dataclass(frozen=True)
class PyTorchOneCycle(Schedule):
    """`torch.optim.lr_scheduler.OneCycleLR`, for comparison: two phases (its default) or `three_phase`.

    From `peak`/`div_factor` to `peak` over `pct_start` of the run, then to `peak`/(`div_factor`*`final_div_factor`), in
    three phases by way of the initial value.
    """

    peak: Rate
    three_phase: bool = False
    pct_start: Share = 0.3
    div_factor: Divisor = 25.0
    final_div_factor: Divisor = 1e4
    anneal: Anneal = "cosine"

    def formula(self, total: int, per_epoch: float) -> Formula:
        start = self.peak / self.div_factor
        return _pytorch(self, total, start, self.peak, start / self.final_div_factor)

    def __str__(self) -> str:
        return f"pytorch{3 if self.three_phase else 2}-{self.peak:g}"


@dataclass(frozen=True)
class PyTorchMomentum(Schedule, slug="pytorchcm{0.high:g}-{0.low:g}", ordered=("low", "high")):
    """The momentum of PyTorch's OneCycleLR: `high` to `low` while the rate rises, and back while it falls."""

    high: Share = 0.95
    low: Share = 0.85
    three_phase: bool = False
    pct_start: Share = 0.3
    anneal: Anneal = "cosine"

    def formula(self, total: int, per_epoch: float) -> Formula:
        return _pytorch(self, total, self.high, self.low, self.high)


@dataclass(frozen=True)
class OptaxOneCycle(Schedule, slug="optax-{0.peak:g}"):
    """`optax.linear_onecycle_schedule`, for comparison: three straight lines.

    From `peak`/`div_factor` to `peak` over `pct_start` of the run, back until `pct_final`, then to
    `peak`/(`div_factor`*`final_div_factor`). Keras' popular callback, titu1994/keras-one-cycle, is that with other
    numbers: `OptaxOneCycle(peak, 0.45, 0.9, 10, 100)`.
    """

    peak: Rate
    pct_start: Share = 0.3
    pct_final: Share = 0.85
    div_factor: Divisor = 25.0
    final_div_factor: Divisor = 1e4

    def formula(self, total: int, per_epoch: float) -> Formula:
        start = self.peak / self.div_factor
        ends = 0, int(self.pct_start * total), int(self.pct_final * total), total
        return _phases((start, self.peak, start, start / self.final_div_factor), ends, "linear")


@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """WSD: up to `peak` in a straight line, constant, then down to 0 over `cooldown`, a part of the run.

    shape: of the way down. "sqrt" is 1 - sqrt(the part of it that is done), as in Haegele et al. (arXiv:2405.18392)
    With a cooldown of all the rest it is the usual linear or cosine schedule with warm-up; with 0 it stays constant.
    """

    peak: Rate
    cooldown: Share = 0.2
    shape: Shape = "sqrt"
    warm_up: Share = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up + self.cooldown > 1 + 1e-9:
            raise UserError(f"warm-up {self.warm_up:g} and cooldown {self.cooldown:g}: together they are at most 1")

    def formula(self, total: int, per_epoch: float) -> Formula:
        rising, falling = self.warm_up * total, self.cooldown * total

        def value(t: Array) -> Array:
            up = jnp.minimum((t + 1) / (rising + 1), 1)  # the first iteration trains too
            done = jnp.clip((t - (total - falling)) / max(falling, 1e-9), 0, 1)
            down = {"linear": done, "cosine": (1 - jnp.cos(math.pi * done)) / 2, "sqrt": jnp.sqrt(done)}[self.shape]
            return self.peak * up * (1 - down)

        return value

    def __str__(self) -> str:
        return f"{f'{self.shape}{self.cooldown:g}' if self.cooldown else 'constant'}-{self.peak:g}"


@dataclass(frozen=True)
class FastaiOneCycle(Schedule, slug="fastai-{0.peak:g}"):
    """fastai's `fit_one_cycle`, for comparison: cosine from `peak`/`div` to `peak`, then to `peak`/`div_final`."""

    peak: Rate
    pct_start: Share = 0.25
    div: Divisor = 25.0
    div_final: Divisor = 1e5

    def formula(self, total: int, per_epoch: float) -> Formula:
        values = (self.peak / self.div, self.peak, self.peak / self.div_final)
        return _phases(values, (0, self.pct_start * total, total))


@dataclass(frozen=True)
class FastaiMomentum(Schedule, slug="fastaicm{0.high:g}-{0.low:g}", ordered=("low", "high")):
    """The momentum of fastai's `fit_one_cycle`: cosine from `high` to `low` over `pct_start`, and back."""

    high: Share = 0.95
    low: Share = 0.85
    pct_start: Share = 0.25

    def formula(self, total: int, per_epoch: float) -> Formula:
        return _phases((self.high, self.low, self.high), (0, self.pct_start * total, total))
