"""The experiments: each trains what the protocol says and shows the published curves on the axes of the paper."""

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import experiments
from smith import cli, scales
from smith.analysis import published
from smith.figure import Figure, Finals, Panel, Sketch, Table
from smith.networks import Options
from smith.run import Run, iterations
from smith.train import jobs

FILES = sorted(file for file in Path(experiments.__file__).parent.glob("*.py") if file.name != "__init__.py")
MODULES = {file.stem: vars(importlib.import_module(f"experiments.{file.stem}")) for file in FILES}
FIGURES: dict[str, Figure] = {name: module["FIGURE"] for name, module in MODULES.items() if name.startswith("fig")}
OURS: dict[str, Figure] = {name: module["FIGURE"] for name, module in MODULES.items() if name.startswith("speed")}
TABLES: dict[str, Table] = {name: module["TABLE"] for name, module in MODULES.items() if name.startswith("table")}
EXPERIMENTS: dict[str, Figure | Table] = FIGURES | OURS | TABLES
EVERY_PANEL = {f"{figure.name}{panel.label}": panel for figure in FIGURES.values() for panel in figure.panels}
PANELS = {name: panel for name, panel in EVERY_PANEL.items() if isinstance(panel, Panel)}
EVERY_RUN = list(dict.fromkeys(run for experiment in EXPERIMENTS.values() for run in experiment.runs()))

Values = dict[int, float]  # iteration: value
BASE_LENGTH = iterations(1_000)


@dataclass(frozen=True)
class Expected:
    """What the paper says of a panel; a list has an entry for every run, in the legend's order.

    curves: every curve, which is more than the runs where a run has several
    shift, factor: what makes the plotted x the true one; the author drew the test of iteration 200 at 0
    """

    curves: list[str]
    batch_size: int | list[int]
    iterations: int | list[int]
    lr: Values | list[Values]
    momentum: Values | list[Values]
    weight_decay: float | list[float]
    x: str = "iteration"
    y: str | tuple[str, ...] = "test_loss"
    log: bool = True
    data: str = "cifar10"
    network: str = "shallow3"
    solver: str = "nesterov"
    test_every: int = 200
    ghost_batch_size: int | list[int] | None = None
    mirror: bool = False
    shift: float = 0
    factor: float = 1


BOTH = ("test_accuracy", "test_loss")
WEIGHT_DECAYS = ["WD=1e-3", "WD=1.8e-3", "WD=3.2e-3", "WD=1e-2"], [1e-3, 1.8e-3, 3.2e-3, 1e-2]
DROPS_9 = {0: 5e-3, 7_999: 5e-3, 8_000: 1.58e-3, 12_000: 4.993e-4, 14_000: 1.578e-4, 15_000: 4.985e-5, 16_000: 4.985e-5}
RANGE_7 = {0: 0.002, 5_000: 0.011, 10_000: 0.02}
RANGE_10 = {0: 0.001, 4_000: 0.0055, 8_000: 0.01}
RANGE_12 = {0: 0.001, 1_000: 0.00325, 4_000: 0.01}
CM_10 = {0: 0.98, 4_000: 0.89, 8_000: 0.8}
SHOWN_TO = {"fig11b": 1.15, "fig14b": 0.31}  # where the paper's axis ends before the run does
LENET = {"data": "mnist", "network": "lenet", "solver": "sgd", "test_every": 100}
RESNET = {"network": "resnet-56", "mirror": True}
RESNET_RELU = {"network": "resnet-56-relu", "mirror": True, "solver": "sgd", "test_every": 100, "log": False}
DENSENET = {"network": "densenet-40", "mirror": True, "x": "learning_rate", "y": "test_accuracy", "log": False}

# Figures 6 and 8b: 120, 95, 70, 48 epochs; step sizes of 51, 41, 31, 21 epochs are 2490, 4003, 6054, 8203 iterations.
BATCHES = ["TBS=1024; CLR=0.1-1", "TBS=512; CLR=0.08-0.8", "TBS=256; CLR=0.06-0.6", "TBS=128; CLR=0.04-0.4"]
SIZES_6 = {
    "curves": BATCHES,
    "batch_size": [1024, 512, 256, 128],
    "ghost_batch_size": [256, 128, 64, 32],
    "iterations": [5_859, 9_277, 13_671, 18_750],
    "lr": [
        {0: 0.1, 1_245: 0.55, 2_490: 1.0, 3_735: 0.5, 4_980: 1e-4, 5_859: 1e-4},
        {0: 0.08, 200: 0.115973, 4_003: 0.8, 4_200: 0.76063, 8_000: 0.00119905, 8_200: 8e-5, 9_277: 8e-5},
        {0: 0.06, 3_027: 0.33, 6_054: 0.6, 9_081: 0.3, 12_108: 6e-5, 13_671: 6e-5},
        {0: 0.04, 4_101: 0.219978, 8_203: 0.4, 12_303: 0.200073, 16_406: 4e-5, 18_750: 4e-5},
    ],
    "weight_decay": 1e-4,
    "shift": 200,
    **RESNET,
}
CONSTANT_6 = [{0: 0.95, 5_859: 0.95}, {0: 0.95, 9_277: 0.95}, {0: 0.95, 13_671: 0.95}, {0: 0.95, 18_750: 0.95}]
CYCLICAL_8 = [  # in the second cycle with half the amplitude
    {0: 0.95, 1_245: 0.9, 2_490: 0.85, 3_735: 0.9, 4_980: 0.95, 5_859: 0.932349},
    {0: 0.95, 4_003: 0.85, 8_006: 0.95, 9_277: 0.934124},
    {0: 0.95, 3_027: 0.9, 6_054: 0.85, 9_081: 0.9, 12_108: 0.95, 13_671: 0.937091},
    {0: 0.95, 8_203: 0.85, 16_406: 0.95, 18_750: 0.935713},
]
TRIANGLE_5 = {0: 0.1, 2_500: 1.55, 5_000: 3.0, 7_500: 1.55, 10_000: 0.1}
CYCLE_8 = {0: 0.1, 4_500: 0.55, 9_000: 1.0, 13_500: 0.5, 18_000: 1e-4, 20_000: 1e-4}
RANGE_13_TO_1 = {0: 0.1, 1_953: 0.28, 5_859: 0.64, 9_765: 1.0}
RANGE_13_TO_4 = {0: 0.1, 1_953: 0.88, 5_859: 2.44, 9_765: 4.0}
CM_13 = {0: 0.9, 1_953: 0.89, 5_859: 0.87, 9_765: 0.85}

PROTOCOL = {
    "fig01a": Expected(
        ["Loss", "Training loss", "Accuracy"],
        128,
        80_000,
        lr={0: 0.0, 40_000: 0.2, 80_000: 0.4},
        momentum={0: 0.9, 80_000: 0.9},
        weight_decay=1e-4,
        x="learning_rate",
        y=("test_loss", "train_loss", "test_accuracy"),
        ghost_batch_size=32,
        **RESNET,
    ),
    "fig01b": Expected(
        ["Test loss - training loss"],
        128,
        80_000,
        lr={0: 0.0, 40_000: 0.2, 80_000: 0.4},
        momentum={0: 0.9, 80_000: 0.9},
        weight_decay=1e-4,
        y="loss_gap",
        ghost_batch_size=32,
        shift=200,
        **RESNET,
    ),
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
        shift=200,
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
    "fig05a": Expected(
        ["LR=0.35", "CLR=0.1-3"],
        1000,
        [80_000, 10_000],
        lr=[{0: 0.35, 49_999: 0.35, 50_000: 0.035, 69_999: 0.035, 70_000: 0.0035, 80_000: 0.0035}, TRIANGLE_5],
        momentum=[{0: 0.9, 80_000: 0.9}, {0: 0.9, 10_000: 0.9}],
        weight_decay=1e-4,
        y="test_accuracy",
        ghost_batch_size=125,
        **RESNET_RELU,
    ),
    "fig05b": Expected(
        ["Weight decay=0.001", "Weight decay=0.0001", "Weight decay=0.00001", "Weight decay=0.000001"],
        1000,
        10_000,
        lr=TRIANGLE_5,
        momentum={0: 0.9, 10_000: 0.9},
        weight_decay=[1e-3, 1e-4, 1e-5, 1e-6],
        y="test_accuracy",
        ghost_batch_size=125,
        **RESNET_RELU,
    ),
    "fig06a": Expected(**SIZES_6, momentum=CONSTANT_6, y="test_accuracy", log=False),
    "fig06b": Expected(**SIZES_6, momentum=CONSTANT_6),
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
        shift=200,
    ),
    "fig08a": Expected(
        ["Momentum=0.9", "CM range=0.85-0.95", "CM range=0.95-0.85"],
        1030,
        20_000,
        lr=CYCLE_8,
        momentum=[
            {0: 0.9, 20_000: 0.9},
            {0: 0.85, 4_500: 0.9, 9_000: 0.95, 13_500: 0.9, 18_000: 0.85, 20_000: 0.861111},
            {0: 0.95, 4_500: 0.9, 9_000: 0.85, 13_500: 0.9, 18_000: 0.95, 20_000: 0.938889},
        ],
        weight_decay=5e-5,
        ghost_batch_size=206,
        shift=200,
        **RESNET,
    ),
    "fig08b": Expected(**SIZES_6, momentum=CYCLICAL_8, y="test_accuracy", log=False),
    "fig09a": Expected(WEIGHT_DECAYS[0], 512, 16_000, DROPS_9, {0: 0.95, 16_000: 0.95}, WEIGHT_DECAYS[1], shift=200),
    "fig09b": Expected(
        WEIGHT_DECAYS[0],
        512,
        16_000,
        DROPS_9,
        {0: 0.95, 16_000: 0.95},
        WEIGHT_DECAYS[1],
        y="test_accuracy",
        log=False,
        shift=200,
    ),
    "fig10a": Expected(WEIGHT_DECAYS[0], 512, 8_000, RANGE_10, CM_10, WEIGHT_DECAYS[1], x="learning_rate"),
    "fig10b": Expected(
        WEIGHT_DECAYS[0],
        512,
        8_000,
        RANGE_10,
        CM_10,
        WEIGHT_DECAYS[1],
        x="learning_rate",
        y="test_accuracy",
        log=False,
    ),
    "fig11a": Expected(
        ["WD=1e-4", "WD=3.2e-4", "WD=5.6e-4", "WD=1e-3"],
        1030,
        20_000,
        lr={0: 0.1, 20_000: 0.1},
        momentum={0: 0.95, 20_000: 0.95},
        weight_decay=[1e-4, 3.2e-4, 5.6e-4, 1e-3],
        ghost_batch_size=206,
        shift=200,
        **RESNET,
    ),
    "fig11b": Expected(
        ["WD=1e-6", "WD=1e-5", "WD=1e-4", "WD=3.2e-4"],
        1030,
        20_000,
        lr={0: 0.1, 10_000: 1.05, 20_000: 2.0},
        momentum={0: 0.97, 10_000: 0.885, 20_000: 0.8},
        weight_decay=[1e-6, 1e-5, 1e-4, 3.2e-4],
        x="learning_rate",
        ghost_batch_size=206,
        **RESNET,
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
    "fig12b": Expected(
        ["WD=1e-4", "WD=3e-4", "WD=1e-3"],
        512,
        3_906,  # 40 epochs
        lr={0: 0.08, 1_953: 0.44, 3_906: 0.8},
        momentum={0: 0.95, 3_906: 0.95},
        weight_decay=[1e-4, 3e-4, 1e-3],
        x="learning_rate",
        ghost_batch_size=128,
        **RESNET,
    ),
    "fig13a": Expected(
        ["WD=1e-3", "WD=1e-4", "WD=1e-5"],
        512,
        9_765,  # 100 epochs
        lr=RANGE_13_TO_1,
        momentum={0: 0.95, 1_953: 0.93, 5_859: 0.89, 9_765: 0.85},
        weight_decay=[1e-3, 1e-4, 1e-5],
        x="learning_rate",
        network="wide-32",
        ghost_batch_size=128,
        mirror=True,
    ),
    "fig13b": Expected(
        ["CM=0.9-0.85", "CM=0.95-0.85", "CM=0.97-0.85"],
        256,
        9_765,  # 50 epochs
        lr=RANGE_13_TO_1,
        momentum=[
            CM_13,
            {0: 0.95, 1_953: 0.93, 5_859: 0.89, 9_765: 0.85},
            {0: 0.97, 1_953: 0.946, 5_859: 0.898, 9_765: 0.85},
        ],
        weight_decay=1e-5,
        ghost_batch_size=64,
        **DENSENET,
    ),
    "fig13c": Expected(
        ["WD=1e-4", "WD=1e-6", "WD=1e-7"],
        256,
        9_765,
        lr=RANGE_13_TO_4,
        momentum=CM_13,
        weight_decay=[1e-4, 1e-6, 1e-7],
        ghost_batch_size=64,
        **DENSENET,
    ),
    "fig13d": Expected(
        ["TBS=256", "TBS=512"],
        [256, 512],
        [9_765, 9_765],  # 50 and 100 epochs
        lr=RANGE_13_TO_4,
        momentum=CM_13,
        weight_decay=1e-6,
        ghost_batch_size=[64, 128],
        **DENSENET,
    ),
    "fig14a": Expected(
        ["Momentum=0.9", "Momentum=0.95 - 0.8"],
        512,
        5_859,  # 50 epochs
        lr={0: 0.01, 5_859: 0.2},
        momentum=[{0: 0.9, 5_859: 0.9}, {0: 0.95, 5_859: 0.8}],
        weight_decay=5e-4,
        x="learning_rate",
        factor=10,
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
    "fig15a": Expected(
        ["WD=1e-4", "WD=1e-5", "WD=3e-4"],
        512,
        4_882,  # 50 epochs
        lr={0: 0.1, 2_441: 0.55, 4_882: 1.0},
        momentum={0: 0.95, 2_441: 0.9, 4_882: 0.85},
        weight_decay=[1e-4, 1e-5, 3e-4],
        x="learning_rate",
        data="cifar100",
        ghost_batch_size=128,
        **RESNET,
    ),
    "fig15b": Expected(  # step sizes of 41, 45 and 70 epochs: 8007, 4394, 3417 iterations
        ["TBS=256, CLR=0.05-.5", "TBS=512, CLR=0.09-.9", "TBS=1024, CLR=0.1-1.2"],
        [256, 512, 1024],
        [16_601, 9_765, 7_080],  # 85, 100 and 145 epochs
        lr=[
            {0: 0.05, 4_003: 0.274972, 8_007: 0.5, 12_010: 0.250031, 16_014: 5e-5, 16_601: 5e-5},
            {0: 0.09, 2_197: 0.495, 4_394: 0.9, 6_591: 0.45, 8_788: 9e-5, 9_765: 9e-5},
            {0: 0.1, 1_139: 0.466667, 3_417: 1.2, 5_695: 0.4, 6_834: 1e-4, 7_080: 1e-4},
        ],
        momentum=[
            {0: 0.95, 8_007: 0.85, 16_014: 0.95, 16_601: 0.946334},
            {0: 0.95, 2_197: 0.9, 4_394: 0.85, 6_591: 0.9, 8_788: 0.95, 9_765: 0.938883},
            {0: 0.95, 1_139: 0.916667, 3_417: 0.85, 5_695: 0.916667, 6_834: 0.95, 7_080: 0.9464},
        ],
        weight_decay=1e-4,
        y="test_accuracy",
        log=False,
        data="cifar100",
        test_every=100,
        ghost_batch_size=[64, 128, 256],
        shift=100,
        factor=0.5,
        **RESNET,
    ),
}


def runs(name: str) -> list[Run]:
    return EVERY_PANEL[name].runs()


def each(expected, count: int) -> list:
    """Returns an expectation for every run: a list as it is, else the same for all."""
    return expected if isinstance(expected, list) else [expected] * count


def check_schedule(schedule, run: Run, expected: Values) -> None:
    values = schedule.build(run.iterations, run.iterations_per_epoch)(np.array(list(expected)))
    np.testing.assert_allclose(values, list(expected.values()), rtol=2e-3)


# --- the protocol ---


def test_every_panel_is_in_the_protocol():
    assert PANELS.keys() == PROTOCOL.keys()
    assert EVERY_PANEL.keys() - PANELS.keys() == {"fig02a", "fig02b"}


@pytest.mark.parametrize("name", PROTOCOL)
def test_runs_have_the_papers_sizes_and_lengths(name):
    expected, count = PROTOCOL[name], len(runs(name))
    sizes = [each(size, count) for size in (expected.batch_size, expected.iterations, expected.ghost_batch_size)]
    for run, *size in zip(runs(name), *sizes, strict=True):
        assert (run.data, run.network, run.solver) == (expected.data, expected.network, expected.solver)
        assert [run.batch_size, run.iterations, run.ghost_batch_size] == size
        assert run.count(run.test_every) == expected.test_every
        assert run.mirror == expected.mirror


@pytest.mark.parametrize("name", EVERY_PANEL)
def test_networks_and_tests_are_otherwise_the_plain_ones(name):
    for run in runs(name):
        assert run.options == Options(width=run.width, ghost_batch_size=run.ghost_batch_size)
        assert run.width == 1 or name == "fig02b"
        assert run.test_images is None and not run.moving_test


@pytest.mark.parametrize("run", EVERY_RUN, ids=lambda run: run.key)
def test_deep_networks_mirror_and_normalise_over_the_images_of_one_gpu(run):
    gpus = 8 if run.network == "resnet-56-relu" else 5 if run.batch_size == 1030 else 4
    deep = run.network not in ("shallow3", "lenet")
    assert (run.mirror, run.ghost_batch_size) == ((True, run.batch_size // gpus) if deep else (False, None))


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
    assert (panel.x, panel.y, panel.log) == (expected.x, expected.y, expected.log)


def test_figure_2_is_a_drawing_and_six_widths_of_shallow3():
    drawing, widths = EVERY_PANEL["fig02a"], EVERY_PANEL["fig02b"]
    assert isinstance(drawing, Sketch) and isinstance(widths, Finals)
    assert list(widths.points) == [0.125, 0.25, 0.5, 1, 2, 4]
    assert (widths.y, widths.log) == (("test_loss", "train_loss"), True)
    for width, run in widths.points.items():
        assert (run.data, run.network, run.solver, run.width) == ("cifar10", "shallow3", "nesterov", width)
        assert (run.batch_size, run.iterations) == (128, 9_765)  # 25 epochs
        for schedule, value in ((run.lr, 0.005), (run.momentum, 0.95), (run.weight_decay, 3e-3)):
            check_schedule(schedule, run, {0: value, 9_765: value})


def test_figure_2_draws_one_error_that_falls_and_one_that_rises_again():
    drawing = EVERY_PANEL["fig02a"]
    assert isinstance(drawing, Sketch)
    x = np.linspace(0, 1, 101)
    test, training = (np.array([curve(place) for place in x]) for curve in drawing.curves.values())
    assert list(drawing.curves) == ["Test data", "Training data"]
    assert (np.diff(training) < 0).all() and (test > training).all()
    best = test.argmin()
    assert 0.4 < x[best] < 0.7
    assert (np.diff(test[: best + 1]) < 0).all() and (np.diff(test[best:]) > 0).all()
    assert {text: place < x[best] for place, text in drawing.texts.items()} == {
        "Underfitting": True,
        "Overfitting": False,
    }


@pytest.mark.parametrize(("name", "at"), [("fig12a", 1_000), ("fig12b", 1_953)])  # 1,953: epoch 20 of 40
def test_figure_12_continues_its_first_curve_from_a_snapshot(name, at):
    parent, *children = runs(name)
    assert parent.start is None and len(children) == 2
    for child in children:
        assert child.start and child.start.run == parent
        assert (child.first_iteration, child.count(child.start.at)) == (at, at)


def test_only_figure_12_starts_from_snapshots():
    started = {name for name in EVERY_PANEL if any(run.start for run in runs(name))}
    assert started == {"fig12a", "fig12b"}
    assert not any(run.start for table in TABLES.values() for run in table.runs())


# --- runs that are shown more than once ---


def test_panels_of_one_figure_that_show_the_same_runs_share_them():
    for figure in ("fig01", "fig06", "fig09", "fig10"):
        assert runs(f"{figure}a") == runs(f"{figure}b")
    assert runs("fig05a")[1] == runs("fig05b")[1]  # 1e-4
    assert runs("fig07a")[1] == runs("fig07c")[0]  # 0.9
    assert runs("fig13c")[1] == runs("fig13d")[0]  # 1e-6


def test_figure_8b_differs_from_figure_6_in_the_momentum_alone():
    for cyclical, constant in zip(runs("fig08b"), runs("fig06a"), strict=True):
        assert cyclical != constant and cyclical.replace(momentum=0.95) == constant


def test_the_middle_width_of_figure_2_is_a_row_of_table_1():
    rows = {row.labels: row.run for row in TABLES["table1_momentum"].rows}
    assert rows["shallow3", "0.005", "0.95"] == runs("fig02b")[3]


# --- the published curves ---


@pytest.mark.parametrize("name", PANELS)
def test_published_series_have_the_names_of_the_curves(name):
    panel = PANELS[name]
    assert panel.published and panel.published.panel == name
    assert (panel.published.shift, panel.published.factor) == (PROTOCOL[name].shift, PROTOCOL[name].factor)
    assert published.curves(panel.published).keys() == {curve for curve, *_ in panel.series()}


@pytest.mark.parametrize("name", PANELS)
def test_published_curves_lie_on_the_papers_axes(name):
    panel = PANELS[name]
    assert panel.published and panel.xlim and panel.ylim
    for x, y in published.curves(panel.published).values():
        assert len(x) >= 9 and (np.diff(x) > 0).all()
        assert panel.xlim[0] <= x.min() and x.max() <= panel.xlim[1]
        inside = (y >= 0.97 * panel.ylim[0]) & (y <= 1.03 * panel.ylim[1])
        assert inside.mean() > 0.9


@pytest.mark.parametrize("name", [name for name, panel in PANELS.items() if panel.x == "iteration"])
def test_published_curves_end_with_the_last_test_of_their_run(name):
    panel = PANELS[name]
    assert panel.published
    theirs = published.curves(panel.published)
    for curve, _, run in panel.series():
        left = run.iterations - theirs[curve][0][-1]
        # Figure 5a's points are means over several tests.
        assert 0 <= left < (3 if name == "fig05a" else 1) * run.count(run.test_every), curve


@pytest.mark.parametrize("name", PANELS)
def test_axes_hold_the_whole_of_the_longest_run(name):
    panel = PANELS[name]
    if panel.x == "iteration":
        assert panel.xlim == (0, max(run.iterations for run in runs(name)))
        return
    for run in runs(name):
        schedule = run.lr if panel.x == "learning_rate" else run.momentum
        ends = schedule.build(run.iterations, run.iterations_per_epoch)(np.array([0, run.iterations])).tolist()
        assert panel.xlim == pytest.approx((ends[0], SHOWN_TO.get(name, ends[1])))


# --- our own ---


def test_the_same_range_test_is_run_at_several_lengths_with_as_many_tests():
    (panel,) = OURS["speed_range_test_lengths"].panels
    assert isinstance(panel, Panel)
    assert [(run.iterations, run.count(run.test_every)) for run in panel.runs()] == [
        (2_500, 25),
        (10_000, 100),
        (20_000, 200),
    ]
    same = {run.replace(length=BASE_LENGTH, test_every=BASE_LENGTH) for run in panel.runs()}
    assert len(same) == 1
    for run in panel.runs():
        ends = run.lr.build(run.iterations, run.iterations_per_epoch)(np.array([0, run.iterations]))
        assert ends.tolist() == pytest.approx([0.002, 0.04])


# --- the files ---

IMPORTS = {"smith.figure", "smith.run", "smith.schedules", "smith.table"}
ALSO = {"fig08_cyclical_momentum_deep": {"experiments.fig06_batch_size"}}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_named_for_what_it_shows_and_says_how_to_run_it(file):
    experiment, documentation = EXPERIMENTS[file.stem], ast.get_docstring(ast.parse(file.read_text()))
    assert file.stem.split("_")[0] == experiment.name
    assert documentation
    if file.stem in OURS:
        assert "Our own." in documentation.splitlines()[0]
    else:
        kind = "Figure" if isinstance(experiment, Figure) else "Table"
        assert documentation.startswith(f"{kind} {int(experiment.name.strip('figtable'))}: ")
    commands = [line for line in documentation.splitlines() if line.startswith("Run:")]
    assert [line.split() for line in commands] == [["Run:", "smith", "run", experiment.name, "--scale", "quick"]]
    for heading in ("The paper", "Cost:", "Expect:"):
        assert sum(line.startswith(heading) for line in documentation.splitlines()) == 1, heading


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_data_without_loops_or_training_or_drawing(file):
    tree = ast.parse(file.read_text())
    imported = set()
    for node in ast.walk(tree):
        assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.While | ast.Import)
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= IMPORTS | ALSO.get(file.stem, set())
    kind = "TABLE" if file.stem in TABLES else "FIGURE"
    assert ast.unparse(tree.body[-1]) == f"if __name__ == '__main__':\n    {kind}.main()"
    assert {"FIGURE", "TABLE"} & MODULES[file.stem].keys() == {kind}


def test_what_is_assumed_in_the_docstring_is_noted_beside_the_figure_or_table():
    for file in FILES:
        if "\nAssumed:" in file.read_text():
            assert any("assumption" in note for note in EXPERIMENTS[file.stem].notes), file.stem


def test_the_command_knows_every_experiment():
    assert cli.experiments(["all"]) == list(EXPERIMENTS.values())
    assert list(cli.modules()) == [experiment.name for experiment in EXPERIMENTS.values()]


@pytest.mark.parametrize("file", ["fig09_weight_decay_constant_lr", "table1_momentum"])
def test_main_runs_the_experiment_with_the_options_of_the_command(file, monkeypatch):
    called = []
    monkeypatch.setattr(cli, "main", called.append)
    monkeypatch.setattr("sys.argv", [f"experiments/{file}.py", "--scale", "smoke"])
    EXPERIMENTS[file].main()
    assert called == [["run", EXPERIMENTS[file].name, "--scale", "smoke"]]


@pytest.mark.parametrize("figure", (FIGURES | OURS).values(), ids=FIGURES | OURS)
def test_panels_have_letters_and_legends_of_their_own(figure):
    labels = [panel.label for panel in figure.panels]
    assert labels == sorted(set(labels)) and "".join(labels) == figure.letters
    for panel in figure.panels:
        assert len(set(panel.runs())) == len(panel.runs())
        names = [name for name, *_ in panel.series()] if isinstance(panel, Panel) else [panel.title]
        assert len(names) == len(set(names)) and all(names)


def test_a_table_has_no_letters():
    assert {table.letters for table in TABLES.values()} == {""}


def test_an_experiments_runs_are_each_once_and_parents_come_first():
    for experiment in EXPERIMENTS.values():
        found = experiment.runs()
        assert len(found) == len(set(found))
        for run in found:
            assert run.start is None or found.index(run.start.run) < found.index(run)


@pytest.mark.parametrize("scale", scales.SCALES.values(), ids=scales.SCALES)
def test_every_run_exists_at_every_scale_and_goes_to_json_and_back(scale):
    scaled = list(dict.fromkeys(scale.apply(run) for run in EVERY_RUN))  # two may become one
    assert len({run.key for run in scaled}) == len(scaled)
    assert [job.run for job in jobs.plan(EVERY_RUN, scale, seeds=1)] == scaled
    for run in scaled:
        assert Run.from_json(run.to_json()) == run


def test_at_full_scale_no_run_is_another_one():
    assert len({scales.named("paper").apply(run).key for run in EVERY_RUN}) == len(EVERY_RUN) > 100


@pytest.mark.parametrize("scale", ["quick", "short", "paper"])
@pytest.mark.parametrize("panel", [panel for figure in (FIGURES | OURS).values() for panel in figure.panels])
def test_curves_of_a_panel_are_different_runs(panel, scale):
    scaled = [scales.named(scale).apply(run) for run in panel.runs()]
    assert len(set(scaled)) == len(scaled)


def test_two_quantities_of_one_curve_have_a_name_each():
    run = runs("fig07b")[0]
    panel = Panel("a", "", {"x": run, "": run}, y=("test_loss", "train_loss"))
    assert [name for name, *_ in panel.series()] == ["Loss; x", "Training loss; x", "Loss", "Training loss"]
    assert [name for name, *_ in Panel("a", "", {"x": run}).series()] == ["x"]
