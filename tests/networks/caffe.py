"""Caffe's pools and normalisation in NumPy, and how far two trees of arrays are apart: for the tests of this folder."""

import jax
import numpy as np


def numpy_pool(x, window, stride, combine=np.mean):
    """The number of windows is rounded up and at least 1, and only pixels inside the image count."""
    height, width = (max(1, -(-(size - window) // stride) + 1) for size in x.shape[1:3])
    y = np.empty((len(x), height, width, x.shape[-1]))
    for i in range(height):
        for j in range(width):
            y[:, i, j] = combine(x[:, i * stride : i * stride + window, j * stride : j * stride + window], axis=(1, 2))
    return y


def numpy_lrn(x):
    """WITHIN_CHANNEL, over 3 x 3 pixels."""
    padded = np.pad(x**2, ((0, 0), (1, 1), (1, 1), (0, 0)))
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return x * (1 + 5e-5 * around.mean((4, 5))) ** -0.75


def relative(a, b):
    """Returns the largest relative error (in the Euclidean norm) of the arrays of a tree."""
    pairs = zip(jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b)), strict=True)
    return max((np.linalg.norm(x - y) / max(np.linalg.norm(y), 1e-30) for x, y in pairs), default=0)
