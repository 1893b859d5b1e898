"""Drawing: what is made of results, seeds and published curves, without training anything."""

import dataclasses
import os
import re
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection

from smith import cli, scales
from smith.analysis import published
from smith.figure import SHORT, Figure, Finals, Panel, Sketch
from smith.figures import plot
from smith.figures.plot import HEADROOM, LABELS, curve
from smith.run import Run
from smith.scales import Scale
from smith.store import results
from smith.store.results import COLUMNS, Result

ROOT = Path(plot.__file__).resolve().parent.parent
PAPER, SMOKE, QUICK = map(scales.named, ("paper", "smoke", "quick"))
FIGURES = [name for name in cli.modules() if name.startswith("fig")]


def figure(name: str) -> Figure:
    return cli.experiments([name])[0]


def made_up(run: Run, seed: int = 0, tests: int = 8, **changes: float) -> list[dict[str, float]]:
    """Returns rows over the whole of a run: losses that fall, that of the test to 0.7; `changes` are of the last."""
    rows = []
    for i in range(1, tests + 1):
        part = i / tests
        values = {
            "iteration": max(1, round(part * run.iterations)),
            "learning_rate": 0.01 * part,
            "momentum": 0.7 + 0.3 * part,
            "train_loss": 1.3 * 0.4**part,
            "test_loss": 1.4 * 0.5**part + 0.01 * seed,
            "test_accuracy": 0.5 + 0.3 * part,
        }
        rows.append(dict.fromkeys(COLUMNS, 0.0) | values)
    rows[-1] |= changes
    return rows


def write(folder: Path, figure: Figure, scale: Scale = PAPER, seeds: int = 1, runs: list[Run] | None = None) -> None:
    """Writes made-up results of a figure, or of some of its runs."""
    for run in map(scale.apply, runs if runs is not None else figure.runs()):
        for seed in range(seeds):
            write_one(folder, run, seed)


def write_one(folder: Path, run: Run, seed: int, status: str = "done", **changes: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder, run, seed, status, made_up(run, seed, **changes), {})


@pytest.fixture
def sheet(monkeypatch, tmp_path):
    """Draws a figure from tmp_path/results; returns the Matplotlib figure instead of saving it, and the line."""

    def draw(chosen: Figure, scale: Scale = PAPER, *, laid_out: bool = False, **options):
        sheets = []

        def keep(sheet, path: Path) -> None:
            if laid_out and not sheets:
                sheet.draw_without_rendering()
            sheets.append(sheet)

        monkeypatch.setattr(plot, "_save", keep)
        line = plot.draw(chosen, scale, tmp_path / "results", tmp_path / "figures", **options)
        return sheets[0], line

    return draw


def dashed(axis) -> list:
    """Returns the published curves, without the legend's entry for them."""
    return [line for line in axis.lines if line.get_linestyle() == "--" and len(line.get_xdata())]


def marks(axis, marker: str) -> list[tuple[str, list[float]]]:
    """Returns (colour, x) of the marks of a kind at the top edge."""
    top = axis.get_ylim()[1]
    found = []
    for line in axis.lines:
        if line.get_marker() == marker and len(line.get_xdata()):
            assert set(line.get_ydata()) == {top} and not line.get_clip_on()
            found.append((line.get_color(), list(line.get_xdata())))
    return found


def solid(axis) -> list:
    """Returns our curves."""
    return [line for line in axis.lines if line.get_linestyle() == "-" and len(line.get_xdata())]


def legend(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


# --- a curve over seeds ---


def result(iterations: list[int], losses: list[float], status: str = "done", seed: int = 0) -> Result:
    columns = {name: np.zeros(len(losses)) for name in COLUMNS}
    columns["iteration"] = np.array(iterations, float)
    columns["learning_rate"] = columns["iteration"] / 1000
    columns["test_loss"] = np.array(losses, float)
    return Result(figure("fig09").runs()[0], seed, status, columns)


def test_a_curve_is_the_mean_and_the_range_over_seeds():
    line = curve([result([2, 4], [3.0, 1.0]), result([2, 4], [5.0, 2.0], seed=1)], "iteration", "test_loss")
    assert line.x.tolist() == [2, 4]
    assert line.mean.tolist() == [4, 1.5]
    assert (line.low.tolist(), line.high.tolist()) == ([3, 1], [5, 2])
    assert (line.diverged, line.seeds) == ([], 2)


def test_one_seed_is_its_own_mean_and_range():
    line = curve([result([2, 4], [3.0, 1.0])], "learning_rate", "test_loss")
    assert line.x.tolist() == [0.002, 0.004]
    assert line.mean.tolist() == line.low.tolist() == line.high.tolist() == [3, 1]


def test_seeds_may_be_of_different_lengths():
    line = curve([result([2, 4, 6], [3.0, 2.0, 1.0]), result([2], [5.0], seed=1)], "iteration", "test_loss")
    assert line.x.tolist() == [2, 4, 6]
    assert line.mean.tolist() == [4, 2, 1]
    assert line.high.tolist() == [5, 2, 1]


def test_seeds_may_be_tested_at_different_iterations():
    line = curve([result([2, 6], [3.0, 1.0]), result([4, 6], [5.0, 2.0], seed=1)], "iteration", "test_loss")
    assert line.x.tolist() == [2, 4, 6]
    assert line.mean.tolist() == [3, 5, 1.5]


@pytest.mark.parametrize("last", [np.nan, np.inf, -np.inf])
def test_a_diverged_seed_counts_up_to_its_last_finite_loss(last):
    found = [result([2, 4, 6], [3.0, 2.0, 1.0]), result([2, 4], [5.0, last], "diverged", seed=1)]
    line = curve(found, "learning_rate", "test_loss")
    assert line.x.tolist() == [0.002, 0.004, 0.006]
    assert line.mean.tolist() == [4, 2, 1]
    assert line.high.tolist() == [5, 2, 1]
    assert (line.diverged, line.seeds) == ([0.004], 2)


def test_a_curve_ends_where_the_last_seed_diverges():
    found = [result([2, 4, 6], [3.0, 2.0, np.nan], "diverged"), result([2, 4], [5.0, np.nan], "diverged", seed=1)]
    line = curve(found, "iteration", "test_loss")
    assert line.x.tolist() == [2, 4]
    assert line.mean.tolist() == [4, 2]
    assert line.diverged == [6, 4]


def test_a_run_that_diverges_before_its_first_test_is_an_empty_curve():
    line = curve([result([2], [np.nan], "diverged")], "iteration", "test_loss")
    assert len(line.x) == len(line.mean) == len(line.low) == len(line.high) == 0
    assert (line.diverged, line.seeds) == ([2], 1)


# --- the files ---


def test_a_figure_is_a_png_and_an_svg_the_same_every_time(tmp_path):
    chosen = figure("fig14")
    write(tmp_path / "results", chosen, seeds=2)
    drawn = []
    for target in (tmp_path / "first", tmp_path / "second"):
        line = plot.draw(chosen, PAPER, tmp_path / "results", target)
        assert line == f"fig14: {target / 'fig14.png'} (6 runs, 2 seeds, scale paper)"
        assert sorted(path.name for path in target.iterdir()) == ["fig14.png", "fig14.svg"]
        drawn.append([(target / f"fig14.{kind}").read_bytes() for kind in ("png", "svg")])
    assert drawn[0] == drawn[1]
    png, svg = drawn[0]
    assert png.startswith(b"\x89PNG") and len(png) > 10_000
    assert xml.etree.ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"dc:date" not in svg


def test_only_the_paper_scale_is_drawn_right_into_the_folder(tmp_path):
    chosen = figure("fig03")
    for scale, place in ((PAPER, "figures"), (SMOKE, "figures/smoke")):
        write(tmp_path / scale.name, chosen, scale)
        line = plot.draw(chosen, scale, tmp_path / scale.name, tmp_path / "figures")
        assert str(tmp_path / place / "fig03.png") in line
        assert (tmp_path / place / "fig03.svg").exists()


def test_without_results_there_is_a_line_and_no_file(tmp_path):
    line = plot.draw(figure("fig09"), QUICK, tmp_path / "nowhere", tmp_path / "figures")
    assert line == "fig09: no results at scale quick; smith run fig09 --scale quick"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_result_is_drawn_as_none(tmp_path, sheet):
    chosen = figure("fig03")
    write(tmp_path / "results", chosen)
    results.path_of(tmp_path / "results", chosen.runs()[1], 0).write_bytes(b"PAR1")
    drawn, line = sheet(chosen)
    assert "1 without a result" in line
    assert legend(drawn.axes[0])[1] == "LR=0.0055 (no result)"


def test_drawing_needs_no_jax_no_flax_and_no_data(tmp_path):
    for name in ("fig02", "fig09", "table1"):
        write(tmp_path / "results" / "smoke", figure(name), SMOKE)
    code = """if True:
        import sys
        sys.modules.update(dict.fromkeys(("jax", "flax", "optax", "orbax", "tensorflow_datasets", "tensorflow")))
        from smith import cli
        folder = sys.argv[1]
        names = ["fig02", "fig09", "table1"]
        cli.main(["draw", *names, "--scale", "smoke", "--results-dir", folder, "--figures-dir", folder])
    """
    command = [sys.executable, "-c", code, str(tmp_path / "results")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 runs, 1 seed, scale smoke" in done.stdout
    assert "4 runs, 1 seed, scale smoke" in done.stdout
    assert "20 rows, scale smoke" in done.stdout
    for name, files in {"fig02": 2, "fig09": 2, "table1": 4}.items():
        assert len(list((tmp_path / "results" / "smoke").glob(f"{name}.*"))) == files


# --- what is in a figure ---


def units(label: str) -> set[str]:
    return set(re.findall(r"\(\w+\)", label))


def test_every_quantity_has_a_name_and_a_unit():
    assert set(SHORT) <= set(LABELS)
    for y in SHORT:
        assert units(LABELS[y]) == {"(fraction)" if "accuracy" in y else "(nats)"}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_its_panels_curves_axes_and_units(name, tmp_path, sheet):
    chosen = figure(name)
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen)
    axes = [axis for axis in drawn.axes if axis.has_data()]
    assert len(axes) == len(chosen.panels)
    for axis, panel in zip(axes, chosen.panels, strict=True):
        assert axis.get_title(loc="left") == f"{panel.label}  {panel.title}"
        if not isinstance(panel, Panel):
            continue
        names = [curve for curve, *_ in panel.series()]
        assert legend(axis) == [*names, "published"]
        assert axis.get_xlabel() == LABELS[panel.x]
        assert len(panel.ys) > 1 or axis.get_ylabel() == LABELS[panel.ys[0]]
        assert units(axis.get_ylabel()) == set().union(*(units(LABELS[y]) for y in panel.ys))
        assert axis.get_yscale() == ("log" if panel.log else "linear")
        assert axis.get_xlim() == pytest.approx(panel.xlim)
        assert axis.get_ylim()[0] <= panel.ylim[0] and axis.get_ylim()[1] >= panel.ylim[1]


@pytest.mark.parametrize(("scale", "seeds", "words"), [(PAPER, 2, "2 seeds"), (SMOKE, 1, "1 seed")])
def test_a_figure_says_its_scale_and_its_seeds(scale, seeds, words, tmp_path, sheet):
    chosen = figure("fig09")
    write(tmp_path / "results", chosen, scale, seeds)
    drawn, line = sheet(chosen, scale)
    first, second, *_ = drawn.get_suptitle().splitlines()
    assert first == "Figure 9. Weight decay at a constant learning rate"
    assert second == f"{scale.name} scale, {words}: {scale.what}"
    assert f"{words}, scale {scale.name}" in line


def test_a_figure_whose_runs_differ_in_seeds_says_so(tmp_path, sheet):
    chosen = figure("fig03")
    write(tmp_path / "results", chosen, seeds=1)
    write_one(tmp_path / "results", chosen.runs()[0], seed=1)
    drawn, line = sheet(chosen)
    assert "paper scale, 1 to 2 seeds" in drawn.get_suptitle() and "1 to 2 seeds" in line


def test_a_figure_with_a_missing_run_is_drawn_and_says_so(tmp_path, sheet):
    chosen = figure("fig09")
    write(tmp_path / "results", chosen, runs=chosen.runs()[:-1])
    drawn, line = sheet(chosen)
    assert "3 runs, 1 seed, scale paper, 1 without a result" in line
    for axis in drawn.axes:
        assert legend(axis) == ["WD=1e-3", "WD=1.8e-3", "WD=3.2e-3", "WD=1e-2 (no result)", "published"]


def test_curves_are_drawn_as_they_are_in_the_results(tmp_path, sheet):
    chosen = figure("fig09")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen, published=False)
    for axis, y in zip(drawn.axes, ("test_loss", "test_accuracy"), strict=True):
        for run, line in zip(chosen.runs(), solid(axis), strict=True):
            assert line.get_xdata().tolist() == [row["iteration"] for row in made_up(run)]
            assert line.get_ydata().tolist() == [row[y] for row in made_up(run)]


def test_a_run_with_several_quantities_has_a_curve_of_each(tmp_path, sheet):
    chosen = figure("fig01")
    write(tmp_path / "results", chosen)
    drawn, line = sheet(chosen)
    assert "(1 run, 1 seed, scale paper)" in line
    (run,) = chosen.runs()
    for ours, y in zip(solid(drawn.axes[0]), ("test_loss", "train_loss", "test_accuracy"), strict=True):
        assert ours.get_xdata().tolist() == [row["learning_rate"] for row in made_up(run)]
        assert ours.get_ydata().tolist() == [row[y] for row in made_up(run)]


def test_the_loss_gap_is_the_test_loss_minus_the_training_loss(tmp_path, sheet):
    chosen = figure("fig01")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen)
    (run,) = chosen.runs()
    (gap,) = solid(drawn.axes[1])
    assert gap.get_xdata().tolist() == [row["iteration"] for row in made_up(run)]
    assert gap.get_ydata().tolist() == [row["test_loss"] - row["train_loss"] for row in made_up(run)]


def test_the_loss_gap_of_a_result_is_computed_from_its_columns():
    found = result([2, 4, 6], [3.0, 1.5, np.nan])
    found.columns["train_loss"][:] = [1.0, 2.0, 0.5]
    np.testing.assert_array_equal(found["loss_gap"], [2.0, -0.5, np.nan])
    assert "loss_gap" not in COLUMNS
    line = curve([found], "iteration", "loss_gap")
    assert (line.x.tolist(), line.mean.tolist()) == ([2, 4], [2, -0.5])


def test_a_run_that_starts_from_a_snapshot_has_no_loss_gap_there(tmp_path, sheet):
    # Its first test is made before it has trained on anything.
    found = result([2, 4], [3.0, 1.5])
    found.columns["train_loss"][:] = [np.nan, 1.0]
    assert curve([found], "iteration", "loss_gap").x.tolist() == [4]


def test_several_seeds_have_a_band_and_one_has_none(tmp_path, sheet):
    chosen = figure("fig03")
    write(tmp_path / "results", chosen, runs=chosen.runs()[:1], seeds=3)
    write(tmp_path / "results", chosen, runs=chosen.runs()[1:], seeds=1)
    drawn, _ = sheet(chosen)
    (band,) = [shape for shape in drawn.axes[0].collections if isinstance(shape, PolyCollection)]
    heights = band.get_paths()[0].vertices[:, 1]
    losses = [row["test_loss"] for seed in (0, 2) for row in made_up(chosen.runs()[0], seed)]
    assert heights.min() == pytest.approx(min(losses)) and heights.max() == pytest.approx(max(losses))


# --- the ends of runs ---


def finals(name: str = "fig02") -> Finals:
    (panel,) = [panel for panel in figure(name).panels if isinstance(panel, Finals)]
    return panel


def bars(axis) -> list[list[tuple[float, float, float]]]:
    """Returns (x, low, high) of the range bars, a list for every quantity."""
    groups = [shape for shape in axis.collections if isinstance(shape, LineCollection)]
    return [[(x, *sorted((a, b))) for (x, a), (_, b) in group.get_segments()] for group in groups]


def points(axis) -> list:
    """Returns the lines with a point for every run, one for each quantity."""
    return [line for line in axis.lines if line.get_marker() == "o"]


def test_ends_of_runs_are_points_at_their_places(tmp_path, sheet):
    write(tmp_path / "results", figure("fig02"))
    drawn, line = sheet(figure("fig02"))
    assert "(6 runs, 1 seed, scale paper)" in line
    axis, panel = drawn.axes[1], finals()
    for ends, y in zip(points(axis), panel.y, strict=True):
        assert ends.get_xdata().tolist() == [0.125, 0.25, 0.5, 1, 2, 4]
        assert ends.get_ydata().tolist() == [made_up(run)[-1][y] for run in panel.points.values()]
    for group in bars(axis):
        assert all(low == high for _, low, high in group)
    assert legend(axis) == ["Loss", "Training loss"]
    assert (axis.get_xlabel(), axis.get_xscale(), axis.get_yscale()) == (panel.xlabel, "log", "log")
    assert units(axis.get_ylabel()) == {"(nats)"}


def test_ends_of_runs_have_the_mean_of_their_seeds_and_bars_over_the_range(tmp_path, sheet):
    (first, *others), folder = finals().runs(), tmp_path / "results"
    write(folder, figure("fig02"), runs=others)
    for seed, loss in enumerate((0.5, 0.6, 1.0)):
        write_one(folder, first, seed, test_loss=loss, train_loss=0.25)
    drawn, line = sheet(figure("fig02"))
    assert "1 to 3 seeds" in line
    test, training = points(drawn.axes[1])
    assert test.get_ydata()[0] == pytest.approx(0.7)
    assert training.get_ydata()[0] == pytest.approx(0.25)
    test_bars, training_bars = bars(drawn.axes[1])
    assert test_bars[0] == pytest.approx((0.125, 0.5, 1.0))
    assert training_bars[0] == pytest.approx((0.125, 0.25, 0.25))


def test_a_run_without_an_end_has_no_point(tmp_path, sheet):
    first, second, *others = finals().runs()
    write(tmp_path / "results", figure("fig02"), runs=others)
    write_one(tmp_path / "results", second, 0, "diverged", test_loss=np.nan, train_loss=np.nan)
    drawn, line = sheet(figure("fig02"))
    assert "5 runs, 1 seed, scale paper, 1 without a result" in line
    for ends in points(drawn.axes[1]):
        assert ends.get_xdata().tolist() == [0.5, 1, 2, 4]


def test_a_seed_that_diverged_has_not_come_to_an_end(tmp_path, sheet):
    first, folder = finals().runs()[0], tmp_path / "results"
    write(folder, figure("fig02"))
    write_one(folder, first, 1, "diverged", test_loss=np.nan, train_loss=9.0)
    drawn, _ = sheet(figure("fig02"))
    test, training = points(drawn.axes[1])
    assert (test.get_ydata()[0], training.get_ydata()[0]) == (
        made_up(first)[-1]["test_loss"],
        made_up(first)[-1]["train_loss"],
    )


def test_ends_are_drawn_where_every_run_diverged(tmp_path):
    for run in finals().runs():
        write_one(tmp_path / "results", run, 0, "diverged", test_loss=np.nan, train_loss=np.nan)
    line = plot.draw(figure("fig02"), PAPER, tmp_path / "results", tmp_path / "figures")
    assert "6 runs, 1 seed" in line and (tmp_path / "figures" / "fig02.svg").exists()


# --- drawings from formulas ---


def test_a_sketch_has_a_line_for_each_formula_and_no_numbers(tmp_path, sheet):
    chosen = figure("fig02")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen)
    axis, panel = drawn.axes[0], chosen.panels[0]
    assert isinstance(panel, Sketch)
    test, training = solid(axis)
    for line, formula in ((test, panel.curves["Test data"]), (training, panel.curves["Training data"])):
        x = line.get_xdata()
        assert (x[0], x[-1]) == (0, 1) and len(x) > 100
        assert line.get_ydata().tolist() == [formula(place) for place in x]
        assert axis.get_ylim()[0] <= line.get_ydata().min() and line.get_ydata().max() <= axis.get_ylim()[1]
    assert test.get_color() != training.get_color()
    assert (list(axis.get_xticks()), list(axis.get_yticks())) == ([], [])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Model complexity", "Prediction error")
    assert legend(axis) == ["Test data", "Training data", "optimum"]


def test_a_sketch_marks_the_minimum_of_its_first_curve(tmp_path, sheet):
    chosen = figure("fig02")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen)
    (optimum,) = [line for line in drawn.axes[0].lines if line.get_label() == "optimum"]
    # 2.4 (1 - c)^2 = 1.35 c^2 where the error on the test data is least: c = 4/7
    assert optimum.get_xdata() == [pytest.approx(4 / 7, abs=0.005)] * 2

    first = Sketch("a", "", {"up": lambda c: (c - 0.25) ** 2, "down": lambda c: (c - 0.75) ** 2}, "x", "y")
    drawn, _ = sheet(dataclasses.replace(chosen, panels=(first, *chosen.panels[1:])))
    (optimum,) = [line for line in drawn.axes[0].lines if line.get_label() == "optimum"]
    assert optimum.get_xdata() == [0.25, 0.25]


def test_a_sketch_has_its_words_above_the_curves(tmp_path, sheet):
    chosen = figure("fig02")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen, laid_out=True)
    axis = drawn.axes[0]
    assert {text.get_text(): text.get_position()[0] for text in axis.texts} == {
        "Underfitting": 0.2,
        "Overfitting": 0.85,
    }
    for text in axis.texts:
        assert text.get_window_extent().y0 > max(
            axis.transData.transform((0, np.interp(text.get_position()[0], *line.get_data())))[1]
            for line in solid(axis)
        )


# --- published curves ---


def test_published_curves_are_dashed_in_the_colour_of_ours(tmp_path, sheet):
    chosen = figure("fig09")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen)
    for axis, panel in zip(drawn.axes, chosen.panels, strict=True):
        theirs = published.curves(panel.published)
        ours = {line.get_label(): line.get_color() for line in axis.lines if line.get_linestyle() == "-"}
        for name, line in zip(panel.curves, dashed(axis), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), theirs[name][0])
            np.testing.assert_array_equal(line.get_ydata(), theirs[name][1])
            assert line.get_color() == ours[name]


def test_published_iterations_shrink_with_the_scale_and_learning_rates_do_not(tmp_path, sheet):
    for name in ("fig09", "fig14"):
        write(tmp_path / "results", figure(name), QUICK)
    drawn, _ = sheet(figure("fig09"), QUICK)
    axis, panel = drawn.axes[0], figure("fig09").panels[0]
    assert axis.get_xlim() == (0, 266)
    np.testing.assert_allclose(
        dashed(axis)[0].get_xdata(), published.curves(panel.published)["WD=1e-3"][0] * 266 / 16_000
    )
    assert legend(axis)[-1] == "published, iterations x 0.0166"
    drawn, _ = sheet(figure("fig14"), QUICK)
    axis, panel = drawn.axes[0], figure("fig14").panels[0]
    assert axis.get_xlim() == (0.01, 0.2)
    np.testing.assert_array_equal(dashed(axis)[0].get_xdata(), published.curves(panel.published)["Momentum=0.9"][0])
    assert legend(axis)[-1] == "published"


def test_each_published_curve_is_cut_as_its_own_run_is(tmp_path, sheet):
    chosen = figure("fig05")
    write(tmp_path / "results", chosen, QUICK)
    drawn, _ = sheet(chosen, QUICK)
    axis, panel = drawn.axes[0], chosen.panels[0]
    theirs = published.curves(panel.published)
    cut = {"LR=0.35": 80 / 80_000, "CLR=0.1-3": 50 / 10_000}
    for (name, factor), line in zip(cut.items(), dashed(axis), strict=True):
        np.testing.assert_allclose(line.get_xdata(), theirs[name][0] * factor)
        np.testing.assert_array_equal(line.get_ydata(), theirs[name][1])
    assert [line.get_xdata()[-1] for line in solid(axis)] == [80, 50]
    assert axis.get_xlim() == (0, 80)
    assert legend(axis)[-1] == "published, iterations x 0.001 to 0.005"
    axis = drawn.axes[1]
    assert axis.get_xlim() == (0, 50)
    assert legend(axis)[-1] == "published, iterations x 0.005"


def test_an_axis_of_runs_of_several_lengths_holds_the_longest(tmp_path, sheet):
    chosen = figure("fig06")
    write(tmp_path / "results", chosen, QUICK)
    drawn, _ = sheet(chosen, QUICK)
    lengths = {"TBS=1024": (40, 5_859), "TBS=512": (46, 9_277), "TBS=256": (68, 13_671), "TBS=128": (80, 18_750)}
    for axis, panel in zip(drawn.axes, chosen.panels, strict=True):
        theirs = published.curves(panel.published)
        assert axis.get_xlim() == (0, 80)
        for name, line, ours in zip(panel.curves, dashed(axis), solid(axis), strict=True):
            quick, paper = lengths[name.split(";")[0]]
            np.testing.assert_allclose(line.get_xdata(), theirs[name][0] * quick / paper)
            assert ours.get_xdata()[-1] == quick
        assert legend(axis)[-1] == "published, iterations x 0.00427 to 0.00683"


def test_several_quantities_of_runs_that_are_cut_differently_are_each_cut_as_their_run(tmp_path, sheet):
    chosen = figure("fig06")
    panel = dataclasses.replace(chosen.panels[0], y=("test_accuracy", "test_loss"), published=None)
    theirs = {name: (np.array([0.0, run.iterations]), np.ones(2)) for name, _, run in panel.series()}
    write(tmp_path / "results", chosen, QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "curves", lambda source: theirs)
        panel = dataclasses.replace(panel, published=chosen.panels[0].published)
        drawn, _ = sheet(dataclasses.replace(chosen, panels=(panel,)), QUICK)
    ends = [line.get_xdata()[-1] for line in dashed(drawn.axes[0])]
    assert ends == pytest.approx([40, 40, 46, 46, 68, 68, 80, 80])


@pytest.mark.parametrize("name", ["fig03", "fig12", "fig13"])  # one panel, two beside each other, four
def test_a_long_scale_line_is_wrapped_to_the_width_of_the_sheet(name, tmp_path, sheet):
    write(tmp_path / "results", figure(name), QUICK)
    drawn, _ = sheet(figure(name), QUICK, laid_out=True)
    first, *lines = drawn.get_suptitle().splitlines()
    assert first.startswith("Figure") and " ".join(lines) == f"quick scale, 1 seed: {QUICK.what}"
    title = drawn._suptitle.get_window_extent()
    assert drawn.bbox.x0 <= title.x0 and title.x1 <= drawn.bbox.x1 and title.y1 <= drawn.bbox.y1


@pytest.mark.parametrize("name", FIGURES)
def test_titles_and_labels_are_on_the_sheet_and_below_its_title(name, tmp_path, sheet):
    write(tmp_path / "results", figure(name), QUICK)
    drawn, _ = sheet(figure(name), QUICK, laid_out=True)
    below = drawn._suptitle.get_window_extent().y0
    for axis in drawn.axes:
        for part in (axis._left_title, axis.yaxis.label, axis.xaxis.label, axis.get_legend(), *axis.texts):
            place = part.get_window_extent()
            assert place.x0 >= drawn.bbox.x0 and place.x1 <= drawn.bbox.x1, part
            assert place.y0 >= drawn.bbox.y0 and place.y1 <= below, part


def test_published_curves_can_be_left_out(tmp_path, sheet):
    chosen = figure("fig14")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen, published=False)
    for axis in drawn.axes:
        assert dashed(axis) == [] and not any("published" in text for text in legend(axis))


def test_published_x_is_corrected_as_the_panel_says():
    panel = figure("fig09").panels[0]
    raw = published.curves(dataclasses.replace(panel.published, shift=0.0, factor=1.0))["WD=1e-3"]
    x, y = published.curves(dataclasses.replace(panel.published, shift=200.0, factor=10.0))["WD=1e-3"]
    np.testing.assert_allclose(x, raw[0] * 10 + 200)
    np.testing.assert_array_equal(y, raw[1])


# --- what does not fit ---


def test_a_seed_that_diverged_is_marked_at_the_top_and_counted_in_the_legend(tmp_path, sheet):
    chosen = figure("fig14")
    first = chosen.panels[0].curves["Momentum=0.9"]
    write(tmp_path / "results", chosen, seeds=2)
    write_one(tmp_path / "results", first, 1, "diverged", test_loss=np.nan, learning_rate=0.15)
    drawn, _ = sheet(chosen)
    assert legend(drawn.axes[0])[0] == "Momentum=0.9 (1/2 diverged)"
    assert marks(drawn.axes[0], "x") == [("C0", [0.15])]
    assert marks(drawn.axes[1], "x") == []


def test_a_loss_above_the_axis_is_marked_at_the_edge(tmp_path, sheet):
    chosen = figure("fig09")
    write(tmp_path / "results", chosen)
    second = chosen.runs()[1]
    write_one(tmp_path / "results", second, 0, test_loss=1e6)
    drawn, _ = sheet(chosen)
    loss, accuracy = drawn.axes
    assert marks(loss, "^") == [("C1", [second.iterations])]
    assert marks(accuracy, "^") == []
    assert loss.get_ylim()[1] < 1.2 * HEADROOM * chosen.panels[0].ylim[1]


def test_axes_widen_to_hold_our_curves(tmp_path, sheet):
    chosen = figure("fig09")
    write(tmp_path / "results", chosen)
    write_one(tmp_path / "results", chosen.runs()[0], 0, test_loss=0.3, test_accuracy=0.2)
    write_one(tmp_path / "results", chosen.runs()[1], 0, test_loss=2.5, test_accuracy=0.99)
    drawn, _ = sheet(chosen)
    loss, accuracy = (axis.get_ylim() for axis in drawn.axes)
    assert 0.25 < loss[0] < 0.3 and 2.5 < loss[1] < 3
    assert 0.1 < accuracy[0] < 0.2 and 0.99 < accuracy[1] < 1.1
    assert marks(drawn.axes[0], "^") == []


def test_a_figure_in_which_every_seed_diverged_at_once_is_drawn(tmp_path):
    chosen = figure("fig14")
    for run in chosen.runs():
        (tmp_path / "results").mkdir(exist_ok=True)
        rows = made_up(run, tests=1, test_loss=np.nan, learning_rate=0.02)
        results.write(tmp_path / "results", run, 0, "diverged", rows, {})
    line = plot.draw(chosen, PAPER, tmp_path / "results", tmp_path / "figures")
    assert "6 runs, 1 seed" in line and (tmp_path / "figures" / "fig14.png").exists()


def test_no_figure_stays_open(tmp_path):
    import matplotlib.pyplot as plt

    write(tmp_path / "results", figure("fig03"))
    before = plt.get_fignums()
    plot.draw(figure("fig03"), PAPER, tmp_path / "results", tmp_path / "figures")
    assert plt.get_fignums() == before
