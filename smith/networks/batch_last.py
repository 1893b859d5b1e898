"""Layers for images of (channels, height, width, batch): LeNet's fast path on a CPU.

With the batch last, the slices of which a convolution's matrix is made are long and contiguous, and pooling is a
maximum of whole vectors; XLA's own convolution is slow on a CPU where there are few channels. Each layer is tested
against the plain one.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array


def from_nhwc(images: Array) -> Array:
    """(batch, height, width, channels) -> (channels, height, width, batch)."""
    return images.transpose(3, 1, 2, 0)


def along_batch(bias: nnx.Param | None, axes: int) -> Array:
    """Returns a bias (channels,) in a shape of so many axes that adds to images or features with the batch last."""
    assert bias is not None
    return bias[...].reshape(-1, *[1] * (axes - 1))


@jax.custom_vjp
def convolve(x: Array, kernel: Array) -> Array:
    """A convolution without padding or bias, as one matrix product.

    x: (channels, height, width, batch); kernel: (rows, columns, channels, filters)
    Returns (filters, height - rows + 1, width - columns + 1, batch).
    """
    return _forward(x, kernel)[0]


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    patches = _patches(x, *kernel.shape[:2])
    filters = kernel.shape[3]
    y = kernel.reshape(-1, filters).T @ patches.reshape(-1, patches[0].size)
    return y.reshape(filters, *patches.shape[1:]), (x, kernel, patches)


def _patches(x: Array, rows: int, columns: int) -> Array:
    """Returns (rows * columns * channels, new height, new width, batch): the pixels under each weight.

    Made in two steps, by column and then by row, of which the first is small; without the barrier XLA would merge them.
    """
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    by_column = jnp.concatenate([x[:, :, j : j + width] for j in range(columns)])
    by_column = jax.lax.optimization_barrier(by_column)
    return jnp.concatenate([by_column[:, i : i + height] for i in range(rows)])


def _backward(saved: tuple[Array, Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel, patches = saved
    rows, columns, channels, filters = kernel.shape
    height, width, batch = patches.shape[1:]
    flat = dy.reshape(filters, -1)
    dkernel = (patches.reshape(-1, flat.shape[1]) @ flat.T).reshape(kernel.shape)
    parts = (kernel.reshape(-1, filters) @ flat).reshape(rows, columns, channels, height, width, batch)
    parts = jax.lax.optimization_barrier(parts)  # else the product would be computed again for every part
    dx = jnp.zeros_like(x)
    for i in range(rows):
        for j in range(columns):
            dx = dx.at[:, i : i + height, j : j + width].add(parts[i, j])
    return dx, dkernel


convolve.defvjp(_forward, _backward)


@jax.custom_vjp
def max_pool_2x2(x: Array) -> Array:
    """The largest of each 2x2 pixels. The gradient goes to the first of equal values in reading order."""
    wide = jnp.maximum(x[:, :, 0::2], x[:, :, 1::2])
    return jnp.maximum(wide[:, 0::2], wide[:, 1::2])


def _pool_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
    y = max_pool_2x2(x)
    return y, (x, y)


def _pool_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array]:
    x, y = saved
    channels, height, width, batch = x.shape
    free, rows = jnp.ones(y.shape, bool), []
    for i in (0, 1):
        row = []
        for j in (0, 1):
            chosen = free & (x[:, i::2, j::2] == y)
            free &= ~chosen
            row.append(jnp.where(chosen, dy, 0))
        rows.append(jnp.stack(row, axis=3).reshape(channels, height // 2, width, batch))
    return (jnp.stack(rows, axis=2).reshape(channels, height, width, batch),)


max_pool_2x2.defvjp(_pool_forward, _pool_backward)
