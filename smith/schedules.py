"""Learning rate, momentum and weight decay as functions of the iteration.

Each schedule is a frozen dataclass whose times are lengths (`iterations(n)`, `epochs(n)`) or fractions of the run.
`schedule.build(iterations, iterations_per_epoch)` returns an Optax schedule: a jittable function from the iteration
(a count from 0) to a float32 value. It is total: past the end of the run it keeps the last value.

A schedule of your own is a frozen dataclass that derives from `Schedule` and has a `formula`. A class with that name is
then found wherever a result mentions it.

The formulas are the author's, from his solver files, and are tested against every line of his published logs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from smith.errors import UserError
from smith.lengths import Time, resolve
from smith.registry import Registry

if TYPE_CHECKING:
    import optax
    from jax import Array

    Formula = Callable[[Array], Array]
    """A value as a function of the iteration, a float32 array in [0, iterations of the run]."""

WHOLE = 1.0  # the whole run, as a fraction
SCHEDULES: Registry[type[Schedule]] = Registry("schedule")


class _JaxNumpy:
    """`jax.numpy`, imported when a formula first needs it: describing and listing runs does not wait for JAX."""

    def __getattr__(self, name: str) -> Any:
        import jax.numpy

        return getattr(jax.numpy, name)


jnp: Any = _JaxNumpy()


def _ordered(low: float, high: float, names: str) -> None:
    if not low <= high:
        raise UserError(f"{names}: {low:g} is above {high:g}; give the smaller value first")


def _step_size(time: Time, total: int, per_epoch: float) -> int:
    steps = resolve(time, total, per_epoch)
    if not 1 <= steps <= total:
        raise UserError(f"a step size of {time} ({steps} iterations) does not fit into a run of {total} iterations")
    return steps


def _moment(time: Time, total: int, per_epoch: float) -> int:
    steps = resolve(time, total, per_epoch)
    if steps > total:
        raise UserError(f"{time} ({steps} iterations) lies outside a run of {total} iterations")
    return steps


def _period(time: Time, total: int, per_epoch: float) -> int:
    steps = resolve(time, total, per_epoch)
    if steps < 1:
        raise UserError(f"a period of {time} of {total} iterations is less than one iteration")
    return steps


@dataclass(frozen=True)
class Schedule:
    """The common part of all schedules. A class that derives from it is registered under its own name."""

    def __init_subclass__(cls) -> None:
        SCHEDULES.add(cls.__name__, cls, cls)

    def build(self, iterations: int, iterations_per_epoch: float) -> optax.Schedule:
        """Returns the Optax schedule of a run of `iterations`.

        Raises:
          UserError: a step size is longer than the run, or a time lies outside it.
        """
        formula = self.formula(iterations, iterations_per_epoch)

        def schedule(count: Any) -> Array:
            return formula(jnp.clip(jnp.asarray(count, jnp.float32), 0, iterations)).astype(jnp.float32)

        return schedule

    def formula(self, total: int, per_epoch: float) -> Formula:
        """Returns the value as a function of the iteration, of a run of `total` iterations."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Returns what the schedule is called in the names of result files."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value throughout."""

    value: float

    def formula(self, total: int, per_epoch: float) -> Formula:
        return lambda t: jnp.full_like(t, self.value)

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True)
class RangeTest(Schedule):
    """The LR range test (section 4.1): linear from `start` to `stop` over `step_size`, then back at the same speed.

    A range test proper ends at `step_size`. A longer run keeps `start` after twice that time.
    """

    start: float
    stop: float
    step_size: Time = WHOLE

    def __post_init__(self) -> None:
        _ordered(self.start, self.stop, "range test")

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _step_size(self.step_size, total, per_epoch)

        def value(t: Array) -> Array:
            cycles = _quotient(t, steps)
            return self.start + (self.stop - self.start) * jnp.where(t <= steps, cycles, jnp.maximum(2 - cycles, 0))

        return value

    def __str__(self) -> str:
        return f"range{self.start:g}-{self.stop:g}"


@dataclass(frozen=True)
class Triangular(Schedule):
    """Cyclical learning rate: linear from `base` to `peak` over `step_size`, back over the next, and so on."""

    base: float
    peak: float
    step_size: Time = 0.5

    def __post_init__(self) -> None:
        _ordered(self.base, self.peak, "triangular schedule")

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _step_size(self.step_size, total, per_epoch)
        return lambda t: self.base + (self.peak - self.base) * _triangle(t, steps)[0]

    def __str__(self) -> str:
        return f"triangular{self.base:g}-{self.peak:g}"


def _quotient(a: Array, b: int) -> Array:
    """Returns a / b, rounded to float32 as the author's was; XLA turns a constant divisor into a factor 1/b."""
    return a / (b + 0 * a)  # not a constant: the author's sixth digit depends on it


def _triangle(t: Array, steps: int) -> tuple[Array, Array]:
    """Returns the height (0 to 1) of a triangular wave with half-period `steps`, and the number of the cycle."""
    cycle = jnp.floor(t / (2 * steps))
    return 1 - _quotient(jnp.abs(t - (2 * cycle + 1) * steps), steps), cycle


@dataclass(frozen=True)
class OneCycle(Schedule):
    """The author's 1cycle policy (section 4.1): up from `base` to `peak`, down towards 0, then constant.

    The way down aims at 0, not at `base`, and is floored at `base`/1000, the value of the rest of the run.
    """

    base: float
    peak: float
    step_size: Time

    def __post_init__(self) -> None:
        _ordered(self.base, self.peak, "1cycle policy")

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _step_size(self.step_size, total, per_epoch)

        def value(t: Array) -> Array:
            cycles = _quotient(t, steps)
            up = self.base + (self.peak - self.base) * cycles
            down = self.peak * (2 - cycles)  # this order gives the author's last digits in float32
            return jnp.where(t < steps, up, jnp.maximum(down, self.base / 1000))

        return value

    def __str__(self) -> str:
        return f"1cycle{self.base:g}-{self.peak:g}"


@dataclass(frozen=True)
class CyclicalMomentum(Schedule):
    """Cyclical momentum (section 4.2): from `high` to `low` over `step_size` and back, or the reverse if `rising`.

    Every further cycle has half the amplitude of the one before (Caffe's `triangular2`).
    """

    high: float
    low: float
    step_size: Time = WHOLE
    rising: bool = False

    def __post_init__(self) -> None:
        _ordered(self.low, self.high, "cyclical momentum, low and high")

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _step_size(self.step_size, total, per_epoch)
        values = [self.low, self.high] if self.rising else [self.high, self.low]

        def value(t: Array) -> Array:
            first, second = jnp.float32(values)
            height, cycle = _triangle(t, steps)
            return first + (second - first) * 0.5**cycle * height

        return value

    def __str__(self) -> str:
        return f"cm{self.low:g}-{self.high:g}" if self.rising else f"cm{self.high:g}-{self.low:g}"


@dataclass(frozen=True)
class Multistep(Schedule):
    """`value`, multiplied by `factor` at each time of `at`."""

    value: float
    factor: float
    at: tuple[Time, ...]

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = [_moment(time, total, per_epoch) for time in self.at]
        return lambda t: self.value * self.factor ** sum(((t >= n).astype(jnp.float32) for n in steps), 0 * t)

    def __str__(self) -> str:
        return f"step{self.value:g}"


@dataclass(frozen=True)
class Exponential(Schedule):
    """`value`, multiplied by `factor` every `every` (Caffe's `step`; the standard ImageNet policy of figure 16)."""

    value: float
    factor: float
    every: Time

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _period(self.every, total, per_epoch)
        return lambda t: self.value * self.factor ** (t.astype(int) // steps)  # float32 would be late at some multiples

    def __str__(self) -> str:
        return f"exp{self.value:g}"


@dataclass(frozen=True)
class Inverse(Schedule):
    """`value` * (1 + t / `time`) ** -`power` (Caffe's `inv` with gamma = 1 / time; table 2, MNIST)."""

    value: float
    time: Time
    power: float = 0.75

    def formula(self, total: int, per_epoch: float) -> Formula:
        steps = _period(self.time, total, per_epoch)
        return lambda t: self.value * (1 + t / steps) ** -self.power

    def __str__(self) -> str:
        return f"inv{self.value:g}"


@dataclass(frozen=True)
class Scaled(Schedule):
    """Another schedule times a factor: the learning rates of a network in miniature."""

    schedule: Schedule
    factor: float

    def formula(self, total: int, per_epoch: float) -> Formula:
        formula = self.schedule.formula(total, per_epoch)
        return lambda t: self.factor * formula(t)

    def __str__(self) -> str:
        return f"{self.factor:g}x{self.schedule}"


@dataclass(frozen=True)
class Join(Schedule):
    """One schedule after another: `schedules[i]` runs from `at[i-1]` to `at[i]` and counts its iterations from there.

    Figure 7d warms up and then drops: `Join((RangeTest(0.001, 0.007), Multistep(...)), at=(0.5,))`.
    """

    schedules: tuple[Schedule, ...]
    at: tuple[Time, ...]

    def formula(self, total: int, per_epoch: float) -> Formula:
        ends = [*(_moment(time, total, per_epoch) for time in self.at), total]
        starts = [0, *ends[:-1]]
        if len(self.schedules) != len(ends) or any(a >= b for a, b in zip(starts, ends, strict=True)):
            raise UserError(f"joined schedules: {len(self.schedules)} parts do not fit between 0, {ends}")
        formulas = [s.formula(b - a, per_epoch) for s, a, b in zip(self.schedules, starts, ends, strict=True)]

        def value(t: Array) -> Array:
            result = formulas[0](t)
            for formula, start in zip(formulas[1:], starts[1:], strict=True):
                result = jnp.where(t >= start, formula(t - start), result)
            return result

        return value

    def __str__(self) -> str:
        return "+".join(map(str, self.schedules))


Anneal = Literal["cosine", "linear"]


def _anneal(progress: Array, start: float, stop: float, shape: Anneal) -> Array:
    share = (1 - jnp.cos(math.pi * progress)) / 2 if shape == "cosine" else progress
    return start + (stop - start) * share


def _phases(values: tuple[float, ...], ends: tuple[float, ...], shape: Anneal) -> Formula:
    """Returns a function that goes from value to value, reaching `values[i]` at `ends[i]`; constant outside."""

    def value(t: Array) -> Array:
        result = jnp.full_like(t, values[0])
        for i in range(1, len(values)):
            progress = jnp.clip((t - ends[i - 1]) / max(ends[i] - ends[i - 1], 1e-9), 0, 1)
            result = jnp.where(t >= ends[i - 1], _anneal(progress, values[i - 1], values[i], shape), result)
        return result

    return value


@dataclass(frozen=True)
class PyTorchOneCycle(Schedule):
    """`torch.optim.lr_scheduler.OneCycleLR`, for comparison: two phases (its default) or `three_phase`.

    From `peak`/`div_factor` to `peak` over `pct_start` of the run, then to `peak`/(`div_factor`*`final_div_factor`), in
    three phases by way of the initial value. The run's last iteration, not its end, has the last value.
    """

    peak: float
    three_phase: bool = False
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: Anneal = "cosine"

    def formula(self, total: int, per_epoch: float) -> Formula:
        start = self.peak / self.div_factor
        top, last = self.pct_start * total - 1, total - 1
        if self.three_phase:
            values = (start, self.peak, start, start / self.final_div_factor)
            return _phases(values, (0, top, 2 * top, last), self.anneal)
        return _phases((start, self.peak, start / self.final_div_factor), (0, top, last), self.anneal)

    def __str__(self) -> str:
        return f"pytorch{3 if self.three_phase else 2}-{self.peak:g}"


@dataclass(frozen=True)
class PyTorchMomentum(Schedule):
    """The momentum of PyTorch's OneCycleLR: `high` to `low` while the rate rises, and back while it falls."""

    high: float = 0.95
    low: float = 0.85
    three_phase: bool = False
    pct_start: float = 0.3
    anneal: Anneal = "cosine"

    def __post_init__(self) -> None:
        _ordered(self.low, self.high, "PyTorch's momentum, low and high")

    def formula(self, total: int, per_epoch: float) -> Formula:
        top, last = self.pct_start * total - 1, total - 1
        if self.three_phase:
            return _phases((self.high, self.low, self.high, self.high), (0, top, 2 * top, last), self.anneal)
        return _phases((self.high, self.low, self.high), (0, top, last), self.anneal)

    def __str__(self) -> str:
        return f"pytorchcm{self.high:g}-{self.low:g}"


@dataclass(frozen=True)
class FastaiOneCycle(Schedule):
    """fastai's `fit_one_cycle`, for comparison: cosine from `peak`/`div` to `peak`, then to `peak`/`div_final`."""

    peak: float
    pct_start: float = 0.25
    div: float = 25.0
    div_final: float = 1e5

    def formula(self, total: int, per_epoch: float) -> Formula:
        values = (self.peak / self.div, self.peak, self.peak / self.div_final)
        return _phases(values, (0, self.pct_start * total, total), "cosine")

    def __str__(self) -> str:
        return f"fastai-{self.peak:g}"


@dataclass(frozen=True)
class FastaiMomentum(Schedule):
    """The momentum of fastai's `fit_one_cycle`: cosine from `high` to `low` over `pct_start`, and back."""

    high: float = 0.95
    low: float = 0.85
    pct_start: float = 0.25

    def __post_init__(self) -> None:
        _ordered(self.low, self.high, "fastai's momentum, low and high")

    def formula(self, total: int, per_epoch: float) -> Formula:
        return _phases((self.high, self.low, self.high), (0, self.pct_start * total, total), "cosine")

    def __str__(self) -> str:
        return f"fastaicm{self.high:g}-{self.low:g}"

