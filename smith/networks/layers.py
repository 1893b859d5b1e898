"""Caffe's convolution, pools, local response normalisation, dropout and fillers, for any backend.

All images are (batch, height, width, channels). The layers are differentiable in both modes. Those with a faster double
on a CPU name it (see `smith.networks.cpu`).
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.nn.initializers import normal

from smith.networks import convolutions, cpu, threefry
from smith.networks.registry import Options
from smith.networks.windows import HEIGHT, LRN_BETA, WIDTH, gather, lrn_scale, pixels_inside

DROPOUT = 0.2  # in the paper's networks that have dropout


def xavier(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32, **_: Any) -> jax.Array:
    """Draws weights as Caffe's filler: uniform within +-sqrt(3 / fan_in), which is a variance of 1 / fan_in."""
    bound = np.sqrt(np.float32(3) * np.float32(1 / np.prod(shape[:-1])))
    return _scaled(jax.random.uniform(key, (_power_of_two(shape),), dtype, -1), tuple(shape), float(bound))


def msra(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32, **_: Any) -> jax.Array:
    """Draws weights as Caffe's filler: normal with the variance 2 / fan_in (He et al. 2015)."""
    deviation = np.sqrt(2 / np.prod(shape[:-1]))
    return _scaled(jax.random.normal(key, (_power_of_two(shape),), dtype), tuple(shape), float(deviation))


def _power_of_two(shape: Sequence[int]) -> int:
    """Returns how many numbers to draw: a network with forty shapes of weights compiles a few programs only.

    They are drawn in one row, which compiles many times faster than in four axes, and gives the same numbers.
    """
    return 1 << (int(np.prod(shape)) - 1).bit_length()


@partial(jax.jit, static_argnums=(1, 2))
def _scaled(drawn: jax.Array, shape: tuple[int, ...], factor: float) -> jax.Array:
    return drawn[: int(np.prod(shape))].reshape(shape) * factor


Filler = Callable[..., jax.Array]  # (key, shape, type) -> weights
INITIALISERS: dict[str, Filler] = {"xavier": xavier, "msra": msra}


def initialiser(options: Options, default: str | Filler) -> Filler:
    """Returns what draws a layer's weights: what the run's options name, else the network's own."""
    chosen = default if options.init in (None, "scaled") else options.init
    return INITIALISERS[chosen] if isinstance(chosen, str) else chosen


def gaussian(options: Options, deviation: float, inputs: int) -> Filler:
    """Returns Caffe's Gaussian filler, unless the run's options name another.

    deviation: of the weights, where a unit has so many inputs, as in the network's own file. With the option "scaled"
      a unit with fewer has larger weights by the root of the ratio, so that what it puts out is as large.
    """

    def draw(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32, **_: Any) -> jax.Array:
        ratio = inputs / float(np.prod(shape[:-1])) if options.init == "scaled" else 1.0
        return normal(deviation * ratio**0.5)(key, shape, dtype)

    return initialiser(options, draw)


class Conv(nnx.Conv):
    """A convolution, of which the bias can be added apart: it is cheaper after a max pool.

    strides: for both sides, or (rows, columns); padding: "SAME", "VALID", or ((above, below), (left, right)) in pixels
    """

    def convolve(self, x: jax.Array) -> jax.Array:
        """x: (batch, height, width, inputs). Returns (batch, new height, new width, outputs), without the bias."""
        strides: Any = (self.strides,) * 2 if isinstance(self.strides, int) else self.strides
        return convolve(x, self.kernel[...], strides=strides, padding=self.padding)

    @property
    def weights(self) -> tuple[jax.Array, jax.Array]:
        """The kernel, (rows, columns, inputs, outputs), and the bias, (outputs,)."""
        assert self.bias is not None
        return self.kernel[...], self.bias[...]

    def add_bias(self, x: jax.Array) -> jax.Array:
        """x: (batch, height, width, outputs). Returns the same shape."""
        return x + self.weights[1]

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: (batch, height, width, inputs). Returns (batch, new height, new width, outputs)."""
        return self.add_bias(self.convolve(x))


@cpu.faster(convolutions.convolve)
def convolve(x: jax.Array, kernel: jax.Array, *, padding: Any, strides: Any = (1, 1)) -> jax.Array:
    """x: (batch, height, width, inputs); kernel: (rows, columns, inputs, outputs); padding, strides: as in `Conv`.

    Returns (batch, new height, new width, outputs).
    """
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=convolutions.NHWC)


@cpu.faster(cpu.max_pool)
def max_pool(x: jax.Array, *, window: int, stride: int) -> jax.Array:
    """Takes the largest value of each window, in Caffe's ceil mode.

    x: (batch, height, width, channels). Returns (batch, pooled height, pooled width, channels).
    Of equal values the first in reading order gets the gradient.
    """
    for axis in (WIDTH, HEIGHT):
        x = reduce(_larger, gather(x, axis, window, stride, -np.inf))
    return x


def _larger(first: jax.Array, second: jax.Array) -> jax.Array:
    """Like `jnp.maximum`, which would divide the gradient among equal values."""
    return jnp.where((first >= second) | jnp.isnan(first), first, second)


@cpu.faster(cpu.avg_pool)
def avg_pool(x: jax.Array, *, window: int, stride: int) -> jax.Array:
    """Takes the mean over the pixels of each window that lie inside the image, in Caffe's ceil mode.

    x: (batch, height, width, channels). Returns (batch, pooled height, pooled width, channels).
    """
    inside = pixels_inside(x.shape[1:3], window, stride)
    for axis in (WIDTH, HEIGHT):
        x = reduce(jnp.add, gather(x, axis, window, stride, 0))
    return x / inside.astype(x.dtype)


@cpu.faster(cpu.lrn_within_channel)
def lrn_within_channel(x: jax.Array) -> jax.Array:
    """Local response normalisation as Caffe's WITHIN_CHANNEL: x * (1 + alpha * mean)^-beta.

    The mean is of x^2 over the 3 x 3 pixels around each pixel, zeros outside, always divided by 9.
    x: (batch, height, width, channels). Returns the same shape.
    """
    return (x * lrn_scale(x) ** -LRN_BETA).astype(x.dtype)


def dropout(x: jax.Array, key: jax.Array | None) -> jax.Array:
    """Sets a fifth of the numbers to zero, at random, and the rest to 1.25 times what they were."""
    assert key is not None, "training needs a key"
    kept = bernoulli(key, 1 - DROPOUT, size=x.size).reshape(x.shape)
    return jnp.where(kept, x / (1 - DROPOUT), 0)


@cpu.faster(threefry.bernoulli, where=threefry.is_known)
def bernoulli(key: jax.Array, probability: float, *, size: int) -> jax.Array:
    """Returns bools, (size,), each true with this probability."""
    return jax.random.bernoulli(key, probability, (size,))
