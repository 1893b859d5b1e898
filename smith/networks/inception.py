"""inception-resnet-v2, the largest network of the paper's ImageNet experiments, and its depths.

Szegedy et al. 2017 (arXiv:1602.07261) describe it. What everybody runs, the author of the 1cycle paper included, is the
network of their code (TensorFlow-Slim, and after it Keras), which has another stem than figure 3, and other numbers of
blocks and channels than figures 15 to 19. This is that network.

From the author's network file (Imagenet/architectures/inception-resnet-v2.prototxt in his repository) are BatchNorm's
learnt scale, which Slim and Keras leave out, its epsilon and its memory, the initialisers and the dropout. His file
differs in two places: its first BatchNorm uses its averages in training too, which are then never made, and its average
pool counts the zeros around the image, as Caffe does.
"""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import constant

from smith.networks.batch_norm import BatchNorm
from smith.networks.cpu import computed_once
from smith.networks.layers import Conv, convolve, dropout, initialiser, max_pool
from smith.networks.registry import Options

KEEP, EPSILON = 0.9, 1e-3  # of BatchNorm
LEAST = 75  # pixels: smaller images are padded where the published network pads nothing

# Parts of the network by branch, and in it the (channels, sides of the kernel) of one convolution after another.
Chains = Sequence[Sequence[tuple[int, tuple[int, int]]]]
ONE, THREE, FIVE = (1, 1), (3, 3), (5, 5)
STEM: Chains = [[(96, ONE)], [(48, ONE), (64, FIVE)], [(64, ONE), (96, THREE), (96, THREE)]]
A: Chains = [[(32, ONE)], [(32, ONE), (32, THREE)], [(32, ONE), (48, THREE), (64, THREE)]]
REDUCTION_A: Chains = [[(384, THREE)], [(256, ONE), (256, THREE), (384, THREE)]]
B: Chains = [[(192, ONE)], [(128, ONE), (160, (1, 7)), (192, (7, 1))]]
REDUCTION_B: Chains = [[(256, ONE), (384, THREE)], [(256, ONE), (288, THREE)], [(256, ONE), (288, THREE), (320, THREE)]]
C: Chains = [[(192, ONE)], [(192, ONE), (224, (1, 3)), (256, (3, 1))]]


class ConvNorm(nnx.Module):
    """A convolution without bias, BatchNorm and a ReLU."""

    def __init__(
        self, inputs: int, width: int, sides: tuple[int, int], options: Options, *, rngs: nnx.Rngs, stride: int = 1
    ) -> None:
        init = initialiser(options, "xavier")
        self.conv = Conv(inputs, width, sides, use_bias=False, kernel_init=init, rngs=rngs)
        self.norm = BatchNorm(width, KEEP, options, EPSILON)
        self.strides = (stride, stride)

    def __call__(self, x: Array, *, train: bool, padding: str = "SAME") -> Array:
        """x: (batch, height, width, inputs). Returns (batch, new height, new width, width)."""
        y = convolve(x, self.conv.kernel[...], strides=self.strides, padding=padding)
        return nnx.relu(self.norm(y, train=train))


class Branches(nnx.Module):
    """Chains of convolutions, all from the same images. The last convolution of each has the stride."""

    def __init__(self, inputs: int, chains: Chains, options: Options, *, rngs: nnx.Rngs, stride: int = 1) -> None:
        self.names: list[list[str]] = []
        for number, chain in enumerate(chains, start=1):
            self.names.append([f"conv{number}_{place}" for place in range(1, len(chain) + 1)])
            channels = inputs
            for name, (width, sides) in zip(self.names[-1], chain, strict=True):
                own = stride if name == self.names[-1][-1] else 1
                width = options.widen(width)
                setattr(self, name, ConvNorm(channels, width, sides, options, rngs=rngs, stride=own))
                channels = width
        self.channels = sum(options.widen(chain[-1][0]) for chain in chains)

    def __call__(self, x: Array, *, train: bool, padding: str = "SAME") -> list[Array]:
        """x: (batch, height, width, inputs); padding: of the convolutions with the stride.

        Returns of each chain (batch, new height, new width, its channels), together `channels`.
        """
        results = []
        for *names, last in self.names:
            y = x
            for name in names:
                y = getattr(self, name)(y, train=train)
            results.append(getattr(self, last)(y, train=train, padding=padding))
        return results


class Stem(nnx.Module):
    """Convolutions and max pools, and at the end branches, of which one begins with an average pool."""

    def __init__(self, options: Options, *, rngs: nnx.Rngs) -> None:
        conv = partial(ConvNorm, options=options, rngs=rngs)
        first, second, third, fourth, fifth, pooled = map(options.widen, (32, 32, 64, 80, 192, 64))
        self.conv1 = conv(3, first, THREE, stride=2)
        self.conv2 = conv(first, second, THREE)
        self.conv3 = conv(second, third, THREE)
        self.conv4 = conv(third, fourth, ONE)
        self.conv5 = conv(fourth, fifth, THREE)
        self.branches = Branches(fifth, STEM, options, rngs=rngs)
        self.pooled = conv(fifth, pooled, ONE)
        self.channels = self.branches.channels + pooled

    def __call__(self, images: Array, *, train: bool, padding: str) -> Array:
        """images: (batch, height, width, 3). Returns about (batch, height / 8, width / 8, channels)."""
        x = self.conv1(images, train=train, padding=padding)
        x = self.conv2(x, train=train, padding=padding)
        x = max_pool(self.conv3(x, train=train), window=3, stride=2)
        x = self.conv4(x, train=train)
        x = max_pool(self.conv5(x, train=train, padding=padding), window=3, stride=2)
        means = nnx.avg_pool(x, THREE, padding="SAME", count_include_pad=False)
        return computed_once(jnp.concatenate([*self.branches(x, train=train), self.pooled(means, train=train)], -1))


class Block(nnx.Module):
    """A residual block (figures 16, 17 and 19): x plus a fraction of a 1x1 convolution of the branches, and a ReLU."""

    def __init__(
        self, inputs: int, chains: Chains, fraction: float, relu: bool, options: Options, *, rngs: nnx.Rngs
    ) -> None:
        self.branches = Branches(inputs, chains, options, rngs=rngs)
        init, bias = initialiser(options, "xavier"), constant(0.2)
        self.up = Conv(self.branches.channels, inputs, ONE, kernel_init=init, bias_init=bias, rngs=rngs)
        self.fraction, self.relu = fraction, relu

    def __call__(self, x: Array, *, train: bool, padding: str) -> Array:
        """x: (batch, height, width, inputs). Returns the same shape."""
        del padding  # images keep their size
        y = x + self.fraction * self.up(jnp.concatenate(self.branches(x, train=train), axis=-1))
        return computed_once(nnx.relu(y) if self.relu else y)


class Reduction(nnx.Module):
    """Halves the image: branches with a stride of 2, and a max pool (figures 7 and 18)."""

    def __init__(self, inputs: int, chains: Chains, options: Options, *, rngs: nnx.Rngs) -> None:
        self.branches = Branches(inputs, chains, options, rngs=rngs, stride=2)
        self.channels = self.branches.channels + inputs

    def __call__(self, x: Array, *, train: bool, padding: str) -> Array:
        """x: (batch, height, width, inputs). Returns about (batch, height / 2, width / 2, channels)."""
        pooled = nnx.max_pool(x, THREE, (2, 2), padding)  # of the size of the convolutions; Caffe's would round up
        return computed_once(jnp.concatenate([*self.branches(x, train=train, padding=padding), pooled], axis=-1))


class InceptionResNetV2(nnx.Module):
    """The stem, n blocks A, 2n blocks B and n blocks C, with reductions between; published with n = 10.

    The residuals are scaled by 0.17, 0.1 and 0.2 (section 3.3). The last block is neither scaled nor followed by a
    ReLU. Depth 16n + 16: 176 is the longest way through convolutions and the dense layer.

    Images of any size. The sides of 299 pixels are 149, 147, 147, 73, 73, 71, 35 in the stem, 35 in A, 17 in B, 8 in C.
    Those of the author's 230 pixels are 114, 112, 112, 56, 56, 54, 27, then 27, 13, 6: the stem's max pools are
    Caffe's, which round up. Images with a side of less than LEAST pixels are padded ("SAME") in every convolution and
    reduction. The sides of 32 pixels are 16, 16, 16, 8, 8, 8, 4, then 4, 2, 1.
    """

    def __init__(self, classes: int, options: Options, *, rngs: nnx.Rngs, depth: int) -> None:
        n = (depth - 16) // 16
        self.stem = Stem(options, rngs=rngs)
        self.names: list[str] = []
        channels = self.stem.channels
        for letter, chains, fractions, reduction in (
            ("a", A, [0.17] * n, REDUCTION_A),
            ("b", B, [0.1] * (2 * n), REDUCTION_B),
            ("c", C, [0.2] * (n - 1) + [1.0], None),
        ):
            for number, fraction in enumerate(fractions, start=1):
                self.names.append(f"{letter}{number}")
                scaled = fraction < 1
                setattr(self, self.names[-1], Block(channels, chains, fraction, scaled, options, rngs=rngs))
            if reduction:
                self.names.append(f"reduction_{letter}")
                setattr(self, self.names[-1], Reduction(channels, reduction, options, rngs=rngs))
                channels = getattr(self, self.names[-1]).channels
        self.last = ConvNorm(channels, options.widen(1536), ONE, options, rngs=rngs)
        init = initialiser(options, "xavier")
        self.dense = nnx.Linear(options.widen(1536), classes, kernel_init=init, rngs=rngs)

    def __call__(self, images: Array, *, train: bool = False, key: Array | None = None) -> Array:
        """images: (batch, height, width, 3) float32, mean image subtracted. Returns logits: (batch, classes) float32.

        key: for the dropout in training.
        """
        padding = "VALID" if min(images.shape[1:3]) >= LEAST else "SAME"
        x = self.stem(images, train=train, padding=padding)
        for name in self.names:
            x = getattr(self, name)(x, train=train, padding=padding)
        x = self.last(x, train=train).mean((1, 2))
        return self.dense(dropout(x, key) if train else x)
