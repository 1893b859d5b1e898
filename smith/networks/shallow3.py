"""shallow3: Caffe's `cifar10_full`, the three-layer network of the paper's CIFAR-10 experiments."""

import jax
from flax import nnx

from smith.networks.layers import Conv, avg_pool, gaussian, lrn_within_channel, max_pool
from smith.networks.registry import Options


class Shallow3(nnx.Module):
    """Three 5x5 convolutions with pooling and local response normalisation, and one dense layer.

    Image sides go 32, 16, 8, 4, or they begin at another multiple of 8. The initial weights are Gaussian with the
    deviations that Caffe's file gives, for the inputs that a unit has there.
    """

    def __init__(self, classes: int, options: Options, *, rngs: nnx.Rngs) -> None:
        narrow, wide = options.widen(32), options.widen(64)
        first, other, last = (gaussian(options, *one) for one in ((1e-4, 75), (1e-2, 800), (1e-2, 1024)))
        self.conv1 = Conv(3, narrow, (5, 5), padding="SAME", kernel_init=first, rngs=rngs)
        self.conv2 = Conv(narrow, narrow, (5, 5), padding="SAME", kernel_init=other, rngs=rngs)
        self.conv3 = Conv(narrow, wide, (5, 5), padding="SAME", kernel_init=other, rngs=rngs)
        height, width, _ = options.image_shape or (32, 32, 3)
        self.dense = nnx.Linear(height // 8 * (width // 8) * wide, classes, kernel_init=last, rngs=rngs)

    def __call__(self, images: jax.Array, *, train: bool = False, key: jax.Array | None = None) -> jax.Array:
        """images: (batch, height, width, 3) float32, mean subtracted. Returns logits: (batch, classes) float32."""
        del train, key  # the same in training and evaluation
        x = nnx.relu(self.conv1.add_bias(max_pool(self.conv1.convolve(images), window=3, stride=2)))
        x = lrn_within_channel(x)
        x = avg_pool(nnx.relu(self.conv2(x)), window=3, stride=2)
        x = lrn_within_channel(x)
        x = avg_pool(nnx.relu(self.conv3(x)), window=3, stride=2)
        return self.dense(x.reshape(len(x), -1))
