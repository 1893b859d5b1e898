"""Evidence: where the paper shows a run, what results there are of it, and the paper's own curve."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from smith import cli, scales
from smith.analysis import published
from smith.analysis.claims import CLAIMS
from smith.analysis.evidence import Evidence, Place, curve, row
from smith.figure import Published, Table
from smith.run import Run
from smith.scales import Scale
from smith.store import results
from smith.store.results import COLUMNS

PAPER, SMOKE = map(scales.named, ("paper", "smoke"))
EXPERIMENTS = cli.experiments(["all"])
PLACES = list(dict.fromkeys(place for c in CLAIMS.values() for part in c.parts for place in part.curves.values()))
IMAGENET = {"fig03b", "fig04b", "fig16a", "fig16b"}


def evidence(folder: Path = Path("nowhere"), scale: Scale = PAPER) -> Evidence:
    return Evidence(EXPERIMENTS, scale, folder)


def write(folder: Path, run: Run, seed: int, loss: float = 1.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return results.write(folder, run, seed, "done", [dict.fromkeys(COLUMNS, loss)], {})


def own(panel: str, name: str, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    return published.curves(Published(panel, **changes))[name]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_every_place_of_a_claim_is_a_run_of_the_protocol(place: Place):
    found = evidence()
    assert found.run(place) in found.experiments[place.experiment].runs()


def test_every_panel_of_a_claim_is_there():
    csvs = {path.stem for path in published.FOLDER.glob("*.csv")}
    names = {f"{e.name}{letter}" for e in EXPERIMENTS for letter in e.letters or [""]}
    for claim in CLAIMS.values():
        for panel in claim.panels:
            assert panel in names or (panel in csvs and panel in IMAGENET), (claim.name, panel)


def test_the_panels_of_a_claim_include_those_of_its_runs():
    for claim in CLAIMS.values():
        used = {f"{place.experiment}{place.panel}" for part in claim.parts for place in part.curves.values()}
        assert used <= set(claim.panels), claim.name


def test_a_place_has_a_name():
    assert str(curve("fig09a", "WD=1e-3")) == "fig09a WD=1e-3"
    assert str(curve("fig07b")) == "fig07b"
    assert str(row("table1", "shallow3", "0.005", "0.90")) == "table1 shallow3, 0.005, 0.90"


@pytest.mark.parametrize(
    "place", [curve("fig09a", "WD=7"), curve("fig09z", "WD=1e-3"), curve("fig99a"), row("table1", "x"), row("table9")]
)
def test_an_unknown_place_is_a_key_error(place: Place):
    for ask in (evidence().run, evidence().published, evidence().by_seed):
        with pytest.raises(KeyError):
            ask(place)


def test_a_place_is_the_run_that_its_curve_shows():
    found = evidence()
    assert str(found.run(curve("fig09a", "WD=1.8e-3")).weight_decay) == "0.0018"
    shown = found.run(row("table1", "resnet-56", "0.08-0.8", "0.95"))
    assert (shown.network, str(shown.momentum), shown.batch_size) == ("resnet-56", "0.95", 512)


def test_results_are_found_by_seed_and_read_once(tmp_path: Path):
    place = curve("fig09a", "WD=1e-3")
    run = evidence().run(place)
    for seed in (3, 0, 11):
        write(tmp_path, run, seed, float(seed))
    found = evidence(tmp_path)
    assert [r.seed for r in found.results(run)] == [0, 3, 11]
    assert {s: r["test_loss"][0] for s, r in found.by_seed(place).items()} == {0: 0.0, 3: 3.0, 11: 11.0}
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    assert len(found.results(run)) == 3


def test_results_of_another_scale_or_run_and_damaged_ones_are_not_taken(tmp_path: Path):
    place = curve("fig09a", "WD=1e-3")
    run = evidence().run(place)
    write(tmp_path, SMOKE.apply(run), 0)
    write(tmp_path, evidence().run(curve("fig09a", "WD=1e-2")), 1)
    write(tmp_path, run, 2).write_bytes(b"not a result")
    assert evidence(tmp_path).results(run) == []
    assert [r.seed for r in evidence(tmp_path, SMOKE).results(run)] == [0]


def test_a_folder_that_is_not_there_has_no_results(tmp_path: Path):
    assert evidence(tmp_path / "nowhere").by_seed(curve("fig09a", "WD=1e-3")) == {}


@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS if isinstance(e, Table)], ids=lambda e: e.name)
def test_a_row_of_a_table_is_its_published_mean(experiment: Table):
    for line in experiment.rows:
        result = evidence().published(row(experiment.name, *line.labels))
        assert result is not None and set(result.columns) == {"test_accuracy"}
        assert result["test_accuracy"] == pytest.approx([line.mean / 100])
        assert result.run == line.run


def test_a_published_curve_has_what_the_panels_of_its_axis_show():
    result = evidence().published(curve("fig09a", "WD=1e-3"))
    assert result is not None and set(result.columns) == {"iteration", "test_loss", "test_accuracy"}
    x, loss = own("fig09a", "WD=1e-3", shift=200)
    np.testing.assert_array_equal(result["iteration"], x)
    np.testing.assert_array_equal(result["test_loss"], loss)
    assert result["test_accuracy"][-1] == pytest.approx(own("fig09b", "WD=1e-3")[1][-1])


def test_panels_of_another_axis_are_not_joined():
    result = evidence().published(curve("fig01a"))  # panel b is over iterations
    assert result is not None
    assert set(result.columns) == {"learning_rate", "test_loss", "train_loss", "test_accuracy"}
    result = evidence().published(curve("fig03a", "LR=0.001"))
    assert result is not None and "test_accuracy" not in result.columns


def test_the_axis_of_a_published_curve_is_the_true_one():
    result = evidence().published(curve("fig14a", "Momentum=0.9"))
    assert result is not None
    assert result["learning_rate"][0] == pytest.approx(10 * own("fig14a", "Momentum=0.9")[0][0])
    assert 0.013 < result["learning_rate"][0] < 0.0135  # after 100 iterations of a test from 0.01 to 0.2


def test_a_panel_without_a_published_curve_has_none():
    assert evidence().published(curve("speeda", "2,500 iterations")) is None


TWICE = [  # curves of a run that a second panel of the figure shows too, digitised from there once more
    (curve("fig05a", "CLR=0.1-3"), "iteration", "test_accuracy"),
    (curve("fig05b", "Weight decay=0.0001"), "iteration", "test_accuracy"),
    (curve("fig07a", "Mom=0.9"), "learning_rate", "test_loss"),
    (curve("fig07c", "Mom=0.9"), "learning_rate", "test_loss"),
    (curve("fig13c", "WD=1e-6"), "learning_rate", "test_accuracy"),
    (curve("fig13d", "TBS=256"), "learning_rate", "test_accuracy"),
]


@pytest.mark.parametrize(("place", "axis", "quantity"), TWICE, ids=lambda value: str(value))
def test_what_is_published_at_a_place_is_what_its_own_panel_shows(place: Place, axis: str, quantity: str):
    result = evidence().published(place)
    x, y = own(place.experiment + place.panel, place.name)
    assert result is not None
    np.testing.assert_allclose(np.interp(x, result[axis], result[quantity]), y, atol=1e-12)


def test_evidence_of_some_experiments_knows_only_these():
    some = Evidence(cli.experiments(["fig09"]), PAPER, Path("nowhere"))
    assert some.run(curve("fig09a", "WD=1e-3")) == evidence().run(curve("fig09a", "WD=1e-3"))
    with pytest.raises(KeyError):
        some.run(curve("fig07b"))


def test_a_place_is_hashable_and_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        curve("fig09a").name = "x"  # pyright: ignore
