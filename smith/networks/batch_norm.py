"""Batch normalisation over ghost batches, with Caffe's running averages."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from smith.networks import cpu
from smith.networks.registry import Options

EPSILON = 1e-5  # Caffe's default


class BatchNorm(nnx.Module):
    """Normalises each channel over a ghost batch in training, by running averages in evaluation; then scale and bias.

    The author trained on several GPUs, each of which normalised over its own images (protocol: TBS/4, or TBS/8).

    Running averages are Caffe's: each step keeps a fraction `keep` of the sums of means and of unbiased variances, and
    adds the batch's in full. A test divides by the sum of the weights, which corrects the bias of the first steps;
    before the first step they are of no use. `Options.memory` makes them remember longer or shorter. They take the mean
    over the ghost batches here; the author's test net had those of one GPU.
    """

    def __init__(self, channels: int, keep: float, options: Options, epsilon: float = EPSILON) -> None:
        self.keep = keep ** (1 / options.memory)
        self.ghost_batch_size, self.epsilon = options.ghost_batch_size, epsilon
        self.scale = nnx.Param(_full(channels, 1.0))
        self.bias = nnx.Param(_full(channels, 0.0))
        self.mean = nnx.BatchStat(_full(channels, 0.0))
        self.variance = nnx.BatchStat(_full(channels, 0.0))
        self.weight = nnx.BatchStat(_full((), 0.0))

    def __call__(self, x: Array, *, train: bool) -> Array:
        """x: (batch, height, width, channels). Returns the same shape."""
        if train:
            return self._train(x)
        weight = jnp.maximum(self.weight[...], 1e-30)  # before the first step it is 0, and so are the sums, as in Caffe
        gain = self.scale[...] * lax.rsqrt(self.variance[...] / weight + self.epsilon)
        return (x * gain + (self.bias[...] - gain * self.mean[...] / weight)).astype(x.dtype)

    def _train(self, x: Array) -> Array:
        groups, left = divmod(len(x), self.ghost_batch_size or len(x))
        assert groups and not left, f"ghost batches of {self.ghost_batch_size} do not divide {len(x)} images"
        grouped = x.reshape(groups, -1, x.shape[-1]).astype(jnp.promote_types(x.dtype, jnp.float32))
        y, mean, variance = normalise(grouped, self.scale[...], self.bias[...], epsilon=self.epsilon)
        pixels = grouped.shape[1]
        self._add(self.mean, mean.mean((0, 1)))
        self._add(self.variance, variance.mean((0, 1)) * (pixels / max(1, pixels - 1)))
        self._add(self.weight, jnp.ones(()))
        return y.reshape(x.shape).astype(x.dtype)

    def _add(self, sums: nnx.BatchStat, new: Array) -> None:
        sums[...] = self.keep * sums[...] + new


def _full(shape: int | tuple[int, ...], value: float) -> Array:
    """Returns an array of one value, made by NumPy: JAX would compile a program for every shape."""
    return jnp.asarray(np.full(shape, value, np.float32))


@cpu.faster(cpu.normalise)
def normalise(x: Array, scale: Array, bias: Array, *, epsilon: float) -> tuple[Array, Array, Array]:
    """Normalises over the pixels of each group.

    x: (groups, pixels, channels); scale, bias: (channels,)
    Returns the normalised x, and mean and (biased) variance, (groups, 1, channels), through which no gradient flows.
    """
    mean = x.mean(1, keepdims=True)
    variance = jnp.square(x - mean).mean(1, keepdims=True)
    y = (x - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias
    return y, lax.stop_gradient(mean), lax.stop_gradient(variance)
