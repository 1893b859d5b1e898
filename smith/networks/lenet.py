"""LeNet: Caffe's MNIST example, the network of the paper's MNIST experiments."""

import jax
from flax import nnx

from smith.networks import Options, batch_last
from smith.networks.layers import Conv, initialiser, max_pool


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
        hidden = self._hidden_batch_last(images) if jax.default_backend() == "cpu" else self._hidden(images)
        return self.dense2(hidden)

    def _hidden(self, images: jax.Array) -> jax.Array:
        """Returns the hidden layer, (batch, 500)."""
        x = self.conv1.add_bias(max_pool(self.conv1.convolve(images), 2, 2))
        x = self.conv2.add_bias(max_pool(self.conv2.convolve(x), 2, 2))
        return nnx.relu(self.dense1(x.reshape(len(x), -1)))

    def _hidden_batch_last(self, images: jax.Array) -> jax.Array:
        """The same, faster on a CPU."""
        x = batch_last.from_nhwc(images)
        for layer in (self.conv1, self.conv2):
            x = batch_last.max_pool_2x2(batch_last.convolve(x, layer.kernel[...]))
            x += batch_last.along_batch(layer.bias, axes=4)
        x = x.transpose(1, 2, 0, 3).reshape(-1, len(images))  # rows by row, column, channel
        x = self.dense1.kernel[...].T @ x + batch_last.along_batch(self.dense1.bias, axes=2)
        return nnx.relu(x).T
