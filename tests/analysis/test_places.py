"""Places: where the paper shows a run, and the paper's own curve there."""

import numpy as np
import pytest

from smith import experiments
from smith.analysis import published
from smith.analysis.claims import CLAIMS
from smith.analysis.places import Place, curve, row, run_at
from smith.analysis.places import published as published_at
from smith.figure import Published, Table
from smith.store import Result

EXPERIMENTS = [found.shows for found in experiments.find(["all"])]
TABLES = [experiment for experiment in EXPERIMENTS if isinstance(experiment, Table)]
IMAGENET = {"fig03b", "fig04b", "fig16a", "fig16b"}


def theirs(place: Place) -> Result:
    found = published_at(EXPERIMENTS, place)
    assert found is not None
    return found


def own(panel: str, name: str, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    return published.curves(Published(panel, **changes))[name]


def test_every_place_of_a_claim_is_a_run_of_the_protocol_in_a_panel_that_the_claim_names():
    runs = {experiment.name: experiment.runs() for experiment in EXPERIMENTS}
    for claim in CLAIMS.values():
        for place in (place for part in claim.parts for place in part.curves.values()):
            assert run_at(EXPERIMENTS, place) in runs[place.experiment]
            assert f"{place.experiment}{place.panel}" in claim.panels, claim.name


def test_every_panel_of_a_claim_is_there():
    names = {f"{e.name}{letter}" for e in EXPERIMENTS for letter in e.letters or [""]} | IMAGENET
    assert names >= {panel for claim in CLAIMS.values() for panel in claim.panels}


def test_a_place_has_a_name():
    assert str(curve("fig09a", "WD=1e-3")) == "fig09a WD=1e-3"
    assert str(curve("fig07b")) == "fig07b"
    assert str(row("table1", "shallow3", "0.005", "0.90")) == "table1 shallow3, 0.005, 0.90"


@pytest.mark.parametrize(
    "place", [curve("fig09a", "WD=7"), curve("fig09z", "WD=1e-3"), curve("fig99a"), row("table1", "x"), row("table9")]
)
def test_an_unknown_place_is_a_key_error(place: Place):
    for ask in (run_at, published_at):
        with pytest.raises(KeyError):
            ask(EXPERIMENTS, place)


def test_a_place_is_the_run_that_its_curve_shows():
    assert str(run_at(EXPERIMENTS, curve("fig09a", "WD=1.8e-3")).weight_decay) == "0.0018"
    shown = run_at(EXPERIMENTS, row("table1", "resnet-56", "0.08-0.8", "0.95"))
    assert (shown.network, str(shown.momentum), shown.batch_size) == ("resnet-56", "0.95", 512)


@pytest.mark.parametrize("experiment", TABLES, ids=lambda e: e.name)
def test_a_row_of_a_table_is_its_published_mean(experiment: Table):
    for line in experiment.rows:
        result = theirs(row(experiment.name, *line.labels))
        assert set(result.columns) == {"test_accuracy"} and result.run == line.run
        assert result["test_accuracy"] == pytest.approx([line.mean / 100])


def test_a_published_curve_has_what_the_panels_of_its_axis_show():
    result = theirs(curve("fig09a", "WD=1e-3"))
    assert set(result.columns) == {"iteration", "test_loss", "test_accuracy"}
    x, loss = own("fig09a", "WD=1e-3", shift=200)
    np.testing.assert_array_equal(result["iteration"], x)
    np.testing.assert_array_equal(result["test_loss"], loss)
    assert result["test_accuracy"][-1] == pytest.approx(own("fig09b", "WD=1e-3")[1][-1])


def test_panels_of_another_axis_are_not_joined():
    result = theirs(curve("fig01a"))  # panel b is over iterations
    assert set(result.columns) == {"learning_rate", "test_loss", "train_loss", "test_accuracy"}
    assert "test_accuracy" not in theirs(curve("fig03a", "LR=0.001")).columns


def test_a_place_that_a_plot_does_not_cover_is_not_a_number_and_no_divergence():
    """The first point of this loss lies above its panel."""
    result = theirs(curve("fig06a", "TBS=512; CLR=0.08-0.8"))
    assert result.status == "done" and np.isnan(result["test_loss"]).any()


def test_the_axis_of_a_published_curve_is_the_true_one():
    rate = theirs(curve("fig14a", "Momentum=0.9"))["learning_rate"]
    assert rate[0] == pytest.approx(10 * own("fig14a", "Momentum=0.9")[0][0])
    assert 0.013 < rate[0] < 0.0135  # after 100 iterations of a test from 0.01 to 0.2


def test_a_panel_without_a_published_curve_has_none():
    assert published_at(EXPERIMENTS, curve("speeda", "2,500 iterations")) is None


TWICE = [  # curves of a run that a second panel of the figure shows too, digitised from there once more
    (curve("fig05a", "CLR=0.1-3"), "iteration", "test_accuracy"),
    (curve("fig05b", "Weight decay=0.0001"), "iteration", "test_accuracy"),
    (curve("fig07a", "Mom=0.9"), "learning_rate", "test_loss"),
    (curve("fig07c", "Mom=0.9"), "learning_rate", "test_loss"),
    (curve("fig13d", "TBS=256"), "learning_rate", "test_accuracy"),
]


@pytest.mark.parametrize(("place", "axis", "quantity"), TWICE, ids=lambda value: str(value))
def test_what_is_published_at_a_place_is_what_its_own_panel_shows(place: Place, axis: str, quantity: str):
    result = theirs(place)
    x, y = own(place.experiment + place.panel, place.name)
    np.testing.assert_allclose(np.interp(x, result[axis], result[quantity]), y, atol=1e-12)
