"""The residual networks of the paper's CIFAR experiments: resnet-56, resnet-56-relu and wide-32, and their depths.

The author's network files give the convolutions a bias each. Here they have none: it begins at zero, the BatchNorm that
follows takes it away again, so its gradient is zero and it stays there.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from smith.networks.batch_norm import BatchNorm
from smith.networks.cpu import computed_once
from smith.networks.layers import Conv, avg_pool, initialiser
from smith.networks.registry import Options

PADDING = ((1, 1), (1, 1))  # Caffe's pad: 1; XLA's "SAME" would pad a stride of 2 on one side only


class ConvNorm(nnx.Module):
    """A convolution without bias, 3x3 or, as a projection, 2x2 without padding, and BatchNorm."""

    def __init__(
        self, inputs: int, width: int, stride: int, keep: float, options: Options, *, rngs: nnx.Rngs, side: int = 3
    ) -> None:
        self.conv = Conv(
            inputs,
            width,
            (side, side),
            strides=stride,
            padding=PADDING if side == 3 else "VALID",
            use_bias=False,
            kernel_init=initialiser(options, "msra"),
            rngs=rngs,
        )
        self.norm = BatchNorm(width, keep, options)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """x: (batch, height, width, inputs). Returns (batch, height / stride, width / stride, width)."""
        return self.norm(self.conv.convolve(x), train=train)


class Block(nnx.Module):
    """Two convolutions and a shortcut, with no ReLU after the sum; a 2x2 projection where it halves the image."""

    KEEP = 0.9

    def __init__(self, inputs: int, width: int, stride: int, options: Options, *, rngs: nnx.Rngs) -> None:
        self.conv1 = ConvNorm(inputs, width, stride, self.KEEP, options, rngs=rngs)
        self.conv2 = ConvNorm(width, width, 1, self.KEEP, options, rngs=rngs)
        if stride > 1:
            self.project = ConvNorm(inputs, width, stride, self.KEEP, options, rngs=rngs, side=stride)
        self.stride = stride

    def __call__(self, x: Array, *, train: bool) -> Array:
        """x: (batch, height, width, inputs). Returns (batch, height / stride, width / stride, width)."""
        y = self.conv2(computed_once(nnx.relu(self.conv1(x, train=train))), train=train)
        return y + (self.project(x, train=train) if self.stride > 1 else x)


class PoolBlock(nnx.Module):
    """Two convolutions and a shortcut, and a ReLU after the sum.

    Where it halves the image it keeps the number of channels, with an average-pool shortcut, and then appends zeros.
    """

    KEEP = 0.999

    def __init__(self, inputs: int, width: int, stride: int, options: Options, *, rngs: nnx.Rngs) -> None:
        self.conv1 = ConvNorm(inputs, inputs, stride, self.KEEP, options, rngs=rngs)
        self.conv2 = ConvNorm(inputs, inputs, 1, self.KEEP, options, rngs=rngs)
        self.stride, self.zeros = stride, width - inputs

    def __call__(self, x: Array, *, train: bool) -> Array:
        """x: (batch, height, width, inputs). Returns (batch, height / stride, width / stride, width)."""
        y = self.conv2(nnx.relu(self.conv1(x, train=train)), train=train)
        y = computed_once(nnx.relu(y + (avg_pool(x, window=3, stride=2) if self.stride > 1 else x)))
        return jnp.pad(y, ((0, 0), (0, 0), (0, 0), (0, self.zeros)))


class Residual(nnx.Module):
    """A convolution, blocks, the mean over the pixels, and a dense layer: what the three networks share."""

    def __init__(
        self,
        block: type[Block] | type[PoolBlock],
        blocks: Iterable[tuple[int, int]],
        classes: int,
        dense: str,
        options: Options,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        """blocks: (channels, stride) of each; dense: the classifier's initialiser."""
        channels = options.widen(16)
        self.first = ConvNorm(3, channels, 1, block.KEEP, options, rngs=rngs)
        self.names: list[str] = []
        for number, (width, stride) in enumerate(blocks, start=1):
            self.names.append(f"block{number}")
            setattr(self, self.names[-1], block(channels, options.widen(width), stride, options, rngs=rngs))
            channels = options.widen(width)
        self.dense = nnx.Linear(channels, classes, kernel_init=initialiser(options, dense), rngs=rngs)

    def __call__(self, images: Array, *, train: bool = False, key: jax.Array | None = None) -> Array:
        """images: (batch, height, width, 3) float32, mean subtracted. Returns logits: (batch, classes) float32."""
        del key  # no random numbers
        x = nnx.relu(self.first(images, train=train))
        for name in self.names:
            x = getattr(self, name)(x, train=train)
        return self.dense(x.mean((1, 2)))


def resnet(classes: int, options: Options, *, rngs: nnx.Rngs, depth: int) -> Residual:
    """resnet-56 (all figures but 5): 16, 32, 64 channels, a halving block before the groups of 32 and of 64.

    Depth 6n + 8: a convolution, 3n + 2 blocks of two, the two projections, the dense layer.
    """
    n = (depth - 8) // 6
    blocks = [(16, 1)] * n + [(32, 2)] + [(32, 1)] * n + [(64, 2)] + [(64, 1)] * n
    return Residual(Block, blocks, classes, "msra", options, rngs=rngs)


def resnet_relu(classes: int, options: Options, *, rngs: nnx.Rngs, depth: int) -> Residual:
    """resnet-56-relu (figure 5): three groups of n blocks, 16, 32, 64 channels. Depth 6n + 2.

    Assumed: the runs had the multipliers of the network file in the author's repository on super-convergence. Its Scale
    layers, which are BatchNorm's scale and bias here, list none, and the classifier lists 2 for the learning rate of
    its bias and no decay. Caffe takes 1 for what is not listed. (The file's 2 and 0 are those of the convolutions'
    biases.)
    """
    n = (depth - 2) // 6
    blocks = [(16, 1)] * n + [(32, 2)] + [(32, 1)] * (n - 1) + [(64, 2)] + [(64, 1)] * (n - 1)
    return Residual(PoolBlock, blocks, classes, "xavier", options, rngs=rngs)


def wide(classes: int, options: Options, *, rngs: nnx.Rngs, depth: int) -> Residual:
    """wide-32: three groups of n blocks, 16, 64, 256 channels. Depth 6n + 2, which leaves the projections out."""
    n = (depth - 2) // 6
    blocks = [(16, 1)] * n + [(64, 2)] + [(64, 1)] * (n - 1) + [(256, 2)] + [(256, 1)] * (n - 1)
    return Residual(Block, blocks, classes, "msra", options, rngs=rngs)
