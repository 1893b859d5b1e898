"""LeNet: Caffe's MNIST example, the network of the paper's MNIST experiments."""

import jax
from flax import nnx

from smith.networks import convolutions, cpu
from smith.networks.layers import Conv, convolve, initialiser, max_pool
from smith.networks.registry import Options


class LeNet(nnx.Module):
    """Two 5x5 convolutions without padding, each with a 2x2 max pool, and two dense layers; one ReLU, between these."""

    def __init__(self, classes: int, options: Options, *, rngs: nnx.Rngs) -> None:
        first, second, hidden = map(options.widen, (20, 50, 500))
        init = initialiser(options, "xavier")
        self.conv1 = Conv(1, first, (5, 5), padding="VALID", kernel_init=init, rngs=rngs)
        self.conv2 = Conv(first, second, (5, 5), padding="VALID", kernel_init=init, rngs=rngs)
        self.dense1 = nnx.Linear(4 * 4 * second, hidden, kernel_init=init, rngs=rngs)
        self.dense2 = nnx.Linear(hidden, classes, kernel_init=init, rngs=rngs)

    def __call__(self, images: jax.Array, *, train: bool = False, key: jax.Array | None = None) -> jax.Array:
        """images: (batch, 28, 28, 1) float32, divided by 256. Returns logits: (batch, classes) float32."""
        del train, key  # the same in training and evaluation
        x = convolve_and_pool(images, *self.conv1.weights, *self.conv2.weights)
        return self.dense2(nnx.relu(self.dense1(x)))


@cpu.faster(convolutions.convolve_and_pool)
def convolve_and_pool(images: jax.Array, *weights: jax.Array) -> jax.Array:
    """The convolutions and pools. images: (batch, height, width, channels); weights: kernel, bias, kernel, bias.

    Returns (batch, features), which are rows by row, column and channel.
    """
    x = images
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        x = max_pool(convolve(x, kernel, padding="VALID"), window=2, stride=2) + bias
    return x.reshape(len(x), -1)
