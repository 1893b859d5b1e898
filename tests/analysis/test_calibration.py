"""Calibration: values that are tried, how they are compared and scored, and the choice."""

import math

import numpy as np
import pytest
from made_up import EXPERIMENTS, MINI, NAN, publish, result, store

from smith.analysis import calibration
from smith.analysis.calibration import Score, choice, with_value
from smith.errors import UserError
from smith.figure import Assumption, Figure, Panel
from smith.run import Run, Snapshot, iterations
from smith.schedules import Multistep, RangeTest
from smith.store import Store

STEPS = Run(
    data="cifar10",
    network="shallow3",
    batch_size=512,
    length=iterations(10_000),
    lr=Multistep(0.01, factor=0.1, at=(1 / 2, 3 / 4)),
    momentum=0.9,
    weight_decay=1e-3,
)
RATES = STEPS.replace(lr=RangeTest(0, 0.01))
WHOLE = RATES.replace(length=iterations(1_000), test_every=iterations(100))
X = np.arange(100, 1_001, 100)
MOMENTA = {"momentum": (0.8, 0.9)}
ASSUMED = [(f, a) for f in EXPERIMENTS if isinstance(f, Figure) for a in f.assumptions]


def figure(run: Run, assumed=MOMENTA, **changes) -> Figure:
    panel = Panel("a", **{"curves": {"A": run}, "published": "mine"} | changes)
    return Figure("mine", "Made up", panels=(panel,), assumed=assumed)


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """Publishes curves, and a point above them that marks the edge of the panel."""

    def show(**curves):
        publish(tmp_path, monkeypatch, {**curves, "edge": ([0], [99])})

    return show


def scored(chosen: Figure, value: float, found: Store, seeds: int = 1, names=()) -> Score:
    return calibration.score(chosen, chosen.assumptions[0], value, found, seeds, names)


# --- the experiments' assumptions ---


@pytest.mark.parametrize(("chosen", "assumption"), ASSUMED, ids=lambda v: getattr(v, "field", None) or v.name)
def test_every_assumption_gives_valid_runs_that_are_told_apart(chosen: Figure, assumption: Assumption):
    panels = calibration.panels_of(chosen, assumption)
    assert "".join(panel.label for panel in panels) == assumption.panels
    concerned = dict(calibration.concerned(chosen, assumption))
    without = [run for panel in panels for name, run in panel.curves.items() if name not in concerned]
    assert concerned and all(assumption.of(run) is None for run in without)
    for run in concerned.values():
        for value in assumption.values:
            changed = with_value(run, assumption.field, value)
            assert assumption.of(changed) == value
            assert (changed == run) == (value == assumption.own)
            if run.start:
                assert changed.start and assumption.of(changed.start.run) == value
    assert set(chosen.runs()) & set(calibration.runs(chosen))


def test_a_value_replaces_a_field_also_in_the_run_it_starts_from_and_in_a_schedule():
    child = RATES.replace(start=Snapshot(RATES, at=iterations(100)), weight_decay=1e-2)
    changed = with_value(child, "batch_size", 256)
    assert changed == child.replace(batch_size=256, start=Snapshot(RATES.replace(batch_size=256), iterations(100)))
    assert with_value(STEPS, "lr.factor", 0.3) == STEPS.replace(lr=Multistep(0.01, factor=0.3, at=(1 / 2, 3 / 4)))


def test_only_the_curves_that_are_named_are_trained():
    other = WHOLE.replace(weight_decay=2e-3)
    chosen = figure(WHOLE, curves={"A": WHOLE, "B": other})
    assert calibration.runs(chosen, ["B"]) == [other.replace(momentum=0.8), other]
    assert len(calibration.runs(chosen)) == 4


# --- scores ---


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_the_score_is_the_logarithm_of_the_factor_that_a_loss_is_off_by(factor, theirs):
    theirs(A=(X, 2 - X / 1_000))
    found = scored(figure(WHOLE), 0.9, store(result(WHOLE, factor * (2 - X / 1_000), X)))
    assert found.by_seed == {0: pytest.approx(abs(math.log(factor)))}
    assert (found.points, found.missing, found.diverged) == (10, 0, 0)


def test_an_accuracy_is_scored_by_its_error(theirs):
    theirs(A=(X, np.full(10, 0.8)))
    ours = store(result(WHOLE, np.full(10, 0.6), X, column="test_accuracy"))
    assert scored(figure(WHOLE, y="test_accuracy"), 0.9, ours).mean == pytest.approx(math.log(2))  # 0.4 to 0.2


def test_the_score_is_the_mean_over_curves_of_the_seeds_that_have_all(theirs):
    theirs(A=(X, np.ones(10)), B=(X, np.ones(10)))
    other = WHOLE.replace(weight_decay=2e-3)
    ours = store(result(WHOLE, np.full(10, 9), X), *(result(WHOLE, np.full(10, 2), X, seed) for seed in (1, 2)))
    for seed in (1, 2):
        ours.add(result(other, np.full(10, 4), X, seed))
    chosen = figure(WHOLE, curves={"A": WHOLE, "B": other})
    found = scored(chosen, 0.9, ours, seeds=2)
    assert found.by_seed == {seed: pytest.approx(1.5 * math.log(2)) for seed in (1, 2)} and found.missing == 1
    assert found.range == pytest.approx((found.mean, found.mean))
    only = scored(chosen, 0.9, ours, names=["B"])
    assert (only.mean, only.points) == (pytest.approx(math.log(4)), 10)


def test_a_seed_that_diverges_counts_as_guessing_from_there_on(theirs):
    theirs(A=(X, np.ones(10)))
    found = scored(figure(WHOLE), 0.9, store(result(WHOLE, [1, 1, 1, NAN], X[:4])))
    assert (found.diverged, found.points) == (1, 10)
    assert found.mean == pytest.approx(math.log(math.log(10)) * math.sqrt(7 / 10))


def test_a_seed_that_covers_no_published_point_is_not_left_out_without_a_word(theirs):
    theirs(A=(X[5:], np.ones(5)))
    ours = store(*(result(WHOLE, np.ones(10 if seed else 2), X[: 10 if seed else 2], seed) for seed in (0, 1)))
    found = scored(figure(WHOLE), 0.9, ours, seeds=2)
    assert math.isnan(found.by_seed[0]) and math.isfinite(found.by_seed[1])
    assert choice([found, of(0.8, 1, 1)]) == (None, "no published point where they are compared")


# --- the choice ---


def of(value: float, *by_seed: float, missing: int = 0) -> Score:
    return Score(value, dict(enumerate(by_seed)), points=9, missing=missing, diverged=0)


def test_the_choice_is_the_lowest_mean_where_the_ranges_are_apart():
    value, why = choice([of(1, 0.5, 0.6), of(2, 0.1, 0.3), of(3, 0.4, 0.5)])
    assert value == 2 and why.startswith("lowest mean score over 2 seeds, next 3") and why.endswith("in 20% of cases")


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ([of(1, 0.1, 0.4), of(2, 0.3, 0.5), of(3, 0.9, 0.9)], "over 2 seeds the range of 1 overlaps that of 2"),
        ([of(1, 0.1, 0.1), of(2, 0.1, 0.5)], "over 2 seeds the range of 1 overlaps that of 2"),
        ([of(1, 0.1, 0.1), of(2, 0.9)], "one seed"),
        ([of(1, 0.1, 0.1), of(2, 0.9, missing=2)], "2 results missing"),
        ([of(1, 0.1, 0.1), of(2, missing=1)], "1 result missing"),
    ],
)
def test_else_it_is_not_decided(scores, why):
    assert choice(scores) == (None, why)


# --- what is asked for ---

OTHER = figure(WHOLE, curves={"B": WHOLE})
MISTAKES = {
    "mine has no assumed settings to calibrate; these have: fig01": ([figure(WHOLE, {})], ()),
    "unknown curve 'WD=1'": ([figure(WHOLE)], ["WD=1"]),
    "mine has none of these curves; it has: B": ([figure(WHOLE), OTHER], ["A"]),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_told(words):
    chosen, names = MISTAKES[words]
    with pytest.raises(UserError, match=words):
        calibration.check(chosen, EXPERIMENTS, store(), names)


def test_a_scale_that_trains_other_runs_than_the_papers_is_refused():
    shorter = store(shorter=True, scale=MINI)
    with pytest.raises(UserError, match="scale mini trains other runs than the paper's"):
        calibration.check([figure(WHOLE)], EXPERIMENTS, shorter, ())
    assert calibration.check([figure(WHOLE)], EXPERIMENTS, store(), ["A"]) == [figure(WHOLE)]
