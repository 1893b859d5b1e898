"""densenet-40: the DenseNet of the paper's CIFAR-10 experiments (growth rate 12, dropout 0.2), and its depths."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from smith.networks.batch_norm import BatchNorm
from smith.networks.cpu import computed_once
from smith.networks.layers import Conv, dropout, initialiser
from smith.networks.registry import Options

KEEP, GROWTH = 0.999, 12


class NormConv(nnx.Module):
    """BatchNorm, ReLU, a convolution without bias (3x3 with padding, or 1x1), dropout."""

    def __init__(self, inputs: int, width: int, side: int, options: Options, *, rngs: nnx.Rngs) -> None:
        self.norm = BatchNorm(inputs, KEEP, options)
        init = initialiser(options, "msra")
        self.conv = Conv(inputs, width, (side, side), padding="SAME", use_bias=False, kernel_init=init, rngs=rngs)

    def __call__(self, x: Array, *, train: bool, key: Array | None) -> Array:
        """x: (batch, height, width, inputs). Returns (batch, height, width, width)."""
        y = self.conv.convolve(nnx.relu(self.norm(x, train=train)))
        return computed_once(dropout(y, key) if train else y)


class DenseNet(nnx.Module):
    """Three blocks of n layers, each of which adds 12 channels to all before it; between them 1x1 layers and pooling.

    Depth 3n + 4: a convolution, the layers, two transitions, the dense layer.
    """

    def __init__(self, classes: int, options: Options, *, rngs: nnx.Rngs, depth: int) -> None:
        channels, growth = options.widen(16), options.widen(GROWTH)
        first = initialiser(options, "msra")
        self.first = Conv(3, channels, (3, 3), padding="SAME", use_bias=False, kernel_init=first, rngs=rngs)
        layers = range(1, (depth - 4) // 3 + 1)
        blocks = [[f"block{block}_layer{layer}" for layer in layers] for block in (1, 2, 3)]
        self.names = [*blocks[0], "transition1", *blocks[1], "transition2", *blocks[2]]
        for name in self.names:
            transition = name.startswith("transition")
            width, side = (channels, 1) if transition else (growth, 3)
            setattr(self, name, NormConv(channels, width, side, options, rngs=rngs))
            channels += 0 if transition else growth
        self.norm = BatchNorm(channels, KEEP, options)
        self.dense = nnx.Linear(channels, classes, kernel_init=initialiser(options, "xavier"), rngs=rngs)

    def __call__(self, images: Array, *, train: bool = False, key: jax.Array | None = None) -> Array:
        """images: (batch, height, width, 3) float32, mean image subtracted. Returns logits: (batch, classes) float32.

        key: for the dropout in training.
        """
        x = self.first.convolve(images)
        for number, name in enumerate(self.names):
            layer_key = None if key is None else jax.random.fold_in(key, number)
            y = getattr(self, name)(x, train=train, key=layer_key)
            x = halve(y) if name.startswith("transition") else jnp.concatenate([y, x], axis=-1)
        return self.dense(nnx.relu(self.norm(x, train=train)).mean((1, 2)))


def halve(x: Array) -> Array:
    """Takes the mean of each 2x2 pixels."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
