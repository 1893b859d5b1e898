"""Claims: results made up to support and to contradict each one, from what the paper means, and the verdicts on them.

A world says what every run of the protocol would come to if the paper were right (or wrong) about one thing.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from smith import cli, scales
from smith.analysis.claims import CLAIMS
from smith.analysis.evidence import Evidence
from smith.analysis.verdicts import Decision, Finding, decide
from smith.data import DATASETS
from smith.run import Run
from smith.schedules import Constant, Multistep, RangeTest
from smith.store.results import COLUMNS, Result

PAPER = scales.named("paper")
EXPERIMENTS = cli.experiments(["all"])
NAMES = [f"C{number:02}" for number in range(1, 17)]

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """What a run shows without noise: arrays over its tests. Not a number in the loss is divergence."""

    loss: np.ndarray
    accuracy: np.ndarray
    train: np.ndarray | None = None


World = Callable[[Run, Columns], Shape]


def times_of(run: Run) -> np.ndarray:
    every, first = run.count(run.test_every), run.first_iteration
    regular = [t for t in range(every, run.iterations, every) if t > first]
    return np.array(([first] if run.start else []) + regular + [run.iterations], np.float32)


def columns_of(run: Run) -> dict[str, np.ndarray]:
    t = times_of(run)
    names = ("learning_rate", "momentum", "weight_decay")
    values = [s._formula(run.iterations, run.iterations_per_epoch)(np, t) for s in run.schedules()]  # pyright: ignore
    found = dict(zip(names, values, strict=True)) | {"iteration": t, "epoch": t / run.iterations_per_epoch}
    return {name: np.asarray(value, np.float64) for name, value in found.items()}


def made_up(world: World, run: Run, seed: int, noise: float = 1.0) -> Result:
    """Returns a result of a world: tests 1 % (loss) and 0.004 (accuracy) noisy, seeds 0.2 % and 0.0005."""
    columns = columns_of(run)
    shape = world(run, columns)
    random = np.random.default_rng([zlib.crc32(run.to_json().encode()), seed])
    n = len(columns["iteration"])
    seeds = noise * random.normal(size=2)
    columns["test_loss"] = shape.loss * np.exp(noise * 0.01 * random.normal(size=n) + 0.002 * seeds[0])
    columns["test_accuracy"] = shape.accuracy + noise * 0.004 * random.normal(size=n) + 0.0005 * seeds[1]
    columns["test_accuracy"][-1] = shape.accuracy[-1] + 0.0005 * seeds[1]
    train = shape.loss if shape.train is None else shape.train
    columns["train_loss"] = train * np.exp(noise * 0.01 * random.normal(size=n))
    failed = np.flatnonzero(~np.isfinite(shape.loss))
    end = failed[0] + 1 if len(failed) else n
    assert set(columns) == set(COLUMNS)
    status = "diverged" if len(failed) else "done"
    return Result(run, seed, status, {name: values[:end] for name, values in columns.items()})


class MadeUp(Evidence):
    """The results that a world has, made when they are asked for."""

    def __init__(self, world: World, seeds: int = 4, noise: float = 1.0, first: int = 0) -> None:
        super().__init__(EXPERIMENTS, PAPER, Path("nowhere"))
        self._world, self._seeds, self._noise = world, range(first, first + seeds), noise

    def results(self, run: Run) -> list[Result]:
        return [made_up(self._world, run, seed, self._noise) for seed in self._seeds]


def falling(x: np.ndarray, start: float, end: float, speed: float) -> np.ndarray:
    return end + (start - end) * np.exp(-speed * x)


def decay(run: Run) -> float:
    assert isinstance(run.weight_decay, Constant)
    return float(np.log10(run.weight_decay.value))


def place(columns: Columns) -> np.ndarray:
    """Returns how much of the training is done, 0 to 1."""
    return columns["iteration"] / columns["iteration"][-1]


def plain(columns: Columns, loss: float = 0.5, accuracy: float = 0.8) -> Shape:
    """Returns a training that comes to a loss and an accuracy."""
    s = place(columns)
    return Shape(falling(s, 1.6, loss, 8), falling(s, 0.45, accuracy, 8))


def range_test(columns: Columns, least: float, at: float, fails: float, chance: float = 2.3) -> Shape:
    """Returns a range test whose loss is least at one rate, and that fails at another."""
    rate = columns["learning_rate"]
    loss = least + 0.8 * np.abs(np.log(rate / at)) ** 1.5 * 0.3
    failed = rate >= fails
    return Shape(np.where(failed, chance, np.minimum(loss, 1.5)), np.where(failed, 0.1, 0.9 - loss / 4))


# --- C01 to C05 ---


def overfits_early(run: Run, c: Columns) -> Shape:
    rate = c["learning_rate"]
    loss = np.interp(rate, [0, 0.01, 0.05, 0.4], [1.8, 0.62, 0.85, 0.65])
    accuracy = np.interp(rate, [0, 0.01, 0.05, 0.4], [0.3, 0.80, 0.83, 0.86])
    return Shape(loss, accuracy, np.interp(rate, [0, 0.01, 0.05, 0.4], [1.8, 0.4, 0.1, 0.03]))


def never_overfits(run: Run, c: Columns) -> Shape:
    shape = overfits_early(run, c)
    return Shape(np.interp(c["learning_rate"], [0, 0.01, 0.05, 0.4], [1.8, 0.8, 0.6, 0.5]), shape.accuracy, shape.train)


def accuracy_shows_it_too(run: Run, c: Columns) -> Shape:
    shape = overfits_early(run, c)
    worse = np.interp(c["learning_rate"], [0, 0.01, 0.05, 0.4], [0.3, 0.80, 0.72, 0.86])
    return Shape(shape.loss, worse, shape.train)


def rate_of(run: Run) -> float:
    assert isinstance(run.lr, Multistep)
    return run.lr.value


def larger_rate_wins(run: Run, c: Columns) -> Shape:
    s = place(c)
    if rate_of(run) > 0.002:
        return Shape(falling(s, 1.2, 0.66, 25), falling(s, 0.5, 0.83, 25))
    return Shape(1.1 - 0.35 * s + 0.5 * np.exp(-8 * s), falling(s, 0.4, 0.78, 5))


def smaller_rate_wins(run: Run, c: Columns) -> Shape:
    s = place(c)
    if rate_of(run) > 0.002:
        return Shape(1.6 - 0.5 * s, falling(s, 0.4, 0.75, 5))
    return Shape(falling(s, 1.2, 0.6, 30) + 0.15 * s, falling(s, 0.5, 0.83, 25))


def order(run: Run) -> float:
    """Returns which curve of figures 3a and 9a this is: 0 for the first, 1 for the last."""
    if run.length.value == 60_000:
        return float(rate_of(run) < 0.002)
    return decay(run) + 3


def order_shows_early(run: Run, c: Columns) -> Shape:
    shape = plain(c, 0.5 + 0.3 * order(run))
    return Shape(shape.loss + 0.2 * order(run), shape.accuracy)


def order_turns(run: Run, c: Columns) -> Shape:
    s, k = place(c), order(run)
    return Shape(falling(s, 1.6, 0.6, 8) + np.where(s < 0.5, 0.3 * k, 0.3 * (1 - k)), plain(c).accuracy)


def all_the_same(run: Run, c: Columns) -> Shape:
    return plain(c)


def decay_moves_both_ends(run: Run, c: Columns) -> Shape:
    least, at, fails = {-4.0: (0.73, 0.0024, 1), -2.0: (0.83, 0.004, 0.006)}.get(decay(run), (0.7, 0.0056, 0.009))
    return range_test(c, least, at, fails)


def decay_helps_stability(run: Run, c: Columns) -> Shape:
    least, at, fails = {-4.0: (0.73, 0.006, 0.008), -2.0: (0.7, 0.007, 0.0097)}.get(decay(run), (0.7, 0.003, 0.006))
    return range_test(c, least, at, fails)


def decay_does_nothing(run: Run, c: Columns) -> Shape:
    return range_test(c, 0.7, 0.005, 0.008)


def slower_is_stabler(run: Run, c: Columns) -> Shape:
    return range_test(c, 0.75, 0.008, 0.03 if run.iterations == 20_000 else 0.014)


def faster_is_stabler(run: Run, c: Columns) -> Shape:
    return range_test(c, 0.75, 0.008, 0.014 if run.iterations == 20_000 else 0.03)


def none_diverges(run: Run, c: Columns) -> Shape:
    return range_test(c, 0.75, 0.008, np.inf)


# --- C06 and C16: policies; C08: batches; C09: the momentum's range ---


def cyclical(run: Run) -> bool:
    return not isinstance(run.lr, Multistep) and type(run.lr).__name__ != "Inverse"


def cycles_win(run: Run, c: Columns) -> Shape:
    return plain(c, accuracy=0.92 if cyclical(run) else 0.9)


def steps_win(run: Run, c: Columns) -> Shape:
    return plain(c, accuracy=0.9 if cyclical(run) else 0.92)


def cycles_fail(run: Run, c: Columns) -> Shape:
    """The large rates diverge in the middle of the run."""
    shape = plain(c, accuracy=0.9)
    failed = cyclical(run) & (place(c) > 0.4)
    return Shape(np.where(failed, np.nan, shape.loss), np.where(failed, 1 / DATASETS[run.data].classes, shape.accuracy))


def by_batch(run: Run, c: Columns, sign: int) -> Shape:
    k = sign * (np.log2(run.batch_size) - 8.5)
    start = np.exp(-((c["iteration"] / 3_000) ** 2))
    return Shape(0.36 + 0.02 * k + (0.9 - 0.15 * k) * start, falling(place(c), 0.4, 0.916 + 0.002 * k, 9))


def larger_batches(run: Run, c: Columns) -> Shape:
    return by_batch(run, c, 1)


def smaller_batches(run: Run, c: Columns) -> Shape:
    return by_batch(run, c, -1)


def falls_with_momentum(run: Run, c: Columns) -> Shape:
    part = (c["momentum"] - 0.7) / 0.3
    return Shape(1.6 - 0.9 * part, 0.4 + 0.35 * part)


def best_momentum_inside(run: Run, c: Columns) -> Shape:
    part = (c["momentum"] - 0.7) / 0.3
    return Shape(0.9 + 2 * (part - 0.5) ** 2, 0.7 - (part - 0.5) ** 2)


def momentum_fails(run: Run, c: Columns) -> Shape:
    """Training diverges when the momentum comes to 0.88."""
    shape = falls_with_momentum(run, c)
    return Shape(np.where(c["momentum"] > 0.88, np.nan, shape.loss), shape.accuracy)


# --- C10 to C12: momentum ---


def kind(run: Run) -> str:
    """Returns "rising", "falling" or the constant momentum."""
    momentum = run.momentum
    if isinstance(momentum, Constant):
        return f"{momentum.value:g}"
    return "rising" if momentum.rising else "falling"  # pyright: ignore


def momentum_directions(run: Run, c: Columns) -> Shape:
    least, at, fails = {"rising": (0.82, 0.009, 0.018), "falling": (0.74, 0.006, 0.016)}.get(
        kind(run), (0.78, 0.008, 0.0135)
    )
    return range_test(c, least, at, fails)


def momentum_directions_turned(run: Run, c: Columns) -> Shape:
    least, at, fails = {"rising": (0.74, 0.006, 0.011), "falling": (0.83, 0.01, 0.016)}.get(
        kind(run), (0.78, 0.008, 0.0135)
    )
    return range_test(c, least, at, fails)


def falling_momentum(run: Run, c: Columns, better: float) -> Shape:
    gain = better if kind(run) == "falling" else {"0.85": -0.01, "0.9": -0.005}.get(kind(run), 0.0)
    if isinstance(run.lr, RangeTest):
        return Shape(0.1 * np.exp(-10 * gain) * np.ones(len(place(c))), plain(c).accuracy)
    return plain(c, 0.4 * np.exp(-10 * gain), 0.9 + gain)


def falling_is_better(run: Run, c: Columns) -> Shape:
    return falling_momentum(run, c, 0.01)


def falling_is_equal(run: Run, c: Columns) -> Shape:
    return falling_momentum(run, c, 0.0)


def falling_is_worse(run: Run, c: Columns) -> Shape:
    return falling_momentum(run, c, -0.02)


def middle_momentum(run: Run, c: Columns, better: float) -> Shape:
    """The worth of a constant momentum: that of 0.9 and more against that of less."""
    large = isinstance(run.momentum, Constant) and run.momentum.value >= 0.9
    gain = better if large else 0.0
    if isinstance(run.lr, RangeTest):
        shape = range_test(c, 0.9, 0.009, 0.016)
        return Shape(shape.loss * (1 - 8 * gain), shape.accuracy)
    return plain(c, accuracy=0.9 + gain)


def large_momenta(run: Run, c: Columns) -> Shape:
    return middle_momentum(run, c, 0.015)


def small_momenta(run: Run, c: Columns) -> Shape:
    return middle_momentum(run, c, -0.015)


# --- C07, C13 to C15: weight decay ---


def best_at(run: Run, c: Columns, best: float) -> Shape:
    """A weight decay costs as it is away, in decades, from the best one."""
    away = abs(decay(run) - np.log10(best))
    shape = plain(c)
    grown = 1 + 0.5 * away
    return Shape(shape.loss * grown, 0.1 + (shape.accuracy - 0.1) / grown)


def ranged(run: Run) -> bool:
    return isinstance(run.lr, RangeTest) or type(run.lr).__name__ == "Triangular"


def large_rates_need_less(run: Run, c: Columns) -> Shape:
    if run.network == "shallow3":
        return best_at(run, c, 1.8e-3 if ranged(run) else 3.2e-3)
    return best_at(run, c, 3e-5 if ranged(run) else 5.6e-4)


def large_rates_need_more(run: Run, c: Columns) -> Shape:
    if run.network == "shallow3":
        return best_at(run, c, 3.2e-3 if ranged(run) else 1e-3)
    return best_at(run, c, 1e-3 if ranged(run) else 1e-4)


def loss_tells(run: Run, c: Columns) -> Shape:
    """The best is 3e-3, as the loss shows from the start; the accuracies are the same until the rate drops."""
    away = abs(decay(run) - np.log10(3.2e-3))
    shape, late = plain(c, 0.6), place(c) > 0.5
    return Shape(shape.loss * (1 + 0.3 * away), shape.accuracy - np.where(late, 0.03 * away, 0.002 * away))


def accuracy_tells(run: Run, c: Columns) -> Shape:
    """Accuracy tells the weight decays apart, the loss does not, and its early order turns."""
    k, late = decay(run) + 3, place(c) > 0.5
    shape = plain(c, 0.6)
    return Shape(shape.loss * np.where(late, 1.05 - 0.05 * k, 1 + 0.005 * k), shape.accuracy - 0.1 * k)


def deep_need_less(run: Run, c: Columns) -> Shape:
    best = {"shallow3": 3.2e-3, "resnet-56": 1e-4, "wide-32": 1e-4, "densenet-40": 1e-6, "lenet": 1e-3}[run.network]
    return best_at(run, c, best)


def deep_need_more(run: Run, c: Columns) -> Shape:
    return best_at(run, c, 1e-5 if run.network in ("shallow3", "lenet") else 1e-1)


def all_need_the_same(run: Run, c: Columns) -> Shape:
    return best_at(run, c, 2.8e-4)


def snapshot_finds_it(run: Run, c: Columns) -> Shape:
    return best_at(run, c, 3.2e-3 if run.network == "shallow3" else 1e-4)


def snapshot_misleads(run: Run, c: Columns) -> Shape:
    snapshot = isinstance(run.momentum, Constant) and isinstance(run.lr, RangeTest)
    return best_at(run, c, 1e-1 if snapshot else 1e-7)


SUPPORT: dict[str, World] = {
    "C01": overfits_early,
    "C02": larger_rate_wins,
    "C03": order_shows_early,
    "C04": decay_moves_both_ends,
    "C05": slower_is_stabler,
    "C06": cycles_win,
    "C07": large_rates_need_less,
    "C08": larger_batches,
    "C09": falls_with_momentum,
    "C10": momentum_directions,
    "C11": falling_is_better,
    "C12": large_momenta,
    "C13": loss_tells,
    "C14": deep_need_less,
    "C15": snapshot_finds_it,
}
CONTRADICT: dict[str, World] = {
    "C01": never_overfits,
    "C02": smaller_rate_wins,
    "C03": order_turns,
    "C04": decay_helps_stability,
    "C05": faster_is_stabler,
    "C06": steps_win,
    "C07": large_rates_need_more,
    "C08": smaller_batches,
    "C09": best_momentum_inside,
    "C10": momentum_directions_turned,
    "C11": falling_is_worse,
    "C12": small_momenta,
    "C13": accuracy_tells,
    "C14": deep_need_more,
    "C15": snapshot_misleads,
    "C16": steps_win,
}
NOTHING: dict[str, World] = {
    "C02": all_the_same,
    "C03": all_the_same,
    "C04": decay_does_nothing,
    "C05": none_diverges,
    "C06": all_the_same,
    "C08": all_the_same,
    "C10": decay_does_nothing,
    "C12": all_the_same,
    "C13": all_the_same,
    "C14": all_the_same,
    "C16": all_the_same,
}


def verdict(name: str, world: World, seeds: int = 4) -> Decision:
    return decide(CLAIMS[name], MadeUp(world, seeds))


def told(decision: Decision) -> list[tuple[str, str, str]]:
    """Returns what a failed assertion is to show."""
    return [(f.state, f"{f.mean:.3g} [{f.low:.3g}, {f.high:.3g}]", f.part.what) for f in decision.findings]


@pytest.mark.parametrize("name", SUPPORT)
def test_a_claim_is_reproduced_by_results_that_support_it(name: str):
    decision = verdict(name, SUPPORT[name])
    assert decision.verdict == "reproduced", told(decision)
    assert decision.seeds == 4 and not decision.reasons


@pytest.mark.parametrize("name", CONTRADICT)
def test_a_claim_is_not_reproduced_by_results_that_contradict_it(name: str):
    decision = verdict(name, CONTRADICT[name])
    assert decision.verdict == "not reproduced", told(decision)


@pytest.mark.parametrize("name", NOTHING)
def test_a_claim_is_hardly_ever_decided_where_only_noise_differs(name: str):
    """In one draw of 20 by the level of the intervals, on either side; in 4 of 16 with a probability of 1 %."""
    decisions = [decide(CLAIMS[name], MadeUp(NOTHING[name], first=4 * draw)) for draw in range(16)]
    decided = [told(decision) for decision in decisions if decision.verdict != "inconclusive"]
    assert len(decided) < 4, decided


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_is_never_decided_from_one_or_two_seeds(name: str):
    for world in (SUPPORT.get(name, cycles_win), CONTRADICT[name]):
        for seeds in (1, 2):
            decision = verdict(name, world, seeds)
            assert decision.verdict == "inconclusive", told(decision)
            assert any(f"{seeds} seed" in reason for reason in decision.reasons)


def test_without_imagenet_the_last_claim_stays_open_and_says_why():
    decision = verdict("C16", cycles_win)
    assert decision.verdict == "inconclusive"
    assert [f.state for f in decision.findings] == ["supported"] * 4 + ["open"], told(decision)
    assert len(decision.reasons) == 1 and "ImageNet" in decision.reasons[0]


# --- worlds that are wrong about one thing, or that no result may be taken for support of ---


def test_overfitting_that_the_accuracy_shows_too_contradicts_the_first_claim():
    assert verdict("C01", accuracy_shows_it_too).verdict == "not reproduced"


def test_momentum_that_equals_the_best_constant_one_supports_the_claim():
    decision = verdict("C11", falling_is_equal, 8)
    assert decision.verdict == "reproduced", told(decision)


@pytest.mark.parametrize("name", ["C06", "C16"])
def test_large_rates_that_diverge_contradict(name: str):
    decision = verdict(name, cycles_fail)
    assert decision.verdict == "not reproduced", told(decision)


def test_a_momentum_range_test_that_diverges_on_the_way_contradicts():
    decision = verdict("C09", momentum_fails)
    assert decision.verdict == "not reproduced", told(decision)


def test_one_best_weight_decay_for_all_networks_does_not_support_that_deep_ones_need_smaller_ones():
    """The grids of the panels lie apart: whatever is tried, that of shallow3 has no weight decay below 1e-3."""
    decision = verdict("C14", all_need_the_same)
    assert decision.verdict != "reproduced", told(decision)


@pytest.mark.parametrize("name", ["C07", "C14"])
def test_noise_alone_supports_no_part_about_the_best_weight_decay(name: str):
    """The middles of the grids that are compared are not the same, so that a choice at random is shifted."""
    decision = verdict(name, all_the_same, 16)
    supported = [f.part.what for f in decision.findings if f.state == "supported"]
    assert supported == [], told(decision)


def test_noise_alone_supports_no_part_about_the_best_momentum():
    """The better of two is by chance better than a third."""
    decision = verdict("C12", all_the_same, 32)
    supported = [f.part.what for f in decision.findings if f.state == "supported"]
    assert supported == [], told(decision)


@pytest.mark.parametrize("name", NAMES)
def test_dead_networks_reproduce_nothing(name: str):
    """Every run guesses from its first test to its last: the loss is ln(classes), the accuracy 1/classes, exactly."""

    def dead(run: Run, c: Columns) -> Shape:
        classes = DATASETS[run.data].classes
        n = len(c["iteration"])
        return Shape(np.full(n, np.log(classes)), np.full(n, 1 / classes))

    decision = decide(CLAIMS[name], MadeUp(dead, noise=0))
    supported = [f.part.what for f in decision.findings if f.state == "supported"]
    assert supported == [], told(decision)


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_diverge_before_their_first_test_reproduce_nothing(name: str):
    def gone(run: Run, c: Columns) -> Shape:
        n = len(c["iteration"])
        return Shape(np.full(n, np.nan), np.full(n, 1 / DATASETS[run.data].classes))

    decision = decide(CLAIMS[name], MadeUp(gone, noise=0))
    supported = [f.part.what for f in decision.findings if f.state == "supported"]
    assert supported == [], told(decision)


# --- the declarations ---


def test_the_claims_are_sixteen_in_order():
    assert list(CLAIMS) == NAMES
    assert [claim.name for claim in CLAIMS.values()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_says_what_it_is_and_why_it_is_measured_so(name: str):
    claim = CLAIMS[name]
    assert claim.says.endswith(".") and claim.says.count(".") - claim.says.count("0.") == 1
    assert claim.why.endswith(".") and len(claim.why) > 50
    assert claim.source and claim.panels and claim.parts
    for part in claim.parts:
        assert part.what and part.unit
        assert not part.what.endswith(".")
        assert bool(part.curves) != bool(part.missing)
    assert len({part.what for part in claim.parts}) == len(claim.parts)


@pytest.fixture(scope="module")
def published() -> list[Finding]:
    evidence = Evidence(EXPERIMENTS, PAPER, Path("nowhere"))
    return [finding for claim in CLAIMS.values() for finding in decide(claim, evidence).findings]


def test_the_published_curves_support_every_part_that_they_show(published: list[Finding]):
    wrong = [(f.part.what, f.published) for f in published if f.published is not None and f.published <= f.part.above]
    assert wrong == []


def test_the_published_curves_show_all_but_three_parts(published: list[Finding]):
    absent = [f.part.what for f in published if f.published is None]
    assert len(absent) == 3
    assert any("higher accuracy" in what for what in absent)  # 3a shows no accuracy
    assert any("20,000" in what for what in absent) and any("ImageNet" in what for what in absent)
