"""Images per second of our training step, beside the same network in eager PyTorch (channels last).

Run:     python scripts/bench.py [--network shallow3 lenet] [--batch 128 512] [--test 250 1000] [--json FILE]
Cost:    about 15 s for each batch size of shallow3 and LeNet, minutes for the deep networks on a CPU
Expect:  on a CPU, a ratio to PyTorch of 0.7 to 1 for shallow3; a table without PyTorch where it is not installed

Without --batch each network has the batch sizes that the experiments train it with. Both sides do forward, backward and
momentum SGD on one fixed batch of random images; BatchNorm normalises over the whole batch. They take turns (A, B, A,
B), begin each turn with iterations that do not count, for the other's threads to come to rest, and report the median
turn. Both have the C library keep freed memory (`smith.networks.keep_freed_memory`).
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
import optax

from smith import networks

TURNS, TURN_SECONDS = 7, 0.6  # turns of each side, and about how many seconds each takes
SLOW_TURNS = 3  # for a network that needs longer than TURN_SECONDS for an iteration
SETTLING = 3  # iterations at the beginning of a turn that do not count; 1 for a slow network
BATCHES = {
    "shallow3": [128, 512],
    "lenet": [512],
    "resnet-56": [512],
    "resnet-56-relu": [1000],
    "wide-32": [512],
    "densenet-40": [256],
}
RATE, MOMENTUM = 1e-5, 0.9  # learning rate: so small that the random images do not diverge

Runner = Callable[[int], None]  # does this many iterations, and returns when they are done


@dataclass(frozen=True)
class Row:
    """One line of the table. Speeds are images per second; None where PyTorch is not installed."""

    network: str
    work: str  # "train" or "test" (forward only)
    batch: int
    ours: float
    pytorch: float | None
    ratio: float | None
    compile_seconds: float


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    networks.keep_freed_memory()
    print(machine())
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: ours alone")
    print(f"{'network':14} {'work':6} {'batch':>6} {'ours, img/s':>12} {'PyTorch':>9} {'ratio':>6} {'compile, s':>11}")
    rows = []
    for name, work, batch in jobs(options):
        rows.append(measure(name, work, batch))
        print(line(rows[-1]), flush=True)
    if options.json:
        report = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=list(BATCHES), choices=list(BATCHES))
    parser.add_argument("--batch", nargs="*", type=int, help="batch sizes in training (default: the experiments')")
    parser.add_argument("--test", nargs="*", type=int, default=[], help="batch sizes in testing: forward only")
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    return parser.parse_args(arguments)


def jobs(options: argparse.Namespace) -> Iterable[tuple[str, str, int]]:
    for name in options.network:
        yield from ((name, "train", batch) for batch in (BATCHES[name] if options.batch is None else options.batch))
        yield from ((name, "test", batch) for batch in options.test)


def measure(name: str, work: str, batch: int) -> Row:
    """Returns the speed of both sides at one network, kind of work and batch size."""
    images, labels = random_batch(name, batch)
    began = time.perf_counter()
    ours = our_runner(name, work, images, labels)
    compile_seconds = time.perf_counter() - began
    sides = [ours]
    if importlib.util.find_spec("torch") is not None:
        sides.append(pytorch_runner(name, work, images, labels))
    speeds = [batch / seconds for seconds in take_turns(sides)]
    pytorch = speeds[1] if len(speeds) > 1 else None
    return Row(name, work, batch, speeds[0], pytorch, pytorch and speeds[0] / pytorch, compile_seconds)


def take_turns(sides: list[Runner]) -> list[float]:
    """Returns the seconds that an iteration of each side takes: the median over its turns."""
    seconds = [turn(side, 1, settling=1) for side in sides]
    counts = [max(1, round(TURN_SECONDS / second)) for second in seconds]
    slow = max(seconds) > TURN_SECONDS
    turns, settling = (SLOW_TURNS, 1) if slow else (TURNS, SETTLING)
    times = [[turn(side, count, settling) for side, count in zip(sides, counts, strict=True)] for _ in range(turns)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def turn(side: Runner, count: int, settling: int) -> float:
    """Returns the seconds that one of `count` iterations takes, after some that do not count."""
    side(settling)
    began = time.perf_counter()
    side(count)
    return (time.perf_counter() - began) / count


def random_batch(name: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (batch, height, width, channels) float32 images, as after preprocessing, and (batch,) int64 labels."""
    info, draw = networks.info(name), np.random.default_rng(0)
    images = draw.uniform(0, 256, (batch, *info.image_shape)).astype(np.float32)
    images = images - 128 if info.preprocessing == "mean_image" else images / 256
    return images, draw.integers(0, 10, batch)


def our_runner(name: str, work: str, images: np.ndarray, labels: np.ndarray) -> Runner:
    graphdef, params, rest = networks.create(name, 0)
    solver = optax.sgd(RATE, MOMENTUM)

    def loss(params: Any, rest: Any, images: jax.Array, labels: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
        logits, rest = networks.apply(graphdef, params, rest, images, train=True, key=key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), rest

    def train(state: tuple[Any, ...], images: jax.Array, labels: jax.Array) -> tuple[Any, ...]:
        params, rest, velocity, key = state
        key, noise = jax.random.split(key)
        grads, rest = jax.grad(loss, has_aux=True)(params, rest, images, labels, noise)
        updates, velocity = solver.update(grads, velocity)
        return optax.apply_updates(params, updates), rest, velocity, key

    def test(state: tuple[Any, ...], images: jax.Array, labels: jax.Array) -> tuple[Any, ...]:
        params, rest, _ = state
        return params, rest, networks.apply(graphdef, params, rest, images, train=False)[0]

    # In testing the last part of the state is the logits, so that they are computed.
    others = (solver.init(params), jax.random.key(0)) if work == "train" else (jnp.zeros((len(images), 10)),)
    start = (params, rest, *others)
    return compiled_runner(train if work == "train" else test, start, images, labels)


def compiled_runner(function: Callable[..., Any], state: Any, images: np.ndarray, labels: np.ndarray) -> Runner:
    """Compiles a function of (state, images, labels) that returns the next state, and returns what runs it."""
    data = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
    compiled = jax.jit(function, compiler_options=networks.compiler_options()).lower(state, *data).compile()

    def run(count: int) -> None:
        nonlocal state
        for _ in range(count):
            state = compiled(state, *data)
        jax.block_until_ready(state)

    return run


def pytorch_runner(name: str, work: str, images: np.ndarray, labels: np.ndarray) -> Runner:
    import torch

    device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    network = (
        (deep_pytorch_network(name) if "-" in name else pytorch_network(name))
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    inputs = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)  # channels last already, by its strides
    targets = torch.from_numpy(labels).to(device)
    solver = torch.optim.SGD(network.parameters(), RATE, MOMENTUM)

    def train() -> None:
        solver.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        solver.step()

    network.train(work == "train")

    def run(count: int) -> None:
        with torch.set_grad_enabled(work == "train"):
            for _ in range(count):
                train() if work == "train" else network(inputs)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def pytorch_network(name: str) -> Any:
    """Returns the same network in PyTorch, with its default weights."""
    import torch
    from torch.nn import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential

    class LRN(torch.nn.Module):
        """Caffe's local response normalisation within a channel."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * (1 + 5e-5 * torch.nn.functional.avg_pool2d(x * x, 3, 1, 1)) ** -0.75

    def pool(kind: Any) -> Any:
        return kind(3, 2, ceil_mode=True)

    if name == "lenet":
        features = [Conv2d(1, 20, 5), MaxPool2d(2), Conv2d(20, 50, 5), MaxPool2d(2)]
        return Sequential(*features, Flatten(), Linear(800, 500), ReLU(), Linear(500, 10))
    first = [Conv2d(3, 32, 5, padding=2), pool(MaxPool2d), ReLU(), LRN()]
    second = [Conv2d(32, 32, 5, padding=2), ReLU(), pool(AvgPool2d), LRN()]
    third = [Conv2d(32, 64, 5, padding=2), ReLU(), pool(AvgPool2d)]
    return Sequential(*first, *second, *third, Flatten(), Linear(1024, 10))


def deep_pytorch_network(name: str) -> Any:
    """Returns one of the deep networks in PyTorch, with its default weights."""
    import torch
    from torch.nn import AvgPool2d, BatchNorm2d, Conv2d, Dropout, Flatten, Identity, Linear, Module, ReLU, Sequential

    class Block(Module):
        """Two convolutions and a shortcut: a projection without ReLU after the sum, or a pool with it and zeros."""

        def __init__(self, inputs: int, width: int, stride: int, pool: bool) -> None:
            super().__init__()
            inner = inputs if pool else width
            self.body = Sequential(*norm(inputs, inner, 3, stride), ReLU(), *norm(inner, inner, 3, 1))
            halve = AvgPool2d(3, 2, ceil_mode=True) if pool else Sequential(*norm(inputs, width, 2, 2))
            self.shortcut = halve if stride > 1 else Identity()
            self.pool, self.zeros = pool, width - inputs

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.body(x) + self.shortcut(x)
            return torch.nn.functional.pad(torch.relu(y), (0, 0, 0, 0, 0, self.zeros)) if self.pool else y

    class Dense(Module):
        """Appends the channels of a layer to its input."""

        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.body = Sequential(
                BatchNorm2d(inputs), ReLU(), Conv2d(inputs, 12, 3, padding=1, bias=False), Dropout(0.2)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.body(x), x], 1)

    def norm(inputs: int, width: int, side: int, stride: int) -> list[Any]:
        return [
            Conv2d(inputs, width, side, stride, padding=side // 2 if side == 3 else 0, bias=False),
            BatchNorm2d(width),
        ]

    if name == "densenet-40":
        layers, channels = [Conv2d(3, 16, 3, padding=1, bias=False)], 16
        for block in range(3):
            layers += [Dense(channels + 12 * layer) for layer in range(12)]
            channels += 144
            if block < 2:
                layers += [BatchNorm2d(channels), ReLU(), Conv2d(channels, channels, 1, bias=False), Dropout(0.2)]
                layers += [AvgPool2d(2)]
        return Sequential(*layers, BatchNorm2d(channels), ReLU(), AvgPool2d(8), Flatten(), Linear(channels, 10))
    groups = {
        "resnet-56": [(16, 8, 1), (32, 1, 2), (32, 8, 1), (64, 1, 2), (64, 8, 1)],
        "resnet-56-relu": [(16, 9, 1), (32, 1, 2), (32, 8, 1), (64, 1, 2), (64, 8, 1)],
        "wide-32": [(16, 5, 1), (64, 1, 2), (64, 4, 1), (256, 1, 2), (256, 4, 1)],
    }
    channels, blocks = 16, []
    for width, count, stride in groups[name]:
        for _ in range(count):
            blocks.append(Block(channels, width, stride, pool=name.endswith("relu")))
            channels = width
    return Sequential(*norm(3, 16, 3, 1), ReLU(), *blocks, AvgPool2d(8), Flatten(), Linear(channels, 10))


def machine() -> str:
    """Returns a line about where and when this was measured."""
    versions = [f"jax {jax.__version__}"]
    if importlib.util.find_spec("torch") is not None:
        import torch

        versions.append(f"torch {torch.__version__}")
    device = jax.devices()[0].device_kind
    where = f"{cpu_name()}, {os.cpu_count()} cores" if jax.default_backend() == "cpu" else device
    return f"{where}; Python {platform.python_version()}, {', '.join(versions)}; {datetime.date.today()}"


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def line(row: Row) -> str:
    pytorch = "-" if row.pytorch is None else f"{row.pytorch:,.0f}"
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    what = f"{row.network:14} {row.work:6} {row.batch:6}"
    return f"{what} {row.ours:12,.0f} {pytorch:>9} {ratio:>6} {row.compile_seconds:11.1f}"


if __name__ == "__main__":
    main()
