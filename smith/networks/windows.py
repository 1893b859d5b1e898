"""The windows of Caffe's pools and normalisation: what the plain layers and a CPU's are both made of."""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

HEIGHT, WIDTH = 1, 2  # axes of (batch, height, width, channels)
LRN_SIZE, LRN_ALPHA, LRN_BETA = 3, 5e-5, 0.75  # of Caffe's cifar10_full
LRN_FACTOR = 2 * LRN_ALPHA * LRN_BETA / LRN_SIZE**2  # in its gradient


def pooled_size(size: int, window: int, stride: int) -> int:
    """Returns the side of a pooled image, at least 1: Caffe rounds up, so the last window may reach over the border."""
    return max(0, -(-(size - window) // stride)) + 1


def pixels_inside(sides: tuple[int, ...], window: int, stride: int) -> np.ndarray:
    """Returns how many pixels of each window lie inside an image of these two sides: (rows, columns, 1)."""
    starts = [np.arange(pooled_size(side, window, stride)) * stride for side in sides]
    inside = [np.minimum(start + window, side) - start for start, side in zip(starts, sides, strict=True)]
    return np.outer(*inside)[:, :, None]


def gather(x: jax.Array, axis: int, window: int, stride: int, fill: float) -> list[jax.Array]:
    """Returns, for each place in a window along this axis, what all windows have there; `fill` over the border."""
    last = (pooled_size(x.shape[axis], window, stride) - 1) * stride
    x = pad(x, axis, 0, last + window - x.shape[axis], fill)
    return [lax.slice_in_dim(x, place, place + last + 1, stride, axis) for place in range(window)]


def sum_around(x: jax.Array) -> jax.Array:
    """Sums the LRN_SIZE x LRN_SIZE pixels around each pixel, zeros outside."""
    for axis in (HEIGHT, WIDTH):
        padded, side = pad(x, axis, LRN_SIZE // 2, LRN_SIZE // 2, 0), x.shape[axis]
        x = reduce(jnp.add, [lax.slice_in_dim(padded, k, k + side, 1, axis) for k in range(LRN_SIZE)])
    return x


def lrn_scale(x: jax.Array) -> jax.Array:
    """Returns by what to the power of LRN_BETA local response normalisation divides each pixel, in float32 at least."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return 1 + (LRN_ALPHA / LRN_SIZE**2) * sum_around(jnp.square(x))


def pad(x: jax.Array, axis: int, low: int, high: int, fill: float) -> jax.Array:
    """Pads one axis; a negative width cuts."""
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (low, high, 0)
    return lax.pad(x, jnp.asarray(fill, x.dtype), widths)
