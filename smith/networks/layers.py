"""Caffe's pooling and local response normalisation, written so that XLA runs them fast on a CPU too.

All images are (batch, height, width, channels). Each fast path is tested against the plain `jax.lax` version.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def pooled_size(size: int, window: int, stride: int) -> int:
    """Returns the side of a pooled image: Caffe rounds up, so the last window may reach over the border."""
    return -(-(size - window) // stride) + 1


def _windows(x: jax.Array, window: int, stride: int, fill: float) -> list[jax.Array]:
    """Returns, for each place in the window, what every window has there: window**2 arrays of the pooled shape."""
    rows, columns = (pooled_size(side, window, stride) for side in x.shape[1:3])
    pads = [(0, (n - 1) * stride + window - side) for n, side in zip((rows, columns), x.shape[1:3], strict=True)]
    x = jnp.pad(x, ((0, 0), *[(a, max(b, 0)) for a, b in pads], (0, 0)), constant_values=fill)
    last = ((rows - 1) * stride + 1, (columns - 1) * stride + 1)
    places = [(i, j) for i in range(window) for j in range(window)]
    return [x[:, i : i + last[0] : stride, j : j + last[1] : stride] for i, j in places]


def _unwindow(parts: list[jax.Array], shape: tuple[int, ...], window: int, stride: int) -> jax.Array:
    """Adds up what every window has at each of its places: the transpose of `_windows`."""
    _, rows, columns, _ = parts[0].shape
    total = jnp.zeros(shape, parts[0].dtype)
    for k, part in enumerate(parts):
        i, j = divmod(k, window)
        spans = zip(shape[1:3], (i, j), (rows, columns), strict=True)
        high = [size - (start + (n - 1) * stride + 1) for size, start, n in spans]
        edges = ((0, 0, 0), (i, high[0], stride - 1), (j, high[1], stride - 1), (0, 0, 0))
        total += lax.pad(part, np.float32(0), edges)
    return total


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Takes the largest value of each window, Caffe's ceil mode.

    x: (batch, height, width, channels). Returns (batch, pooled height, pooled width, channels).
    The gradient goes to the first of equal values in reading order.
    """
    return _max_pool_forward(x, window, stride)[0]


def _max_pool_forward(x: jax.Array, window: int, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = jnp.stack(_windows(x, window, stride, -jnp.inf)).max(0)
    return y, (x, y)


def _max_pool_backward(window: int, stride: int, saved: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    x, y = saved
    free = jnp.ones(y.shape, bool)
    parts = []
    for value in _windows(x, window, stride, -jnp.inf):
        chosen = free & (value == y)
        free &= ~chosen
        parts.append(jnp.where(chosen, dy, 0))
    return (_unwindow(parts, x.shape, window, stride),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def avg_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Takes the mean over the pixels of each window that lie inside the image, Caffe's ceil mode.

    x: (batch, height, width, channels). Returns (batch, pooled height, pooled width, channels).
    """
    inside = [_inside(side, window, stride) for side in x.shape[1:3]]
    return sum(_windows(x, window, stride, 0.0)) / np.outer(*inside)[:, :, None].astype(np.float32)


def _inside(side: int, window: int, stride: int) -> np.ndarray:
    """Returns, for each window along one side, how many of its pixels lie inside the image."""
    starts = np.arange(pooled_size(side, window, stride)) * stride
    return np.minimum(starts + window, side) - starts


def lrn_within_channel(x: jax.Array, size: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> jax.Array:
    """Local response normalisation as Caffe's WITHIN_CHANNEL: x * (1 + alpha * mean)^-beta.

    The mean is of x^2 over the size x size pixels around each pixel, zeros outside, always divided by size^2.
    """
    half = size // 2
    squares = jnp.pad(jnp.square(x), ((0, 0), (half, half), (half, half), (0, 0)))
    height, width = x.shape[1:3]
    rows = sum(squares[:, i : i + height] for i in range(size))
    total = sum(rows[:, :, j : j + width] for j in range(size))
    return x * (1 + (alpha / size**2) * total) ** -beta
