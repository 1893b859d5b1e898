"""The same networks in PyTorch, for scripts/bench.py: the same weights, batch, loss and solver."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
)
from torch.nn import Sequential as Row
from torch.nn.functional import avg_pool2d, cross_entropy, pad

from smith import networks
from smith.networks.registry import Options
from smith.run import Run


class Peer:
    """A network in PyTorch on one batch: channels last, and TF32 allowed on a GPU, as JAX's default does."""

    def __init__(
        self,
        run: Run,
        work: str,
        images: np.ndarray,
        labels: np.ndarray,
        params: Mapping[str, Any],
        hyper: tuple[float, float, float],
        *,
        device: str,
        compiled: bool = False,
        bfloat16: bool = False,
    ) -> None:
        """Builds the network.

        Args:
          run: with the network, its width and the side of the images
          work: "train", or "test" for forward only
          images: (batch, height, width, channels) float32, preprocessed; labels: (batch,)
          params: our parameters, as `smith.networks.create` returns them; they are copied
          hyper: learning rate, momentum, weight decay
          device: "cpu" or "cuda"
          compiled: through `torch.compile`, which compiles in the first iteration
          bfloat16: under autocast
        """
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU; nothing else on a CPU
        torch.backends.cudnn.benchmark = True
        network = build(run)
        groups = copy_weights(network, run.network, params)
        channels_last: Any = {"memory_format": torch.channels_last}
        network = network.to(device).to(**channels_last).train(work == "train")
        lr, momentum, weight_decay = hyper
        settings: Any = [
            {"params": found, "lr": lr * by_lr, "weight_decay": weight_decay * by_decay}
            for (by_lr, by_decay), found in groups.items()
        ]
        self._solver = torch.optim.SGD(settings, lr, momentum)
        self._network = torch.compile(network) if compiled else network
        self._inputs = torch.tensor(images).to(device).permute(0, 3, 1, 2)  # channels last already, by its strides
        self._targets = torch.tensor(labels.astype(np.int64)).to(device)
        self._autocast = torch.autocast(device, torch.bfloat16, enabled=bfloat16)
        self._work, self._device = work, device

    def run(self, count: int) -> float:
        """Does so many iterations, and returns the last one's loss, in nats, when they are done."""
        loss = torch.zeros(())
        with torch.set_grad_enabled(self._work == "train"):
            for _ in range(count):
                loss = self._iteration()
        if self._device == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    def _iteration(self) -> torch.Tensor:
        with self._autocast:
            loss = cross_entropy(self._network(self._inputs), self._targets)
        if self._work == "train":
            self._solver.zero_grad()
            loss.backward()
            self._solver.step()
        return loss


def device_for(backend: str) -> str:
    """Returns PyTorch's name of the device of a JAX backend; "cpu" where PyTorch has no GPU."""
    return "cuda" if torch.cuda.is_available() and backend == "gpu" else "cpu"


def copy_weights(network: Module, name: str, params: Mapping[str, Any]) -> dict[tuple[float, float], list[Any]]:
    """Gives a network our parameters. Returns its parameters by their multipliers of (learning rate, weight decay).

    Raises ValueError where the two networks have different layers.
    """
    info = networks.info(name)
    ours = sorted(layers(params).items(), key=lambda layer: place(layer[0]))
    theirs: list[Any] = [m for m in network.modules() if isinstance(m, Conv2d | BatchNorm2d | Linear)]
    groups: dict[tuple[float, float], list[Any]] = {}
    channels = 0
    for (path, arrays), module in zip(ours, theirs, strict=True):
        if (module.bias is None) != ("bias" not in arrays):
            raise ValueError(f"{name}: only one of {path} and PyTorch's {module} has a bias")
        for leaf in arrays:
            parameter: Any = module.bias if leaf == "bias" else module.weight
            value = torch.tensor(rearranged(np.asarray(arrays[leaf]), channels))
            if value.shape != parameter.shape:
                raise ValueError(f"{name}: {path}/{leaf} is {tuple(value.shape)}, PyTorch's {tuple(parameter.shape)}")
            parameter.data.copy_(value)
            factors = [known.get(f"{path}/{leaf}", 1.0) for known in (info.lr_multipliers, info.decay_multipliers)]
            groups.setdefault((factors[0], factors[1]), []).append(parameter)
        channels = 0 if isinstance(module, BatchNorm2d) else len(module.weight)
    return groups


def layers(params: Mapping[str, Any], path: str = "") -> dict[str, Mapping[str, Any]]:
    """Returns the layers of nested parameters: "block1/conv1/norm" -> {"scale": array, "bias": array}."""
    if not all(isinstance(part, Mapping) for part in params.values()):
        return {path: params}
    nested = [layers(part, f"{path}/{name}".strip("/")) for name, part in params.items()]
    return {path: layer for found in nested for path, layer in found.items()}


def place(path: str) -> tuple[Any, ...]:
    """Returns what sorts layers by their paths in the order in which the network has them."""
    head, _, rest = path.partition("/")
    kind = re.sub(r"\d.*", "", head)
    group = {"first": 0, "conv": 1, "block": 1, "transition": 1, "norm": 2, "dense": 3}[kind]
    numbers = [int(digits) for digits in re.findall(r"\d+", head)]
    if kind == "transition":
        numbers.append(1000)  # after the block's layers
    before = group == 1 and rest == "norm"  # in densenet's layers BatchNorm comes before the convolution
    return group, numbers, not before, rest


def rearranged(array: np.ndarray, channels: int) -> np.ndarray:
    """Returns a parameter in PyTorch's order of axes. channels: of a layer before whose image is flattened, else 0."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if array.ndim == 2:  # from rows of (pixel, channel) to columns of (channel, pixel)
        return array.reshape(-1, channels or len(array), array.shape[1]).transpose(2, 1, 0).reshape(array.shape[1], -1)
    return array


def build(run: Run) -> Module:
    """Returns a run's network in PyTorch, with PyTorch's default weights."""
    name, options = run.network, run.options
    if name == "lenet":
        return lenet(options)
    if name == "shallow3":
        return shallow3(options)
    family, _, rest = name.partition("-")
    depth = int(rest.partition("-")[0])
    return densenet(depth, options) if family == "densenet" else resnet(family, depth, rest.endswith("relu"), options)


def lenet(options: Options) -> Module:
    first, second, hidden = map(options.widen, (20, 50, 500))
    features = [Conv2d(1, first, 5), MaxPool2d(2), Conv2d(first, second, 5), MaxPool2d(2)]
    return Row(*features, Flatten(), Linear(16 * second, hidden), ReLU(), Linear(hidden, 10))


class LRN(Module):
    """Caffe's local response normalisation within a channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + 5e-5 * avg_pool2d(x * x, 3, 1, 1)) ** -0.75


def shallow3(options: Options) -> Module:
    def pool(kind: Any) -> Any:
        return kind(3, 2, ceil_mode=True)

    narrow, wide, side = options.widen(32), options.widen(64), (options.image_shape or (32,))[0] // 8
    first = [Conv2d(3, narrow, 5, padding=2), pool(MaxPool2d), ReLU(), LRN()]
    second = [Conv2d(narrow, narrow, 5, padding=2), ReLU(), pool(AvgPool2d), LRN()]
    third = [Conv2d(narrow, wide, 5, padding=2), ReLU(), pool(AvgPool2d)]
    return Row(*first, *second, *third, Flatten(), Linear(side * side * wide, 10))


def norm(inputs: int, width: int, side: int, stride: int) -> list[Module]:
    padding = side // 2 if side == 3 else 0
    return [Conv2d(inputs, width, side, stride, padding, bias=False), BatchNorm2d(width)]


class Block(Module):
    """Two convolutions and a shortcut: a projection without ReLU after the sum, or a pool with it and zeros."""

    def __init__(self, inputs: int, width: int, stride: int, pool: bool) -> None:
        super().__init__()
        inner = inputs if pool else width
        self.body = Row(*norm(inputs, inner, 3, stride), ReLU(), *norm(inner, inner, 3, 1))
        halve = AvgPool2d(3, 2, ceil_mode=True) if pool else Row(*norm(inputs, width, 2, 2))
        self.shortcut = halve if stride > 1 else Identity()
        self.pool, self.zeros = pool, width - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x) + self.shortcut(x)
        return pad(torch.relu(y), (0, 0, 0, 0, 0, self.zeros)) if self.pool else y


def resnet(family: str, depth: int, pool: bool, options: Options) -> Module:
    widths = (16, 64, 256) if family == "wide" else (16, 32, 64)
    apart = family == "resnet" and not pool  # the blocks that halve the image come on top of a group's
    count = (depth - (8 if apart else 2)) // 6
    channels = options.widen(16)
    layers, blocks = [*norm(3, channels, 3, 1), ReLU()], []
    for group, width in enumerate(map(options.widen, widths)):
        strides = [2] * (group > 0) + [1] * (count - (group > 0 and not apart))
        for stride in strides:
            blocks.append(Block(channels, width, stride, pool))
            channels = width
    return Row(*layers, *blocks, AdaptiveAvgPool2d(1), Flatten(), Linear(channels, 10))


class Dense(Module):
    """Appends the channels of a layer to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        convolution = Conv2d(inputs, growth, 3, padding=1, bias=False)
        self.body = Row(BatchNorm2d(inputs), ReLU(), convolution, Dropout(0.2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.body(x), x], 1)


def densenet(depth: int, options: Options) -> Module:
    channels, growth, count = options.widen(16), options.widen(12), (depth - 4) // 3
    found: list[Module] = [Conv2d(3, channels, 3, padding=1, bias=False)]
    for block in range(3):
        found += [Dense(channels + growth * layer, growth) for layer in range(count)]
        channels += growth * count
        if block < 2:
            found += [BatchNorm2d(channels), ReLU(), Conv2d(channels, channels, 1, bias=False), Dropout(0.2)]
            found += [AvgPool2d(2)]
    return Row(*found, BatchNorm2d(channels), ReLU(), AdaptiveAvgPool2d(1), Flatten(), Linear(channels, 10))
