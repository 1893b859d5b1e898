"""The report: what its pages say of made-up results, where they lead, and what becomes of the folder it is in."""

import base64
import dataclasses
import gzip
import html.parser
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from smith import figures
from smith.analysis.places import curve
from smith.analysis.verdicts import Claim, Decision, Finding, Part
from smith.errors import UserError
from smith.figure import Figure, Panel, Table
from smith.figures import plot, report, tables
from smith.figures.panels import view, views
from smith.figures.report import charts, claims, site, words
from smith.replicates import author
from smith.run import Run, iterations
from smith.store import Store

RUN = Run("mnist", "lenet", batch_size=16, length=iterations(80), lr=0.01, solver="sgd", test_every=iterations(10))
DOC = "Figure 9: a search.\n\nThe paper: says so.\n\nCost:    a minute\nNote:    one slip\n         of two lines"


def better(traces) -> float:
    return traces["a"].lines["test_accuracy"][1][..., -1] - traces["b"].lines["test_accuracy"][1][..., -1]


PLACES = {"a": curve("fig09a", "WD=1e-3"), "b": curve("fig09a", "WD=1e-2")}
PART = Part("a ends higher", PLACES, better, 0.1, "points")
CLAIM = Claim("C07", "Small weight decays are <better> & best.", "Remark 0", ("fig09a", "fig16a"), (PART,), "Because.")


class Parsed(html.parser.HTMLParser):
    """A page: its ids, its links, its tags, its text, the charts in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.tags, self.charts = [], [], [], []
        self.text, self._script, self._open = "", False, []
        self.feed(text)
        assert self._open == [], "tags are not closed"
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self._open += [tag] if tag not in ("meta", "link", "img", "input", "br") else []
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] for name in ("href", "src") if named.get(name)]
        self._script = named.get("type") == "application/json"

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.charts.append(json.loads(data))
        else:
            self.text += f" {data}"


SHARED = report._shared


@pytest.fixture(autouse=True)
def shared(monkeypatch) -> None:
    """Plotly's five megabytes are left out, and pictures are drawn quickly: most tests need neither."""
    monkeypatch.setattr(report, "_shared", lambda: dict.fromkeys(("style.css", "report.js", "plotly.js"), b""))
    monkeypatch.setattr(report, "draw", draw_quickly)


def draw_quickly(experiment: Figure | Table, store: Store, target: Path) -> None:
    """Writes a picture of one pixel that says of which results it is, as that of a figure does."""
    said = PngImagePlugin.PngInfo()
    said.add_text("results", store.digest(experiment.runs()))
    folder = store.figures_folder(target)
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("L", (1, 1)).save(folder / f"{experiment.name}.png", pnginfo=said)
    if isinstance(experiment, Table):
        tables.write(experiment, store, folder)


@pytest.fixture
def written(shelf, experiment):
    """Writes a report and returns its pages."""

    def write(names=("fig09", "table1"), scales=("paper", "mini"), of=(CLAIM,), recipe="seeds") -> dict[str, Parsed]:
        shown = [experiment(name) if isinstance(name, str) else name for name in names]
        stores = [shelf.store(scale, recipe) for scale in scales]
        named = {claim.name: claim for claim in of}
        shelf.line = report.write(shown, named, {"fig09": DOC}, stores, [shelf.figures], shelf.root / "report")
        return {path.name: Parsed(path.read_text()) for path in (shelf.root / "report").glob("*.html")}

    return write


# --- pages ---


def test_the_script_carries_plotly_whole():
    package = files("plotly") / "package_data" / "plotly.min.js"
    text = SHARED()["plotly.js"].decode()
    assert gzip.decompress(base64.b64decode(text.split('"')[1])) == package.read_bytes()
    assert len(text) < 0.45 * package.stat().st_size
    assert SHARED() == SHARED(), "the same bytes at any time"


def test_every_link_leads_somewhere_and_pages_are_well_formed(written, shelf, experiment):
    for name in ("fig02", "fig09", "table1"):
        shelf.fill(experiment(name), "mini", seeds=2)
    shelf.add(experiment("fig09").runs()[0], seed=1)
    pages = written(("fig02", "fig03", "fig09", "table1"))
    assert len(pages) == 3 + 4 and "80.0 ± 0.0 (2 seeds) 81.3 ± 0.1 - " in pages["table1.html"].text
    for name, page in pages.items():
        assert len(set(page.ids)) == len(page.ids), name
        assert [page.tags.count(tag) for tag in ("h1", "title", "main")] == [1, 1, 1], name
        for link in page.links:
            file, _, anchor = link.partition("#")
            if link != "data:,":
                assert (shelf.root / "report" / (file or name)).is_file(), (name, link)
                assert not anchor or anchor in pages[file or name].ids, (name, link)


def test_the_overview_has_the_pictures_first_then_the_claims(written, shelf, experiment):
    shelf.fill(experiment("fig09"), "mini", seeds=2)
    page = written()["index.html"]
    assert "figures/mini/fig09.png" in page.links and page.tags.index("img") < page.tags.index("dl")
    claims = "Its 1 claims, at the paper's scale: reproduced 0, not reproduced 0, inconclusive 1; in miniature: holds 0"
    assert claims in page.text and "The paper: says so." in page.text
    assert "mini scale: 8 of 48 runs, 2 seeds" in page.text and CLAIM.says in page.text
    assert "No results yet: smith run table1 --scale paper" in page.text


def test_sheets_of_calibrations_are_those_of_the_scale_and_recipe_that_are_reported(written, shelf, experiment):
    for folder, file in ((".", "fig09.md"), ("mini", "fig09-WD=1e-3.md"), ("paper-author", "fig09.png")):
        (shelf.figures / folder / "calibration").mkdir(parents=True)
        (shelf.figures / folder / "calibration" / file).touch()
    for recipe, sheets in (
        ("seeds", ["figures/paper-calibration/fig09.md", "figures/mini-calibration/fig09-WD=1e-3.md"]),
        ("author", ["figures/paper-calibration/fig09.png"]),
    ):
        links = written(recipe=recipe)["fig09.html"].links
        assert [link for link in links if "calibration" in link] == sheets


def test_pictures_are_of_the_results_that_are_reported(written, shelf, experiment, monkeypatch):
    """Those of other results are not taken, and those of these are not drawn again."""
    monkeypatch.setattr(report, "draw", figures.draw)
    figure = experiment("speed")
    shelf.fill(figure, "mini")
    written(["speed"], of=())
    shown, digest = shelf.root / "report" / "figures" / "mini" / "speed.png", shelf.store("mini").digest(figure.runs())
    assert plot.shows(shown) == digest
    shelf.add(figure.runs()[0], 1, "mini")
    written(["speed"], of=())
    assert plot.shows(shown) == shelf.store("mini").digest(figure.runs()) != digest
    monkeypatch.setattr(report, "draw", pytest.fail)
    written(["speed"], of=())


def test_scales_are_never_mixed_and_the_largest_is_first(written, shelf, experiment):
    figure = experiment("fig09")
    shelf.fill(figure, "mini", seeds=2)
    shelf.fill(figure, "paper")
    page = written()["fig09.html"]
    assert [i for i in page.ids if i in ("paper", "mini")] == ["paper", "mini"]
    layers = [[(t["meta"]["layer"], chart["places"][t["x"]][-1]) for t in chart["data"]] for chart in page.charts]
    ours = [[end for layer, end in chart if layer == "mean"] for chart in layers]
    theirs = [any(layer == "published" for layer, _ in chart) for chart in layers]
    short = shelf.store("mini").trained(figure.runs()[0]).iterations
    assert [max(filter(None, of), default=0) for of in ours] == [16_000, 16_000, short, 0, short, 0]
    assert theirs == [True, True, False, True, False, True]  # in miniature the paper's have charts of their own
    assert "Scale paper, 1 seed" in page.text and "4 of 16 runs, 1 seed" in page.text


def test_a_page_has_settings_cost_origin_fidelity_notes_and_assumptions(written, shelf, experiment):
    shelf.fill(experiment("fig09"))
    page = written()["fig09.html"]
    for text in (
        "6 device minutes on cpu: one",
        "Commit abc",
        "JAX not recorded",
        "Date 2026-11-24",
        "Multistep(value 0.005, factor 0.316",
        "16,000 iterations (164 epochs)",
        "How near ours come to the published curves",
        "order of 4 curves at the end: Kendall's tau",
        "the author's came in the same order in every epoch",
        "batch size: 512; may be 256, 512, 1024; to try them: smith calibrate fig09",
        "Cost a minute Note one slip of two lines",
    ):
        assert text in page.text, text
    assert "claims.html#C07" in page.links


def test_a_page_says_what_the_early_clues_are_of_each_curve(written, shelf, experiment):
    falling, rising = np.linspace(2, 1, 20), np.r_[np.linspace(2, 1, 10), np.linspace(1, 1.5, 10)]
    runs = experiment("fig09").panels[0].curves
    for seed, loss in enumerate((rising, rising, falling)):
        shelf.add(runs["WD=1e-3"], seed, tests=20, test_loss=loss, train_loss=falling)
    shelf.add(runs["WD=1e-2"], 0, status="diverged", tests=20, test_loss=rising, train_loss=falling)
    text = written()["fig09.html"].text
    assert "Curve Seeds Flat to the end Overfits Underfits" in text
    assert "a: WD=1e-3; b: WD=1e-3 3 0 2, from 52% on 1 Flat:" in text  # and no row of the one that diverged


def test_no_results_at_all(written):
    pages = written()
    assert "No results yet" in pages["fig09.html"].text and "smith run fig09 --scale paper" in pages["fig09.html"].text
    drawn = [t for chart in pages["fig09.html"].charts for t in chart["data"] if t["y"] != [None]]
    assert {t["meta"]["layer"] for t in drawn} == {"published"}
    assert "no results yet" in pages["claims.html"].text
    assert pages["fig09.html"].text.count("batch size: 512; may be") == 1
    assert "Assumed: batch size" not in pages["fig09.html"].text  # says the same


def test_damaged_foreign_and_strange_results_are_named_and_left_out(written, shelf, experiment):
    figure = experiment("fig09")
    shelf.fill(figure)
    before = written()["fig09.html"].charts
    shelf.add(RUN)
    shelf.add(figure.runs()[0].replace(batch_size=256))  # a run of its calibration, and in its place
    shelf.add(author(figure.runs()[0], 1), 1, test_loss=0.7)  # and one of another recipe, which is shown with that
    folder = shelf.root / "results" / "paper"
    victim = folder / "cifar10-0123456789-seed7.parquet"
    victim.write_bytes(b"not Parquet")
    (folder / f"{victim.name}.damaged-0a0b0c").write_bytes(b"")
    pages = written()
    text = pages["results.html"].text
    assert "Damaged: 1" in text and victim.name in text and "Set aside as damaged: 1" in text
    assert "Not asked for by any experiment: 1" in text and "7 readable results" in text
    assert "0 of 80 runs, 0 seeds smith run table1 --scale paper" in text
    assert pages["fig09.html"].charts == before
    assert "Left out at scale paper, as damaged or not readable : 1 file." in pages["index.html"].text
    rows = gzip.decompress((shelf.root / "report" / "results.csv.gz").read_bytes()).decode().splitlines()
    assert len(rows) == 8 and all(",done,8,0.7,0.8,cpu: one,90,abc," in row for row in rows[1:])


def test_a_scale_that_can_not_hold_an_experiment_says_why(written, shelf, monkeypatch):
    def refuse(self, run, seed=0):
        raise UserError("a step size is cut to nothing")

    monkeypatch.setattr(type(shelf.store()), "trained", refuse)
    pages = written(("table1",), of=())
    assert "a step size is cut to nothing" in pages["table1.html"].text + pages["results.html"].text


def test_names_are_escaped_and_may_be_those_of_pages(written, shelf):
    name = "<script>alert(1)</script> %{y} & </script>"
    shelf.add(RUN)
    pages = written([Figure("index", name, (Panel("a", {name: RUN}, title=name),), (name,))], of=())
    text = (shelf.root / "report" / "experiment-index.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    trace = pages["experiment-index.html"].charts[0]["data"][0]
    assert trace["meta"]["said"].startswith("<b>&lt;script&gt;alert(1)&lt;/script&gt; % {y}")
    assert "Figures and tables" in pages["index.html"].text


# --- charts ---


def test_a_chart_has_the_series_of_the_view(shelf, experiment):
    panel = experiment("fig09").panels[0]
    for seed in range(3):
        shelf.add(panel.runs()[0], seed)
    shelf.add(panel.runs()[1], 0, status="diverged", test_loss=np.nan)
    shelf.add(panel.runs()[2], 0, test_loss=1e9)
    shown = view(panel, shelf.store())
    chart = charts.chart(shown)
    layers = [t["meta"]["layer"] for t in chart["data"] if t["meta"]["colour"] == 0]
    assert layers == ["published", "seed", "seed", "seed", "mean"]
    mean = chart["data"][4]
    assert mean["y"] == charts.rounded(shown.series[0].mean[1]) and mean["name"] == "WD=1e-3"
    assert mean["meta"]["said"] == "<b>WD=1e-3</b> mean of 3 seeds" and "Iteration %{x" in chart["hover"]["place"]
    places = chart["places"]
    assert places[mean["x"]] == charts.rounded(shown.series[0].mean[0]) and len(places) == len(set(map(tuple, places)))
    symbols = {t["marker"]["symbol"]: t for t in chart["data"] if t["mode"] == "markers"}
    assert places[symbols["x-thin-open"]["x"]] == [16_000] and symbols["x-thin-open"]["text"] == ["seed 0 diverged"]
    assert symbols["triangle-up-open"]["y"] == charts.rounded(np.array([shown.top]))
    assert chart["layout"]["yaxis"]["range"] == pytest.approx(np.log10(shown.y.range), rel=1e-4)
    assert chart["layout"]["xaxis"]["title"]["text"] == "Iteration"
    assert places[chart["data"][-1]["x"]] == [None] and "(no result)" in chart["data"][-1]["name"]


def test_rows_ends_and_sketches_are_charts_too(shelf, experiment):
    shelf.fill(experiment("table1"), seeds=2)
    table = charts.chart(views(experiment("table1"), shelf.store())[0])
    (published, *_, ours), places = table["data"], table["places"]
    assert places[ours["x"]] == [80.0] * 10 and ours["y"][0] == -0.16 and len(ours["error_x"]["array"]) == 10
    assert places[published["x"]][0] == 81.3 and published["y"][0] == 0.16
    sketch, finals = (charts.chart(one) for one in views(experiment("fig02"), shelf.store()))
    assert [note["text"] for note in sketch["layout"]["annotations"]] == ["Underfitting", "Overfitting", "optimum"]
    assert len(sketch["layout"]["shapes"]) == 1 and finals["layout"]["xaxis"]["ticktext"][0] == "0.125"


# --- claims ---


@pytest.fixture
def decided(shelf, experiment):
    """Makes four seeds in which the small weight decay is better by so much, for the claim."""

    def make(more: float, seeds: int = 4) -> None:
        for name, run in experiment("fig09").panels[0].curves.items():
            for seed in range(seeds):
                shelf.add(run, seed, test_accuracy=0.6 + (0.001 * seed + more) * (name == "WD=1e-3"))

    return make


def test_claims_of_an_experiments_own_are_counted_by_themselves_after_the_papers(written, decided):
    decided(0.2)
    pages = written(of=(dataclasses.replace(CLAIM, name="mine", says="And mine."), CLAIM))
    first, claims = pages["index.html"], pages["claims.html"]
    assert "Its 1 claims, at the paper's scale: reproduced 1," in first.text
    assert "Beyond the paper, at the paper's scale: reproduced 1," in first.text and "claims.html#own" in first.links
    assert claims.ids.index("C07") < claims.ids.index("own") < claims.ids.index("mine")


def test_a_claim_that_holds_says_its_numbers(written, decided, shelf):
    decided(0.2)
    pages = written()
    numbers = "0.202 [0.199, 0.204]", "seed 3: 0.203", "✓ supported", "At the paper's scale: ✓ reproduced , 4 seeds"
    for text in (*numbers, "Because.", "Remark 0", "fig16a (not here)"):
        assert text in pages["claims.html"].text, text
    assert shelf.line.startswith(
        f"{shelf.root}/report/index.html: at the paper's scale: reproduced 1, not reproduced 0, "
    )


@pytest.mark.parametrize(("more", "seeds", "text"), [(0.0, 4, "✗ not reproduced"), (0.2, 1, "○ inconclusive")])
def test_a_claim_that_fails_or_is_open_says_so_on_every_page(more, seeds, text, written, decided):
    decided(more, seeds)
    pages = written()
    assert all(text in pages[name].text for name in ("index.html", "claims.html", "fig09.html"))
    assert ("Not decided: 1 of 4 seeds" in pages["claims.html"].text) == (seeds == 1)


def test_the_picture_of_a_finding_has_all_marks_in_order():
    finding = Finding(PART, "open", {0: 0.2, 1: 0.4}, 0.3, 0.15, 0.45, 0.5, "")
    at = claims.places(finding)
    assert at["bar"] == claims.EDGE < at["low"] < at["seeds"][0] < at["mean"] < at["seeds"][1] < at["high"]
    assert at["high"] < at["published"] == claims.WIDTH - claims.EDGE
    one = claims.places(Finding(PART, "open", {0: 0.1}, 0.1, np.nan, np.nan, np.nan, ""))
    assert one == {"bar": claims.EDGE, "mean": claims.EDGE, "seeds": [claims.EDGE]}
    assert claims.places(Finding(PART, "open", {}, np.nan, np.nan, np.nan, np.nan, "")) == {}


# --- the README ---


def test_a_claim_of_which_a_part_has_no_result_says_so():
    there, gone = (Finding(PART, "open", effects, 0.2, np.nan, np.nan, 0.5) for effects in ({0: 0.2}, {}))
    table = claims.markdown([[Decision(CLAIM, "paper", "inconclusive", (there, gone))]])
    assert table.endswith("| ○ inconclusive (1 of 2 parts, 1 seed)<br>0.2 |")


def update(path: Path, shelf, experiment, *scales: str) -> bool:
    stores = [shelf.store(scale) for scale in scales]
    return report.update_readme(path, [experiment("fig09")], {"C07": CLAIM}, stores)


def test_the_readme_gets_the_verdicts(shelf, experiment, decided):
    path = shelf.root / "README.md"
    path.write_text("# Title\n\n<!-- claims -->\nbefore\n<!-- /claims -->\n\nthe rest\n")
    decided(0.2)
    assert update(path, shelf, experiment, "paper", "mini")
    text = path.read_text()
    row = f"| C07 | {CLAIM.says} | ✓ reproduced (4 seeds)<br>0.202 [0.199, 0.204] | ○ open, no result |"
    assert row in text.splitlines() and "before" not in text
    assert text.startswith("# Title\n\n<!-- claims -->\n| |") and text.endswith("<!-- /claims -->\n\nthe rest\n")
    inode = path.stat().st_ino
    assert not update(path, shelf, experiment, "paper", "mini") and path.stat().st_ino == inode


@pytest.mark.parametrize(
    "text", ["no marks", "<!-- /claims --><!-- claims -->", "<!-- claims -->" * 2 + "<!-- /claims -->"]
)
def test_a_readme_without_the_marks_is_refused_and_left_alone(shelf, experiment, text):
    path = shelf.root / "README.md"
    path.write_text(text)
    with pytest.raises(UserError, match="README.md: no place for the claims"):
        update(path, shelf, experiment, "paper")
    assert path.read_text() == text
    path.unlink()
    with pytest.raises(UserError, match="no page that can be read"):
        update(path, shelf, experiment, "paper")
    with pytest.raises(UserError, match="--readme shows the scales paper and mini"):
        update(path, shelf, experiment, "smoke")


# --- the folder ---


def test_the_same_results_give_the_same_bytes_and_only_what_is_out_of_date_is_removed(written, shelf, experiment):
    shelf.fill(experiment("fig09"), seeds=2)
    written(("fig09", "fig14"))
    first = {path: path.read_bytes() for path in (shelf.root / "report").rglob("*.*")}
    written(("fig09", "fig14"))
    assert {path: path.read_bytes() for path in (shelf.root / "report").rglob("*.*")} == first
    assert shelf.line.endswith("; 0 files new or changed")
    (shelf.root / "report" / "mine.txt").write_text("mine")
    pages = written(("fig09",))
    assert (shelf.root / "report" / "mine.txt").read_text() == "mine"
    assert "fig14.html" not in pages and "fig09.html" in pages


def test_a_folder_that_is_not_a_report_is_not_overwritten(written, shelf):
    (shelf.root / "report").mkdir()
    (shelf.root / "report" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="index.html is there and is not of a report"):
        written()
    assert [path.name for path in (shelf.root / "report").iterdir()] == ["index.html"]


def test_a_report_that_was_cut_off_can_be_written_again(written, shelf, monkeypatch):
    def full(folder, name, data, real=site._write):
        if name == "index.html":
            raise OSError(28, "No space left on device")
        return real(folder, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(site, "_write", full)
        with pytest.raises(OSError):
            written()
    assert "index.html" in written()


# --- words ---


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-2449.6, "−2,450"), (2e6, "2e6"), (-1e-9, "−1e−9"), (-0.0, "0"), (np.nan, "–")],
)
def test_numbers(value, text):
    assert words.number(value) == text


def test_a_docstring_is_read():
    entries = {"Cost": "a minute", "Note": "one slip of two lines"}
    assert words.notes(DOC) == (["The paper: says so."], entries) and words.notes(None) == ([], {})


def test_every_setting_of_a_run_has_words(experiment):
    for name in ("fig06", "fig12"):
        for run in experiment(name).runs():
            said = words.settings(run)
            assert said["network"] == run.network and said["batch size"] == f"{run.batch_size:,}"
            assert not any("None" in text or "object at" in text for text in said.values()), said
