"""Figures as data: sweeps and their names, and what a panel and a figure work out by themselves."""

from dataclasses import replace

import pytest

from smith.errors import UserError
from smith.figure import Figure, Finals, Panel, Row, Sketch, Table
from smith.legends import settings, sweep, written
from smith.lengths import epochs, iterations
from smith.run import Run, Snapshot
from smith.schedules import Constant, CyclicalMomentum, Exponential, Multistep, OneCycle, RangeTest, Triangular

RUN = Run("cifar10", "shallow3", 512, iterations(1_000), lr=RangeTest(0.001, 0.01), weight_decay=1e-3)


# --- sweeps ---


def test_a_sweep_has_a_run_for_each_value_under_its_name():
    assert sweep(RUN, "WD={}", weight_decay=(1e-3, 1.8e-3, 1e-2)) == {
        "WD=1e-3": RUN,
        "WD=1.8e-3": RUN.replace(weight_decay=1.8e-3),
        "WD=1e-2": RUN.replace(weight_decay=1e-2),
    }
    assert list(sweep(RUN, "LR={:g}", lr=(0.001, 0.0055))) == ["LR=0.001", "LR=0.0055"]


def test_fields_of_a_sweep_change_together():
    found = sweep(RUN, "TBS={}, {}", batch_size=(128, 256), lr=(OneCycle(0.1, 1, 0.4), OneCycle(0.05, 0.5, 0.4)))
    assert list(found) == ["TBS=128, 0.1-1", "TBS=256, 0.05-0.5"]
    assert [(run.batch_size, run.lr) for run in found.values()] == [
        (128, OneCycle(0.1, 1, 0.4)),
        (256, OneCycle(0.05, 0.5, 0.4)),
    ]


def test_values_of_a_sweep_may_have_names():
    found = sweep(RUN, "Weight decay={}", weight_decay={"0.00001": 1e-5, "none": 0})
    assert found == {
        "Weight decay=0.00001": RUN.replace(weight_decay=1e-5),
        "Weight decay=none": RUN.replace(weight_decay=0),
    }


@pytest.mark.parametrize(
    ("label", "fields", "words"),
    [
        ("WD", {"weight_decay": (1e-3, 1e-4)}, "two runs have the same name"),
        ("{}", {"weight_decay": (1e-3, 1e-4), "batch_size": (64,)}, "the same number of values"),
        ("{}", {}, "the same number of values"),
        ("{}", {"weight_decay": 1e-3}, "give a tuple of values"),
        ("{} {}", {"weight_decay": (1e-3,)}, "give a {} for each field"),
        ("{", {"weight_decay": (1e-3,)}, "give a {} for each field"),
    ],
)
def test_a_sweep_that_can_not_be_named_is_refused(label, fields, words):
    with pytest.raises(UserError, match=words):
        sweep(RUN, label, **fields)


def test_values_are_written_as_in_the_papers_legends():
    values = [1e-3, 3.2e-4, 0, 0.9, 0.97, 1, 512, Constant(5e-5), CyclicalMomentum(0.95, 0.8), Triangular(0.1, 3)]
    assert list(map(written, values)) == "1e-3 3.2e-4 0 0.9 0.97 1 512 5e-5 0.95-0.8 0.1-3".split()
    assert written(CyclicalMomentum(1.0, 0.8, rising=True)) == "0.8-1"


# --- titles ---


def test_settings_are_what_runs_have_in_common():
    assert settings([RUN]) == "CIFAR-10, shallow3; LR range test, Mom=0.9, WD=1e-3, TBS=512"
    several = [RUN, RUN.replace(weight_decay=0, network="resnet-56", momentum=CyclicalMomentum(0.95, 0.85))]
    assert settings(several) == "CIFAR-10, shallow3 and resnet-56; LR range test, TBS=512"
    cycles = [RUN.replace(lr=OneCycle(0.1, peak, 0.4), momentum=CyclicalMomentum(0.95, 0.85)) for peak in (0.5, 1)]
    assert settings(cycles) == "CIFAR-10, shallow3; 1cycle, CM=0.95-0.85, WD=1e-3, TBS=512"
    assert settings([RUN.replace(lr=Multistep(0.1, 0.1, (0.5,)))]).startswith("CIFAR-10, shallow3; LR=0.1, ")
    assert "; LR exp0.1, " in settings([RUN.replace(lr=Exponential(0.1, 0.5, 0.5))])
    assert settings([RUN.replace(start=Snapshot(RUN, iterations(10)))]).endswith(", from a snapshot")
    assert settings([]) == ""


# --- panels ---


def test_a_panel_works_out_its_title_its_range_and_its_kind_of_axis():
    panel = Panel("a", {"one": RUN, "two": RUN.replace(length=iterations(3_000))})
    assert (panel.title, panel.xlim, panel.log, panel.ys) == (settings(panel.runs()), (0, 3_000), True, ("test_loss",))
    rates = Panel("a", {"one": RUN, "two": RUN.replace(lr=RangeTest(0.002, 0.1))}, x="learning_rate")
    assert rates.xlim == (0.001, 0.1)
    assert Panel("a", {"": RUN.replace(momentum=RangeTest(0.7, 1.0))}, x="momentum").xlim == (0.7, 1.0)
    assert Panel("a", {"": RUN.replace(lr=OneCycle(0.1, 1, 0.4))}, x="learning_rate").xlim is None


def test_what_a_panel_is_given_counts():
    panel = Panel("a", {"one": RUN}, y="loss_gap", log=True, xlim=(5, 6), title="Mine")
    assert (panel.log, panel.xlim, panel.title) == (True, (5, 6), "Mine")
    assert not Panel("a", {"one": RUN}, y="test_accuracy").log and not Panel("a", {"one": RUN}, log=False).log
    assert Panel("a", {"one": RUN}, y=("test_accuracy", "test_loss")).log


def test_two_quantities_of_one_curve_have_a_name_each():
    panel = Panel("a", {"x": RUN, "": RUN}, y=("test_loss", "train_loss"))
    assert [name for name, *_ in panel.series()] == ["Loss; x", "Training loss; x", "Loss", "Training loss"]
    assert [name for name, *_ in Panel("a", {"x": RUN}).series()] == ["x"]


# --- figures ---


def test_a_figure_of_the_paper_finds_its_published_curves():
    run = RUN.replace(test_every=iterations(100))
    panels = Panel("a", {"": run}), Panel("b", {"": run}, x="learning_rate", x_factor=10), Panel("z", {"": run})
    a, b, z = Figure("fig09", "", panels=panels, first_test_drawn_at_0=True).panels
    assert [(one.published, one.x_shift) for one in (a, b, z)] == [("fig09a", 100), ("fig09b", 0), ("", 0)]
    assert Figure("mine", "", panels=panels).panels == panels
    own = Panel("a", {"": run}, published="mine")
    assert Figure("fig09", "", panels=(own,)).panels == (own,)


def test_an_assumption_is_of_the_panels_whose_curves_have_it():
    panels = (
        Panel("a", {"one": RUN, "two": RUN.replace(weight_decay=0)}),
        Panel("b", {"": RUN.replace(batch_size=256)}),
        Sketch("c", {"up": lambda x: x}, "x", "y"),
    )
    figure = Figure("mine", "", panels=panels, assumed={"batch_size": (256, 512), "momentum": (0.9, 0.95)})
    assert [(one.field, one.values, one.own, one.panels) for one in figure.assumptions] == [
        ("batch_size", (256, 512), 512, "a"),
        ("momentum", (0.9, 0.95), 0.9, "ab"),
    ]
    assert figure.notes == ("Assumed: batch size 512 in a, momentum 0.9 in a, b.",)
    assert [one.of(RUN) for one in figure.assumptions] == [512, 0.9]
    inside = Figure(
        "mine",
        "",
        panels=(Panel("a", {"": RUN.replace(lr=Multistep(0.1, 0.3, (0.5,)))}),),
        assumed={"lr.factor": (0.1, 0.3)},
        notes=("A slip.",),
    )
    assert inside.notes == ("A slip.", "Assumed: LR factor 0.3.")


@pytest.mark.parametrize(
    ("assumed", "words"),
    [
        ({"batch_size": (1, 2)}, "batch_size is 512, which is not among"),
        ({"colour": (1, 2)}, "colour is assumed, and no run has it"),
        ({"momentum": (0.5, 0.6)}, "momentum is .*, which is not among"),
    ],
)
def test_an_assumption_that_no_run_has_is_refused(assumed, words):
    with pytest.raises(UserError, match=words):
        Figure("mine", "", panels=(Panel("a", {"": RUN}),), assumed=assumed)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"y": "test_los"}, "unknown quantity 'test_los': did you mean 'test_loss'"),
        ({"x": "learning-rate"}, "unknown quantity 'learning-rate'"),
        ({"ylim": (0, 2)}, "panel a: ylim begins at 0; a logarithmic axis is above 0"),
        ({"ylim": (2, 1)}, "give two numbers, the smaller first"),
        ({"ylim": (1,)}, "give two numbers"),
        ({"y": "sharpness"}, "sharpness is not measured in '': put it into metrics of that Run"),
        ({"y": "stability"}, "sharpness is not measured"),
        ({"curves": {5: RUN}}, "a dictionary of names and runs"),
        ({"curves": [RUN]}, "a dictionary of names and runs"),
    ],
)
def test_a_panel_that_can_not_be_drawn_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        Panel("a", **{"curves": {"": RUN}} | settings)


def test_what_is_no_figure_or_table_is_refused():
    for panels, words in (((), "have no runs"), ((RUN,), "a tuple of Panel"), ((Sketch("a", {}, "", ""),), "no runs")):
        with pytest.raises(UserError, match=words):
            Figure("mine", "", panels=panels)
    with pytest.raises(UserError, match="place 0: give a number above 0"):
        Finals("a", {"": {0: RUN}}, "x")
    assert Finals("a", {"": {1: RUN}}, "x", y="test_loss").y == ("test_loss",)
    row = Row(("a",), RUN, 90.0, 1.0)
    for rows, words in (
        ((), "at least one"),
        ((row, row), "the same labels"),
        ((replace(row, labels=("a", "b")),), "a text for each of"),
        ((replace(row, labels=(1,)),), "a text for each of"),
        ((replace(row, mean=None),), "as numbers"),
    ):
        with pytest.raises(UserError, match=words):
            Table("mine", "", columns=("one",), rows=rows)


def test_names_that_can_not_be_those_of_files_and_letters_that_are_taken_are_refused():
    for name in ("", "a/b", "../fig09", "fig 09", "-x"):
        with pytest.raises(UserError, match="files are named after it"):
            Figure(name, "", panels=())
        with pytest.raises(UserError, match="files are named after it"):
            Table(name, "", columns=(), rows=())
    for name in ("all", "x" * 101):
        with pytest.raises(UserError, match="give another name"):
            Figure(name, "", panels=())
    with pytest.raises(UserError, match="panels are named aa"):
        Figure("mine", "", panels=(Panel("a", {"": RUN}), Panel("a", {"": RUN})))


def test_a_figures_runs_are_each_once_and_parents_come_first():
    child = RUN.replace(start=Snapshot(RUN, iterations(500)), weight_decay=0)
    other = RUN.replace(length=epochs(20))
    panels = Panel("a", {"one": child, "two": RUN}), Finals("b", {"": {1: other, 2: RUN}}, "x")
    assert Figure("mine", "", panels=panels).runs() == [RUN, child, other]
