"""Fidelity: made-up curves beside made-up published ones, with answers that are known beforehand."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from smith import cli, scales
from smith.analysis import fidelity, published
from smith.analysis.evidence import Evidence
from smith.analysis.fidelity import PanelFit
from smith.figure import Figure, Panel, Published, Sketch
from smith.figures import fidelity_table
from smith.run import Run, iterations
from smith.store import results
from smith.store.results import COLUMNS

PAPER, SHORT = scales.named("paper"), scales.named("short")
BASE = Run(data="cifar10", network="shallow3", batch_size=100, length=iterations(1_000), lr=0.01)
RUNS = {name: BASE.replace(weight_decay=wd) for name, wd in {"A": 1e-3, "B": 2e-3, "C": 3e-3}.items()}
X = np.arange(100, 1_001, 100)  # tests of the runs
NAN = math.nan
Curves = Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]]


def falling(level: float, x: np.ndarray = X) -> np.ndarray:
    """Returns a loss that falls to a level at the end."""
    return level * (2 - x / x[-1])


class World:
    """A folder of results and of published curves, and a figure of one panel."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "published").mkdir()
        monkeypatch.setattr(published, "FOLDER", folder / "published")

    def publish(self, curves: Curves) -> None:
        with (self.folder / "published" / "mine.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("series", "x", "y"))
            writer.writerows((name, x, y) for name, pair in curves.items() for x, y in zip(*pair, strict=True))

    def write(
        self,
        run: Run,
        values: Sequence[float] | np.ndarray,
        *,
        seed: int = 0,
        x: Sequence[int] | np.ndarray = X,
        column: str = "test_loss",
        scale: scales.Scale = PAPER,
    ) -> None:
        """Writes a result whose learning rate is a hundred-thousandth of the iteration; NaN at the end: it diverged."""
        rows = [
            dict.fromkeys(COLUMNS, 0.5) | {"iteration": int(i), "learning_rate": i / 100_000, column: float(v)}
            for i, v in zip(x, values, strict=True)
        ]
        (self.folder / scale.name).mkdir(exist_ok=True)
        status = "done" if math.isfinite(values[-1]) else "diverged"
        results.write(self.folder / scale.name, scale.apply(run), seed, status, rows, {})

    def compare(self, figure: Figure, scale: scales.Scale = PAPER) -> list[PanelFit]:
        return fidelity.compare(figure, self.evidence(figure, scale))

    def evidence(self, figure: Figure, scale: scales.Scale = PAPER) -> Evidence:
        return Evidence([figure], scale, self.folder / scale.name)


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    return World(tmp_path, monkeypatch)


def figure(**changes) -> Figure:
    fields = {"curves": RUNS, "published": Published("mine"), "xlim": (0, 1_000)} | changes
    panel = Panel("a", "Made up", **fields)
    return Figure("mine", "Made up", panels=(panel,), notes=("The colour is an assumption.",))


def over_rates(**changes) -> Figure:
    return figure(**{"x": "learning_rate", "xlim": (0, 0.01)} | changes)


def flat(levels: Mapping[str, float], x: np.ndarray = X) -> Curves:
    return {name: (x, falling(level, x)) for name, level in levels.items()}


def only(fits: list[PanelFit]) -> PanelFit:
    (fit,) = fits
    return fit


# --- order ---


@pytest.mark.parametrize(
    ("levels", "tau"),
    [((0.1, 0.2, 0.3), 1), ((0.3, 0.2, 0.1), -1), ((0.2, 0.1, 0.3), 1 / 3), ((0.2, 0.3, 0.1), -1 / 3)],
)
def test_the_order_of_the_curves_is_kendalls_tau(levels, tau, world):
    world.publish(flat({"A": 1, "B": 2, "C": 3}))
    for run, level in zip(RUNS.values(), levels, strict=True):
        world.write(run, falling(level))
    fit = only(world.compare(figure()))
    assert (fit.panel, fit.quantity, fit.compared) == ("a", "test_loss", 3)
    assert fit.order == pytest.approx(tau)


def test_the_order_is_that_at_the_end_and_not_before(world):
    rising = 4 - falling(1)
    world.publish({**flat({"A": 1, "B": 2}), "C": (X, rising)})  # C begins at 2.1 and ends at 3
    world.write(RUNS["A"], falling(1))
    world.write(RUNS["C"], rising)
    assert only(world.compare(figure())).order == 1


def test_the_order_of_one_curve_is_not_a_number(world):
    world.publish(flat({"A": 1, "B": 2}))
    world.write(RUNS["A"], falling(1))
    fit = only(world.compare(figure()))
    assert math.isnan(fit.order) and fit.compared == 1


def test_range_tests_are_put_in_order_where_all_of_them_still_are(world):
    """Published B leaves its panel at 0.005. Up to there A is between B and C; later ours is above, theirs below C."""
    a, c = np.array([1.5] * 5 + [1.0] * 5), np.full(10, 2.0)
    world.publish({"A": (X / 1e5, a), "B": (X[:5] / 1e5, [1, 1, 1, 1, 9]), "C": (X / 1e5, c)})
    for name, values in {"A": [1.5] * 5 + [3.0] * 5, "B": np.full(10, 1.0), "C": c}.items():
        world.write(RUNS[name], values)
    fit = only(world.compare(over_rates()))
    assert (fit.order, fit.compared) == (1, 3)


def test_a_curve_whose_seeds_have_all_diverged_is_guessing_when_it_comes_to_the_order(world):
    world.publish({name: (X / 1e5, falling(level)) for name, level in {"A": 1, "B": 1.5, "C": 2}.items()})
    world.write(RUNS["A"], [*falling(0.1)[:3], NAN], x=X[:4])
    world.write(RUNS["B"], falling(1.5))
    world.write(RUNS["C"], falling(2))
    assert only(world.compare(over_rates())).order == pytest.approx(-1 / 3)  # A is last: 2.30


# --- differences ---


def test_a_loss_that_is_a_factor_off_has_the_factors_logarithm(world):
    world.publish(flat({"A": 1, "B": 1, "C": 1}))
    for run, factor in zip(RUNS.values(), (2, 1 / 2, 1), strict=True):
        world.write(run, factor * falling(1))
    first, second, third = only(world.compare(figure())).curves
    assert (first.rmse, second.rmse) == pytest.approx((math.log(2), math.log(2)))
    assert third.rmse == pytest.approx(0, abs=1e-6)
    assert first.points == 9  # of the 10 one is the highest of its panel
    assert first.final == pytest.approx(1.04) and second.final == pytest.approx(-0.52)  # 1.08 to 1 from 920 on


def test_the_rmse_is_the_root_of_the_mean_square(world):
    world.publish({"A": (X, [9, *[1] * 9])})
    world.write(RUNS["A"], np.exp([0, 3, 0, 0, 0, 0, 0, 0, 0, 0]))
    assert only(world.compare(figure())).curves[0].rmse == pytest.approx(1)  # of the 9 that count one is off by 3


def test_an_accuracy_has_the_plain_rmse(world):
    world.publish({"A": (X, [0.5] * 10)})
    world.write(RUNS["A"], [0.6, 0.4] * 5, column="test_accuracy")
    fit = only(world.compare(figure(y="test_accuracy")))
    assert fit.quantity == "test_accuracy" and fit.curves[0].points == 10
    assert fit.curves[0].rmse == pytest.approx(0.1)
    assert fidelity.UNITS["test_accuracy"] == ("fraction", "fraction")


def test_a_loss_gap_may_be_negative(world):
    world.publish({"": (X, np.full(10, 0.5)), "top": (X, np.full(10, 1))})
    world.write(RUNS["A"], np.full(10, 0.25))  # the training loss is 0.5
    chosen = figure(curves={"": RUNS["A"]}, y="loss_gap")
    (fit,) = only(world.compare(chosen)).curves
    assert (fit.rmse, fit.final) == pytest.approx((0.75, -0.75))
    assert all(map(math.isnan, [*fit.minimum, *fit.divergence]))


def test_only_the_range_that_both_cover_counts(world):
    x = np.arange(600, 2_001, 100)
    world.publish({"A": (x, np.full(15, 1)), "top": ([0], [5])})
    world.write(RUNS["A"], [7, 7, 7, 7, 7, 2, 2, 2, 2, 2])
    (fit, *_) = only(world.compare(figure())).curves
    assert fit.points == 5 and fit.rmse == pytest.approx(math.log(2)) and fit.final == pytest.approx(1)


def test_ranges_that_do_not_meet_are_said_to(world):
    world.publish({"A": ([1, 2], [1, 1]), "top": ([0], [5])})
    world.write(RUNS["A"], falling(1))
    (fit, *_) = only(world.compare(figure())).curves
    assert (fit.points, fit.note) == (0, "no test at the published places")
    assert math.isnan(fit.rmse) and math.isnan(fit.final)


def test_the_published_axis_is_shifted_and_stretched(world):
    """Printed as 0 to 4.5, which is 100 to 1,000."""
    world.publish({"A": ((X - 100) / 200, 1 + X / 100), "top": ([0], [50])})
    world.write(RUNS["A"], 1 + X / 100)
    (fit, *_) = only(world.compare(figure(published=Published("mine", shift=100, factor=200)))).curves
    assert fit.points == 10 and fit.rmse == pytest.approx(0, abs=1e-9)


def test_published_iterations_are_scaled_to_a_shortened_run_and_rates_are_not(world):
    x = np.arange(10, 101, 10)
    world.publish({"A": (X, 1 + X / 100), "top": ([0], [50])})
    world.write(RUNS["A"], 1 + x / 10, x=x, scale=SHORT)
    (fit, *_) = only(world.compare(figure(), SHORT)).curves
    assert fit.points == 10 and fit.rmse == pytest.approx(0, abs=1e-9)
    assert fit.minimum == (10, 10)
    world.publish({"A": (X / 1e5, np.ones(10)), "top": ([0], [50])})
    (fit, *_) = only(world.compare(over_rates(), SHORT)).curves
    assert fit.points == 1  # ours ends at a rate of 0.001, the published begins there


def test_points_at_the_upper_edge_are_left_out(world):
    world.publish({"A": (X, [5, *[1] * 8, 5])})
    world.write(RUNS["A"], np.full(10, 1))
    (fit, *_) = only(world.compare(figure())).curves
    assert (fit.points, fit.rmse, fit.final) == (8, 0, 0)


# --- minimum and divergence ---


def test_the_rate_of_the_least_loss(world):
    ours, theirs = np.full(10, 2.0), np.full(10, 2.0)
    ours[3], theirs[6] = 1, 1
    world.publish({"A": (X / 1e5, theirs), "top": ([0], [9])})
    world.write(RUNS["A"], ours)
    (fit, *_) = only(world.compare(over_rates())).curves
    assert fit.minimum == pytest.approx((0.004, 0.007))


def test_the_place_of_the_highest_accuracy(world):
    ours, theirs = np.full(10, 0.5), np.full(10, 0.5)
    ours[3], theirs[6] = 0.9, 0.8
    world.publish({"A": (X / 1e5, theirs)})
    world.write(RUNS["A"], ours, column="test_accuracy")
    (fit, *_) = only(world.compare(over_rates(y="test_accuracy"))).curves
    assert fit.minimum == pytest.approx((0.004, 0.007))


def test_what_is_beyond_the_papers_axis_does_not_count(world):
    world.publish({"A": (X / 1e5, falling(1)), "top": ([0], [9])})
    world.write(RUNS["A"], [1.2, 1.2, 1, 1.2, 1.2, 1.2, 1.2, 0.1, 2.3, NAN])
    (fit, *_) = only(world.compare(over_rates(xlim=(0, 0.007)))).curves
    assert fit.minimum[0] == pytest.approx(0.003) and math.isnan(fit.divergence[0]) and fit.points == 7
    assert fit.note == "1 of 1 seeds diverged"


def test_the_rate_of_divergence_is_the_mean_over_the_seeds_that_do(world):
    stays = [1.0] * 10
    theirs = [1.0] * 7 + [2.2] * 3
    world.publish({"A": (X / 1e5, theirs), "top": ([0], [9])})
    world.write(RUNS["A"], [1.0] * 4 + [2.3] * 6, seed=0)
    world.write(RUNS["A"], [1.0] * 8 + [2.3, NAN], seed=1)
    world.write(RUNS["A"], stays, seed=2)
    (fit, *_) = only(world.compare(over_rates())).curves
    assert fit.divergence == pytest.approx(((0.005 + 0.009) / 2, 0.008))
    assert (fit.seeds, fit.diverged, fit.note) == (3, 1, "1 of 3 seeds diverged")


def test_an_accuracy_that_falls_to_guessing_has_diverged(world):
    world.publish({"A": (X / 1e5, [0.8] * 6 + [0.1] * 4)})
    world.write(RUNS["A"], [0.8] * 9 + [0.1], column="test_accuracy")
    (fit, *_) = only(world.compare(over_rates(y="test_accuracy"))).curves
    assert fit.divergence == pytest.approx((0.01, 0.007))


def test_a_published_curve_that_leaves_its_panel_has_diverged_there(world):
    world.publish({"A": ([0.001, 0.002, 0.003], [0.2, 0.1, 0.5]), "B": ([0.001, 0.01], [0.2, 0.4])})
    (a, b, c) = only(world.compare(over_rates())).curves
    assert a.divergence[1] == 0.003 and "the published curve leaves its panel at the top" in a.note
    assert math.isnan(b.divergence[1]) and "leaves" not in b.note
    assert c.note == "no result at scale paper; no published curve"


def test_a_curve_that_ends_at_the_end_of_its_axis_has_not_left_its_panel(world):
    world.publish({"A": ([0.001, 0.01], [0.2, 0.5]), "top": ([0.001], [0.3])})
    assert math.isnan(only(world.compare(over_rates())).curves[0].divergence[1])


# --- what is missing ---


def test_diverged_seeds_count_up_to_the_test_before(world):
    world.publish({"A": (X, np.ones(10)), "top": ([0], [9])})
    world.write(RUNS["A"], [4, 4, NAN], x=X[:3], seed=0)
    world.write(RUNS["A"], [1, 1, 2, 2, 2, 2, 2, 2, 2, 2], seed=1)
    (fit, *_) = only(world.compare(figure())).curves
    assert (fit.seeds, fit.diverged, fit.points) == (2, 1, 10)
    assert fit.final == pytest.approx(1)
    assert fit.rmse == pytest.approx(math.sqrt((2 * math.log(2.5) ** 2 + 8 * math.log(2) ** 2) / 10))


def test_a_run_without_a_finite_test_is_stated_and_not_compared(world):
    world.publish(flat({"A": 1, "B": 2}))
    world.write(RUNS["A"], [NAN], x=X[:1])
    world.write(RUNS["B"], falling(2))
    fit = only(world.compare(over_rates(xlim=(0, 1_000))))
    first = fit.curves[0]
    assert (first.seeds, first.diverged, first.points) == (1, 1, 0)
    assert first.note == "1 of 1 seeds diverged; no test at the published places"
    assert math.isnan(first.final) and math.isnan(first.rmse) and math.isnan(first.minimum[0])
    assert first.divergence[0] == pytest.approx(0.001)


def test_a_missing_result_and_a_missing_published_curve_are_named(world):
    world.publish(flat({"A": 1, "C": 2}))
    world.write(RUNS["B"], falling(2))
    a, b, c = only(world.compare(figure())).curves
    assert (a.note, b.note, c.note) == ("no result at scale paper", "no published curve", "no result at scale paper")
    assert (a.seeds, b.seeds) == (0, 1) and math.isnan(a.rmse) and math.isnan(b.rmse)
    assert b.minimum[0] == 1_000 and math.isnan(b.minimum[1])


def test_panels_without_published_curves_are_left_out(world):
    sketch = Sketch("b", "A drawing", {"": lambda x: x}, "x", "y")
    panel = Panel("c", "Unpublished", RUNS)
    chosen = Figure("mine", "Made up", panels=(*figure().panels, sketch, panel))
    world.publish(flat({"A": 1}))
    assert [fit.panel for fit in world.compare(chosen)] == ["a"]


def test_each_quantity_of_a_panel_is_compared_by_itself(world):
    world.publish({"Loss; A": (X, falling(1)), "Accuracy; A": (X, np.full(10, 0.5))})
    world.write(RUNS["A"], falling(1))
    fits = world.compare(figure(y=("test_loss", "test_accuracy")))
    assert [(fit.quantity, fit.curves[0].name, fit.compared) for fit in fits] == [
        ("test_loss", "Loss; A", 1),
        ("test_accuracy", "Accuracy; A", 1),
    ]
    assert [fit.curves[0].rmse for fit in fits] == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("name", [name for name in cli.modules() if name.startswith("fig")])
def test_every_published_curve_of_the_paper_agrees_with_itself(name, tmp_path):
    """Our curves are made from the published ones: the order is the same, the differences are none."""
    (chosen,) = cli.experiments([name])
    assert isinstance(chosen, Figure)
    for panel in chosen.panels:
        if isinstance(panel, Panel) and panel.published and panel.x == "learning_rate" and len(panel.ys) == 1:
            theirs = published.curves(panel.published)
            world_of(tmp_path / panel.label, panel, theirs)
            fits = fidelity.compare(
                Figure(name, "", panels=(panel,)), Evidence([], PAPER, tmp_path / panel.label / "paper")
            )
            for fit in fits:
                assert fit.compared == len(panel.curves) and not fit.order < 0.99  # nan where all are the same
                assert [c.rmse for c in fit.curves] == pytest.approx([0] * len(panel.curves), abs=1e-6)
                assert all(c.minimum[0] == pytest.approx(c.minimum[1]) for c in fit.curves)


def world_of(folder: Path, panel: Panel, theirs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    (folder / "paper").mkdir(parents=True)
    for name, y, run in panel.series():
        x, values = theirs[name]
        rows = [
            dict.fromkeys(COLUMNS, 0.5) | {"iteration": i, "learning_rate": float(rate), y: float(v)}
            for i, (rate, v) in enumerate(zip(x, values, strict=True), 1)
        ]
        results.write(folder / "paper", run, 0, "done", rows, {})


# --- the table ---


def test_the_table_has_a_row_for_every_curve_and_says_what_can_not_match(world):
    world.publish(flat({"A": 0.2, "B": 0.4, "C": 0.6}))
    world.write(RUNS["A"], 2 * falling(0.2))
    world.write(RUNS["A"], 2 * falling(0.2), seed=1)
    world.write(RUNS["B"], falling(0.8))
    chosen = figure()
    line = fidelity_table.table([chosen], world.evidence(chosen), world.folder / "figures")
    file = world.folder / "figures" / "fidelity.md"
    assert line == f"{file} (2 of 3 curves of 1 figure compared, scale paper)"
    text = file.read_text()
    assert "| minea | Loss | 0 to 2 | 2 of 3 | +1.00 | 0.693 |" in text
    assert "| minea | Loss | A | 2 | - | 1000 (1000) | - (-) | 10 | +0.209 nats | 0.693 |" in text
    assert "| minea | Loss | C | 0 | no result at scale paper | - (1000) | - (-) | 0 | - | - |" in text
    assert "Of 3 curves 2 have a result, 1 of these one seed only; in 0 a seed diverged." in text
    assert "The colour is an assumption." in text and "Means of four" in text
    assert "Batch norm" not in text and "Test window" not in text  # shallow3 has none, and is tested on all images
    assert "shortened" not in text
    assert text.count("\n| minea") == 4  # one panel, three curves
    fidelity_table.table([chosen], world.evidence(chosen), world.folder / "again")
    assert (world.folder / "again" / "fidelity.md").read_text() == text


def test_the_table_of_a_shortened_run_says_that_it_can_not_match(world):
    world.publish(flat({"A": 1}))
    world.write(RUNS["A"], [1, 1], x=[50, 100], scale=SHORT)
    chosen = figure()
    line = fidelity_table.table([chosen], world.evidence(chosen, SHORT), world.folder / "figures")
    assert "scale short" in line
    text = (world.folder / "figures" / "short" / "fidelity.md").read_text()
    assert "A shortened run is another experiment; it can not match." in text


def test_deep_networks_have_more_that_can_not_match(world):
    deep = BASE.replace(network="resnet-8", ghost_batch_size=25)
    chosen = figure(curves={"A": deep})
    found = fidelity_table.expectations(chosen, world.evidence(chosen))
    assert {line.split(":")[0] for line in found} >= {"Batch norm", "Test window", "Means of four"}
    assert found[-1] == "The colour is an assumption."


# --- the command ---


def test_the_command_writes_and_prints_the_table(capsys, tmp_path):
    (chosen,) = cli.experiments(["fig04"])
    assert isinstance(chosen, Figure)
    (panel,) = (p for p in chosen.panels if isinstance(p, Panel))
    assert panel.published
    world_of(tmp_path, panel, published.curves(panel.published))
    folders = ["--results-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")]
    cli.main(["fidelity", "fig04", "table1", "--scale", "paper", *folders])
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1].endswith("fidelity.md (3 of 3 curves of 1 figure compared, scale paper)")
    assert "fig04a  Loss      1               3 of 3          +1.00" in out
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["fidelity.md"]
    damaged, *_ = sorted((tmp_path / "paper").iterdir())
    damaged.write_bytes(b"PAR1")
    cli.main(["fidelity", "fig04", "--scale", "paper", *folders])
    out, err = capsys.readouterr()
    assert f"damaged, left out: {damaged}" in err and "(2 of 3 curves" in out


def test_without_results_there_is_a_line_and_no_file(capsys, tmp_path):
    folders = ["--results-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")]
    cli.main(["fidelity", "fig04", "--scale", "short", *folders])
    assert capsys.readouterr() == ("no results at scale short; smith run fig04 --scale short\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("table1", "a table has no published curves"),
        ("fig77", "unknown experiment"),
        ("fig04 --scale x", "unknown scale"),
        ("fig04 --recipe x", "unknown recipe"),
    ],
)
def test_bad_input(args, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["fidelity", *args.split()])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
