"""The residual networks of the paper: resnet-56, resnet-56-relu and wide-32 for CIFAR, resnet-50 for ImageNet.

The author's network files give the convolutions a bias each. Here they have none: the BatchNorm that follows takes it
away again, so its gradient is zero and it stays as it begins, at zero (at 0.2 in some of resnet-50).
"""

from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from smith.networks.batch_norm import BatchNorm
from smith.networks.cpu import computed_once
from smith.networks.layers import Conv, avg_pool, initialiser, max_pool
from smith.networks.registry import Options


class ConvNorm(nnx.Module):
    """A convolution without bias and BatchNorm. side: of the kernel; init: its initialiser."""

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        keep: float,
        options: Options,
        *,
        rngs: nnx.Rngs,
        side: int = 3,
        init: str = "msra",
    ) -> None:
        pad = (side - 1) // 2  # Caffe's; XLA's "SAME" would pad a stride of 2 on one side only
        self.conv = Conv(
            inputs,
            width,
            (side, side),
            strides=stride,
            padding=((pad, pad), (pad, pad)),
            use_bias=False,
            kernel_init=initialiser(options, init),
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


class Bottleneck(nnx.Module):
    """A 1x1, a 3x3 and a 1x1 convolution and a shortcut, and a ReLU after the sum.

    The first two have a quarter of the channels, the first has the stride. A 1x1 projection where the shape changes.
    """

    KEEP = 0.999  # Caffe's default

    def __init__(self, inputs: int, width: int, stride: int, options: Options, *, rngs: nnx.Rngs) -> None:
        conv, narrow = partial(ConvNorm, keep=self.KEEP, options=options, rngs=rngs, init="xavier"), max(1, width // 4)
        self.conv1 = conv(inputs, narrow, stride, side=1)
        self.conv2 = conv(narrow, narrow, 1)
        self.conv3 = conv(narrow, width, 1, side=1)
        self.projects = stride > 1 or inputs != width
        if self.projects:
            self.project = conv(inputs, width, stride, side=1)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """x: (batch, height, width, inputs). Returns (batch, height / stride, width / stride, width), rounded up."""
        y = nnx.relu(self.conv1(x, train=train))
        y = self.conv3(nnx.relu(self.conv2(y, train=train)), train=train)
        return computed_once(nnx.relu(y + (self.project(x, train=train) if self.projects else x)))


class Residual(nnx.Module):
    """A convolution, blocks, the mean over the pixels, and a dense layer: what the networks share."""

    def __init__(
        self,
        block: type[Block] | type[PoolBlock] | type[Bottleneck],
        blocks: Iterable[tuple[int, int]],
        classes: int,
        dense: str,
        options: Options,
        *,
        rngs: nnx.Rngs,
        large: bool = False,
    ) -> None:
        """blocks: (channels, stride) of each; dense: the classifier's initialiser.

        large: begin with a 7x7 convolution and a 3x3 max pool, which halve the image each, instead of a 3x3 convolution
        """
        channels, self.large = options.widen(64 if large else 16), large
        self.first = (
            ConvNorm(3, channels, 2, block.KEEP, options, rngs=rngs, side=7, init="xavier")
            if large
            else ConvNorm(3, channels, 1, block.KEEP, options, rngs=rngs)
        )
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
        x = max_pool(x, window=3, stride=2) if self.large else x
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


def resnet_bottleneck(classes: int, options: Options, *, rngs: nnx.Rngs, depth: int) -> Residual:
    """resnet-50 for ImageNet (He et al. 2015, arXiv:1512.03385, table 1), with the stride on a block's first 1x1.

    Four groups, of 256, 512, 1024 and 2048 channels and, at depth 50, of 3, 4, 6 and 3 blocks. Depth 12n + 2, for 4n
    blocks: n in each group, but at most 3, 4 and 3 in the first, second and last.

    Images of any size. The sides of 224 pixels go 112, 56, 28, 14, 7, those of 32 pixels 16, 8, 4, 2, 1. The max pool
    is Caffe's: it pads on the right and below, where torchvision and Keras pad on all sides.

    Initialisers and BatchNorm are those of the author's network file (Imagenet/architectures/resnet50.prototxt in his
    repository). There the last pool is 7x7 with stride 1. His 230 pixels leave it 8 a side, so his classifier read four
    means of each channel, which overlap. Here it reads one.
    """
    n = (depth - 2) // 12
    first, second, last = min(n, 3), min(n, 4), min(n, 3)
    blocks = [(256, 1)] * first
    for width, count in ((512, second), (1024, 4 * n - first - second - last), (2048, last)):
        blocks += [(width, 2)] + [(width, 1)] * (count - 1)
    return Residual(Bottleneck, blocks, classes, "xavier", options, rngs=rngs, large=True)
