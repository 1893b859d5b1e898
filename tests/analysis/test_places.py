"""Places: where the paper shows a run, and the paper's own curve there."""

import numpy as np
import pytest
from made_up import EXPERIMENTS

from smith.analysis import published
from smith.analysis.claims import CLAIMS
from smith.analysis.places import Place, curve, row, run_at
from smith.analysis.places import published as published_at
from smith.analysis.traces import Trace
from smith.figure import Panel, Table
from smith.run import iterations
from smith.schedules import Constant, Scaled

TABLES = [experiment for experiment in EXPERIMENTS if isinstance(experiment, Table)]


def theirs(place: Place) -> Trace:
    found = published_at(EXPERIMENTS, place)
    assert found is not None
    return found


def own(panel: str, name: str, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    return published.curves(Panel("a", {}, published=panel, **changes))[name]


def test_every_place_of_a_claim_is_a_run_of_the_protocol_in_a_panel_that_the_claim_names_and_that_is_there():
    names = {f"{e.name}{letter}" for e in EXPERIMENTS for letter in e.letters or [""]}
    assert names >= {panel for claim in CLAIMS.values() for panel in claim.panels}
    runs = {experiment.name: experiment.runs() for experiment in EXPERIMENTS}
    for claim in CLAIMS.values():
        for place in (place for part in claim.parts for place in part.curves.values()):
            assert run_at(EXPERIMENTS, place) in runs[place.experiment]
            assert f"{place.experiment}{place.panel}" in claim.panels, claim.name


@pytest.mark.parametrize(
    "place", [curve("fig09a", "WD=7"), curve("fig09z", "WD=1e-3"), curve("fig99a"), row("table1", "x"), row("table9")]
)
def test_an_unknown_place_is_a_key_error(place: Place):
    for ask in (run_at, published_at):
        with pytest.raises(KeyError):
            ask(EXPERIMENTS, place)


@pytest.mark.parametrize("experiment", TABLES, ids=lambda e: e.name)
def test_a_row_of_a_table_is_its_published_mean(experiment: Table):
    for line in experiment.rows:
        found = theirs(row(experiment.name, *line.labels))
        assert found.run == line.run and set(found.lines) == {"test_accuracy"}
        place, accuracy = found.lines["test_accuracy"]
        assert place.tolist() == [1] and accuracy == pytest.approx([line.mean / 100])


def test_a_published_curve_has_what_the_panels_of_its_axis_show():
    found = theirs(curve("fig09a", "WD=1e-3"))
    assert set(found.lines) == {"test_loss", "test_accuracy"}
    x, loss = own("fig09a", "WD=1e-3", x_shift=200)
    np.testing.assert_allclose(found.lines["test_loss"], (x / 16_000, loss))
    assert found.lines["test_accuracy"][1][-1] == pytest.approx(own("fig09b", "WD=1e-3")[1][-1])


def test_panels_of_another_axis_are_not_joined():
    assert set(theirs(curve("fig01a")).lines) == {"test_loss", "train_loss", "test_accuracy"}  # b is over iterations
    assert set(theirs(curve("fig03a", "LR=0.001")).lines) == {"test_loss"}


def test_each_quantity_keeps_its_own_places():
    """The first points of this loss lie above its panel: there is nothing there, and no divergence."""
    lines = theirs(curve("fig06a", "TBS=512; CLR=0.08-0.8")).lines
    assert len(lines["test_loss"][0]) < len(lines["test_accuracy"][0])


def test_the_axis_of_a_published_curve_is_the_true_one():
    found = theirs(curve("fig14a", "Momentum=0.9"))
    place = found.lines["test_loss"][0]
    assert place[0] == pytest.approx(100 / 5_859, rel=0.05)  # the first test, of iteration 100 in 50 epochs
    assert found.rate(place)[0] == pytest.approx(10 * own("fig14a", "Momentum=0.9")[0][0])


def test_the_papers_axis_is_stretched_to_that_of_the_run_that_is_trained():
    run = run_at(EXPERIMENTS, curve("fig09a", "WD=1e-3"))
    small = run.replace(length=iterations(1_600), lr=Scaled(Constant(0.005), 2.5))
    axes = ("iteration", "learning_rate", "momentum")
    assert [published.stretch(axis, run, small) for axis in axes] == [0.1, 2.5, 1]
    assert [published.stretch(axis, run, run) for axis in axes] == [1, 1, 1]


TWICE = {  # curves of a run that a second panel of the figure shows too, digitised from there once more
    curve("fig05a", "CLR=0.1-3"): "test_accuracy",
    curve("fig05b", "Weight decay=0.0001"): "test_accuracy",
    curve("fig07a", "Mom=0.9"): "test_loss",
    curve("fig07c", "Mom=0.9"): "test_loss",
    curve("fig13d", "TBS=256"): "test_accuracy",
}


@pytest.mark.parametrize("place", TWICE, ids=str)
def test_what_is_published_at_a_place_is_what_its_own_panel_shows(place: Place):
    np.testing.assert_array_equal(theirs(place).lines[TWICE[place]][1], own(str(place).split()[0], place.name)[1])
