"""Speed of the networks' convolutions on a CPU, one by one, beside PyTorch's: most of the gap in scripts/bench.py.

Run:     python scripts/bench_convolutions.py [--layer "shallow3 conv2" ...]
Cost:    half a minute
Expect:  a table: GFLOP/s of each convolution and of its two gradients, ours and PyTorch's

Ours is each layer as the network uses it, on as many images as it gets at once; a gradient alone computes again what it
needs of the forward pass. PyTorch's is channels last. They take turns, as in scripts/bench.py.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np

from scripts.bench import Parser, has_pytorch, machine, repeated, take_turns
from smith.errors import UserError, unknown
from smith.networks import cpu
from smith.networks.convolutions import convolve_batch_last
from smith.networks.layers import convolve

TURNS, TURN_SECONDS = 5, 0.2  # of each side
WORK = ("forward", "gradient of the input", "gradient of the weights")


@dataclass(frozen=True)
class Layer:
    """A convolution without bias.

    images: how many at once; side: of an image; inputs, filters: channels; kernel: its side
    padded: whether an image keeps its side
    """

    images: int
    side: int
    inputs: int
    filters: int
    kernel: int
    padded: bool = True

    @property
    def flops(self) -> float:
        """FLOP of the forward convolution, and of each gradient."""
        new_side = self.side if self.padded else self.side - self.kernel + 1
        return 2.0 * self.images * new_side**2 * self.kernel**2 * self.inputs * self.filters


LAYERS = {
    "shallow3 conv1": Layer(64, 32, 3, 32, 5),
    "shallow3 conv2": Layer(64, 16, 32, 32, 5),
    "shallow3 conv3": Layer(64, 8, 32, 64, 5),
    "LeNet conv1": Layer(128, 28, 1, 20, 5, padded=False),
    "LeNet conv2": Layer(128, 12, 20, 50, 5, padded=False),
    "resnet-56 32 x 32": Layer(128, 32, 16, 16, 3),
    "resnet-56 16 x 16": Layer(128, 16, 32, 32, 3),
    "resnet-56 8 x 8": Layer(128, 8, 64, 64, 3),
}


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints. Exits with 2 and one line on bad input."""
    cpu.prepare_process()
    try:
        chosen = parse(arguments)
    except UserError as error:
        print(f"bench_convolutions: {error}", file=sys.stderr)
        sys.exit(2)
    print(machine(), f"{'GFLOP/s: ours, PyTorch':24}" + "".join(f"{work:>26}" for work in WORK), sep="\n")
    for name in chosen:
        cells = "".join(f"{f'{ours:.0f}, {theirs:.0f}':>26}" for ours, theirs in measure(LAYERS[name]))
        print(f"{name:24}{cells}", flush=True)


def parse(arguments: list[str] | None) -> list[str]:
    """Returns the names of the layers to measure. Raises UserError for a mistake, or if PyTorch is not there."""
    parser = Parser(description=__doc__)
    parser.add_argument("--layer", nargs="+", default=list(LAYERS), metavar="NAME", help=f"of {', '.join(LAYERS)}")
    chosen: list[str] = parser.parse_args(arguments).layer
    for name in chosen:
        if name not in LAYERS:
            raise unknown("layer", name, LAYERS)
    if not has_pytorch():
        raise UserError("this compares with PyTorch, which is not installed")
    if jax.default_backend() != "cpu":
        raise UserError("this measures the CPU's convolutions: set JAX_PLATFORMS=cpu")
    return chosen


def measure(layer: Layer) -> list[tuple[float, float]]:
    """Returns (ours, PyTorch's) in GFLOP/s for each of `WORK`."""
    sides = [repeated(work) for work in [*ours(layer), *pytorch(layer)]]
    rates = [layer.flops / seconds / 1e9 for seconds in take_turns(sides, TURNS, TURN_SECONDS)]
    return list(zip(rates[: len(WORK)], rates[len(WORK) :], strict=True))


def draw(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Returns images, (batch, side, side, inputs), and a kernel, (kernel, kernel, inputs, filters)."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((layer.images, layer.side, layer.side, layer.inputs), np.float32)
    return images, generator.standard_normal((layer.kernel, layer.kernel, layer.inputs, layer.filters), np.float32)


def ours(layer: Layer) -> list[Callable[[], jax.Array]]:
    """Returns what does each of `WORK`, as in the network: LeNet's images have the batch as the last axis.

    The gradients are those of the output's sum.
    """
    images, weights = (jnp.asarray(array) for array in draw(layer))

    def forward(images: jax.Array, weights: jax.Array) -> jax.Array:
        if not layer.padded:
            return convolve_batch_last(images, weights)
        with cpu.tricks(True):
            return convolve(images, weights, padding="SAME")

    if not layer.padded:
        images = images.transpose(3, 1, 2, 0)
    dy = jnp.ones(jax.eval_shape(forward, images, weights).shape)
    works: list[Callable[..., Any]] = [
        lambda images, weights, _: forward(images, weights),
        lambda images, weights, dy: jax.vjp(lambda x: forward(x, weights), images)[1](dy)[0],
        lambda images, weights, dy: jax.vjp(lambda w: forward(images, w), weights)[1](dy)[0],
    ]
    jitted = [jax.jit(work) for work in works]
    return [lambda work=work: jax.block_until_ready(work(images, weights, dy)) for work in jitted]


def pytorch(layer: Layer) -> list[Callable[[], Any]]:
    """Returns what does each of `WORK` in PyTorch, channels last."""
    import torch

    images, weights = (torch.tensor(array) for array in draw(layer))
    images, weights = images.permute(0, 3, 1, 2), weights.permute(3, 2, 0, 1)
    weights = weights.contiguous(memory_format=torch.channels_last)
    padding = (layer.kernel // 2 if layer.padded else 0,) * 2
    convolve: Any = torch.nn.functional.conv2d
    dy = torch.ones_like(convolve(images, weights, padding=padding))

    def gradient(*which: bool) -> Any:
        settings = None, (1, 1), padding, (1, 1), False, (0, 0), 1, which
        return torch.ops.aten.convolution_backward(dy, images, weights, *settings)

    return [
        lambda: convolve(images, weights, padding=padding),
        lambda: gradient(True, False, False)[0],
        lambda: gradient(False, True, False)[1],
    ]


if __name__ == "__main__":
    main()
