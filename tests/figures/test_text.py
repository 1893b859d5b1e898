"""What fidelity and calibration write, from made-up results."""

import pytest

from smith.analysis import calibration
from smith.figures import text


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
    assert capsys.readouterr().out == "no results at scale paper; smith run fig09 --scale paper\n"
    shelf.add(figure.runs()[0], status="diverged", test_loss=float("nan"))
    shelf.add(figure.runs()[1])
    (path,) = (shelf.root / "results" / "paper").glob("*wd0.0018*")
    path.write_bytes(b"PAR1")
    text.show([figure], shelf.store(), shelf.figures)
    out, err = capsys.readouterr()
    assert "damaged, left out" in err and path.name in err and "in 2 a seed diverged" in out
    whole = (shelf.figures / "fidelity.md").read_text()
    assert "1 of 1 seeds diverged" in whole and "no result at scale paper" in whole and "Scale paper:" in whole


def test_deep_networks_have_further_differences(shelf, experiment):
    lines = text.expectations(experiment("fig11"), shelf.store())
    assert any(line.startswith("Batch norm:") for line in lines) and not any("Scale paper" in line for line in lines)


@pytest.fixture
def calibrated(shelf, experiment):
    """Returns the line and the text of figure 9's calibration, of one curve with this many seeds."""

    def write(*seeds: int) -> tuple[str, str]:
        figure, store = experiment("fig09"), shelf.store("paper")
        for run in calibration.runs(figure, store, ["WD=3.2e-3"]):
            for seed in seeds:
                shelf.add(run, seed, "paper", tests=40)
        line = text.write_calibration(figure, shelf.store("paper"), shelf.figures, 2, ["WD=3.2e-3"])
        return line, (shelf.figures / "calibration" / "fig09.md").read_text()

    return write


def test_calibration_says_the_scores_and_the_choice(calibrated, shelf):
    line, whole = calibrated(0, 1)
    assert line.startswith("fig09 batch size: ")
    assert f"fig09: {shelf.figures / 'calibration' / 'fig09'}.md (scale paper)" in line
    assert "## batch size, panels a, b" in whole and "Only these curves: WD=3.2e-3." in whole
    rows = [row for row in whole.splitlines() if row.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| 256", "| 512", "| 1024"]
    assert all(row.split(" | ")[1:4] == ["2", "0", "0"] for row in rows)
    assert "The experiment has 512. Choice: " in whole
    assert (shelf.figures / "calibration" / "fig09.png").read_bytes().startswith(b"\x89PNG")


def test_calibration_says_what_is_missing(calibrated):
    line, whole = calibrated(0)
    assert "not decided: 3 results missing" in line and "not decided: 3 results missing" in whole


def test_the_alternatives_are_drawn_over_the_published_curve(calibrated, shelf, experiment):
    calibrated(0, 1)
    a, b = text._alternatives(experiment("fig09"), shelf.store("paper"), ["WD=3.2e-3"])
    assert (a.heading, b.y.label) == ("a  WD=3.2e-3: batch size", "Test error (fraction)")
    theirs, *values = a.series
    assert [series.name for series in values] == ["256", "512", "1024"] and theirs.published
    right = theirs.published[0].max()
    assert all(len(series.seeds) == 2 and line[0].max() <= right for series in values for line in series.seeds.values())


def test_what_a_scale_can_not_tell_apart_is_not_decided(shelf, experiment):
    line = text.write_calibration(experiment("fig09"), shelf.store("smoke"), shelf.figures, 1)
    assert "scale smoke trains the same run for every value" in line
    assert not (shelf.figures / "calibration" / "smoke" / "fig09.png").exists()
