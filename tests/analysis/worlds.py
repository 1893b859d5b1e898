"""Made-up worlds: curves of many seeds in which a claim has no effect, or the one that the paper's curves show.

A world is built from curves, not from what a claim measures: the published curve of each run, or that curve changed so
that the claim is exactly at its bar, and on it what sets seeds apart: a level, a slow wander, the noise of each test,
and in a range test the rate at which things happen. The noise of a test is read off the published curves, which are
means of four runs; that of a row of a table is its standard deviation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from made_up import EXPERIMENTS

from smith.analysis import published as paper
from smith.analysis.claims import CLAIMS
from smith.analysis.claims.learning_rate import NO_FALL
from smith.analysis.claims.momentum import EQUAL_ACCURACY, EQUAL_LOSS
from smith.analysis.places import Place, curve, published, run_at
from smith.analysis.seeds import guess
from smith.analysis.traces import Trace
from smith.analysis.verdicts import Part, lies_above
from smith.figure import Figure, Panel, Table
from smith.run import Run
from smith.schedules import RangeTest

PARTS = {f"{c.name}.{i}": p for c in CLAIMS.values() for i, p in enumerate(c.parts, 1)}
SEEDS = (4, 8, 12)
MOST_TESTS = 50  # of a run, as in miniature
GRID = np.linspace(0, 1, 801)  # places of a shape
LEVEL = {"test_loss": 0.01, "train_loss": 0.02, "test_accuracy": 0.025}  # of a seed; of the loss or of the error
FASTER = 6 / 7
NEARBY = 9  # tests that the noise at a place is read off
RATE = 0.03  # of a seed: by how much the rates are shifted at which a range test turns
NORMAL = 1.4826 / np.sqrt(6)  # deviation of independent values over the median size of their second differences


@dataclass(frozen=True)
class Shape:
    """What a run shows without noise.

    logs: logarithms of the losses and of the error, (places of GRID,)
    noise: standard deviation of a test of each of them, (places of GRID,)
    level: standard deviation of a seed's level, of each of them
    """

    run: Run
    logs: Mapping[str, np.ndarray]
    noise: Mapping[str, np.ndarray]
    level: Mapping[str, float]

    def set(self, name: str, logs: np.ndarray) -> "Shape":
        """Returns the shape with another curve of a quantity."""
        return replace(self, logs={**self.logs, name: logs})


Shapes = dict[str, Shape]
Null = Callable[[Shapes], Shapes]


# --- as published ---


def as_published(part: Part) -> Shapes:
    """Returns what the paper's curves show of a part's runs."""
    return {name: _shape(place) for name, place in part.curves.items()}


def _shape(place: Place) -> Shape:
    if place.experiment == "speed":  # not in the paper: figure 7a's test to twice the rates; assumed is that the
        twice = _shape(curve("fig07a", "Mom=0.9"))  # shorter test does everything at rates a seventh smaller
        speed = 2 / FASTER if place.name == "2,500 iterations" else 2
        logs = {name: np.interp(speed * GRID, GRID, values) for name, values in twice.logs.items()}
        return replace(twice, run=run_at(EXPERIMENTS, place), logs=logs)
    found = published(EXPERIMENTS, place)
    assert found is not None
    lines = {name: _drawn(place, name, x, y, found.run) for name, (x, y) in found.lines.items()}
    noise = {name: _test_noise(found, name) for name in lines}
    return Shape(found.run, lines, noise, {name: _level(place, found, name) for name in lines})


def _drawn(place: Place, name: str, x: np.ndarray, y: np.ndarray, run: Run) -> np.ndarray:
    """Returns a published curve on the grid. Where it leaves its panel at the top the run has failed."""
    values = np.interp(GRID, x, y)
    level = guess(run, name)
    experiment = next(e for e in EXPERIMENTS if e.name == place.experiment)
    if isinstance(experiment, Figure) and name == "test_loss":
        panel = next(p for p in experiment.panels if isinstance(p, Panel) and p.label == place.panel)
        legend = next((n for n, q, r in panel.series() if q == name and r == run), None)
        left = paper.inside(paper.curves(panel), legend, panel)[1] if legend else np.nan
        values = np.where((GRID > x[-1]) & np.isfinite(left), level, values)
    return np.log(_bad(name, values))


def _bad(name: str, values: np.ndarray) -> np.ndarray:
    return 1 - values if name == "test_accuracy" else values


def _test_noise(found: Trace, name: str) -> np.ndarray:
    """Returns the noise of a test of one run: twice that of the mean of four, which is read off the tests nearby."""
    place, logs = found.lines[name][0], np.log(_bad(name, found.lines[name][1]))
    if len(logs) < 3:
        return np.zeros(len(GRID))
    jumps = np.pad(np.abs(np.diff(logs, 2)), NEARBY // 2, mode="reflect")
    nearby = np.median(np.lib.stride_tricks.sliding_window_view(jumps, NEARBY), axis=-1)
    return np.interp(GRID, place[1:-1], 2 * NORMAL * nearby)


def _level(place: Place, found: Trace, name: str) -> float:
    table = next(e for e in EXPERIMENTS if e.name == place.experiment)
    if not isinstance(table, Table):
        return LEVEL[name]
    deviation = next(row.deviation for row in table.rows if row.run == found.run) / 100
    return float(deviation / _bad(name, found.lines[name][1][-1]))


# --- without an effect ---


def same(shapes: Shapes) -> Shapes:
    """All runs of a panel, or of a network of a table, are as the last of it."""
    last = {_group(name): shape for name, shape in shapes.items()}
    return {name: replace(last[_group(name)], run=shape.run) for name, shape in shapes.items()}


def _group(name: str) -> str:
    return name.split(" ")[0] if name.startswith(("fig", "shallow3", "resnet-56 ")) else ""


def worse(name: str, by: float, which: str) -> Null:
    """Returns the world: all the same, but those named so are worse by a factor of a loss, or by so much accuracy."""

    def world(shapes: Shapes) -> Shapes:
        found = same(shapes)
        for key in (key for key in found if which in key):
            logs = found[key].logs[name]
            moved = logs + by if name == "test_loss" else np.log(np.exp(logs) + by)
            found[key] = found[key].set(name, moved)
        return found

    return world


def line(name: str, start: float, end: float, rise: float = 0.0) -> Null:
    """Returns the world: between two places the curve is straight, as flat as it may be."""

    def world(shapes: Shapes) -> Shapes:
        ((key, shape),) = shapes.items()
        logs = shape.logs[name]
        first = np.interp(start, GRID, logs)
        ramp = np.clip((GRID - start) / (end - start), 0, 1) * rise
        straight = np.log(np.exp(first) - ramp) if name == "test_accuracy" else first + ramp
        return {key: shape.set(name, np.where(GRID < start, logs, straight))}

    return world


def only_the_worst_shows(shapes: Shapes) -> Shapes:
    """Three runs are the same up to three tenths of the training, then they come to what they are; 1e-2 is as it is."""
    late = np.clip((GRID - 0.3) / 0.2, 0, 1)
    near = {name: shape.logs for name, shape in shapes.items() if name != "WD=1e-2"}
    mean = {q: np.mean([logs[q] for logs in near.values()], axis=0) for q in ("test_loss", "test_accuracy")}
    mixed = {n: {q: mean[q] * (1 - late) + logs[q] * late for q in mean} for n, logs in near.items()}
    return {name: replace(shape, logs=mixed.get(name, shape.logs)) for name, shape in shapes.items()}


def both_tell(shapes: Shapes) -> Shapes:
    """The accuracy tells runs apart as well as the loss: the error is a power of it, and so is all that is noise."""
    power = 0.6
    return {
        name: Shape(
            shape.run,
            {"test_loss": shape.logs["test_loss"], "test_accuracy": power * shape.logs["test_loss"] - 1.2},
            {"test_loss": shape.noise["test_loss"], "test_accuracy": power * shape.noise["test_loss"]},
            {"test_loss": shape.level["test_loss"], "test_accuracy": power * shape.level["test_loss"]},
        )
        for name, shape in shapes.items()
    }


def snapshot_tells_nothing(panel: str) -> Null:
    """Returns the world: the runs that go on from a snapshot are all the same, the separate ones as published."""

    def world(shapes: Shapes) -> Shapes:
        children = {name: shape for name, shape in shapes.items() if name.startswith(panel)}
        return {**shapes, **same(children)}

    return world


NULLS: dict[str, Null] = dict.fromkeys(PARTS, same) | {
    "C01.1": line("test_loss", 0.02, 0.13),
    "C01.2": line("test_accuracy", 0.025, 0.125, -NO_FALL),
    "C01.3": line("train_loss", 0.02, 0.13),
    "C02.1": line("test_loss", 0.35, 1),
    "C03.1": only_the_worst_shows,
    "C04.2": line("test_loss", 0.2, 1),
    "C09.1": line("test_loss", 0.55, 1),
    "C09.2": line("test_loss", 0.75, 1),
    "C11.1": worse("test_accuracy", EQUAL_ACCURACY, "CM"),
    "C11.2": worse("test_loss", EQUAL_LOSS, "CM"),
    "C11.3": worse("test_loss", EQUAL_LOSS, "0.95 - 0.8"),
    "C13.1": both_tell,
    "C15.1": snapshot_tells_nothing("fig12a"),
    "C15.2": snapshot_tells_nothing("fig12b"),
}


# --- seeds ---


def effects(part: Part, shapes: Shapes, random: np.random.Generator, sets: int, noise: float = 1.0) -> np.ndarray:
    """Returns the effect of every seed in made-up sets: (sets, the largest of SEEDS).

    noise: times what sets seeds and tests apart
    """
    size = sets, max(SEEDS), 1
    shared = random.standard_normal(size, np.float32)
    return part.statistic({name: seeds_of(shape, random, shared, noise) for name, shape in shapes.items()})


def seeds_of(shape: Shape, random: np.random.Generator, shared: np.ndarray, noise: float = 1.0) -> Trace:
    place = _places(shape.run)
    turns = np.zeros_like(shared)
    if isinstance(shape.run.lr, RangeTest):
        turns = noise * RATE * random.standard_normal(shared.shape, np.float32)
    index = np.clip(np.rint((len(GRID) - 1) * place * np.exp(turns)), 0, len(GRID) - 1).astype(np.int32)
    lines = {}
    for name, logs in shape.logs.items():
        level, test = shape.level[name], shape.noise[name].astype(np.float32)[index]
        own, slope, wave = (random.standard_normal(shared.shape, np.float32) for _ in range(3))
        slow = level * ((own + shared) / np.sqrt(2) + slope * (place - 0.5) + wave * np.sin(6 * place) / 2)
        each = test * random.standard_normal((*shared.shape[:-1], len(place)), np.float32)
        values = np.exp(logs.astype(np.float32)[index] + noise * (slow + each))
        lines[name] = place, _bad(name, values)
    return Trace(shape.run, {name: guess(shape.run, name) for name in lines}, lines)


def _places(run: Run) -> np.ndarray:
    """Returns where a run is tested, in miniature: (tests,) float32."""
    tests = np.array(run.when_tested())
    apart = -(-len(tests) // MOST_TESTS)
    return (tests[::-1][::apart][::-1] / run.iterations).astype(np.float32)


# --- how often ---


@dataclass(frozen=True)
class Rates:
    """How often a part is supported, for each number of seeds in SEEDS.

    null: where it has no effect, or one that is exactly at its bar
    power: where its effect is as published
    noisy: the same of 12 seeds, where all noise is twice as large
    """

    null: tuple[float, ...]
    power: tuple[float, ...]
    noisy: float


def rates(name: str, sets: int = 2_000, also_noisy: bool = False) -> Rates:
    """Simulates a part. The same call gives the same numbers."""
    part, shapes = PARTS[name], as_published(PARTS[name])
    random = np.random.default_rng(int(name[1:3]) * 100 + int(name[4:]))
    null = _supported(part, effects(part, NULLS[name](shapes), random, sets))
    power = _supported(part, effects(part, shapes, random, sets // 4))
    noisy = _supported(part, effects(part, shapes, random, sets // 4, noise=2.0))[-1] if also_noisy else np.nan
    return Rates(null, power, noisy)


def _supported(part: Part, found: np.ndarray) -> tuple[float, ...]:
    usable = np.where(np.isfinite(found), found, -np.inf)
    return tuple(float(lies_above(usable[:, :n], part.above).mean()) for n in SEEDS)


# --- the table ---

HEAD = """# How often chance supports a part of a claim, and how often the published effect would be seen

Simulated from made-up curves of many seeds ({sets} sets; `tests/analysis/worlds.py` says how they are made, and writes
this page). *No effect*: how many sets are called supported where the part is not true, or exactly at its bar; at most
2.5 % is promised, and the simulation's own error is 0.3 %. *Power*: how many are where the runs are as the paper's
curves show them. The paper's scale has 4 seeds, the miniature 12; the last column is for a miniature that is twice as
noisy as the paper's runs.

| part | what has to be true | no effect: 4, 8, 12 seeds | power: 4 seeds | 8 | 12 | 12, twice the noise |
|---|---|---|---|---|---|---|
"""
FOOT = """
The paper shows nothing of C05.1: its power is for a test that does everything at rates a seventh smaller.
"""


def table(sets: int = 2_000) -> str:
    """Returns docs/error_rates.md."""
    lines = []
    for name, part in PARTS.items():
        found = rates(name, sets, also_noisy=True)
        null, power = (", ".join(f"{100 * v:.1f}" for v in found.null), [f"{100 * v:.0f} %" for v in found.power])
        lines.append(f"| {name} | {part.what} | {null} % | {' | '.join(power)} | {100 * found.noisy:.0f} % |")
    return HEAD.format(sets=f"{sets:,}") + "\n".join(lines) + "\n" + FOOT


if __name__ == "__main__":
    print(table(), end="")
