"""Convolutions on a CPU: the faster doubles of the plain ones (see `smith.networks.cpu`), each with its own gradient.

Images are (batch, height, width, channels), but for LeNet's (see `convolve_batch_last`).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from smith.networks.cpu import max_pool, multiplies_bfloat16
from smith.networks.windows import HEIGHT, WIDTH, gather

NHWC = ("NHWC", "HWIO", "NHWC")  # the axes of images, kernels and what comes out


def convolve(x: Array, kernel: Array, *, padding: Any, strides: Sequence[int] = (1, 1)) -> Array:
    """The double of `smith.networks.layers.convolve`."""
    if x.dtype == jnp.bfloat16 and not multiplies_bfloat16():
        wide = convolve(x.astype("float32"), kernel.astype("float32"), padding=padding, strides=strides)
        return wide.astype(x.dtype)
    named = isinstance(padding, str)
    pads = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding) if named else padding
    pads = tuple(map(tuple, pads))
    if is_small(x, kernel, padding=pads, strides=strides):
        return convolve_by_product(x, kernel, padding=pads, strides=strides)
    return _convolve(x, kernel, pads, tuple(strides))


def _plain(x: Array, kernel: Array, pads: Any, strides: Any) -> Array:
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=NHWC)


_convolve = jax.custom_vjp(_plain, nondiff_argnums=(2, 3))


def _convolve_backward(pads: Any, strides: Any, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    """Computes the gradient of the weights as a convolution whose kernel is dy, with the batch as its channels.

    The library computes a row of its output as products, as fast as there are pixels in the row. In the image here a
    pixel's channels lie beside each other as pixels, so that a row has as many as a row of the kernel has weights for a
    filter. XLA makes the channels the batch of the image instead, and its rows have as many pixels as the kernel.
    """
    x, kernel = saved
    (dx,) = jax.linear_transpose(partial(_plain, kernel=kernel, pads=pads, strides=strides), x)(dy)
    (batch, height, width, channels), (rows, columns) = x.shape, kernel.shape[:2]
    image = x.transpose(1, 2, 3, 0).reshape(1, height, width * channels, batch)
    (down, across), (above, (left, right)) = strides, pads
    sides, dilation = (above, (left * channels, right * channels)), (down, across * channels)
    as_kernel = dy.transpose(1, 2, 0, 3)
    sums = lax.conv_general_dilated(image, as_kernel, (1, 1), sides, None, dilation, dimension_numbers=NHWC)
    return dx, sums[0, :rows, : columns * channels].reshape(kernel.shape)  # pixels that are under no weight may follow


_convolve.defvjp(lambda x, kernel, pads, strides: (_plain(x, kernel, pads, strides), (x, kernel)), _convolve_backward)


def is_small(x: Array, kernel: Array, *, padding: Any, strides: Sequence[int]) -> bool:
    """Says whether a convolution has a kernel of one pixel, or gives an image of fewer pixels than its kernel has.

    XLA exchanges image and kernel of the latter, forward or in the gradient, and then has no library to compute it.
    """
    weights = kernel.shape[0] * kernel.shape[1]
    sides = zip(x.shape[1:3], padding, kernel.shape, strides, strict=False)
    pixels = np.prod([(side + sum(pad) - length) // stride + 1 for side, pad, length, stride in sides])
    return weights == 1 or bool(pixels < weights)


def convolve_by_product(x: Array, kernel: Array, *, padding: Any, strides: Sequence[int]) -> Array:
    """Computes a convolution as one product with the pixels under each weight."""
    rows, columns, channels, filters = kernel.shape
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    down, across = strides
    height, width = (x.shape[1] - rows) // down + 1, (x.shape[2] - columns) // across + 1
    x = x[:, : (height - 1) * down + rows, : (width - 1) * across + columns]  # the rest is under no weight
    moved = [part for row in gather(x, HEIGHT, rows, down, 0) for part in gather(row, WIDTH, columns, across, 0)]
    patches = jnp.concatenate(moved, axis=-1).reshape(-1, rows * columns * channels)
    return (patches @ kernel.reshape(-1, filters)).reshape(len(x), height, width, filters)


# LeNet, with the batch last: the slices of which a convolution's matrix is made are then long and contiguous, and
# pooling is a maximum of whole vectors. XLA's own convolution is slow on a CPU where there are few channels.


def convolve_and_pool(images: Array, *weights: Array) -> Array:
    """The double of `smith.networks.lenet.convolve_and_pool`."""
    x = images.transpose(3, 1, 2, 0)  # to (channels, height, width, batch)
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        x = max_pool(convolve_batch_last(x, kernel), window=2, stride=2) + bias[:, None, None, None]
    return x.transpose(1, 2, 0, 3).reshape(-1, len(images)).T


@jax.custom_vjp
def convolve_batch_last(x: Array, kernel: Array) -> Array:
    """A convolution without padding, as one matrix product.

    x: (channels, height, width, batch); kernel: (rows, columns, channels, filters)
    Returns (filters, height - rows + 1, width - columns + 1, batch).
    """
    return _matrix_forward(x, kernel)[0]


def _matrix_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array, Array]]:
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
    by_column = lax.optimization_barrier(by_column)
    return jnp.concatenate([by_column[:, i : i + height] for i in range(rows)])


def _matrix_backward(saved: tuple[Array, Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel, patches = saved
    rows, columns, channels, filters = kernel.shape
    height, width, batch = patches.shape[1:]
    flat = dy.reshape(filters, -1)
    dkernel = (patches.reshape(-1, flat.shape[1]) @ flat.T).reshape(kernel.shape)
    parts = (kernel.reshape(-1, filters) @ flat).reshape(rows, columns, channels, height, width, batch)
    parts = lax.optimization_barrier(parts)  # else the product would be computed again for every part
    dx = jnp.zeros_like(x)
    for i in range(rows):
        for j in range(columns):
            dx = dx.at[:, i : i + height, j : j + width].add(parts[i, j])
    return dx, dkernel


convolve_batch_last.defvjp(_matrix_forward, _matrix_backward)
