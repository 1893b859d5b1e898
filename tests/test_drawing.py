"""Drawing: what is made of results, seeds and published curves, without training anything."""

import dataclasses
import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from smith import cli, drawing, published, results, scales
from smith.drawing import HEADROOM, LABELS, curve
from smith.figure import Figure
from smith.results import COLUMNS, Result
from smith.run import Run
from smith.scales import Scale

ROOT = Path(drawing.__file__).resolve().parent.parent
PAPER, SMOKE, QUICK = map(scales.named, ("paper", "smoke", "quick"))


def figure(name: str) -> Figure:
    return cli.experiments([name])[0]


def made_up(run: Run, seed: int = 0, tests: int = 8, **changes: float) -> list[dict[str, float]]:
    """Returns rows over the whole of a run: a loss that falls from 1.4 to about 0.7; `changes` are of the last row."""
    rows = []
    for i in range(1, tests + 1):
        part = i / tests
        values = {
            "iteration": max(1, round(part * run.iterations)),
            "learning_rate": 0.01 * part,
            "momentum": 0.7 + 0.3 * part,
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

    def draw(chosen: Figure, scale: Scale = PAPER, **options):
        sheets = []
        monkeypatch.setattr(drawing, "_save", lambda sheet, path: sheets.append(sheet))
        line = drawing.draw(chosen, scale, tmp_path / "results", tmp_path / "figures", **options)
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
        line = drawing.draw(chosen, PAPER, tmp_path / "results", target)
        assert line == f"fig14: {target / 'fig14.png'} (6 curves, 2 seeds, scale paper)"
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
        line = drawing.draw(chosen, scale, tmp_path / scale.name, tmp_path / "figures")
        assert str(tmp_path / place / "fig03.png") in line
        assert (tmp_path / place / "fig03.svg").exists()


def test_without_results_there_is_a_line_and_no_file(tmp_path):
    line = drawing.draw(figure("fig09"), QUICK, tmp_path / "nowhere", tmp_path / "figures")
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
    write(tmp_path / "results" / "smoke", figure("fig09"), SMOKE)
    code = """if True:
        import sys
        sys.modules.update(dict.fromkeys(("jax", "flax", "optax", "orbax", "tensorflow_datasets", "tensorflow")))
        from smith import cli
        folder = sys.argv[1]
        cli.main(["draw", "fig09", "--scale", "smoke", "--results-dir", folder, "--figures-dir", folder])
    """
    command = [sys.executable, "-c", code, str(tmp_path / "results")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 curves, 1 seed, scale smoke" in done.stdout
    assert len(list((tmp_path / "results" / "smoke").glob("fig09.*"))) == 2


# --- what is in a figure ---


@pytest.mark.parametrize("name", cli.modules())
def test_every_figure_has_its_panels_curves_axes_and_units(name, tmp_path, sheet):
    chosen = figure(name)
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen)
    axes = [axis for axis in drawn.axes if axis.has_data()]
    assert len(axes) == len(chosen.panels)
    for axis, panel in zip(axes, chosen.panels, strict=True):
        names = [curve for curve, *_ in panel.series()]
        assert legend(axis) == [*names, "published"]
        assert axis.get_title(loc="left") == f"{panel.label}  {panel.title}"
        assert axis.get_xlabel() == LABELS[panel.x]
        for y in panel.ys:
            assert LABELS[y] in axis.get_ylabel()
            assert LABELS[y].endswith(("(nats)", "(fraction)"))
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
    assert "3 curves, 1 seed, scale paper, 1 without a result" in line
    for axis in drawn.axes:
        assert legend(axis) == ["WD=1e-3", "WD=1.8e-3", "WD=3.2e-3", "WD=1e-2 (no result)", "published"]


def test_curves_are_drawn_as_they_are_in_the_results(tmp_path, sheet):
    chosen = figure("fig09")
    write(tmp_path / "results", chosen)
    drawn, _ = sheet(chosen, published=False)
    for axis, y in zip(drawn.axes, ("test_loss", "test_accuracy"), strict=True):
        for run, line in zip(chosen.runs(), [line for line in axis.lines if line.get_linestyle() == "-"], strict=True):
            assert line.get_xdata().tolist() == [row["iteration"] for row in made_up(run)]
            assert line.get_ydata().tolist() == [row[y] for row in made_up(run)]


def test_several_seeds_have_a_band_and_one_has_none(tmp_path, sheet):
    chosen = figure("fig03")
    write(tmp_path / "results", chosen, runs=chosen.runs()[:1], seeds=3)
    write(tmp_path / "results", chosen, runs=chosen.runs()[1:], seeds=1)
    drawn, _ = sheet(chosen)
    (band,) = [shape for shape in drawn.axes[0].collections if isinstance(shape, PolyCollection)]
    heights = band.get_paths()[0].vertices[:, 1]
    losses = [row["test_loss"] for seed in (0, 2) for row in made_up(chosen.runs()[0], seed)]
    assert heights.min() == pytest.approx(min(losses)) and heights.max() == pytest.approx(max(losses))


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
    assert axis.get_xlim() == (0, 320)
    np.testing.assert_allclose(dashed(axis)[0].get_xdata(), published.curves(panel.published)["WD=1e-3"][0] / 50)
    assert legend(axis)[-1] == "published, iterations x 0.02"
    drawn, _ = sheet(figure("fig14"), QUICK)
    axis, panel = drawn.axes[0], figure("fig14").panels[0]
    assert axis.get_xlim() == (0.01, 0.2)
    np.testing.assert_array_equal(dashed(axis)[0].get_xdata(), published.curves(panel.published)["Momentum=0.9"][0])
    assert legend(axis)[-1] == "published"


def test_a_long_scale_line_is_wrapped_to_the_width_of_a_single_panel(tmp_path, sheet):
    write(tmp_path / "results", figure("fig12"), QUICK)
    drawn, _ = sheet(figure("fig12"), QUICK)
    lines = drawn.get_suptitle().splitlines()
    assert len(lines) == 3 and max(map(len, lines)) < 85


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
    line = drawing.draw(chosen, PAPER, tmp_path / "results", tmp_path / "figures")
    assert "6 curves, 1 seed" in line and (tmp_path / "figures" / "fig14.png").exists()


def test_no_figure_stays_open(tmp_path):
    import matplotlib.pyplot as plt

    write(tmp_path / "results", figure("fig03"))
    before = plt.get_fignums()
    drawing.draw(figure("fig03"), PAPER, tmp_path / "results", tmp_path / "figures")
    assert plt.get_fignums() == before
