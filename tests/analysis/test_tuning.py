"""Tuning: the setting that some seeds choose, how often chance makes a difference of it, what a reading is worth."""

import numpy as np
import pytest
from made_up import MINI, result, store

from smith.analysis.measures import accuracy, mean_over_runs, minus, stability_at_turn
from smith.analysis.traces import Trace, stacked, trace
from smith.analysis.tuning import best, tuned, within, worth
from smith.analysis.verdicts import Claim, Part, decide, lies_above
from smith.figure import Figure, Finals
from smith.run import Run, iterations
from smith.schedules import OneCycle, RangeTest

BASE = Run("mnist", "lenet", 16, iterations(100), 0.01, test_every=iterations(50))
GRIDS = {
    way: {1: {f"LR={lr:g}": BASE.replace(lr=lr, momentum=m) for lr in (0.1, 0.2)}}
    for way, m in (("a", 0.8), ("b", 0.9))
}
FIGURE = Figure("mine", "Mine", (Finals("a", GRIDS, "Budget"),))


def ended(run: Run, *accuracies: float) -> Trace:
    """Returns the trace of seeds that end so, whose loss is a guess's where that is a tenth."""
    found = [result(run, [0.1, end], [50, 100], column="test_accuracy") for end in accuracies]
    for one, end in zip(found, accuracies, strict=True):
        one.columns["test_loss"][:] = 0.5 if end > 0.1 else 2.4
    return stacked([trace(run, one) for one in found])


# --- the choice ---


def test_the_first_third_of_the_seeds_chooses_and_the_others_count():
    values = np.array([[5.0, 0.0, 0.1, 0.0], [1.0, 1.5, 1.0, 2.0]])
    assert tuned(values).tolist() == [0.0, 0.1, 0.0]
    assert tuned(np.stack([values, values[::-1]])).tolist() == [[0.0, 0.1, 0.0]] * 2
    assert tuned(values[:, :1]).tolist() == [5.0] and tuned(values[:, 1:3]).tolist() == [1.5, 1.0]  # all choose


@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("settings", [(6, 6), (3, 9)])
@pytest.mark.parametrize("seeds", [4, 12])
def test_chance_hardly_ever_makes_more_of_two_grids_than_what_was_chosen_is_worth(settings, spread, seeds):
    """2,000 made-up sets of grids; what is chosen is worth what it is, whether that is the best of its grid or not."""
    random, found = np.random.default_rng(7), []
    for count in settings:
        worths = -spread * random.random((2_000, count, 1)) * np.ones(seeds)
        measured = worths + random.standard_normal((2_000, count, seeds))
        chosen = measured[..., : seeds // 3].mean(-1).argmax(-1)
        found.append(tuned(measured) - worths[range(2_000), chosen, :1])
    assert lies_above(found[0] - found[1], 0).mean() <= 0.025 + 3 * 0.0035
    assert abs(found[1].mean()) < 0.03


def test_the_best_of_a_grid_is_not_a_number_where_none_of_its_runs_trained():
    first, second = GRIDS["a"][1].values()
    runs = {"a, 1, LR=0.1": ended(first, 0.2, 0.1, 0.8), "a, 1, LR=0.2": ended(second, 0.1, 0.1, 0.7)}
    one, other = best(accuracy, "a, ")(runs)
    assert np.isnan(one) and other == 0.8


# --- what a reading is worth ---


def test_a_suggestion_is_worth_what_lies_between_two_peaks_less_the_best():
    peaks = {f"peak, {peak:g}": BASE.replace(lr=OneCycle(peak / 10, peak, 0.45)) for peak in (0.01, 0.1, 1.0)}
    ends = dict(zip(peaks, (0.5, 0.9, 0.3), strict=True))
    test = BASE.replace(lr=RangeTest(0.001, 10, exponential=True), test_every=iterations(1))
    losses = np.interp(np.linspace(0, 4, 100), [0, 2.5, 3, 4], [2.3, 0.5, 0.5, 9])  # least from 10**-0.5 to 1
    runs = {name: ended(run, ends[name], ends[name]) for name, run in peaks.items()}
    runs["test"] = stacked([trace(test, result(test, losses, np.arange(1, 101)))] * 2)
    low, high = (worth(accuracy, rule, "test", "peak")(runs) for rule in ("minimum / 10", "minimum"))
    assert low == pytest.approx([-0.1, -0.1], abs=0.1) and (high < low).all()
    assert worth(accuracy, "largest stable", "test", "peak")(runs) == pytest.approx([-0.6, -0.6])  # not beyond the grid


def test_the_stability_is_read_where_the_training_loss_is_least():
    run = BASE.replace(lr=RangeTest(0.0, 1.0), metrics=("sharpness",), momentum=0.5, test_every=iterations(10))
    place = np.linspace(0.1, 1, 10)
    found = Trace(run, {}, {"train_loss": (place, (place - 0.4) ** 2), "stability": (place, 4 * place / 1.6)})
    assert stability_at_turn(found) == pytest.approx(0.0)
    made = result(run, np.ones(10), np.arange(10, 101, 10))
    made.columns["sharpness"] = made.columns["learning_rate"] = made["momentum"].copy()
    made.columns["sharpness"][7:] = [-9, np.nan, -1]
    one = trace(run, made)
    flat = Trace(run, one.guesses, {**one.lines, "test_loss": (place, np.full(10, 2.4))})
    both = mean_over_runs(stability_at_turn, -1)
    assert both({"a": one, "b": flat}) == pytest.approx(-stability_at_turn(one)) and np.isnan(both({"b": flat}))
    assert "stability" not in trace(BASE, result(BASE, [1, 1], [50, 100])).lines
    assert one.lines["stability"][1] == pytest.approx(0.5 * 0.5 / 3)  # rate and sharpness 0.5, momentum 0.5


# --- as a claim of a file ---


def test_a_claim_on_two_grids_is_decided_from_the_runs_of_both():
    places = within(FIGURE, "a", "a, ", "b, ")
    assert [*places] == ["a, 1, LR=0.1", "a, 1, LR=0.2", "b, 1, LR=0.1", "b, 1, LR=0.2"] == [*within(FIGURE, "a")]
    statistic = minus(best(accuracy, "a, "), best(accuracy, "b, "))
    claim = Claim("X1", "One is better.", "", ("minea",), (Part("better", places, statistic, unit="share"),), "So.")
    found, random = store(scale=MINI), np.random.default_rng(0)
    for name, run in FIGURE.panels[0].curves.items():
        for seed in range(12):
            end = 0.5 + 0.2 * name.startswith("a") + 0.01 * random.random()
            found.add(result(run, [0.1, end], [50, 100], seed, "test_accuracy"))
    decision = decide(claim, [FIGURE], found)
    assert decision.verdict == "holds" and decision.findings[0].mean == pytest.approx(0.2, abs=0.01)
    assert np.isnan(decision.findings[0].published)
