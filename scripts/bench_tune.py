"""Compares the recipe with other ways to spend the same number of training iterations, the search included.

Run:     python scripts/bench_tune.py [--seeds 8] [--results DIR] [--write docs/recipe.md]
         python scripts/bench_tune.py --overhead: the engine beside a loop written by hand, on MNIST's perceptron
Cost:    about 20 minutes on 2 CPU cores; what is trained already is not trained again
Expect:  a table of final test losses and accuracies, and of paired differences to the recipe; whatever it says

Each way gets `BUDGET` iterations of one batch size for search and training together, and begins from nothing with each
seed. What it does was written down before it was run:

- recipe: `tune.recipe`, without its batch-size step, with half of the budget; trains for what is left
- AdamW: learning rate 1e-3 with cosine decay to 0, b1 0.9, weight decay 1e-4 (Optax's default); no search
- random search: eight settings of 1cycle, drawn from wide ranges, an eighth of a half of the budget each; the one with
  the least final test loss is trained for the other half
- fastai: a range test of the training loss of 100 iterations, 1e-7 to 10; the mean of the steepest and the valley rate
  on a logarithmic scale; `fit_one_cycle` with AdamW for what is left
"""

import argparse
import functools
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

from experiments.bases import resnet56
from smith import FastaiMomentum, FastaiOneCycle, Schedule, Task, caffe_sgd, disk, iterations, tune
from smith.analysis.verdicts import interval
from smith.data import default_data_dir, load
from smith.figures import tables
from smith.metrics import cross_entropy
from smith.scales import miniature_of
from smith.store import Result
from smith.tune import comparisons

BUDGET = 1200  # iterations
SEARCHED = 8  # settings of the random search
CONTEXT = 32  # characters


@dataclass(frozen=True)
class CosineDecay(Schedule, slug="cosine{0.start:g}"):
    """From `start` to 0 along half a cosine."""

    start: float

    def formula(self, total: int, per_epoch: float) -> Any:
        return lambda t: self.start * (1 + jnp.cos(jnp.pi * t / total)) / 2


# --- the tasks ---


class Perceptron(nnx.Module):
    """Two hidden layers of 128 units."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(sizes[0], sizes[1], rngs=rngs) for sizes in ((784, 128), (128, 128))])
        self.output = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        hidden = images.reshape(len(images), -1)
        for layer in self.layers:
            hidden = nnx.relu(layer(hidden))
        return self.output(hidden)


class Attention(linen.Module):
    """Two causal blocks of four heads that predict the next character."""

    characters: int
    width: int = 32

    @linen.compact
    def __call__(self, text: jax.Array) -> jax.Array:
        places = self.param("places", linen.initializers.normal(0.02), (CONTEXT, self.width))
        x = linen.Embed(self.characters, self.width)(text) + places
        mask = linen.make_causal_mask(text)
        for _ in range(2):
            x += linen.MultiHeadDotProductAttention(num_heads=4)(linen.LayerNorm()(x), mask=mask)
            x += linen.Dense(self.width)(linen.gelu(linen.Dense(4 * self.width)(linen.LayerNorm()(x))))
        return linen.Dense(self.characters)(linen.LayerNorm()(x))


def text_task(**options: Any) -> Task:
    """Returns the prediction of the next character in the reference that Python ships (`pydoc_data.topics`)."""
    text = "".join(dict(topics.topics).values())
    characters = sorted(set(text))
    numbers = np.searchsorted(characters, list(text)).astype(np.int32)
    windows = numbers[: (len(numbers) - 1) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)
    following = numbers[1 : windows.size + 1].reshape(-1, CONTEXT)
    cut = len(windows) * 9 // 10
    train, test = (windows[:cut], following[:cut]), (windows[cut:], following[cut:])
    return Task(Attention(len(characters)), train, test, batch_size=32, batched=False, name="text", **options)


def mnist_task(**options: Any) -> Task:
    """Returns MNIST's first 6,000 and 2,000 images and a perceptron."""
    return Task(Perceptron, load_few("train"), load_few("test"), batch_size=64, name="mnist", **options)


def load_few(split: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first 6,000 training or 2,000 test images of MNIST, and their labels."""
    arrays, count = load("mnist", split, default_data_dir()), {"train": 6000, "test": 2000}[split]
    return arrays.images[:count], arrays.labels[:count]


def cifar_task(results_dir: Path, optimizer: str = "nesterov") -> Task:
    """Returns CIFAR-10 and resnet-56 in miniature."""
    run = resnet56(512)
    return Task.of(miniature_of(run).apply(run).replace(solver=optimizer), results_dir=results_dir)


TASKS: dict[str, Callable[..., Task]] = {
    "CIFAR-10, resnet-8": cifar_task,
    "MNIST, perceptron": mnist_task,
    "text, attention": text_task,
}


# --- the ways ---


def by_recipe(make: Callable[..., Task], seed: int) -> Result:
    task = make()
    task.first_seed = seed
    steps = ("momentum", "weight decay")
    plan = tune.recipe(task, iterations(BUDGET // 2), iterations(BUDGET), seeds=1, steps=steps)
    left = BUDGET - sum(step.iterations for step in plan.steps)
    return plan.train(iterations(left)).results[0]


def by_adamw(make: Callable[..., Task], seed: int) -> Result:
    task = make(optimizer="adamw")
    return _train(task, seed, BUDGET, lr=CosineDecay(1e-3), momentum=0.9, weight_decay=1e-4)


def by_random_search(make: Callable[..., Task], seed: int) -> Result:
    task, random = make(), np.random.default_rng(seed)
    tried = []
    for _ in range(SEARCHED):
        peak, decay = 10 ** random.uniform(-3, 0.5), 10 ** random.uniform(-6, -2)
        momentum = [None, 0.9, 0.95][random.integers(3)]
        settings = {**comparisons.one_cycle(float(f"{peak:.3g}"), momentum), "weight_decay": float(f"{decay:.3g}")}
        tried.append((_train(task, seed, BUDGET // 2 // SEARCHED, **settings), settings))
    _, best = min(tried, key=lambda one: _final(one[0])[0])
    return _train(task, seed, BUDGET // 2, **best)


def by_fastai(make: Callable[..., Task], seed: int) -> Result:
    task = make(optimizer="adamw")
    task.first_seed = seed
    found = tune.range_test(task, "lr", 1e-7, 10, length=iterations(100), seeds=1, of="train_loss")
    rates = [float(found.readings[name][0]) for name in ("steepest", "valley")]
    peak = float(np.exp(np.nanmean(np.log(rates)))) if np.isfinite(rates).any() else 1e-3
    return _train(task, seed, BUDGET - 100, lr=FastaiOneCycle(peak), momentum=FastaiMomentum(), weight_decay=1e-2)


WAYS = {"recipe": by_recipe, "AdamW, cosine": by_adamw, "random search": by_random_search, "fastai": by_fastai}


def _train(task: Task, seed: int, length: int, **settings: Any) -> Result:
    task.first_seed = seed
    run = task.run(iterations(length), **settings)
    return task.train({"": run.replace(test_every=iterations(max(1, length // 10)))})[""][0]


def _final(result: Result) -> tuple[float, float]:
    """Returns the last test loss and accuracy; a run that diverged has come to guessing."""
    found = tune.Trained(result.run, [result])
    return float(found.loss[0]), float(found.accuracy[0])


# --- the overhead ---


def seconds_by_hand(task: Task, count: int) -> float:
    """Returns the time of so many iterations of the task in a jitted loop without anything else."""
    data = load_few("train")
    images, labels = map(jnp.asarray, data)
    graphdef, params = nnx.split(Perceptron(nnx.Rngs(0)))
    size, whole = task.base.batch_size, len(labels) // task.base.batch_size

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, order: jax.Array, first: int, rate: float) -> Any:
        params, memory = state
        chosen = jax.lax.dynamic_slice(order, (first,), (size,))

        def loss_of(params: Any) -> jax.Array:
            logits = nnx.merge(graphdef, params)(images[chosen].astype(jnp.float32) / 256)
            return cross_entropy(logits, labels[chosen]).mean()

        gradient = jax.grad(loss_of)(params)
        updates, memory = caffe_sgd(rate, 0.9, 0.0).update(gradient, memory, params)
        return optax.apply_updates(params, updates), memory

    shuffled = jax.jit(lambda key: jax.random.permutation(key, len(labels)))
    state, order, began = (params, caffe_sgd(0.0, 0.9, 0.0).init(params)), None, 0.0
    for t in range(-10, count):
        if t == 0:
            began = time.perf_counter()
        if order is None or t % whole == 0:
            order = shuffled(jax.random.key(t + 10))
        state = step(state, order, t % whole * size, 0.05)
    jax.block_until_ready(state)
    return time.perf_counter() - began


def overhead(results_dir: Path, count: int = 3000, times: int = 7) -> str:
    """Returns the ratio of the engine's time to that of a loop by hand, in turns: the median, and the range."""
    task = mnist_task(results_dir=results_dir)
    ratios = []
    for turn in range(times):
        task.first_seed = turn
        run = task.run(iterations(count), lr=0.05, test_every=iterations(count))
        (result,) = task.train({"": run})[""]
        engine = count * task.base.batch_size / float(result.facts["images_per_second"])
        ratios.append(engine / seconds_by_hand(task, count))
    low, middle, high = np.quantile(ratios, [0, 0.5, 1])
    return f"engine / loop by hand: {middle:.3f} ({low:.3f} to {high:.3f} in {times} turns of {count} iterations)"


# --- the table ---


def table(ends: dict[str, dict[str, np.ndarray]]) -> str:
    """Returns the table. ends: task -> way -> (seeds, 2) test loss and accuracy."""
    rows = []
    for task, ways in ends.items():
        for way, values in ways.items():
            apart = values - ways["recipe"]
            told = [f"{mean:.4f}" for mean in values.mean(axis=0)]
            told += ["-", "-"] if way == "recipe" else [_with_interval(apart[:, k]) for k in (0, 1)]
            rows.append((task, way, *told))
    head = ("Task", "Way", "Test loss", "Test accuracy", "Loss minus the recipe's", "Accuracy minus the recipe's")
    seeds = len(next(iter(next(iter(ends.values())).values())))
    words = (
        f"Means of {seeds} seeds; differences within a seed, with Student's 95 % interval. {BUDGET} iterations each."
    )
    return tables.markdown(words, head, rows).strip("\n")


def _with_interval(values: np.ndarray) -> str:
    low, high = interval(values)
    return f"{values.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def write(path: Path, text: str) -> None:
    """Puts the table between its marks in a page."""
    page = path.read_text(encoding="utf-8")
    new = re.sub(r"(?<=<!-- bench -->\n).*?(?=<!-- /bench -->)", lambda _: text + "\n", page, flags=re.DOTALL)
    with disk.whole(path) as part:
        part.write_text(new, encoding="utf-8")


def main() -> None:
    """Trains all that is missing and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--results", type=Path, default=Path("results/bench_tune"), help="folder for what is trained")
    parser.add_argument("--write", type=Path, help="page with the marks for the table, docs/recipe.md")
    parser.add_argument("--overhead", action="store_true", help="time the engine beside a loop by hand instead")
    given = parser.parse_args()
    if given.overhead:
        with tempfile.TemporaryDirectory() as folder:
            return print(overhead(Path(folder)))
    ends: dict[str, dict[str, np.ndarray]] = {}
    for task, make in TASKS.items():
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        made: dict[str, Task] = {}

        def kept(optimizer: str = "nesterov", make: Any = make, made: dict[str, Task] = made) -> Task:
            if optimizer not in made:
                made[optimizer] = make(results_dir=given.results, optimizer=optimizer)
            return made[optimizer]

        for seed in range(given.seeds):
            for way, spend in WAYS.items():
                found[way].append(_final(spend(kept, seed)))
                print(f"{task}, {way}, seed {seed}: loss {found[way][-1][0]:.4f}", flush=True)
        ends[task] = {way: np.array(values) for way, values in found.items()}
    text = table(ends)
    print(text)
    if given.write:
        write(given.write, text)


if __name__ == "__main__":
    main()
