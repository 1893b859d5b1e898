"""Views: what is to be drawn of a panel, from made-up results."""

import dataclasses

import numpy as np
import pytest

from smith import metrics, scales
from smith.analysis import published
from smith.figure import Finals, Panel, Row, Sketch, Table
from smith.figures.panels import HEADROOM, view, views
from smith.figures.points import measured
from smith.run import Run, iterations
from smith.schedules import RangeTest, Scaled
from smith.store import Store

RUN = Run("mnist", "lenet", batch_size=16, length=iterations(80), lr=0.01, solver="sgd", test_every=iterations(10))
OTHER = RUN.replace(weight_decay=1e-3)
PANEL = Panel("a", {"one": RUN, "other": OTHER}, ylim=(0.5, 1.5))


def test_a_view_has_the_curves_their_colours_labels_and_units(shelf):
    columns = shelf.add(RUN)
    shown = view(PANEL, shelf.store())
    one, other = shown.series
    assert (one.name, one.colour, one.unit, one.legend) == ("one", 0, "nats", "one")
    np.testing.assert_array_equal(one.mean, (columns["iteration"], columns["test_loss"]))
    assert one.seeds.keys() == {0} and not one.missing and not one.diverged
    assert (other.colour, other.missing, other.legend) == (1, True, "other (no result)")
    assert (shown.x.label, shown.y.label, shown.y.log) == ("Iteration", "Test loss (nats)", True)
    assert shown.heading == f"a  {PANEL.title}" and shown.published == "" and shown.runs == PANEL.curves


@pytest.mark.parametrize(
    ("x", "y", "labels"),
    [
        ("momentum", "test_accuracy", ("Momentum", "Test accuracy (fraction)")),
        ("learning_rate", "loss_gap", ("Learning rate", "Test loss - training loss (nats)")),
        ("epoch", ("test_loss", "test_accuracy"), ("Epoch", "Loss (nats) / accuracy (fraction)")),
        ("iteration", ("test_loss", "train_loss"), ("Iteration", "Loss, training loss (nats)")),
    ],
)
def test_axes_say_what_they_show_and_its_unit(x, y, labels, shelf):
    columns = shelf.add(RUN)
    shown = view(Panel("a", {"one": RUN}, x=x, y=y), shelf.store())
    assert (shown.x.label, shown.y.label) == labels
    columns["loss_gap"] = columns["test_loss"] - columns["train_loss"]
    for series, name in zip(shown.series, (y,) if isinstance(y, str) else y, strict=True):
        np.testing.assert_array_equal(series.mean, (columns[x], columns[name]))
        assert series.unit == metrics.quantity(name).unit.partition(";")[0]


def test_a_metric_of_ones_own_is_shown_with_its_label(shelf, monkeypatch):
    own = metrics.Quantity("error", "fraction of the images", "Error (fraction)", "Error", lambda classes: 1.0)
    monkeypatch.setitem(metrics.METRICS, "error", own)
    run = RUN.replace(metrics=("error",))
    shelf.add(run, error=0.25)
    shown = view(Panel("a", {"x": run}, y="error"), shelf.store())
    assert (shown.y.label, shown.series[0].unit) == ("Error (fraction)", "fraction of the images")
    assert shown.series[0].mean[1][-1] == 0.25 and not shown.y.log


# --- seeds and divergence ---


def test_seeds_have_their_own_lines_beside_the_mean(shelf):
    losses = [shelf.add(RUN, seed)["test_loss"] for seed in range(3)]
    series = view(PANEL, shelf.store()).series[0]
    np.testing.assert_allclose(series.mean[1], np.mean(losses, axis=0))
    for seed, line in series.seeds.items():
        np.testing.assert_array_equal(line[1], losses[seed])


def test_a_mean_ends_before_the_first_seed_diverges_and_the_others_go_on(shelf):
    shelf.add(RUN, 0)
    shelf.add(RUN, 1, status="diverged", tests=6, iteration=10.0 * np.arange(1, 7), test_loss=np.nan)
    series = view(PANEL, shelf.store()).series[0]
    assert series.mean[0].tolist() == [10, 20, 30, 40, 50]
    assert series.seeds[0][0][-1] == 80 and series.seeds[1][0][-1] == 50
    assert series.diverged == {1: 60} and series.legend == "one (1/2 diverged)"


def test_a_curve_whose_seeds_diverged_at_once_has_crosses_only(shelf):
    for seed in range(2):
        shelf.add(RUN, seed, status="diverged", tests=1, test_loss=np.nan)
    series = view(PANEL, shelf.store()).series[0]
    assert len(series.mean[0]) == 0 and len(series.diverged) == 2 and not series.missing


# --- published curves ---


def test_in_miniature_the_papers_curves_have_a_view_of_their_own_and_ours_the_papers_axis_above(shelf, experiment):
    store = shelf.store("mini")
    ours, theirs, *_ = views(experiment("fig05"), store)
    assert (ours.companion, theirs.companion, ours.published) == (False, True, "") and ours.label == theirs.label
    assert all(series.published is None for series in ours.series)
    drawn = published.curves(experiment("fig05").panels[0])
    assert theirs.x.range == (0, 80_000) and theirs.x.papers is None
    for series in theirs.series:
        np.testing.assert_array_equal(series.published, drawn[series.name])
    label, factor = ours.x.papers
    assert label == "Iteration in the paper" and ours.x.range[1] * factor == pytest.approx(80_000, rel=1e-3)
    for shown in views(experiment("fig05"), store, published=False):
        assert not shown.companion and shown.published == ""
    for shown in views(experiment("fig05"), shelf.store(), published=False):
        assert shown.published == "" and all(series.published is None for series in shown.series)


def test_rates_that_a_miniature_multiplies_have_the_papers_axis_above(shelf, experiment):
    figure, store = experiment("fig14"), shelf.store("paper")
    assert all(shown.x.papers is None and not shown.companion for shown in views(figure, store))
    doubled = dataclasses.replace(store.scale, name="mini", apply=lambda run: run.replace(lr=Scaled(run.lr, 2.0)))
    ours, theirs, *_ = views(figure, Store(shelf.root, doubled))
    assert ours.x.papers == ("Learning rate in the paper", 0.5)
    assert ours.x.range == tuple(2 * x for x in theirs.x.range)


# --- ranges ---


def range_of(shelf, *losses: float, **fields) -> tuple[float, float]:
    """Returns the vertical range of a panel whose result has these losses last."""
    values = np.r_[np.linspace(1.4, 0.7, 10)[: 10 - len(losses)], losses]
    shelf.add(RUN, tests=10, test_loss=values)
    found = view(dataclasses.replace(PANEL, **fields), shelf.store()).y.range
    assert found
    return found


def test_the_vertical_axis_is_the_papers_widened_to_hold_our_points(shelf):
    low, high = range_of(shelf)
    assert 0.48 < low < 0.5 and 1.5 < high < 1.56
    low, high = range_of(shelf, 0.3, 2.5)
    assert 0.27 < low < 0.3 and 2.5 < high < 2.7


def test_a_point_or_all_that_go_to_infinity_do_not_widen_the_axis_and_are_known_to_lie_above_it(shelf):
    assert range_of(shelf, 1e35)[1] < 1.56
    shown = view(PANEL, shelf.store())
    assert shown.above(shown.series[0]).tolist() == [80]
    assert range_of(shelf, *[12.0] * 10)[1] == pytest.approx(12, rel=0.1)
    assert range_of(shelf, *[1e35] * 10)[1] < 1.5 * HEADROOM**4


def test_without_the_papers_range_the_axis_holds_what_there_is(shelf):
    nothing = Store(shelf.root / "none", scales.named("paper"))
    assert view(dataclasses.replace(PANEL, ylim=None), nothing).y.range == (0.1, 10.0)  # where a cross may stand
    low, high = range_of(shelf, 0.6, 3.0, ylim=None)
    assert 0.5 < low < 0.6 and 3 < high < 3.3


def test_a_fraction_stays_between_0_and_1(shelf):
    for name, accuracy in (("one", 0.02), ("other", 0.999)):
        shelf.add(PANEL.curves[name], test_accuracy=accuracy)
    low, high = view(Panel("a", PANEL.curves, y="test_accuracy", ylim=(0.5, 0.8)), shelf.store()).y.range
    assert -0.03 < low <= 0.02 and 0.999 <= high < 1.03


def test_the_horizontal_axis_is_the_papers_cut_as_the_longest_run_with_room_for_crosses(shelf, experiment):
    panel, store = experiment("fig05").panels[0], shelf.store("mini")
    assert view(panel, store).x.range == (0, max(store.trained(run).iterations for run in panel.runs()))
    rates = experiment("fig14").panels[0]
    assert view(rates, shelf.store("smoke")).x.range == rates.xlim
    shelf.add(rates.curves["Momentum=0.9"], status="diverged", learning_rate=0.35, test_loss=np.nan)
    assert view(rates, shelf.store()).x.range == (rates.xlim[0], 0.35)


# --- points ---

FINALS = Finals("b", {"": {0.5: RUN, 2.0: OTHER}}, "Width", y=("test_loss", "test_accuracy"))


def test_ends_of_runs_are_points_with_their_seeds_and_a_diverged_one_is_guessing(shelf):
    shelf.add(RUN, 0, test_loss=0.5)
    shelf.add(RUN, 1, test_loss=0.7)
    shelf.add(OTHER, 1, status="diverged", test_loss=np.nan, test_accuracy=0.9)
    shown = view(FINALS, shelf.store())
    loss, accuracy = shown.series
    np.testing.assert_allclose(loss.mean, ([0.5, 2], [0.6, np.log(10)]))
    np.testing.assert_allclose(accuracy.mean[1][1], 0.1)
    assert loss.seeds[0][0].tolist() == [0.5] and loss.seeds[1][0].tolist() == [0.5, 2]
    assert shown.notes == ["1 diverged, drawn as guessing"] and shown.points and shown.x.log
    assert shown.x.ticks == {0.5: "0.5", 2: "2"} and [s.name for s in shown.series] == ["Loss", "Accuracy"]


def test_the_best_of_a_grid_is_chosen_by_a_third_of_the_seeds_and_shown_of_the_others(shelf):
    grids = {"one way": {4: {"LR=1": RUN, "LR=2": OTHER}}, "another": {4: RUN, 16: OTHER}}
    panel = Finals("c", grids, "Epochs")
    for seed, (one, other) in enumerate(((0.3, 0.2), (0.1, 0.9), (0.5, 0.6), (0.4, 0.8))):
        shelf.add(RUN, seed, test_accuracy=one)
        shelf.add(OTHER, seed, test_accuracy=other)
    shown = view(panel, shelf.store())
    best, plain = shown.series
    assert {seed: y.tolist() for seed, (_, y) in best.seeds.items()} == {1: [0.1], 2: [0.5], 3: [0.4]}
    assert plain.mean[1] == pytest.approx([0.325, 0.625]) and sorted(plain.seeds) == [0, 1, 2, 3]
    assert shown.x.ticks == {4: "4", 16: "16"} and shown.y.label == "Test accuracy (fraction)"
    assert shown.notes == ["each the best of 1 to 2 settings, chosen by 1 other seeds"]
    assert [*shown.runs] == ["one way, 4, LR=1", "one way, 4, LR=2", "another, 4", "another, 16"]


def test_a_test_that_grows_by_factors_has_a_logarithmic_axis(shelf):
    growing = RUN.replace(lr=RangeTest(0.01, 10, exponential=True))
    assert view(Panel("a", {"": growing}, x="learning_rate"), shelf.store()).x.log
    assert not view(Panel("a", {"": growing}), shelf.store()).x.log


ROWS = (Row(("lenet", "0"), RUN, 99.0, 0.1), Row(("lenet", "1e-3"), OTHER, 98.0, 0.2))
TABLE = Table("table7", "A table", ("Network", "Weight decay"), ROWS)


def test_a_row_has_the_mean_and_deviation_of_its_seeds_in_percent(shelf):
    for seed, accuracy in enumerate((0.81, 0.82, 0.83, 0.80)):
        shelf.add(RUN, seed, test_accuracy=accuracy)
    one, other = measured(TABLE, shelf.store())
    assert one.mean == pytest.approx(81.5) and one.deviation == pytest.approx((5 / 3) ** 0.5)  # over 4 - 1
    assert np.isnan(other.mean) and np.isnan(other.deviation) and not other.values


def test_a_seed_of_a_row_that_diverged_counts_as_guessing(shelf):
    shelf.add(RUN, 0, test_accuracy=0.9)
    shelf.add(RUN, 1, status="diverged", test_accuracy=0.5)
    one = measured(TABLE, shelf.store())[0]
    assert one.values == pytest.approx({0: 90, 1: 10}) and one.diverged == 1
    (shown,) = views(TABLE, shelf.store())
    assert shown.heading == "lenet, mnist (1 diverged, drawn as guessing)"


def test_a_table_is_a_view_for_each_network_with_ours_and_the_papers_values(shelf, experiment):
    table = experiment("table1")
    shelf.fill(table, seeds=2)
    shown = views(table, shelf.store())
    assert [one.heading for one in shown] == ["shallow3, cifar10", "resnet-56, cifar10"]
    for one, rows in zip(shown, (table.rows[:10], table.rows[10:]), strict=True):
        (series,) = one.series
        assert series.published[1].tolist() == [row.mean for row in rows]
        assert series.published_spread.tolist() == [row.deviation for row in rows]
        np.testing.assert_allclose(series.mean, (range(10), [80.0] * 10))
        assert list(one.x.ticks.values()) == [", ".join(row.labels[1:]) for row in rows]
        assert one.across and one.x.range == (9.5, -0.5) and 70 < one.y.range[0] < 80 and one.y.range[1] <= 100


# --- the rest ---


def test_a_sketch_has_a_line_for_each_formula_and_marks_the_least_of_the_first(shelf):
    sketch = Sketch("a", {"up": lambda c: (c - 0.25) ** 2, "down": lambda c: 1 - c}, "x", "y", "t", {0.2: "here"})
    shown = view(sketch, shelf.store())
    up, down = shown.series
    assert up.mean[0][[0, -1]].tolist() == [0, 1] and down.mean[1].tolist() == (1 - down.mean[0]).tolist()
    assert shown.mark == (0.25, "optimum") and shown.texts == {0.2: "here"} and shown.x.ticks == {}
    assert not up.missing and shown.y.range[1] > 1
