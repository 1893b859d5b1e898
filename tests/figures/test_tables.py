"""The tables: the paper's rows, and what is made of results, without training anything."""

import re
import xml.etree.ElementTree
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from smith import cli, scales
from smith.figure import Figure, Row, Table
from smith.figures import plot, tables
from smith.figures.tables import Measured, measure
from smith.run import Run
from smith.scales import Scale
from smith.store import results
from smith.store.results import COLUMNS, Result
from smith.train import jobs

PAPER, SHORT, QUICK, SMOKE = map(scales.named, ("paper", "short", "quick", "smoke"))

Values = dict[int, float]  # iteration: value


def table(name: str) -> Table:
    (found,) = cli.experiments([name])
    assert isinstance(found, Table)
    return found


def figure(name: str) -> Figure:
    (found,) = cli.experiments([name])
    assert isinstance(found, Figure)
    return found


def check(schedule, run: Run, expected: Values) -> None:
    values = schedule.build(run.iterations, run.iterations_per_epoch)(np.array(list(expected)))
    np.testing.assert_allclose(values, list(expected.values()), rtol=2e-3)


# --- table 1, as in the paper ---

# 25 epochs of 128 images, step size 11 epochs; 95 epochs of 512 images, step size 41 epochs.
LENGTHS_1 = {"shallow3": 9_765, "resnet-56": 9_277}
LR_1: dict[tuple[str, str], Values] = {
    ("shallow3", "0.0005-0.005"): {0: 5e-4, 2_148: 2.75e-3, 4_296: 5e-3, 6_444: 2.5e-3, 8_592: 5e-7, 9_765: 5e-7},
    ("shallow3", "0.005"): {0: 5e-3, 9_765: 5e-3},
    ("resnet-56", "0.08-0.8"): {0: 0.08, 200: 0.115973, 4_003: 0.8, 4_200: 0.76063, 8_000: 0.00119905, 9_277: 8e-5},
    ("resnet-56", "0.1"): {0: 0.1, 9_277: 0.1},
}
MOMENTUM_1: dict[tuple[str, str], Values] = {  # in the second cycle with half the amplitude
    ("shallow3", "CM 0.95-0.85"): {0: 0.95, 2_148: 0.9, 4_296: 0.85, 6_444: 0.9, 8_592: 0.95, 9_765: 0.936348},
    ("shallow3", "CM 0.90-1.00"): {0: 0.9, 2_148: 0.95, 4_296: 1.0, 6_444: 0.95, 8_592: 0.9, 9_765: 0.913652},
    ("resnet-56", "CM 0.95-0.85"): {0: 0.95, 4_003: 0.85, 8_006: 0.95, 9_277: 0.934124},
    ("resnet-56", "CM 0.90-1.00"): {0: 0.9, 4_003: 1.0, 8_006: 0.9, 9_277: 0.915876},
}
ROWS_1 = [  # network, learning rate, momentum, published mean and standard deviation in %
    ("shallow3", "0.0005-0.005", "CM 0.95-0.85", 81.3, 0.1),
    ("shallow3", "0.0005-0.005", "CM 0.90-1.00", 80.2, 0.1),
    ("shallow3", "0.0005-0.005", "0.85", 79.5, 0.1),
    ("shallow3", "0.0005-0.005", "0.90", 80.2, 0.4),
    ("shallow3", "0.0005-0.005", "0.95", 81.2, 0.2),
    ("shallow3", "0.005", "CM 0.95-0.85", 80.8, 0.3),
    ("shallow3", "0.005", "CM 0.90-1.00", 80.9, 0.3),
    ("shallow3", "0.005", "0.85", 80.2, 0.3),
    ("shallow3", "0.005", "0.90", 81.0, 0.2),
    ("shallow3", "0.005", "0.95", 81.0, 0.1),
    ("resnet-56", "0.08-0.8", "CM 0.95-0.85", 92.0, 0.2),
    ("resnet-56", "0.08-0.8", "CM 0.90-1.00", 91.4, 0.1),
    ("resnet-56", "0.08-0.8", "0.85", 90.8, 0.3),
    ("resnet-56", "0.08-0.8", "0.90", 91.4, 0.3),
    ("resnet-56", "0.08-0.8", "0.95", 92.1, 0.1),
    ("resnet-56", "0.1", "CM 0.95-0.85", 89.1, 0.3),
    ("resnet-56", "0.1", "CM 0.90-1.00", 88.1, 0.5),
    ("resnet-56", "0.1", "0.85", 87.8, 0.3),
    ("resnet-56", "0.1", "0.90", 88.1, 0.1),
    ("resnet-56", "0.1", "0.95", 88.8, 0.3),
]


def test_table_1_has_the_papers_rows():
    assert table("table1").columns == ("Network", "LR", "Momentum")
    assert [(*row.labels, row.mean, row.deviation) for row in table("table1").rows] == ROWS_1
    assert len(table("table1").runs()) == len(ROWS_1)


@pytest.mark.parametrize("row", table("table1").rows, ids=lambda row: ", ".join(row.labels))
def test_table_1_trains_what_its_rows_say(row):
    run, (network, lr, momentum) = row.run, row.labels
    deep = network == "resnet-56"
    assert (run.data, run.network, run.solver) == ("cifar10", network, "nesterov")
    assert (run.batch_size, run.ghost_batch_size, run.mirror) == ((512, 128, True) if deep else (128, None, False))
    end = LENGTHS_1[network]
    assert run.iterations == end
    check(run.lr, run, LR_1[network, lr])
    check(run.momentum, run, MOMENTUM_1.get((network, momentum)) or {0: float(momentum), end: float(momentum)})
    weight_decay = 1e-4 if deep else 3e-3
    check(run.weight_decay, run, {0: weight_decay, end: weight_decay})
    assert (run.start, run.test_images, run.width) == (None, None, 1)


def test_rows_of_table_1_are_the_runs_of_figures_that_show_them():
    rows = {row.labels: row.run for row in table("table1").rows}
    (six, *_), (_, eight) = figure("fig06").panels, figure("fig08").panels
    assert rows["resnet-56", "0.08-0.8", "0.95"] == six.curves["TBS=512; CLR=0.08-0.8"]
    assert rows["resnet-56", "0.08-0.8", "CM 0.95-0.85"] == eight.curves["TBS=512; CLR=0.08-0.8"]
    assert rows["shallow3", "0.005", "0.95"] == figure("fig02").panels[1].points[1]
    for experiment in ("fig02", "fig06", "fig08"):
        together = [*figure(experiment).runs(), *rows.values()]
        assert len(jobs.plan(together, PAPER, seeds=1)) == len(together) - 1


# --- table 2, as in the paper ---

WIDE, DENSE = ("cifar10", "wide-32"), ("cifar10", "densenet-40")
LENET, RESNET = ("mnist", "lenet"), ("cifar100", "resnet-56")
STEPS_2 = [  # data and network, policy, epochs, iterations, first learning rate, weight decay, published
    (WIDE, "steps from 0.1", "100", 9_765, 0.1, 1e-4, 86.7, 0.6),
    (WIDE, "steps from 0.1", "200", 19_531, 0.1, 1e-4, 88.7, 0.6),
    (WIDE, "steps from 0.1", "400", 39_062, 0.1, 1e-4, 89.8, 0.4),
    (WIDE, "steps from 0.1", "800", 78_125, 0.1, 1e-4, 90.3, 1.0),
    (DENSE, "steps from 0.1", "100", 9_765, 0.1, 1e-4, 91.3, 0.2),
    (DENSE, "steps from 0.1", "200", 19_531, 0.1, 1e-4, 92.1, 0.2),
    (DENSE, "steps from 0.1", "400", 39_062, 0.1, 1e-4, 92.7, 0.2),
    (LENET, "inverse from 0.01", "85", 9_960, 0.01, 5e-4, 99.03, 0.04),
    (LENET, "steps from 0.01", "85", 9_960, 0.01, 5e-4, 99.00, 0.04),
    (RESNET, "steps from 0.005", "100", 9_765, 0.005, 1e-4, 60.8, 0.4),
    (RESNET, "steps from 0.005", "200", 19_531, 0.005, 1e-4, 61.6, 0.9),
    (RESNET, "steps from 0.005", "400", 39_062, 0.005, 1e-4, 61.0, 0.2),
]
# Data and network, policy, momentum, epochs, iterations, step size in iterations, least and highest learning rate,
# first and least momentum, weight decay, published.
CYCLES_2 = [
    (WIDE, "1cycle 0.1-0.5/12", "CM 0.95-0.85", "25", 2_441, 1_171, 0.1, 0.5, 0.95, 0.85, 1e-4, 87.3, 0.8),
    (WIDE, "1cycle 0.1-1/23", "CM 0.95-0.85", "50", 4_882, 2_246, 0.1, 1.0, 0.95, 0.85, 1e-4, 91.3, 0.1),
    (WIDE, "1cycle 0.1-1/45", "CM 0.95-0.85", "100", 9_765, 4_394, 0.1, 1.0, 0.95, 0.85, 1e-4, 91.9, 0.2),
    (DENSE, "1cycle 0.1-4/22", "CM 0.9-0.85", "50", 4_882, 2_148, 0.1, 4.0, 0.9, 0.85, 1e-6, 91.7, 0.3),
    (DENSE, "1cycle 0.1-4/34", "CM 0.9-0.85", "75", 7_324, 3_320, 0.1, 4.0, 0.9, 0.85, 1e-6, 92.1, 0.2),
    (DENSE, "1cycle 0.1-4/45", "CM 0.9-0.85", "100", 9_765, 4_394, 0.1, 4.0, 0.9, 0.85, 1e-6, 92.2, 0.2),
    (DENSE, "1cycle 0.1-4/70", "CM 0.9-0.85", "150", 14_648, 6_835, 0.1, 4.0, 0.9, 0.85, 1e-6, 92.8, 0.1),
    (LENET, "1cycle 0.01-0.1/5", "CM 0.95-0.8", "12", 1_406, 585, 0.01, 0.1, 0.95, 0.8, 5e-4, 99.25, 0.03),
    (LENET, "1cycle 0.01-0.1/12", "CM 0.95-0.8", "25", 2_929, 1_406, 0.01, 0.1, 0.95, 0.8, 5e-4, 99.28, 0.06),
    (LENET, "1cycle 0.01-0.1/23", "CM 0.95-0.8", "50", 5_859, 2_695, 0.01, 0.1, 0.95, 0.8, 5e-4, 99.27, 0.07),
    (LENET, "1cycle 0.02-0.2/40", "CM 0.95-0.8", "85", 9_960, 4_687, 0.02, 0.2, 0.95, 0.8, 5e-4, 99.35, 0.03),
    (RESNET, "1cycle 0.1-0.5/12", "CM 0.95-0.85", "25", 2_441, 1_171, 0.1, 0.5, 0.95, 0.85, 1e-4, 65.4, 0.2),
    (RESNET, "1cycle 0.1-0.5/23", "CM 0.95-0.85", "50", 4_882, 2_246, 0.1, 0.5, 0.95, 0.85, 1e-4, 66.4, 0.6),
    (RESNET, "1cycle 0.09-0.9/45", "CM 0.95-0.85", "100", 9_765, 4_394, 0.09, 0.9, 0.95, 0.85, 1e-4, 69.0, 0.4),
]


def row_of_table_2(network: tuple[str, str], policy: str, momentum: str, epochs: str) -> Row:
    (row,) = [row for row in table("table2").rows if row.labels == (*network, policy, momentum, epochs)]
    return row


def test_table_2_has_the_papers_rows_by_network():
    columns = ("Data", "Network", "LR (1cycle: range/step size in epochs)", "Momentum", "Epochs")
    assert table("table2").columns == columns
    steps = [(network, (policy, "0.9", epochs)) for network, policy, epochs, *_ in STEPS_2]
    cycles = [(network, labels) for network, *labels in [row[:4] for row in CYCLES_2]]
    networks = (WIDE, DENSE, LENET, RESNET)
    expected = [(*of, *labels) for network in networks for of, labels in steps + cycles if of == network]
    assert [row.labels for row in table("table2").rows] == expected
    assert len(table("table2").runs()) == len(expected) == 26


@pytest.mark.parametrize("row", table("table2").rows, ids=lambda row: ", ".join(row.labels))
def test_runs_of_table_2_are_of_the_network_and_the_data_of_their_row(row):
    run, lenet = row.run, row.labels[1] == "lenet"
    assert (run.data, run.network) == row.labels[:2]
    assert (run.solver, run.mirror) == (("sgd", False) if lenet else ("nesterov", True))
    assert (run.batch_size, run.ghost_batch_size) == (512, None if lenet else 128)
    assert (run.start, run.test_images, run.width) == (None, None, 1)


@pytest.mark.parametrize(
    ("network", "policy", "epochs", "iterations", "start", "weight_decay", "mean", "deviation"), STEPS_2
)
def test_usual_policies_of_table_2(network, policy, epochs, iterations, start, weight_decay, mean, deviation):
    row = row_of_table_2(network, policy, "0.9", epochs)
    run = row.run
    assert (row.mean, row.deviation, run.iterations) == (mean, deviation, iterations)
    check(run.momentum, run, {0: 0.9, iterations: 0.9})
    check(run.weight_decay, run, {0: weight_decay, iterations: weight_decay})
    if policy.startswith("inverse"):
        check(run.lr, run, {0: 0.01, 5_000: 0.00737788, 9_960: 0.00595497})  # 0.01 (1 + t / 10,000) ** -0.75
        return
    middles = (0.25, 0.6, 0.8, 0.9, 0.97)  # between the drops at 1/2, 3/4, 7/8 and 15/16
    factors = (1, 0.316, 0.099856, 0.0315545, 0.00997122)
    check(run.lr, run, {int(m * iterations): start * f for m, f in zip(middles, factors, strict=True)})


def test_steps_of_table_2_are_where_the_authors_are():
    run = row_of_table_2(DENSE, "steps from 0.1", "0.9", "400").run
    check(run.lr, run, {0: 0.1, 19_530: 0.1, 19_531: 0.0316, 29_295: 0.0316, 29_296: 0.0099856, 34_178: 0.0099856})
    check(run.lr, run, {34_179: 0.00315545, 36_619: 0.00315545, 36_620: 0.000997122, 39_062: 0.000997122})


@pytest.mark.parametrize("row", CYCLES_2, ids=lambda row: ", ".join([*row[0], *row[1:4]]))
def test_1cycle_policies_of_table_2(row):
    network, policy, momentum, epochs, end, step, low, peak, high, least, weight_decay, mean, deviation = row
    found = row_of_table_2(network, policy, momentum, epochs)
    run = found.run
    assert (found.mean, found.deviation, run.iterations) == (mean, deviation, end)
    check(run.lr, run, {0: low, step: peak, 2 * step: low / 1000, end: low / 1000})
    tail = (end - 2 * step) / step / 2  # of the amplitude, which is half in the second cycle
    check(run.momentum, run, {0: high, step: least, 2 * step: high, end: high - tail * (high - least)})
    check(run.weight_decay, run, {0: weight_decay, end: weight_decay})


def test_half_way_up_and_down_of_a_policy_of_table_2():
    run = row_of_table_2(WIDE, "1cycle 0.1-1/23", "CM 0.95-0.85", "50").run
    check(run.lr, run, {1_123: 0.55, 3_369: 0.5})  # down it aims at 0
    check(run.momentum, run, {1_123: 0.9, 3_369: 0.9, 4_800: 0.943143})  # the last is in the author's log


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_rows_have_an_entry_for_every_column_and_differ(name):
    labels = [row.labels for row in table(name).rows]
    assert len(set(labels)) == len(labels)
    assert {len(row) for row in labels} == {len(table(name).columns)}
    assert all(text == text.strip() and text for row in labels for text in row)


def test_rows_that_a_scale_cuts_to_the_same_length_show_the_same_result(tmp_path):
    rows = {epochs: row_of_table_2(WIDE, "steps from 0.1", "0.9", epochs) for epochs in ("100", "200", "400", "800")}
    scaled = {epochs: QUICK.apply(row.run) for epochs, row in rows.items()}
    assert {epochs: run.iterations for epochs, run in scaled.items()} == {"100": 48, "200": 80, "400": 80, "800": 80}
    assert scaled["200"] == scaled["400"] == scaled["800"] != scaled["100"]
    write_one(tmp_path / "results", scaled["400"], 0, 0.4)
    assert tabulate(table("table2"), QUICK, tmp_path).endswith("(3 rows, scale quick, 23 without a result)")
    text = (tmp_path / "figures" / "quick" / "table2.md").read_text()
    assert [row[4] for row in cells(text) if row[5] == "40.0 (1 seed)"] == ["200", "400", "800"]


# --- a row's entry ---


def result(run: Run, accuracies: list[float], status: str = "done", seed: int = 0) -> Result:
    """Returns a result with these test accuracies, one for each test."""
    columns = {name: np.full(len(accuracies), 0.5) for name in COLUMNS}
    columns["test_accuracy"] = np.array(accuracies)
    return Result(run, seed, status, columns)


def measured(*finals: float, row: Row | None = None, diverged: int = 0) -> Measured:
    """Returns what is measured of seeds with these final accuracies, after a better one each, and of diverged seeds."""
    row = row or table("table1").rows[0]
    done = [result(row.run, [0.99, final], seed=seed) for seed, final in enumerate(finals)]
    lost = [result(row.run, [0.7, 0.1], "diverged", seed=len(done) + n) for n in range(diverged)]
    return measure(row, [*done, *lost])


MNIST = row_of_table_2(LENET, "1cycle 0.01-0.1/5", "CM 0.95-0.8", "12")  # 99.25 ± 0.03


def test_an_entry_is_mean_standard_deviation_and_number_of_seeds():
    found = measured(0.81, 0.82, 0.83, 0.80)
    assert found.mean == pytest.approx(81.5)
    assert found.deviation == pytest.approx((5 / 3) ** 0.5)  # over 4 - 1, not 4
    assert found.ours() == "81.5 ± 1.3 (4 seeds)"


def test_two_seeds_have_a_standard_deviation():
    assert measured(0.80, 0.81).ours() == "80.5 ± 0.7 (2 seeds)"


def test_one_seed_has_no_standard_deviation():
    found = measured(0.813)
    assert np.isnan(found.deviation)
    assert found.ours() == "81.3 (1 seed)"


def test_a_seed_that_diverged_is_left_out_of_the_mean_and_counted():
    assert measured(0.80, 0.81, diverged=2).ours() == "80.5 ± 0.7 (2 seeds, 2 diverged)"
    assert measured(0.80, diverged=1).ours() == "80.0 (1 seed, 1 diverged)"


def test_a_run_whose_seeds_all_diverged_has_no_mean():
    found = measured(diverged=3)
    assert np.isnan(found.mean)
    assert (found.ours(), found.difference()) == ("3 diverged", "")


def test_a_run_without_a_result_says_so():
    found = measured()
    assert np.isnan(found.mean) and np.isnan(found.deviation)
    assert (found.ours(), found.published(), found.difference()) == ("no result", "81.3 ± 0.1", "")


def test_a_difference_is_ours_minus_the_papers_with_its_sign():
    assert measured(0.815).difference() == "+0.2"
    assert measured(0.80, 0.81).difference() == "-0.8"
    assert measured(0.813).difference() == "+0.0"


def test_a_difference_that_rounds_to_nothing_is_not_negative():
    assert measured(0.81299).difference() == "+0.0"


def test_mnist_has_two_decimals():
    found = measured(0.9925, 0.9929, row=MNIST)
    assert found.ours() == "99.27 ± 0.03 (2 seeds)"
    assert (found.published(), found.difference()) == ("99.25 ± 0.03", "+0.02")
    assert measured(0.9900, row=MNIST).difference() == "-0.25"


# --- the files ---


def write_one(folder: Path, run: Run, seed: int, accuracy: float, status: str = "done") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"iteration": i, "test_accuracy": a} for i, a in ((1, 0.3), (2, accuracy))]
    results.write(folder, run, seed, status, rows, {})


def write(folder: Path, chosen: Table, scale: Scale = PAPER, seeds: int = 1) -> None:
    """Writes made-up results of a table: what the paper has, and a point more for every further seed."""
    for row in chosen.rows:
        for seed in range(seeds):
            write_one(folder, scale.apply(row.run), seed, (row.mean + seed) / 100)


def cells(text: str) -> list[list[str]]:
    """Returns the cells of a table in Markdown, the rule below its head included."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    return [line[2:-2].split(" | ") for line in lines]


def tabulate(chosen: Table, scale: Scale, folder: Path) -> str:
    return tables.tabulate(chosen, scale, folder / "results", folder / "figures")


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_a_table_is_four_files_the_same_every_time(name, tmp_path):
    chosen = table(name)
    write(tmp_path / "results", chosen, seeds=2)
    names = [f"{name}.{kind}" for kind in ("md", "png", "svg", "tex")]
    drawn = []
    for target in (tmp_path / "first", tmp_path / "second"):
        line = tables.tabulate(chosen, PAPER, tmp_path / "results", target)
        assert line == f"{name}: {target / name}.md ({len(chosen.rows)} rows, scale paper)"
        assert sorted(path.name for path in target.iterdir()) == names
        drawn.append([(target / file).read_bytes() for file in names])
    assert drawn[0] == drawn[1]
    height, width, channels = matplotlib.image.imread(tmp_path / "first" / f"{name}.png").shape
    assert (width, channels) == (1230, 4) and height > 600
    assert xml.etree.ElementTree.fromstring(drawn[0][2]).tag.endswith("svg")
    assert b"dc:date" not in drawn[0][2]


@pytest.mark.parametrize(("scale", "place"), [(PAPER, "figures"), (SHORT, "figures/short"), (QUICK, "figures/quick")])
def test_only_the_paper_scale_is_written_right_into_the_folder(scale, place, tmp_path):
    write(tmp_path / "results", table("table1"), scale)
    line = tabulate(table("table1"), scale, tmp_path)
    assert line == f"table1: {tmp_path / place / 'table1'}.md (20 rows, scale {scale.name})"
    assert len(list((tmp_path / place).glob("table1.*"))) == 4
    assert f"Scale {scale.name}: {scale.what}." in (tmp_path / place / "table1.md").read_text()


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_without_results_there_is_a_line_and_no_file(name, tmp_path):
    line = tabulate(table(name), QUICK, tmp_path)
    assert line == f"{name}: no results at scale quick; smith run {name} --scale quick"
    assert list(tmp_path.iterdir()) == []


def test_a_table_with_missing_rows_is_written_and_says_so(tmp_path):
    first, second, third, *_ = table("table1").rows
    write_one(tmp_path / "results", first.run, 0, 0.815)
    write_one(tmp_path / "results", second.run, 0, 0.1, "diverged")
    write_one(tmp_path / "results", third.run, 0, 0.8)
    results.path_of(tmp_path / "results", third.run, 0).write_bytes(b"PAR1")  # damaged
    line = tabulate(table("table1"), PAPER, tmp_path)
    assert line.endswith("(2 rows, scale paper, 18 without a result)")
    entries = [row[3:] for row in cells((tmp_path / "figures" / "table1.md").read_text())[2:]]
    assert entries[:2] == [["81.5 (1 seed)", "81.3 ± 0.1", "+0.2"], ["1 diverged", "80.2 ± 0.1", ""]]
    assert entries[2:] == [
        ["no result", f"{row.mean:.1f} ± {row.deviation:.1f}", ""] for row in table("table1").rows[2:]
    ]


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_markdown_has_a_cell_for_every_column_in_every_line(name, tmp_path):
    chosen = table(name)
    write(tmp_path / "results", chosen, seeds=2)
    tabulate(chosen, PAPER, tmp_path)
    text = (tmp_path / "figures" / f"{name}.md").read_text()
    head, rule, *body = cells(text)
    assert head == [*chosen.columns, "Ours, %", "Published, %", "Difference"]
    assert rule == ["---"] * len(chosen.columns) + ["---:"] * 3
    assert {len(row) for row in body} == {len(head)}
    assert [tuple(row[:-3]) for row in body] == [row.labels for row in chosen.rows]
    for row, (ours, published, difference) in zip(chosen.rows, (row[-3:] for row in body), strict=True):
        digits = 2 if row.run.data == "mnist" else 1
        assert ours == f"{row.mean + 0.5:.{digits}f} ± {0.5**0.5:.{digits}f} (2 seeds)"
        assert published == f"{row.mean:.{digits}f} ± {row.deviation:.{digits}f}"
        assert difference == f"+{0.5:.{digits}f}"
    assert text.startswith(f"{chosen.title}. Scale paper: {PAPER.what}.\n\n|")
    for note in chosen.notes:
        assert f"\n\n{note}\n" in text


@pytest.mark.parametrize("scale", [PAPER, QUICK], ids=lambda scale: scale.name)
@pytest.mark.parametrize("name", ["table1", "table2"])
def test_latex_is_balanced_and_escaped(name, scale, tmp_path):
    chosen = table(name)
    write(tmp_path / "results", chosen, scale, seeds=2)
    tabulate(chosen, scale, tmp_path)
    (file,) = (tmp_path / "figures").rglob(f"{name}.tex")
    text = file.read_text()
    columns = len(chosen.columns) + 3
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1] == ["table", "tabular"]
    assert text.count("{") == text.count("}") and text.count("$") % 2 == 0
    assert re.findall(r"\\begin\{tabular\}\{(\w+)\}", text) == ["l" * (columns - 3) + "rrr"]
    assert not re.search(r"(?<!\\)[%#_]", text) and text.isascii()
    rows = [line for line in text.splitlines() if "&" in line]
    assert len(rows) == text.count(r"\\") == len(chosen.rows) + 1
    for row in rows:
        assert row.endswith(r" \\") and row.count(" & ") == columns - 1
    rules = [line for line in text.splitlines() if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"Ours, \% & Published, \% & Difference \\" in text and r"$\pm$" in rows[1]


def test_latex_escapes_what_it_would_take_for_commands():
    text = tables.latex("50 % of a_b & #1", ("A", "x", "y", "z"), [("R&D", "1 ± 2", "100 %", "")])
    assert r"\caption{50 \% of a\_b \& \#1}" in text
    assert r"R\&D & 1 $\pm$ 2 & 100 \% &  \\" in text


# --- the plot ---


@pytest.fixture
def sheet(monkeypatch, tmp_path):
    """Fills in a table from tmp_path/results; returns the Matplotlib figure of its plot instead of saving it."""

    def draw(chosen: Table, scale: Scale = PAPER):
        sheets = []
        monkeypatch.setattr(plot, "_save", lambda sheet, path: (sheet.draw_without_rendering(), sheets.append(sheet)))
        tables.tabulate(chosen, scale, tmp_path / "results", tmp_path / "figures")
        return sheets[0]

    return draw


def dots(axis) -> dict[str, tuple[list[float], list[tuple[float, float]]]]:
    """Returns for ours and the published: x of the dots, and (left, right) of the bars, from top to bottom."""
    found = {}
    for bars in axis.containers:
        points, _, (spread,) = bars.lines
        ends = [(float(bar[0][0]), float(bar[-1][0])) for bar in spread.get_segments() if len(bar)]
        found[bars.get_label().split(",")[0]] = (list(map(float, points.get_xdata())), ends)
    return found


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_the_plot_has_a_dot_with_its_interval_for_every_row(name, tmp_path, sheet):
    chosen = table(name)
    write(tmp_path / "results", chosen, seeds=2)
    drawn = sheet(chosen)
    groups: dict[str, list[Row]] = {}
    for row in chosen.rows:
        groups.setdefault(f"{row.run.network}, {row.run.data}", []).append(row)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == list(groups)
    for axis, rows in zip(drawn.axes, groups.values(), strict=True):
        (ours, spread), (theirs, published) = (dots(axis)[name] for name in ("ours", "published"))
        assert theirs == [row.mean for row in rows]
        np.testing.assert_allclose(published, [(row.mean - row.deviation, row.mean + row.deviation) for row in rows])
        np.testing.assert_allclose(ours, [row.mean + 0.5 for row in rows])
        np.testing.assert_allclose(spread, [(m - 0.5**0.5, m + 0.5**0.5) for m in ours])
        heights = np.array([bars.lines[0].get_ydata() for bars in axis.containers])  # the two side by side
        assert (abs(heights - np.arange(len(rows))) < 0.5).all() and (abs(np.diff(heights, axis=0)) > 0.1).all()
        assert axis.get_yticks().tolist() == list(range(len(rows)))
        for row, text in zip(rows, axis.get_yticklabels(), strict=True):
            assert all(label in text.get_text() for label in row.labels[2:])
        top, bottom = axis.get_ylim()[::-1]
        assert top < 0 and bottom > len(rows) - 1  # the first row is at the top
        assert axis.get_xlabel() == "Final test accuracy (%)"


def test_the_plot_has_no_dot_of_ours_where_there_is_no_result(tmp_path, sheet):
    first, second, third, *_ = table("table1").rows
    write_one(tmp_path / "results", first.run, 0, 0.815)
    write_one(tmp_path / "results", second.run, 0, 0.1, "diverged")
    drawn = sheet(table("table1"))
    ours, spread = dots(drawn.axes[0])["ours"]
    assert ours[0] == pytest.approx(81.5) and np.isnan(ours[1:]).all()
    assert spread == [pytest.approx((81.5, 81.5))]  # one seed has no interval
    assert len(dots(drawn.axes[1])["published"][0]) == 10


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_the_plot_says_its_scale_and_keeps_its_words_on_the_sheet(name, tmp_path, sheet):
    write(tmp_path / "results", table(name), QUICK)
    drawn = sheet(table(name), QUICK)
    title, *lines = drawn.get_suptitle().splitlines()
    assert title == f"Table {name[-1]}. {table(name).title}"
    assert " ".join(lines) == f"quick scale: {QUICK.what}"
    assert any(axis.get_legend() for axis in drawn.axes)
    below = drawn._suptitle.get_window_extent().y0
    for axis in drawn.axes:
        for part in filter(None, (axis._left_title, axis.xaxis.label, axis.get_legend(), *axis.get_yticklabels())):
            place = part.get_window_extent()
            assert drawn.bbox.x0 <= place.x0 and place.x1 <= drawn.bbox.x1, part
            assert drawn.bbox.y0 <= place.y0 and place.y1 <= below, part


def test_no_plot_stays_open(tmp_path):
    import matplotlib.pyplot as plt

    write(tmp_path / "results", table("table1"))
    before = plt.get_fignums()
    tabulate(table("table1"), PAPER, tmp_path)
    assert plt.get_fignums() == before
