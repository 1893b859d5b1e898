"""Caffe's pooling and local response normalisation, with gradients that XLA compiles to fast loops on a CPU too.

All images are (batch, height, width, channels). A pool is done along one side, then along the other, and so is its
gradient. The gradient asks of every input pixel which windows it is in, where XLA's own scatters from every window.
"""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.nn.initializers import Initializer

from smith.networks import Options

HEIGHT, WIDTH = 1, 2
NHWC = ("NHWC", "HWIO", "NHWC")  # images, kernel, output
LANES = 16  # float32 numbers in a CPU's widest registers


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


INITIALISERS: dict[str, Any] = {"xavier": xavier, "msra": msra}


def initialiser(options: Options, default: str | Initializer) -> Initializer:
    """Returns what draws a layer's weights: what the run's options name, else the network's own."""
    chosen = options.init or default
    return INITIALISERS[chosen] if isinstance(chosen, str) else chosen


class Conv(nnx.Conv):
    """A convolution, of which the bias can be added apart: it is cheaper after a max pool.

    strides: for both sides, or (rows, columns); padding: "SAME", "VALID", or ((above, below), (left, right)) in pixels
    """

    def convolve(self, x: jax.Array) -> jax.Array:
        """x: (batch, height, width, inputs). Returns (batch, new height, new width, outputs), without the bias."""
        strides: Any = (self.strides,) * 2 if isinstance(self.strides, int) else self.strides
        padding: Any = self.padding
        kernel = self.kernel[...]
        if jax.default_backend() == "cpu" and padding == "SAME" and tuple(strides) == (1, 1) and few_channels(kernel):
            return convolve_few_channels(x, kernel)
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC)

    def add_bias(self, x: jax.Array) -> jax.Array:
        """x: (batch, height, width, outputs). Returns the same shape."""
        assert self.bias is not None
        return _add_bias(x, self.bias[...])

    def __call__(self, x: jax.Array) -> jax.Array:
        """x: (batch, height, width, inputs). Returns (batch, new height, new width, outputs)."""
        return self.add_bias(self.convolve(x))


def few_channels(kernel: jax.Array) -> bool:
    """Says whether `convolve_few_channels` can be used, and is likely to be faster."""
    rows, columns, channels, _ = kernel.shape
    return channels <= 3 and rows % 2 == columns % 2 == 1


def _convolve_same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)


@jax.custom_vjp
def convolve_few_channels(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution with "SAME" padding of images with few channels, faster on a CPU.

    x: (batch, height, width, channels); kernel: (rows, columns, channels, filters), rows and columns odd
    Returns (batch, height, width, filters).
    The pixels under a row of the kernel become the channels of one pixel, with zeros up to whole registers, which XLA
    gathers from faster than from 3 channels; the kernel then has one column. The gradients are those of the plain one.
    """
    rows, columns, channels, filters = kernel.shape
    x = jnp.pad(x, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
    width, empty = x.shape[2] - columns + 1, -columns * channels % LANES
    parts = [x[:, :, j : j + width] for j in range(columns)] + [jnp.zeros((*x.shape[:2], width, empty), x.dtype)]
    under_row = lax.optimization_barrier(jnp.concatenate(parts, -1))  # else it would be computed for every weight
    kernel = jnp.pad(kernel.reshape(rows, 1, columns * channels, filters), ((0, 0), (0, 0), (0, empty), (0, 0)))
    return lax.conv_general_dilated(under_row, kernel, (1, 1), "VALID", dimension_numbers=NHWC)


convolve_few_channels.defvjp(
    lambda x, kernel: (convolve_few_channels(x, kernel), (x, kernel)),
    lambda saved, dy: jax.vjp(_convolve_same, *saved)[1](dy),
)


@jax.custom_vjp
def _add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    return x + bias


def _bias_backward(_: None, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    return dy, sum_pixels(dy.reshape(-1, dy.shape[-1]))[0]


def sum_pixels(x: jax.Array) -> jax.Array:
    """Sums over the second axis from the end, which stays with a length of 1.

    CPU: XLA sums over pixels as a reduce-window there, five times slower than a product with a row of ones.
    """
    if jax.default_backend() != "cpu":
        return x.sum(-2, keepdims=True)
    return jnp.ones((*x.shape[:-2], 1, x.shape[-2]), x.dtype) @ x


_add_bias.defvjp(lambda x, bias: (x + bias, None), _bias_backward)


def computed_once(x: jax.Array) -> jax.Array:
    """Returns x. A CPU computes it once and keeps it, however many places need it.

    XLA computes what is cheap again in each of these places there, and what that is computed from as well: in a chain
    of residual blocks with a ReLU, all the blocks before. Divisions are too dear for it to repeat; by 1 they are exact.
    """
    if jax.default_backend() != "cpu":
        return x
    return x / lax.optimization_barrier(jnp.ones((), x.dtype))  # a 1 that XLA does not see through


def pooled_size(size: int, window: int, stride: int) -> int:
    """Returns the side of a pooled image: Caffe rounds up, so the last window may reach over the border."""
    return -(-(size - window) // stride) + 1


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Takes the largest value of each window, in Caffe's ceil mode.

    x: (batch, height, width, channels). Returns (batch, pooled height, pooled width, channels).
    Of equal values the first in reading order gets the gradient.
    """
    rows, columns = x.shape[1:3]
    return _max_windows(_max_windows(x, WIDTH, columns, window, stride), HEIGHT, rows, window, stride)


def avg_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Takes the mean over the pixels of each window that lie inside the image, in Caffe's ceil mode.

    x: (batch, height, width, channels). Returns (batch, pooled height, pooled width, channels).
    """
    rows, columns = x.shape[1:3]
    total = _sum_windows(_sum_windows(x, WIDTH, columns, window, stride), HEIGHT, rows, window, stride)
    inside = [_pixels_inside(size, window, stride) for size in x.shape[1:3]]
    return total * (1 / np.outer(*inside)[:, :, None]).astype(x.dtype)


def _pixels_inside(size: int, window: int, stride: int) -> np.ndarray:
    """Returns, for each window along a side of this size, how many of its pixels lie inside the image."""
    starts = np.arange(pooled_size(size, window, stride)) * stride
    return np.minimum(starts + window, size) - starts


def _gather(x: jax.Array, axis: int, window: int, stride: int, fill: float) -> list[jax.Array]:
    """Returns, for each place in a window along this axis, what all windows have there; `fill` over the border."""
    last = (pooled_size(x.shape[axis], window, stride) - 1) * stride
    x = _pad(x, axis, 0, last + window - x.shape[axis], fill)
    return [lax.slice_in_dim(x, place, place + last + 1, stride, axis) for place in range(window)]


def _spread(parts: list[jax.Array], axis: int, stride: int, size: int) -> jax.Array:
    """Adds up what all windows have for each pixel: the transpose of `_gather`, on an axis of this size."""
    slots, windows = -(-size // stride), parts[0].shape[axis]
    moved = [_pad(part, axis, k // stride, slots - windows - k // stride, 0) for k, part in enumerate(parts)]
    phases = jnp.stack([reduce(jnp.add, moved[first::stride]) for first in range(stride)], axis + 1)
    shape = parts[0].shape
    whole = phases.reshape(*shape[:axis], slots * stride, *shape[axis + 1 :])
    return lax.slice_in_dim(whole, 0, size, 1, axis)


def _pad(x: jax.Array, axis: int, low: int, high: int, fill: float) -> jax.Array:
    """Pads one axis; a negative width cuts."""
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (low, high, 0)
    return lax.pad(x, jnp.asarray(fill, x.dtype), widths)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _max_windows(x: jax.Array, axis: int, size: int, window: int, stride: int) -> jax.Array:
    return reduce(jnp.maximum, _gather(x, axis, window, stride, -np.inf))


def _max_forward(x: jax.Array, axis: int, size: int, window: int, stride: int) -> tuple[jax.Array, jax.Array]:
    parts = _gather(x, axis, window, stride, -np.inf)
    largest = reduce(jnp.maximum, parts)
    place = jnp.full(largest.shape, window - 1, np.int8)
    for k in reversed(range(window - 1)):
        place = jnp.where(parts[k] == largest, np.int8(k), place)
    return largest, place


def _max_backward(axis: int, size: int, window: int, stride: int, place: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
    return (_spread([jnp.where(place == k, dy, 0) for k in range(window)], axis, stride, size),)


_max_windows.defvjp(_max_forward, _max_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _sum_windows(x: jax.Array, axis: int, size: int, window: int, stride: int) -> jax.Array:
    return reduce(jnp.add, _gather(x, axis, window, stride, 0))


def _sum_forward(x: jax.Array, axis: int, size: int, window: int, stride: int) -> tuple[jax.Array, None]:
    return _sum_windows(x, axis, size, window, stride), None


def _sum_backward(axis: int, size: int, window: int, stride: int, _: None, dy: jax.Array) -> tuple[jax.Array]:
    return (_spread([dy] * window, axis, stride, size),)


_sum_windows.defvjp(_sum_forward, _sum_backward)


def lrn_within_channel(x: jax.Array, size: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> jax.Array:
    """Local response normalisation as Caffe's WITHIN_CHANNEL: x * (1 + alpha * mean)^-beta.

    The mean is of x^2 over the size x size pixels around each pixel, zeros outside, always divided by size^2.
    x: (batch, height, width, channels). Returns the same shape.
    """
    return _lrn(x, size, alpha, beta)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _lrn(x: jax.Array, size: int, alpha: float, beta: float) -> jax.Array:
    return x * _power(_lrn_scale(x, size, alpha), beta)


def _lrn_forward(x: jax.Array, size: int, alpha: float, beta: float) -> tuple[jax.Array, jax.Array]:
    return _lrn(x, size, alpha, beta), x


def _lrn_backward(size: int, alpha: float, beta: float, x: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
    # With s the scale: dx = dy s^-beta - 2 (alpha / size^2) beta x * (sum over the window of dy x s^(-beta - 1)).
    scale = _lrn_scale(x, size, alpha)
    direct = dy * _power(scale, beta)
    return (direct - (2 * alpha * beta / size**2) * x * _sum_around(direct * x / scale, size),)


_lrn.defvjp(_lrn_forward, _lrn_backward)


def _lrn_scale(x: jax.Array, size: int, alpha: float) -> jax.Array:
    return 1 + (alpha / size**2) * _sum_around(jnp.square(x), size)


def _power(scale: jax.Array, beta: float) -> jax.Array:
    """Returns scale^-beta; Caffe's 0.75 by square roots, which a CPU does many times faster than a power."""
    return lax.rsqrt(scale) * jnp.sqrt(lax.rsqrt(scale)) if beta == 0.75 else scale**-beta


def _sum_around(x: jax.Array, size: int) -> jax.Array:
    """Sums the size x size pixels around each pixel, zeros outside."""
    half, (height, width) = size // 2, x.shape[1:3]
    x = _pad(_pad(x, HEIGHT, half, half, 0), WIDTH, half, half, 0)
    x = reduce(jnp.add, [x[:, i : i + height] for i in range(size)])
    return reduce(jnp.add, [x[:, :, j : j + width] for j in range(size)])
