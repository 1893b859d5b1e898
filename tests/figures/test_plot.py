"""Drawings: what Matplotlib is given of a view, where words stand on the sheet, and the files."""

import dataclasses
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image
from processes import python

from smith import figures
from smith.figure import Figure, Finals, Panel
from smith.figures import plot
from smith.figures.panels import views
from smith.replicates import author
from smith.run import Run, iterations

RUN = Run("mnist", "lenet", batch_size=16, length=iterations(80), lr=0.01, solver="sgd", test_every=iterations(10))
OTHER = RUN.replace(weight_decay=1e-3)
FIGURE = Figure("mine", "Two of them", (Panel("a", {"one": RUN, "other": OTHER}, ylim=(0.5, 1.5)),))


@pytest.fixture
def sheet(monkeypatch, shelf):
    """Draws an experiment; returns the Matplotlib figure, laid out, instead of saving it."""

    def draw(chosen, scale: str = "paper", recipe: str = "seeds", **options):
        sheets = []
        monkeypatch.setattr(plot, "_save", lambda sheet, *_: (sheet.draw_without_rendering(), sheets.append(sheet)))
        figures.draw(chosen, shelf.store(scale, recipe), shelf.figures, **options)
        return sheets[0]

    return draw


def lines(axis, style: str = "-", width: float | None = None) -> list:
    """Returns the curves of a kind."""
    found = [line for line in axis.lines if line.get_linestyle() == style and len(line.get_xdata())]
    return [line for line in found if width is None or line.get_linewidth() == width]


def marks(axis, marker: str) -> list[tuple[str, list[float]]]:
    """Returns (colour, x) of the marks of a kind, all of which stand at the top edge."""
    found = [line for line in axis.lines if line.get_marker() == marker and len(line.get_xdata())]
    assert all(set(line.get_ydata()) == {axis.get_ylim()[1]} and not line.get_clip_on() for line in found)
    return [(line.get_color(), list(line.get_xdata())) for line in found]


def legend(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


# --- what is drawn ---


def test_curves_are_drawn_as_they_are_in_the_view(shelf, sheet, experiment):
    chosen = experiment("fig09")
    shelf.fill(chosen)
    drawn = sheet(chosen)
    for axis, view in zip(drawn.axes, views(chosen, shelf.store()), strict=True):
        for series, ours, theirs in zip(view.series, lines(axis), lines(axis, "--"), strict=True):
            np.testing.assert_array_equal(ours.get_data(), series.mean)
            np.testing.assert_array_equal(theirs.get_data(), series.published)
            assert ours.get_color() == theirs.get_color() == f"C{series.colour}"
        assert legend(axis) == [*(series.name for series in view.series), "published"]
        assert axis.get_title(loc="left").split() == view.heading.split()
        assert (axis.get_xlabel(), axis.get_ylabel()) == (view.x.label, view.y.label)
        assert axis.get_xlim() == pytest.approx(view.x.range) and axis.get_ylim() == pytest.approx(view.y.range)
        assert axis.get_yscale() == ("log" if view.y.log else "linear")


def test_seeds_are_thin_lines_and_the_legend_says_so(shelf, sheet):
    for seed in range(3):
        shelf.add(RUN, seed)
    shelf.add(OTHER)
    axis = sheet(FIGURE).axes[0]
    assert [len(lines(axis, width=width)) for width in (0.5, 1.4)] == [3, 2]
    assert legend(axis) == ["one", "other", "each seed (thick: their mean, while none has diverged)"]


def test_a_mean_is_not_drawn_past_the_first_death(shelf, sheet):
    shelf.add(RUN, 0)
    shelf.add(RUN, 1, status="diverged", tests=6, iteration=10.0 * np.arange(1, 7), test_loss=np.nan)
    axis = sheet(FIGURE).axes[0]
    (mean,) = lines(axis, width=1.4)
    assert max(mean.get_xdata()) < 60 and [max(line.get_xdata()) for line in lines(axis, width=0.5)] == [80, 50]
    assert marks(axis, "x") == [("C0", [60])] and legend(axis)[0] == "one (1/2 diverged)"
    assert legend(axis)[-1] == "top edge: one diverged there"


def test_a_curve_of_one_test_is_a_dot(shelf, sheet):
    shelf.add(RUN, tests=1)
    axis = sheet(FIGURE).axes[0]
    assert [line.get_xdata().tolist() for line in axis.lines if line.get_marker() == "o"] == [[80]]


def test_where_a_line_falls_off_a_logarithmic_axis_the_legend_says_so(shelf, sheet):
    shelf.add(RUN, test_loss=-1.0)
    assert legend(sheet(FIGURE).axes[0])[-1] == "straight down: not above 0"


def test_the_colours_of_curves_are_in_the_file_as_they_are(shelf):
    shelf.fill(FIGURE)
    figures.draw(FIGURE, shelf.store(), shelf.figures)
    image = Image.open(shelf.figures / "mine.png").convert("RGB")
    there = {colour for _, colour in image.getcolors(image.width * image.height)}
    assert {(255, 255, 255), (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= there and len(there) <= 256


def test_a_mean_above_the_axis_is_a_triangle_at_its_edge_and_a_curve_without_a_result_is_named(shelf, sheet):
    shelf.add(OTHER, test_loss=1e6)
    axis = sheet(FIGURE).axes[0]
    assert marks(axis, "^") == [("C1", [80])] and marks(axis, "x") == []
    assert legend(axis) == ["one (no result)", "other", "top edge: the mean is above"]


def test_ends_of_runs_are_points_and_dots(shelf, sheet):
    for seed, loss in enumerate((0.5, 0.7)):
        shelf.add(RUN, seed, test_loss=loss)
    shelf.add(OTHER, status="diverged", test_loss=np.nan)
    finals = Finals("b", {"": {0.5: RUN, 2.0: OTHER}}, "Width", y=("test_loss",))
    axis = sheet(dataclasses.replace(FIGURE, panels=(finals,))).axes[0]
    (means,) = [line for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(means.get_data(), ([0.5, 2], [0.6, np.log(10)]))
    assert sorted(y for line in axis.lines if line.get_marker() == "." for y in line.get_ydata())[:2] == [0.5, 0.7]
    assert legend(axis) == ["Loss, mean of seeds (dots)", "1 diverged, drawn as guessing"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0.5", "2"]


def test_a_panel_without_a_result_is_drawn_beside_one_that_has_some(shelf, sheet):
    """A logarithmic axis has no place for nothing."""
    shelf.add(RUN)
    empty = Finals("b", {"": {16: OTHER, 64: OTHER.replace(batch_size=64)}}, "Batch size", y=("test_loss",), log=True)
    _, axis = sheet(dataclasses.replace(FIGURE, panels=(*FIGURE.panels, empty))).axes
    assert legend(axis) == ["Loss", "2 without a result"]


def test_rows_of_a_table_have_dots_bars_and_names(shelf, sheet, experiment):
    table = experiment("table1")
    shelf.fill(table, seeds=2)
    drawn = sheet(table)
    for axis, view in zip(drawn.axes, views(table, shelf.store()), strict=True):
        published, ours = (container.lines[0] for container in axis.containers)
        assert list(published.get_xdata()) == list(view.series[0].published[1])
        assert list(ours.get_xdata()) == list(view.series[0].mean[1])
        assert all(above < below for above, below in zip(ours.get_ydata(), published.get_ydata(), strict=True))
        assert [text.get_text() for text in axis.get_yticklabels()] == list(view.x.ticks.values())
    assert drawn.axes[0].get_legend() is None and len(legend(drawn.axes[1])) == 2


# --- words ---


@pytest.mark.parametrize(("seeds", "words"), [((1, 1), "1 seed"), ((1, 3), "1 to 3 seeds")])
def test_a_figure_says_its_scale_and_its_seeds(seeds, words, shelf, sheet):
    for run, count in zip((RUN, OTHER), seeds, strict=True):
        for seed in range(count):
            shelf.add(run, seed, "mini")
    first, *rest = sheet(FIGURE, "mini").get_suptitle().splitlines()
    what = shelf.store("mini").scale.describe(FIGURE.runs())
    assert first == "mine. Two of them" and " ".join(rest) == f"mini scale, {words}: {what}"


def test_a_figure_says_that_its_runs_differ_as_the_author_s(shelf, sheet):
    for number in range(2):
        shelf.add(author(RUN, number), number)
    assert "\npaper scale, recipe author, 2 author's runs: " in sheet(FIGURE, "paper", "author").get_suptitle()


@pytest.mark.parametrize("name", ["fig02", "fig07", "table1"])
def test_all_words_are_on_the_sheet_and_on_nothing_else(name, shelf, sheet, experiment):
    shelf.fill(experiment(name), "mini", seeds=2)
    drawn = sheet(experiment(name), "mini")
    below = drawn._suptitle.get_window_extent().y0
    for axis in drawn.axes:
        ticks = axis.get_yticklabels() if name.startswith("table") else []
        texts = [text for text in (axis._left_title, axis.yaxis.label, axis.xaxis.label, *ticks) if text.get_text()]
        for part in filter(None, [*texts, axis.get_legend()]):
            place = part.get_window_extent()
            assert drawn.bbox.x0 <= place.x0 and place.x1 <= drawn.bbox.x1, part
            assert drawn.bbox.y0 <= place.y0 and place.y1 <= below, part
        if axis.get_legend():
            assert axis.get_legend().get_window_extent().y1 <= axis.xaxis.label.get_window_extent().y0


def test_words_are_shown_as_they_are_written(shelf, sheet):
    runs = {"_hidden": RUN, "$x_1$ & {y}": OTHER, r"\alpha": RUN.replace(weight_decay=0.1), "$": RUN.replace(lr=0.1)}
    for run in runs.values():
        shelf.add(run)
    drawn = sheet(dataclasses.replace(FIGURE, title=r"50 $ and $\frac", panels=(Panel("a", runs, title="$^_"),)))
    assert [text.strip() for text in legend(drawn.axes[0])] == list(runs)
    assert drawn.axes[0].get_title(loc="left") == "a  $^_" and not drawn._suptitle.get_parse_math()


# --- the files ---


def test_the_same_results_give_the_same_bytes(shelf):
    shelf.add(RUN, 0)
    shelf.add(RUN, 1)
    drawn = []
    for target in (shelf.root / "first", shelf.root / "second"):
        line = figures.draw(FIGURE, shelf.store(), target)
        assert line == f"mine: {target / 'mine.png'} (1 run, 2 seeds, scale paper, 1 without a result)"
        drawn.append([(target / f"mine.{kind}").read_bytes() for kind in ("png", "svg")])
    assert drawn[0] == drawn[1]
    png, svg = drawn[0]
    assert png.startswith(b"\x89PNG") and 10_000 < len(png) < 100_000
    assert xml.etree.ElementTree.fromstring(svg).tag.endswith("svg") and b"dc:date" not in svg


def test_reports_and_drawings_need_no_jax_and_no_backend_or_style_of_the_user_matters(shelf, experiment):
    for name in ("speed", "table1"):
        shelf.fill(experiment(name), "smoke")
    code = """if True:
        import sys
        from pathlib import Path
        from smith import experiments, scales
        from smith.analysis.claims import CLAIMS
        from smith.figures import report
        from smith.store import Store
        found = [one.shows for one in experiments.find(["speed", "table1"])]
        claims = {"C05": CLAIMS["C05"]}
        report.write(found, claims, {}, [Store(Path("results"), scales.named("smoke"))], [Path("none")], Path("report"))
        slow = {"jax", "flax", "optax", "orbax", "tensorflow_datasets", "matplotlib.pyplot"} & set(sys.modules)
        assert not slow, slow
    """
    (shelf.root / "matplotlibrc").write_text("savefig.dpi: 10\ntext.usetex: True\nfont.size: 20\n")
    done = python("-c", code, cwd=shelf.root, MPLBACKEND="inline")
    assert (done.returncode, done.stderr) == (0, "")
    figures.draw(experiment("speed"), shelf.store("smoke"), shelf.figures)
    ours, theirs = shelf.figures / "smoke" / "speed.png", shelf.root / "report" / "figures" / "smoke" / "speed.png"
    assert ours.read_bytes() == theirs.read_bytes()
    assert sum(path.stat().st_size for path in (shelf.root / "report").rglob("*")) < 8_000_000
