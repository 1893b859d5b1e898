"""What fidelity and calibration write, from made-up results."""

import pytest

from smith.analysis import calibration
from smith.figures import text
from smith.replicates import author


def test_fidelity_has_panels_curves_and_what_can_not_match(shelf, experiment, capsys):
    figures = [experiment("fig09"), experiment("fig14")]
    shelf.fill(figures[0], "mini", seeds=2)
    text.show(figures, shelf.store("mini"), shelf.figures)
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split() == "Panel Quantity Seeds Curves compared Kendall's tau Of each seed RMSE".split()
    assert [row.split()[:3] for row in rows] == [["fig09a", "Loss", "2"], ["fig09b", "Accuracy", "2"]]
    path = shelf.figures / "mini" / "fidelity.md"
    assert last == f"{path} (8 of 8 curves compared; in 0 a seed diverged, scale mini)"
    whole = path.read_text()
    assert "Values of another experiment can not match" in whole and "- Order of the images:" in whole
    assert "Batch norm" not in whole and figures[0].notes[0] in whole and "fig14" not in whole
    assert "**fig09** a: Test loss (nats); order of 4 curves at the end: Kendall's tau" in whole
    assert whole.count("| WD=") == 8 and "| fig09a | Loss | 2 | 4 of 4 |" in whole


def test_fidelity_says_what_is_missing_damaged_and_diverged(shelf, experiment, capsys):
    figure = experiment("fig09")
    text.show([figure], shelf.store(), shelf.figures)
    assert capsys.readouterr().out == f"no results at scale paper; smith run fig09{shelf.store().options}\n"
    shelf.add(figure.runs()[0], status="diverged", test_loss=float("nan"))
    shelf.add(figure.runs()[1])
    (path,) = (shelf.root / "results" / "paper").glob("*wd0.0018*")
    path.write_bytes(b"PAR1")
    text.show([figure], shelf.store(), shelf.figures)
    assert "in 2 a seed diverged" in capsys.readouterr().out
    whole = (shelf.figures / "fidelity.md").read_text()
    assert "1 of 1 seeds diverged" in whole and "no result at scale paper" in whole and "Scale paper:" in whole


def test_deep_networks_have_further_differences(shelf, experiment):
    lines = text.expectations(experiment("fig11"), shelf.store())
    assert any(line.startswith("Batch norm:") for line in lines) and not any("Scale paper" in line for line in lines)


@pytest.fixture
def calibrated(shelf, experiment):
    """Returns the line and the text of figure 9's calibration, of one curve with these seeds."""

    def write(*seeds: int, asked: int = 2) -> tuple[str, str]:
        figure = experiment("fig09")
        for run in calibration.runs(figure, ["WD=3.2e-3"]):
            for seed in seeds:
                shelf.add(run, seed, "paper", tests=40)
        line = text.write_calibration(figure, shelf.store("paper"), shelf.figures, asked, ["WD=3.2e-3"])
        sheet = shelf.figures / "calibration" / "fig09-WD=3.2e-3.md"
        return line, sheet.read_text() if sheet.exists() else ""

    return write


def test_calibration_says_the_scores_and_the_choice(calibrated, shelf):
    line, whole = calibrated(0, 1)
    assert line.startswith("fig09 batch size: ")
    assert f"fig09: {shelf.figures / 'calibration' / 'fig09-WD=3.2e-3'}.md (scale paper)" in line
    assert "## batch size, panels a, b" in whole and "Only these curves: WD=3.2e-3." in whole
    rows = [row for row in whole.splitlines() if row.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 256", "| 512", "| 1024"]
    assert all(row.split(" | ")[1:4] == ["2", "0", "0"] for row in rows)
    assert "The experiment has 512. Choice: " in whole
    assert (shelf.figures / "calibration" / "fig09-WD=3.2e-3.png").read_bytes().startswith(b"\x89PNG")


def test_a_calibration_of_the_author_s_runs_has_a_sheet_of_its_own(calibrated, shelf, experiment):
    before, figure = calibrated(0, 1)[1], experiment("fig09")
    for run in calibration.runs(figure, ["WD=3.2e-3"]):
        for number in range(2):
            shelf.add(author(run, number), number, "paper", tests=40)
    text.write_calibration(figure, shelf.store("paper", "author"), shelf.figures, 2, ["WD=3.2e-3"])
    sheet = shelf.figures / "paper-author" / "calibration" / "fig09-WD=3.2e-3.md"
    assert "Scale paper, recipe author: " in sheet.read_text() and calibrated(0, 1)[1] == before


def test_a_calibration_with_results_missing_is_told_and_replaces_nothing(calibrated):
    line, whole = calibrated(0)
    assert "not decided: 3 results missing" in line and "not written, 3 results missing" in line and not whole
    before = calibrated(0, 1)[1]
    assert "not written" in calibrated(0, 1, asked=3)[0] and calibrated(0, 1)[1] == before != ""


def test_a_comparison_of_some_figures_has_a_name_of_its_own(shelf, experiment):
    shelf.fill(experiment("fig09"))
    text.show([experiment("fig09"), experiment("fig14")], shelf.store(), shelf.figures)
    before = (shelf.figures / "fidelity.md").read_bytes()
    text.show([experiment("fig14")], shelf.store(), shelf.figures, "fidelity-fig14")
    assert (shelf.figures / "fidelity.md").read_bytes() == before


def test_the_alternatives_are_drawn_over_the_published_curve(calibrated, shelf, experiment):
    calibrated(0, 1)
    a, b = text._alternatives(experiment("fig09"), shelf.store("paper"), ["WD=3.2e-3"])
    assert (a.heading, b.y.label) == ("a  WD=3.2e-3: batch size", "Test error (fraction)")
    theirs, *values = a.series
    assert [series.name for series in values] == ["256", "512", "1024"] and theirs.published
    right = theirs.published[0].max()
    assert all(len(series.seeds) == 2 and line[0].max() <= right for series in values for line in series.seeds.values())
