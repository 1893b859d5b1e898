"""Learning rate, momentum and weight decay as functions of the iteration.

Each schedule is a frozen dataclass whose times are lengths (`iterations(n)`, `epochs(n)`) or fractions of the run.
`schedule.build(iterations, iterations_per_epoch)` returns an Optax schedule: a jittable function from the iteration
(a count from 0) to a float32 value. It is total: past the end of the run it keeps the last value.

The formulas are the author's, from his solver files, and are tested against every line of his published logs. A
schedule of your own is a frozen dataclass that derives from `Schedule` and has a `formula`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from smith.errors import UserError
from smith.lengths import Time, resolve
from smith.registry import Registry
from smith.rules import Rate, Rule, Share, Times, check

if TYPE_CHECKING:
    import optax
    from jax import Array

    Formula = Callable[[Array], Array]  # of the iteration, a float32 array in [0, iterations of the run]

SCHEDULES: Registry[type[Schedule]] = Registry("schedule")


class _JaxNumpy:
    """`jax.numpy`, imported when a formula first needs it: descriptions do not wait for JAX."""

    def __getattr__(self, name: str) -> Any:
        import jax.numpy

        return getattr(jax.numpy, name)


jnp: Any = _JaxNumpy()


@dataclass(frozen=True)
class Schedule:
    """The common part of all schedules. A class that derives from it is registered under its own name.

    slug: a format for what the schedule is called in the names of result files; its class's name, if not given
    ordered: two fields; the value of the first must not be above that of the second
    """

    slug: ClassVar[str] = ""
    ordered: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, slug: str = "", ordered: tuple[str, ...] = ()) -> None:
        cls.slug, cls.ordered = slug or cls.slug, ordered or cls.ordered
        SCHEDULES.add(cls.__name__, cls, cls)

    def __post_init__(self) -> None:
        check(self)
        low, high = (getattr(self, name) for name in self.ordered) if self.ordered else (0, 0)
        if not low <= high:
            raise UserError(f"{self.ordered[0]} {low:g} is above {self.ordered[1]} {high:g} in {self}: exchange them")

    def __str__(self) -> str:
        return (self.slug or type(self).__name__.lower()).format(self)

    def build(self, iterations: int, iterations_per_epoch: float) -> optax.Schedule:
        """Returns the Optax schedule of a run of `iterations`. Raises UserError if a time does not fit into it."""
        formula = self.formula(iterations, iterations_per_epoch)
        if not callable(formula):
            raise UserError(f"formula of {type(self).__name__} gives {formula!r}: give a function of the iteration")
        return lambda count: jnp.asarray(formula(jnp.clip(jnp.asarray(count, jnp.float32), 0, iterations)), jnp.float32)

    def formula(self, total: int, per_epoch: float) -> Formula:
        """Returns the value as a function of the iteration, of a run of `total` iterations."""
        raise NotImplementedError


_ONE = Rule("a schedule", lambda value: isinstance(value, Schedule))
_SOME = Rule("a tuple of schedules", lambda value: isinstance(value, tuple) and all(map(_ONE.holds, value)))


def _steps(time: Time, total: int, per_epoch: float, least: int = 1, most: float = math.inf) -> int:
    """Returns a time in iterations. Raises UserError if it is not between `least` and `most`."""
    steps = resolve(time, total, per_epoch)
    if not least <= steps <= most:
        raise UserError(f"{time} ({steps} iterations) does not fit into a run of {total} iterations")
    return steps


@dataclass(frozen=True)
class Constant(Schedule, slug="{0.value:g}"):
    """The same value throughout."""

    value: Rate

    def formula(self, total: int, per_epoch: float) -> Formula:
        return lambda t: jnp.full_like(t, self.value)


@dataclass(frozen=True)
class RangeTest(Schedule, slug="range{0.start:g}-{0.stop:g}", ordered=("start", "stop")):
    """The LR range test (section 4.1): linear from `start` to `stop` over `step_size`, then back at the same speed.

    A range test proper ends at `step_size`. A longer run keeps `start` after twice that time. An `exponential` one
    grows by the same factor in every iteration, as over several powers of ten.
    """

    start: Rate
    stop: Rate
    step_size: Time = 1.0
    exponential: bool = False

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _steps(self.step_size, total, per_epoch, most=total)
        if self.exponential and not self.start > 0:
            raise UserError(f"a range from {self.start:g} can not grow by a factor: start above 0")

        def value(t: Array) -> Array:
            cycles = _quotient(t, steps)
            height = jnp.where(t <= steps, cycles, jnp.maximum(2 - cycles, 0))
            if self.exponential:
                return self.start * (self.stop / self.start) ** height
            return self.start + (self.stop - self.start) * height

        return value


@dataclass(frozen=True)
class Triangular(Schedule, slug="triangular{0.base:g}-{0.peak:g}", ordered=("base", "peak")):
    """Cyclical learning rate: linear from `base` to `peak` over `step_size`, back over the next, and so on."""

    base: Rate
    peak: Rate
    step_size: Time = 0.5

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _steps(self.step_size, total, per_epoch, most=total)
        return lambda t: self.base + (self.peak - self.base) * _triangle(t, steps)[0]


def _quotient(a: Array, b: int) -> Array:
    """Returns a / b, rounded to float32 as the author's was; XLA turns a constant divisor into a factor 1/b."""
    return a / (b + 0 * a)  # not a constant: the author's sixth digit depends on it


def _triangle(t: Array, steps: int) -> tuple[Array, Array]:
    """Returns the height (0 to 1) of a triangular wave with half-period `steps`, and the number of the cycle."""
    cycle = jnp.floor(t / (2 * steps))
    return 1 - _quotient(jnp.abs(t - (2 * cycle + 1) * steps), steps), cycle


@dataclass(frozen=True)
class OneCycle(Schedule, slug="1cycle{0.base:g}-{0.peak:g}", ordered=("base", "peak")):
    """The author's 1cycle policy (section 4.1): up from `base` to `peak`, down towards 0, then constant.

    The way down aims at 0, not at `base`, and is floored at `base`/1000, the value of the rest of the run.
    """

    base: Rate
    peak: Rate
    step_size: Time

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _steps(self.step_size, total, per_epoch, most=total)

        def value(t: Array) -> Array:
            cycles = _quotient(t, steps)
            up = self.base + (self.peak - self.base) * cycles
            down = self.peak * (2 - cycles)  # this order gives the author's last digits in float32
            return jnp.where(t < steps, up, jnp.maximum(down, self.base / 1000))

        return value


@dataclass(frozen=True)
class CyclicalMomentum(Schedule, slug="cm{0.ends[0]:g}-{0.ends[1]:g}", ordered=("low", "high")):
    """Cyclical momentum (section 4.2): from `high` to `low` over `step_size` and back, or the reverse if `rising`.

    Every further cycle has half the amplitude of the one before (Caffe's `triangular2`).
    """

    high: Share
    low: Share
    step_size: Time = 1.0
    rising: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Its value at first, and where it is farthest from that."""
        return (self.low, self.high) if self.rising else (self.high, self.low)

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _steps(self.step_size, total, per_epoch, most=total)

        def value(t: Array) -> Array:
            first, second = jnp.float32(self.ends)
            height, cycle = _triangle(t, steps)
            return first + (second - first) * 0.5**cycle * height

        return value


@dataclass(frozen=True)
class Multistep(Schedule, slug="step{0.value:g}"):
    """`value`, multiplied by `factor` at each time of `at`."""

    value: Rate
    factor: Rate
    at: Times

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = [_steps(time, total, per_epoch, 0, total) for time in self.at]
        return lambda t: self.value * self.factor ** sum(((t >= n).astype(jnp.float32) for n in steps), 0 * t)


@dataclass(frozen=True)
class Exponential(Schedule, slug="exp{0.value:g}"):
    """`value`, multiplied by `factor` every `every` (Caffe's `step`; the standard ImageNet policy of figure 16)."""

    value: Rate
    factor: Rate
    every: Time

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _steps(self.every, total, per_epoch)
        return lambda t: self.value * self.factor ** (t.astype(int) // steps)  # float32 would be late at some multiples


@dataclass(frozen=True)
class Inverse(Schedule, slug="inv{0.value:g}"):
    """`value` * (1 + t / `time`) ** -`power` (Caffe's `inv` with gamma = 1 / time; table 2, MNIST)."""

    value: Rate
    time: Time
    power: Rate = 0.75

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _steps(self.time, total, per_epoch)
        return lambda t: self.value * (1 + t / steps) ** -self.power


@dataclass(frozen=True)
class Scaled(Schedule, slug="{0.factor:g}x{0.schedule}"):
    """Another schedule times a factor: the learning rates of a network in miniature."""

    schedule: Annotated[Schedule, _ONE]
    factor: Rate

    def formula(self, total: int, per_epoch: float) -> Formula:
        formula = self.schedule.formula(total, per_epoch)
        return lambda t: self.factor * formula(t)


@dataclass(frozen=True)
class Join(Schedule):
    """One schedule after another: `schedules[i]` runs from `at[i-1]` to `at[i]` and counts its iterations from there.

    Figure 7d warms up and then drops: `Join((RangeTest(0.001, 0.007), Multistep(...)), at=(0.5,))`.
    """

    schedules: Annotated[tuple[Schedule, ...], _SOME]
    at: Times

    def formula(self, total: int, per_epoch: float) -> Formula:
        ends = [*(_steps(time, total, per_epoch, 0, total) for time in self.at), total]
        starts = [0, *ends[:-1]]
        if len(self.schedules) != len(ends) or any(a >= b for a, b in zip(starts, ends, strict=True)):
            raise UserError(f"joined schedules: {len(self.schedules)} parts do not fit between 0, {ends}")
        parts = [(a, s.formula(b - a, per_epoch)) for s, a, b in zip(self.schedules, starts, ends, strict=True)][::-1]
        return lambda t: jnp.select([t >= start for start, _ in parts], [part(t - start) for start, part in parts])

    def __str__(self) -> str:
        return "+".join(map(str, self.schedules))
