"""The experiments: each trains what the protocol says and shows the published curves on the axes of the paper."""

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import experiments
from smith import cli, published, scales
from smith.figure import Figure, Panel
from smith.run import Run

FILES = sorted(Path(experiments.__file__).parent.glob("fig*.py"))
FIGURES: dict[str, Figure] = {file.stem: importlib.import_module(f"experiments.{file.stem}").FIGURE for file in FILES}
PANELS = {f"{figure.name}{panel.label}": panel for figure in FIGURES.values() for panel in figure.panels}

Values = dict[int, float]  # iteration: value


@dataclass(frozen=True)
class Expected:
    """What the paper says of a panel; a list has an entry for every curve, in the legend's order."""

    curves: list[str]
    batch_size: int
    iterations: int
    lr: Values | list[Values]
    momentum: Values | list[Values]
    weight_decay: float | list[float]
    x: str = "iteration"
    y: str | tuple[str, str] = "test_loss"
    data: str = "cifar10"
    network: str = "shallow3"
    solver: str = "nesterov"
    test_every: int = 200


BOTH = ("test_accuracy", "test_loss")
WEIGHT_DECAYS = ["WD=1e-3", "WD=1.8e-3", "WD=3.2e-3", "WD=1e-2"], [1e-3, 1.8e-3, 3.2e-3, 1e-2]
DROPS_9 = {0: 5e-3, 7_999: 5e-3, 8_000: 1.58e-3, 12_000: 4.993e-4, 14_000: 1.578e-4, 15_000: 4.985e-5, 16_000: 4.985e-5}
RANGE_7 = {0: 0.002, 5_000: 0.011, 10_000: 0.02}
RANGE_10 = {0: 0.001, 4_000: 0.0055, 8_000: 0.01}
RANGE_12 = {0: 0.001, 1_000: 0.00325, 4_000: 0.01}
CM_10 = {0: 0.98, 4_000: 0.89, 8_000: 0.8}
SHOWN_TO = {"fig14b": 0.31}  # where the paper's axis ends before the run does
LENET = {"data": "mnist", "network": "lenet", "solver": "sgd", "test_every": 100}

PROTOCOL = {
    "fig03a": Expected(
        ["LR=0.001", "LR=0.0055"],
        512,
        60_000,
        lr=[
            {0: 1e-3, 49_999: 1e-3, 50_000: 1e-4, 54_999: 1e-4, 55_000: 1e-5, 60_000: 1e-5},
            {0: 5.5e-3, 49_999: 5.5e-3, 50_000: 5.5e-4, 54_999: 5.5e-4, 55_000: 5.5e-5, 60_000: 5.5e-5},
        ],
        momentum={0: 0.9, 60_000: 0.9},
        weight_decay=4e-3,
    ),
    "fig04a": Expected(
        ["WD=1e-4", "WD=4e-3", "WD=1e-2"],
        512,
        20_000,
        lr={0: 0.0, 10_000: 0.005, 20_000: 0.01},
        momentum={0: 0.9, 20_000: 0.9},
        weight_decay=[1e-4, 4e-3, 1e-2],
        x="learning_rate",
    ),
    "fig07a": Expected(
        ["Mom=0.7", "Mom=0.9", "Mom=0.99"],
        548,
        10_000,
        lr=RANGE_7,
        momentum=[{0: 0.7, 10_000: 0.7}, {0: 0.9, 10_000: 0.9}, {0: 0.99, 10_000: 0.99}],
        weight_decay=4e-3,
        x="learning_rate",
    ),
    "fig07b": Expected(
        ["Accuracy", "Loss"],
        548,
        10_000,
        lr={0: 0.01, 10_000: 0.01},
        momentum={0: 0.7, 5_000: 0.85, 10_000: 1.0},
        weight_decay=4e-3,
        x="momentum",
        y=BOTH,
    ),
    "fig07c": Expected(
        ["Mom=0.9", "CM=0.8-1", "CM=0.95-0.8", "CM=0.97-0.7"],
        548,
        10_000,
        lr=RANGE_7,
        momentum=[
            {0: 0.9, 10_000: 0.9},
            {0: 0.8, 5_000: 0.9, 10_000: 1.0},
            {0: 0.95, 5_000: 0.875, 10_000: 0.8},
            {0: 0.97, 5_000: 0.835, 10_000: 0.7},
        ],
        weight_decay=4e-3,
        x="learning_rate",
    ),
    "fig07d": Expected(
        [
            "Accuracy; Momentum=0.9; LR=0.007",
            "Loss; Momentum=0.9; LR=0.007",
            "Accuracy; CM=0.97-0.7; CLR=0.001-0.007, step=10k",
            "Loss; CM=0.97-0.7; CLR=0.001-0.007, step=10k",
        ],
        536,
        20_000,
        lr=[
            {0: 0.007, 9_999: 0.007, 10_000: 2.212e-3, 15_000: 6.99e-4, 17_500: 2.209e-4, 19_000: 6.98e-5},
            {0: 0.001, 5_000: 0.004, 10_000: 2.212e-3, 15_000: 6.99e-4, 17_500: 2.209e-4, 19_000: 6.98e-5},
        ],
        momentum=[{0: 0.9, 20_000: 0.9}, {0: 0.97, 5_000: 0.835, 10_000: 0.7, 15_000: 0.835, 19_999: 0.97}],
        weight_decay=4e-3,
        y=BOTH,
    ),
    "fig09a": Expected(WEIGHT_DECAYS[0], 512, 16_000, DROPS_9, {0: 0.95, 16_000: 0.95}, WEIGHT_DECAYS[1]),
    "fig09b": Expected(
        WEIGHT_DECAYS[0], 512, 16_000, DROPS_9, {0: 0.95, 16_000: 0.95}, WEIGHT_DECAYS[1], y="test_accuracy"
    ),
    "fig10a": Expected(WEIGHT_DECAYS[0], 512, 8_000, RANGE_10, CM_10, WEIGHT_DECAYS[1], x="learning_rate"),
    "fig10b": Expected(
        WEIGHT_DECAYS[0], 512, 8_000, RANGE_10, CM_10, WEIGHT_DECAYS[1], x="learning_rate", y="test_accuracy"
    ),
    "fig12a": Expected(
        ["WD=1e-3", "WD=3e-3", "WD=1e-2"],
        2048,
        4_000,
        lr=RANGE_12,
        momentum={0: 0.95, 4_000: 0.95},
        weight_decay=[1e-3, 3e-3, 1e-2],
        x="learning_rate",
    ),
    "fig14a": Expected(
        ["Momentum=0.9", "Momentum=0.95 - 0.8"],
        512,
        5_859,  # 50 epochs
        lr={0: 0.01, 5_859: 0.2},
        momentum=[{0: 0.9, 5_859: 0.9}, {0: 0.95, 5_859: 0.8}],
        weight_decay=5e-4,
        x="learning_rate",
        **LENET,
    ),
    "fig14b": Expected(
        ["WD=1e-4", "WD=5e-4", "WD=1e-3", "WD=3e-3"],
        512,
        5_859,
        lr={0: 0.01, 5_859: 0.4},
        momentum={0: 0.95, 5_859: 0.8},
        weight_decay=[1e-4, 5e-4, 1e-3, 3e-3],
        x="learning_rate",
        **LENET,
    ),
}


def runs(name: str) -> list[Run]:
    return list(PANELS[name].curves.values())


def each(expected, count: int) -> list:
    """Returns an expectation for every run: a list as it is, else the same for all."""
    return expected if isinstance(expected, list) else [expected] * count


def check_schedule(schedule, run: Run, expected: Values) -> None:
    values = schedule.build(run.iterations, run.iterations_per_epoch)(np.array(list(expected)))
    np.testing.assert_allclose(values, list(expected.values()), rtol=2e-3)


# --- the protocol ---


def test_every_panel_is_in_the_protocol():
    assert PANELS.keys() == PROTOCOL.keys()


@pytest.mark.parametrize("name", PROTOCOL)
def test_runs_have_the_papers_sizes_and_lengths(name):
    expected = PROTOCOL[name]
    for run in runs(name):
        assert (run.data, run.network, run.solver) == (expected.data, expected.network, expected.solver)
        assert (run.batch_size, run.iterations) == (expected.batch_size, expected.iterations)
        assert run.count(run.test_every) == expected.test_every
        assert run.test_images is None


@pytest.mark.parametrize("quantity", ["lr", "momentum"])
@pytest.mark.parametrize("name", PROTOCOL)
def test_schedules_are_the_papers(name, quantity):
    expected = each(getattr(PROTOCOL[name], quantity), len(runs(name)))
    for run, values in zip(runs(name), expected, strict=True):
        check_schedule(getattr(run, quantity), run, values)


@pytest.mark.parametrize("name", PROTOCOL)
def test_weight_decays_are_the_papers_and_constant(name):
    for run, weight_decay in zip(runs(name), each(PROTOCOL[name].weight_decay, len(runs(name))), strict=True):
        check_schedule(run.weight_decay, run, {0: weight_decay, run.iterations: weight_decay})


@pytest.mark.parametrize("name", PROTOCOL)
def test_panels_show_the_papers_curves_and_quantities(name):
    panel, expected = PANELS[name], PROTOCOL[name]
    assert [curve for curve, *_ in panel.series()] == expected.curves
    assert (panel.x, panel.y) == (expected.x, expected.y)
    assert panel.log == (panel.y != "test_accuracy")


def test_figure_12_continues_its_first_curve_after_iteration_1000():
    parent, *children = runs("fig12a")
    assert parent.start is None
    for child in children:
        assert child.start and child.start.run == parent
        assert (child.first_iteration, child.count(child.start.at)) == (1_000, 1_000)


def test_only_figure_12_starts_from_snapshots():
    assert {name for name in PANELS if any(run.start for run in runs(name))} == {"fig12a"}


# --- the published curves ---


@pytest.mark.parametrize("name", PANELS)
def test_published_series_have_the_names_of_the_curves(name):
    panel = PANELS[name]
    assert panel.published and panel.published.panel == name
    assert published.curves(panel.published).keys() == {curve for curve, *_ in panel.series()}


@pytest.mark.parametrize("name", PANELS)
def test_published_curves_lie_on_the_papers_axes(name):
    panel = PANELS[name]
    assert panel.published and panel.xlim and panel.ylim
    for x, y in published.curves(panel.published).values():
        assert len(x) >= 10 and (np.diff(x) > 0).all()
        assert panel.xlim[0] <= x.min() and x.max() <= panel.xlim[1]
        inside = (y >= 0.97 * panel.ylim[0]) & (y <= 1.03 * panel.ylim[1])
        assert inside.mean() > 0.9


@pytest.mark.parametrize("name", PANELS)
def test_axes_hold_the_whole_run(name):
    panel = PANELS[name]
    for run in runs(name):
        if panel.x == "iteration":
            assert panel.xlim == (0, run.iterations)
        else:
            schedule = run.lr if panel.x == "learning_rate" else run.momentum
            ends = schedule.build(run.iterations, run.iterations_per_epoch)(np.array([0, run.iterations])).tolist()
            assert panel.xlim == pytest.approx((ends[0], SHOWN_TO.get(name, ends[1])))


# --- the files ---


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_named_for_its_figure_and_says_how_to_run_it(file):
    figure, documentation = FIGURES[file.stem], ast.get_docstring(ast.parse(file.read_text()))
    assert file.stem.split("_")[0] == figure.name
    assert documentation
    number = int(figure.name[3:])
    assert documentation.startswith(f"Figure {number}: ")
    commands = [line for line in documentation.splitlines() if line.startswith("Run:")]
    assert [line.split() for line in commands] == [["Run:", "smith", "run", figure.name, "--scale", "quick"]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_data_without_loops_or_training_or_drawing(file):
    tree = ast.parse(file.read_text())
    imported = set()
    for node in ast.walk(tree):
        assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.While | ast.Import)
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= {"smith.figure", "smith.run", "smith.schedules"}
    last = tree.body[-1]
    assert ast.unparse(last) == "if __name__ == '__main__':\n    FIGURE.main()"


def test_what_is_assumed_in_the_docstring_is_noted_beside_the_figure():
    for file in FILES:
        if "\nAssumed:" in file.read_text():
            assert any("assumption" in note for note in FIGURES[file.stem].notes), file.stem


def test_the_command_knows_every_figure():
    assert cli.experiments(["all"]) == list(FIGURES.values())
    assert list(cli.modules()) == [figure.name for figure in FIGURES.values()]


def test_main_runs_the_figure_with_the_options_of_the_command(monkeypatch):
    called = []
    monkeypatch.setattr(cli, "main", called.append)
    monkeypatch.setattr("sys.argv", ["experiments/fig09.py", "--scale", "smoke"])
    FIGURES["fig09_weight_decay_constant_lr"].main()
    assert called == [["run", "fig09", "--scale", "smoke"]]


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_panels_have_letters_and_legends_of_their_own(figure):
    labels = [panel.label for panel in figure.panels]
    assert labels == sorted(set(labels))
    for panel in figure.panels:
        names = [name for name, *_ in panel.series()]
        assert len(names) == len(set(names)) and all(names)
        assert len(set(panel.curves.values())) == len(panel.curves)


def test_a_figures_runs_are_each_once_and_parents_come_first():
    for figure in FIGURES.values():
        found = figure.runs()
        assert len(found) == len(set(found))
        for run in found:
            assert run.start is None or found.index(run.start.run) < found.index(run)


@pytest.mark.parametrize("scale", scales.SCALES.values(), ids=scales.SCALES)
def test_every_run_exists_at_every_scale_and_goes_to_json_and_back(scale):
    described = {run for figure in FIGURES.values() for run in figure.runs()}
    scaled = {scale.apply(run) for run in described}
    assert len({run.key for run in scaled}) == len(scaled) == len(described)
    for run in scaled:
        assert Run.from_json(run.to_json()) == run


def test_two_quantities_of_one_curve_have_a_name_each():
    run = runs("fig07b")[0]
    panel = Panel("a", "", {"x": run, "": run}, y=("test_loss", "train_loss"))
    assert [name for name, *_ in panel.series()] == ["Loss; x", "Training loss; x", "Loss", "Training loss"]
    assert [name for name, *_ in Panel("a", "", {"x": run}).series()] == ["x"]
