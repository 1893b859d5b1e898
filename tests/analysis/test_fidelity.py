"""Fidelity: made-up curves beside made-up published ones, with answers that are known beforehand."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from made_up import EXPERIMENTS, NAN, Values, publish, result, store

from smith.analysis import fidelity, published
from smith.analysis.fidelity import CurveFit, PanelFit
from smith.figure import Figure, Panel, Sketch
from smith.run import Run, iterations
from smith.schedules import RangeTest

BASE = Run("cifar10", "shallow3", 100, iterations(1_000), lr=RangeTest(0, 0.01), test_every=iterations(100))
RUNS = {name: BASE.replace(weight_decay=wd) for name, wd in {"A": 1e-3, "B": 2e-3, "C": 3e-3}.items()}
X = np.arange(100, 1_001, 100)  # tests of the runs
FIGURES = [one for one in EXPERIMENTS if isinstance(one, Figure)]
Curves = Mapping[str, tuple[Values, Values]]


def falling(level: float) -> np.ndarray:
    """Returns a loss that falls to a level at the end."""
    return level * (2 - X / X[-1])


def figure(**changes) -> Figure:
    panel = Panel("a", **{"curves": RUNS, "published": "mine", "xlim": (0, 1_000)} | changes)
    return Figure("mine", "Made up", panels=(panel,))


def over_rates(**changes) -> Figure:
    return figure(**{"x": "learning_rate", "xlim": (0, 0.01)} | changes)


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Returns the comparison of a figure of one panel: of published curves with ours, by name, one or more seeds."""

    def fit(theirs: Curves, ours: Mapping[str, Any], chosen: Figure, **options: Any) -> PanelFit:
        publish(tmp_path, monkeypatch, theirs)
        panel: Any = chosen.panels[0]
        found, x = store(shorter=options.get("shorter", False)), options.get("x", X)
        for name, lines in ours.items():
            for seed, values in enumerate(lines if isinstance(lines[0], list) else [lines]):
                column = options.get("column", panel.ys[0])
                found.add(result(found.trained(panel.curves[name]), values, x[: len(values)], seed, column))
        (only,) = fidelity.compare(chosen, found)
        return only

    return fit


def flat(**levels: float) -> Curves:
    return {name: (X, falling(level)) for name, level in levels.items()}


def first(fit: PanelFit) -> CurveFit:
    return fit.curves[0]


# --- order ---


@pytest.mark.parametrize(("levels", "tau"), [((1, 2, 3), 1), ((3, 2, 1), -1), ((2, 1, 3), 1 / 3), ((2, 3, 1), -1 / 3)])
def test_the_order_of_the_curves_at_their_end_is_kendalls_tau(levels, tau, compare):
    ours = {name: falling(level / 10) for name, level in zip(RUNS, levels, strict=True)}
    fit = compare(flat(A=1, B=2, C=3), ours, figure())
    assert (fit.panel, fit.quantity, fit.compared, fit.order) == ("a", "test_loss", 3, pytest.approx(tau))


def test_the_order_of_one_curve_is_not_a_number(compare):
    fit = compare(flat(A=1, B=2), {"A": falling(1)}, figure())
    assert math.isnan(fit.order) and fit.compared == 1


def test_range_tests_are_put_in_order_where_all_of_them_still_are(compare):
    """Published B leaves its panel at 0.005. Up to there A is between B and C; later ours is above, theirs below C."""
    a, c = np.array([1.5] * 5 + [1.0] * 5), np.full(10, 2.0)
    theirs = {"A": (X / 1e5, a), "B": (X[:5] / 1e5, [1, 1, 1, 1, 9]), "C": (X / 1e5, c)}
    fit = compare(theirs, {"A": np.array([1.5] * 5 + [3.0] * 5), "B": np.full(10, 1.0), "C": c}, over_rates())
    assert (fit.order, fit.compared) == (1, 3)


# --- differences ---


def test_a_loss_that_is_a_factor_off_has_the_factors_logarithm(compare):
    fit = compare(flat(A=1, B=1, C=1), {"A": 2 * falling(1), "B": falling(1) / 2, "C": falling(1)}, figure())
    assert [c.rmse for c in fit.curves] == pytest.approx([math.log(2), math.log(2), 0])
    assert first(fit).points == 9  # of the 10 one is the highest of its panel
    assert [c.final for c in fit.curves] == pytest.approx([1.04, -0.52, 0])  # theirs is 1.08 to 1 from 920 on


def test_an_accuracy_has_the_plain_root_mean_square(compare):
    fit = compare({"A": (X, [0.5] * 10)}, {"A": np.array([0.6, 0.4] * 4 + [0.5, 0.5])}, figure(y="test_accuracy"))
    assert fit.quantity == "test_accuracy" and first(fit).points == 10
    assert first(fit).rmse == pytest.approx(0.1 * math.sqrt(0.8))


def test_a_loss_gap_may_be_negative(compare):
    chosen = figure(curves={"": RUNS["A"]}, y="loss_gap")  # the training loss is 0.5
    fit = first(compare({"": (X, np.full(10, 0.5))}, {"": np.full(10, 0.25)}, chosen, column="test_loss"))
    assert (fit.rmse, fit.final) == pytest.approx((0.75, -0.75))
    assert all(map(math.isnan, [*fit.minimum, *fit.divergence]))


def test_only_the_range_that_both_cover_counts(compare):
    theirs = {"A": (np.arange(600, 2_001, 100), np.full(15, 1)), "top": ([0], [5])}
    fit = first(compare(theirs, {"A": np.array([7, 7, 7, 7, 7, 2, 2, 2, 2, 2])}, figure()))
    assert (fit.points, fit.rmse, fit.final) == (5, pytest.approx(math.log(2)), pytest.approx(1))


def test_ranges_that_do_not_meet_are_said_to(compare):
    fit = first(compare({"A": ([1, 2], [1, 1]), "top": ([0], [5])}, {"A": falling(1)}, figure()))
    assert (fit.points, fit.note) == (0, "no test at the published places")
    assert math.isnan(fit.rmse) and math.isnan(fit.final)


def test_published_iterations_are_scaled_to_a_shortened_run_and_rates_are_not(compare):
    x, top = X / 10, {"top": ([0], [50])}
    fit = first(compare({"A": (X, 1 + X / 100), **top}, {"A": 1 + X / 100}, figure(), shorter=True, x=x))
    assert (fit.points, fit.minimum) == (10, (10, 10)) and fit.rmse == pytest.approx(0, abs=1e-9)
    fit = first(compare({"A": (X / 1e5, np.ones(10)), **top}, {"A": np.ones(10)}, over_rates(), shorter=True, x=x))
    assert fit.points == 1  # ours ends at a rate of 0.001, the published begins there


def test_points_at_the_upper_edge_are_left_out(compare):
    fit = first(compare({"A": (X, [5, *[1] * 8, 5])}, {"A": np.full(10, 1.0)}, figure()))
    assert (fit.points, fit.rmse, fit.final) == (8, 0, 0)


def test_a_seed_that_diverged_counts_as_guessing_from_there_on(compare):
    seeds = [[1, 1, NAN], [1.0] * 10]
    fit = first(compare({"A": (X, np.ones(10)), "top": ([0], [9])}, {"A": seeds}, figure()))
    assert (fit.seeds, fit.diverged, fit.points, fit.note) == (2, 1, 10, "1 of 2 seeds diverged")
    assert fit.final == pytest.approx((1 + math.log(10)) / 2 - 1)
    assert fit.rmse == pytest.approx(math.log((1 + math.log(10)) / 2) * math.sqrt(0.8))


# --- minimum and divergence ---


@pytest.mark.parametrize(("y", "plain", "best"), [("test_loss", 2.0, 1.0), ("test_accuracy", 0.5, 0.9)])
def test_the_place_of_the_best_test(y, plain, best, compare):
    ours, theirs = np.full(10, plain), np.full(10, plain)
    ours[3], theirs[6] = best, best
    top = {"top": ([0], [9])} if y == "test_loss" else {}
    fit = first(compare({"A": (X / 1e5, theirs), **top}, {"A": ours}, over_rates(y=y)))
    assert fit.minimum == pytest.approx((0.004, 0.007))


def test_what_is_beyond_the_papers_axis_does_not_count(compare):
    ours = [1.2, 1.2, 1, 1.2, 1.2, 1.2, 1.2, 0.1, 2.3, NAN]
    theirs = {"A": (X / 1e5, falling(1)), "top": ([0], [9])}
    fit = first(compare(theirs, {"A": ours}, over_rates(xlim=(0, 0.007))))
    assert fit.minimum[0] == pytest.approx(0.003) and math.isnan(fit.divergence[0]) and fit.points == 7


def test_the_rate_of_divergence_is_the_mean_over_the_seeds_that_do(compare):
    seeds = [[1.0] * 4 + [2.3] * 6, [1.0] * 8 + [2.3, NAN], [1.0] * 10]
    fit = first(compare({"A": (X / 1e5, [1.0] * 7 + [2.2] * 3), "top": ([0], [9])}, {"A": seeds}, over_rates()))
    assert fit.divergence == pytest.approx(((0.005 + 0.009) / 2, 0.008))
    assert (fit.seeds, fit.diverged) == (3, 1)


def test_a_published_curve_that_leaves_its_panel_has_diverged_there(compare):
    theirs = {"A": ([0.001, 0.002, 0.003], [0.2, 0.1, 0.5]), "B": ([0.001, 0.01], [0.2, 0.4])}
    a, b, c = compare(theirs, {}, over_rates()).curves
    assert a.divergence[1] == 0.003 and "the published curve leaves its panel at the top" in a.note
    assert math.isnan(b.divergence[1]) and "leaves" not in b.note
    assert c.note == "no result at scale paper; no published curve" and c.seeds == 0
    ending = compare({"A": ([0.001, 0.01], [0.2, 0.5]), "top": ([0.001], [0.3])}, {}, over_rates())
    assert math.isnan(first(ending).divergence[1])  # it ends at the end of its axis


# --- panels ---


def test_panels_without_published_curves_are_left_out_and_quantities_compared_by_themselves(tmp_path, monkeypatch):
    publish(tmp_path, monkeypatch, {"Loss; A": (X, falling(1)), "Accuracy; A": (X, np.full(10, 0.5))})
    both = figure(y=("test_loss", "test_accuracy")).panels[0]
    others = (Sketch("b", {"": lambda x: x}, "x", "y"), Panel("c", RUNS))
    fits = fidelity.compare(Figure("mine", "", (both, *others)), store(result(RUNS["A"], falling(1), X)))
    assert [(fit.quantity, first(fit).name, fit.compared) for fit in fits] == [
        ("test_loss", "Loss; A", 1),
        ("test_accuracy", "Accuracy; A", 1),
    ]
    assert [first(fit).rmse for fit in fits] == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("chosen", FIGURES, ids=lambda f: f.name)
def test_every_published_range_test_of_the_paper_agrees_with_itself(chosen):
    """Our curves are made from the published ones: the order is the same, the differences are none."""
    for panel in chosen.panels:
        if isinstance(panel, Panel) and panel.published and panel.x == "learning_rate" and len(panel.ys) == 1:
            theirs = published.curves(panel)
            found = store()
            for name, y, run in panel.series():
                rate, values = theirs[name]
                found.add(result(run, values, 1e5 * rate, column=y))
            (fit,) = fidelity.compare(Figure("mine", "", (panel,)), found)
            assert fit.compared == len(panel.curves) and not fit.order < 0.99  # nan where all are the same
            assert [c.rmse for c in fit.curves] == pytest.approx([0] * len(panel.curves), abs=1e-6)
            assert all(c.minimum[0] == pytest.approx(c.minimum[1]) for c in fit.curves)
