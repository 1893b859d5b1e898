"""The report: what its pages say of made-up results, where they lead, and what becomes of the folder it is in."""

import hashlib
import html.parser
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_drawing import PAPER, QUICK, figure, made_up, write, write_one

from smith import cli, replicates, scales
from smith.analysis.claims import CLAIMS
from smith.analysis.evidence import Evidence, curve
from smith.analysis.verdicts import Claim, Part
from smith.errors import UserError
from smith.figure import Figure, Panel, Table
from smith.figures import report
from smith.figures.report import charts, health, model, pages, site, verdict_words, words
from smith.figures.report.model import Sources
from smith.store import results

ROOT = Path(cli.__file__).resolve().parent.parent
SHORT = scales.named("short")
FIG09, FIG14, TABLE1 = figure("fig09"), figure("fig14"), cli.experiments(["table1"])[0]
DOC = "Figure 9: a search.\n\nThe paper: says so.\n\nCost:    a minute\nNote:    one slip\n         of two lines"


def better(runs) -> float:
    return float(runs["a"]["test_accuracy"][-1] - runs["b"]["test_accuracy"][-1])


CLAIM = Claim(
    "C99",
    "Small weight decays are <better> & best.",
    "Remark 0",
    ("fig09a", "fig16a"),
    (Part("a ends higher", {"a": curve("fig09a", "WD=1e-3"), "b": curve("fig09a", "WD=1e-2")}, better, 0.1, "points"),),
    "Because.",
)


class Parsed(html.parser.HTMLParser):
    """A page: its ids, its links, its text, the charts in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.charts: list[dict] = []
        self._script = False
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] for name in ("href", "src") if named.get(name)]
        self._script = tag == "script" and named.get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.charts.append(json.loads(data))
        else:
            self.text += f" {data}"


def sources(tmp_path: Path, experiments=(FIG09, TABLE1), claims=(CLAIM,), scale="all", recipe="seeds") -> Sources:
    docs = {"fig09": DOC}
    named = {claim.name: claim for claim in claims}
    return report.gather(experiments, named, docs, scale, recipe, tmp_path / "results", tmp_path / "figures")


def made(tmp_path: Path, experiments=(FIG09, TABLE1), **options) -> dict[str, Parsed]:
    """Writes a report and returns its pages."""
    chosen = sources(tmp_path, experiments, **options)
    report.write(chosen, report.decide(chosen), tmp_path / "report")
    return {path.name: Parsed(path.read_text()) for path in (tmp_path / "report").glob("*.html")}


@pytest.fixture
def shared(monkeypatch) -> None:
    """Plotly's script is left out: five megabytes that most tests need not write."""
    monkeypatch.setattr(report, "_shared", lambda: {"style.css": b"", "report.js": b"", "plotly.min.js": b""})


pytestmark = pytest.mark.usefixtures("shared")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- pages ---


def write_noisy(folder: Path, experiment: Figure | Table, scale=PAPER, seeds: int = 1, runs=None) -> None:
    """Writes made-up results that differ from run to run and test to test, as real ones do."""
    folder.mkdir(parents=True, exist_ok=True)
    for run in map(scale.apply, experiment.runs() if runs is None else runs):
        for seed in range(seeds):
            random = np.random.default_rng([seed, *run.key.encode()])
            rows = made_up(run, seed, tests=20)
            for row in rows:
                row |= {name: row[name] * random.uniform(0.9, 1.1) for name in ("test_loss", "test_accuracy")}
            results.write(folder, run, seed, "done", rows, {})


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Iterator[Path]:
    """A report of all experiments at three scales, with two seeds, gaps, divergence and a drawn figure."""
    folder = tmp_path_factory.mktemp("everything")
    for experiment in cli.experiments(["all"]):
        write_noisy(folder / "results" / "quick", experiment, QUICK, runs=experiment.runs()[:-1])
    write_noisy(folder / "results" / "paper", FIG14, PAPER, seeds=2, runs=FIG14.runs()[1:])
    write_one(folder / "results" / "paper", FIG14.runs()[1], 2, "diverged", test_loss=np.nan)
    write_noisy(folder / "results" / "short", FIG09, SHORT, seeds=2)
    (folder / "figures").mkdir()
    (folder / "figures" / "fig14.svg").write_text("<svg/>")
    docs = {name: sys.modules[module].__doc__ for name, module in cli.modules().items()}
    names = cli.experiments(["all"])
    chosen = report.gather(names, CLAIMS, docs, "all", "seeds", folder / "results", folder / "figures")
    report.write(chosen, report.decide(chosen), folder / "report")
    yield folder / "report"


def parsed(folder: Path) -> dict[str, Parsed]:
    return {path.name: Parsed(path.read_text()) for path in folder.glob("*.html")}


def test_every_link_leads_somewhere_and_nothing_comes_from_elsewhere(everything):
    all_pages = parsed(everything)
    assert len(all_pages) == 4 + len(cli.modules())
    for name, page in all_pages.items():
        for link in page.links:
            file, _, anchor = link.partition("#")
            if link != "data:,":
                assert (everything / (file or name)).is_file(), (name, link)
                assert not anchor or anchor in all_pages[file or name].ids, (name, link)


def test_ids_are_unique_and_each_page_has_one_heading(everything):
    for name, page in parsed(everything).items():
        assert len(set(page.ids)) == len(page.ids), name
        assert page.tags.count("h1") == 1 and page.tags.count("title") == 1 and page.tags.count("main") == 1, name


def test_no_page_is_too_large(everything):
    for path in everything.rglob("*"):
        assert path.name == "plotly.min.js" or path.stat().st_size < 1_000_000, path


def test_the_largest_results_of_the_papers_protocol_fit_on_a_page(tmp_path):
    chosen = [figure(name) for name in ("fig01", "fig05")]  # 400 and 800 tests a run
    for one in chosen:
        for run in one.runs():
            for seed in range(6):
                rows = made_up(run, seed, tests=run.iterations // run.count(run.test_every))
                (tmp_path / "results" / "paper").mkdir(parents=True, exist_ok=True)
                results.write(tmp_path / "results" / "paper", run, seed, "done", rows, {})
    all_pages = made(tmp_path, chosen, claims=())
    for name in ("fig01", "fig05"):
        assert 100_000 < (tmp_path / "report" / f"{name}.html").stat().st_size < 800_000
        assert "6 seeds; mean and range only" in all_pages[f"{name}.html"].text


def test_a_curve_of_many_seeds_is_drawn_as_a_band_only(tmp_path, monkeypatch):
    write(tmp_path, FIG09, SHORT, seeds=12)
    assert layers(tmp_path)[:2] == ["published", "band"] and layers(tmp_path).count("seeds") == 48
    monkeypatch.setattr(charts, "MOST_POINTS", 8 * 95)  # 96 points in each of 8 curves
    assert layers(tmp_path)[:4] == ["published", "band", "ours", "published"]


def layers(folder: Path) -> list[str]:
    """Returns the layers of the traces of figure 9a at short scale."""
    return [trace["meta"]["layer"] for trace in panel_chart(folder, FIG09, SHORT)["data"]]


def test_scales_are_never_mixed_and_the_largest_is_first(everything):
    page = parsed(everything)["fig14.html"]
    assert [i for i in page.ids if i in scales.SCALES] == ["paper", "quick"]
    page = parsed(everything)["fig09.html"]
    assert [i for i in page.ids if i in scales.SCALES] == ["short", "quick"]
    panels = len(FIG09.panels)
    last = [max(t["x"][-1] for t in chart["data"] if t["meta"]["layer"] != "published") for chart in page.charts]
    assert last[:panels] == [1_600] * panels and last[panels:] == [266] * panels


def test_a_page_says_scale_seeds_and_command(everything):
    text = parsed(everything)["fig14.html"].text
    assert "Scale paper, 3 seeds" in text and "Scale quick, 1 seed" in text
    assert "smith run fig14 --scale short" in text


def test_diverged_seeds_are_marked(everything):
    page = parsed(everything)["fig14.html"]
    assert "1 diverged: seed 2 by iteration" in page.text
    crosses = [t for t in page.charts[0]["data"] if t.get("marker", {}).get("symbol") == "x-thin-open"]
    assert len(crosses) == 1 and len(crosses[0]["x"]) == 1


def test_notes_assumptions_and_slips_are_on_the_page(everything):
    text = parsed(everything)["fig14.html"].text
    assert "prints a tenth of the true learning rate" in text and FIG14.notes[0] in text
    assert "The paper: falling cyclical momentum" in text


def test_drawn_figures_can_be_had(everything):
    assert "figures/paper/fig14.svg" in parsed(everything)["fig14.html"].links
    assert (everything / "figures" / "paper" / "fig14.svg").read_text() == "<svg/>"


def test_every_claim_has_its_place(everything):
    all_pages = parsed(everything)
    for name, claim in CLAIMS.items():
        assert name in all_pages["claims.html"].ids
        assert claim.says in all_pages["claims.html"].text and claim.says in all_pages["index.html"].text
        assert claim.why in all_pages["claims.html"].text
    assert "0 reproduced, 0 not reproduced, 16 inconclusive" in all_pages["index.html"].text


def test_a_figure_shows_the_claims_that_name_it(tmp_path):
    page = made(tmp_path)["fig09.html"]
    assert "claims.html#C99" in page.links


def test_settings_cost_and_provenance(tmp_path):
    folder = tmp_path / "results" / "paper"
    folder.mkdir(parents=True)
    for seed, run in enumerate(FIG09.runs()[:2]):
        facts = {
            "seconds": "90",
            "device": "cpu: one",
            "jax": "0.10",
            "git_commit": f"abc{seed}",
            "date": "2026-11-24T1",
        }
        results.write(folder, run, 0, "done", made_up(run), facts)
    write_one(folder, FIG09.runs()[2], 0)
    text = made(tmp_path)["fig09.html"].text
    assert "3 device minutes on cpu: one; not recorded for 1 result" in text
    assert "abc0 (1 result) abc1 (1 result) not recorded (1 result)" in text
    assert "2026-11-24" in text and "Multistep(value 0.005, factor 0.316" in text and "16,000 iterations" in text


def test_a_table_has_ours_published_and_the_difference(tmp_path):
    write(tmp_path / "results" / "paper", TABLE1, seeds=2)
    page = made(tmp_path)["table1.html"]
    assert "80.0 ± 0.0 (2 seeds) 81.3 ± 0.1 −1.3" in page.text
    assert page.charts[0]["data"][0]["x"][0] == 81.3


# --- charts ---


def panel_chart(tmp_path: Path, experiment: Figure, scale=PAPER) -> charts.Chart:
    evidence = Evidence([experiment], scale, tmp_path)
    return model.section(experiment, evidence, sources(tmp_path)).panels[0].chart


def test_the_hover_has_iteration_rate_momentum_and_seed(tmp_path):
    write(tmp_path, FIG09, seeds=2)
    traces = panel_chart(tmp_path, FIG09)["data"]
    seed = next(t for t in traces if t["meta"]["layer"] == "seeds")
    for words_of in ("seed 0", "iteration", "learning rate", "momentum", "weight decay"):
        assert words_of in seed["hovertemplate"]
    assert seed["customdata"][0] == [2_000, 0.00125, 0.7375, 0]


def test_published_iterations_are_cut_as_ours_are(tmp_path):
    write(tmp_path, FIG09, SHORT)
    chart = panel_chart(tmp_path, FIG09, SHORT)
    published = next(t for t in chart["data"] if t["meta"]["layer"] == "published")
    assert 1_500 < max(published["x"]) <= 1_620
    assert chart["layout"]["xaxis"]["range"] == [v / 10 for v in FIG09.panels[0].xlim]


def test_the_mean_and_the_band_are_those_of_the_drawing(tmp_path):
    write(tmp_path, FIG09, seeds=3)
    traces = [t for t in panel_chart(tmp_path, FIG09)["data"] if t["meta"]["curve"] == 0]
    kinds = [t["meta"]["layer"] for t in traces]
    assert kinds == ["published", "band", "seeds", "seeds", "seeds", "ours"]
    assert traces[-1]["y"][-1] == pytest.approx(0.71) and traces[1]["y"][7] == pytest.approx(0.72)


def y_range(tmp_path: Path, *losses: float) -> list[float]:
    """Returns the vertical range of figure 9a with a result for every curve, whose tests end in these losses."""
    for run in FIG09.runs():
        rows = made_up(run, tests=10)
        for row, loss in zip(reversed(rows), reversed(losses), strict=False):
            row["test_loss"] = loss
        tmp_path.mkdir(exist_ok=True)
        results.write(tmp_path, run, 0, "done", rows, {})
    low, high = panel_chart(tmp_path, FIG09)["layout"]["yaxis"]["range"]
    return [10**low, 10**high]


def test_the_axis_is_the_papers_unless_our_curves_are_elsewhere(tmp_path):
    low, high = FIG09.panels[0].ylim
    assert y_range(tmp_path / "near")[0] < low and high < y_range(tmp_path / "near")[1] < 1.2 * high
    assert y_range(tmp_path / "one", 1e35)[1] == pytest.approx(3 * high, rel=0.2)
    assert 30 < y_range(tmp_path / "all", *[1e35] * 10)[1] < 40
    assert y_range(tmp_path / "far", *[12.0] * 10)[1] == pytest.approx(12, rel=0.2)


def test_values_that_are_not_finite_become_null():
    assert charts.rounded([1, np.nan, np.inf, 0.1234567]) == [1, None, None, 0.123457]


# --- fidelity ---


def test_how_near_ours_come_is_on_the_page(tmp_path):
    write(tmp_path / "results" / "paper", FIG09)
    page = made(tmp_path)["fig09.html"]
    assert "Order of 4 curves at the end: Kendall's tau" in page.text and "Best at which iteration" in page.text
    assert "the author's images came in a fixed order" in page.text


def test_panels_that_differ_in_kind_are_told_of_the_papers_scale_only(tmp_path):
    write(tmp_path / "results" / "quick", FIG09, QUICK)
    text = made(tmp_path)["not_reproduced.html"].text
    assert "None: no panel has a result at the scale paper" in text
    (tmp_path / "results" / "paper").mkdir()
    for number, run in enumerate(FIG09.runs()):
        rows = [row | {"test_loss": row["test_loss"] * (1 + number / 10)} for row in made_up(run)]
        results.write(tmp_path / "results" / "paper", run, 0, "done", rows, {})
    text = made(tmp_path)["not_reproduced.html"].text
    assert "Figure 9a , test loss 4 curves end in another order: Kendall's tau" in text


# --- what is missing, damaged, mixed ---


def test_no_results_at_all(tmp_path):
    all_pages = made(tmp_path)
    for name, page in all_pages.items():
        assert "There are no results yet." in page.text and "smith run all --scale paper" in page.text, name
    page = all_pages["fig09.html"]
    assert "smith run fig09 --scale short" in page.text and "Published only" in page.text
    assert {t["meta"]["layer"] for chart in page.charts for t in chart["data"]} == {"published"}
    assert "none yet" in all_pages["index.html"].text


def test_a_missing_curve_says_where_it_would_stand_and_what_trains_it(tmp_path):
    write(tmp_path / "results" / "paper", FIG09, runs=FIG09.runs()[1:])
    text = made(tmp_path)["fig09.html"].text
    assert "1 curve without a result: WD=1e-3" in text
    assert f"{results.path_of(tmp_path / 'results' / 'paper', FIG09.runs()[0], 0)}" in text
    assert f"smith run fig09 --scale paper --results-dir {tmp_path / 'results'}" in text


def test_a_panel_without_any_result_says_so(tmp_path):
    write(tmp_path / "results" / "paper", FIG14, runs=FIG14.runs()[:2])
    text = made(tmp_path, [FIG14], claims=())["fig14.html"].text
    assert text.count("No result of this panel at scale paper.") == 1


def test_damaged_older_and_strange_files_are_named_and_left_out(tmp_path):
    paper = tmp_path / "results" / "paper"
    write(paper, FIG09)
    before = [c for c in made(tmp_path)["fig09.html"].charts]
    victim = results.path_of(paper, FIG09.runs()[0], 7)
    victim.write_bytes(b"not Parquet")
    write(paper, FIG09, SHORT, seeds=1)
    run = replicates.author(FIG14.runs()[0], 1)
    write_one(paper, run, 1)
    (tmp_path / "results" / "old").mkdir()
    all_pages = made(tmp_path, (FIG09, FIG14))
    text = all_pages["missing.html"].text
    assert victim.name in text
    assert text.count("a run of scale short; left out here") == len(FIG09.runs())
    assert "a run of the recipe author; left out here" in text
    assert str(tmp_path / "results" / "old") in text
    assert all_pages["fig09.html"].charts == before


def test_a_result_of_another_format_is_told_apart_from_damage(tmp_path, monkeypatch):
    paper = tmp_path / "results" / "paper"
    paper.mkdir(parents=True)
    monkeypatch.setattr(results, "SCHEMA_VERSION", "0")
    write_one(paper, FIG09.runs()[0], 0)
    monkeypatch.undo()
    (found,) = [h for h in health.examine(sources(tmp_path)) if h.scale == "paper"]
    assert len(found.older) == 1 and not found.damaged and found.results == 0


def test_a_scale_that_can_not_hold_an_experiment_says_why(tmp_path, monkeypatch):
    def refuse(run):
        raise UserError("a step size is cut to nothing")

    small = scales.Scale("quick", "small", seeds=1, length=refuse)
    monkeypatch.setitem(scales.SCALES, "quick", small)
    all_pages = made(tmp_path, claims=())
    assert "a step size is cut to nothing" in all_pages["missing.html"].text


def test_names_are_escaped(tmp_path):
    run = FIG09.runs()[0]
    name = "<script>alert(1)</script> & </script>"
    mine = Figure("mi/ne", name, (Panel("a", name, {name: run}),), (name,))
    write_one(tmp_path / "results" / "paper", run, 0)
    made(tmp_path, [mine], claims=())
    text = (tmp_path / "report" / "mi-ne.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    page = Parsed(text)
    assert page.charts[0]["data"][0]["hovertemplate"].startswith("<b>&lt;script&gt;")


def test_an_experiment_may_be_called_as_a_page_is(tmp_path):
    mine = Figure("index", "Mine", (Panel("a", "A", {"x": FIG09.runs()[0]}),))
    all_pages = made(tmp_path, [mine], claims=())
    assert "Mine" in all_pages["experiment-index.html"].text and "what holds" in all_pages["index.html"].text


# --- verdicts ---


def verdict_of(tmp_path: Path, more: float) -> dict[str, Parsed]:
    paper = tmp_path / "results" / "paper"
    paper.mkdir(parents=True)
    for name, run in FIG09.panels[0].curves.items():
        for seed in range(4):
            accuracy = 0.6 + 0.001 * seed + more * (name == "WD=1e-3")
            results.write(paper, run, seed, "done", made_up(run, seed, test_accuracy=accuracy), {})
    return made(tmp_path, [FIG09])


def test_a_claim_that_holds_is_reproduced_on_every_page(tmp_path):
    all_pages = verdict_of(tmp_path, 0.2)
    assert "1 reproduced, 0 not reproduced, 0 inconclusive" in all_pages["index.html"].text
    assert "✓ reproduced" in all_pages["index.html"].text and "0.2 [0.2, 0.2]" in all_pages["index.html"].text
    assert "None. That says only" in all_pages["not_reproduced.html"].text
    assert "every claim is decided" in all_pages["not_reproduced.html"].text


def test_a_claim_that_fails_is_on_the_page_of_what_did_not_reproduce(tmp_path):
    all_pages = verdict_of(tmp_path, 0.0)
    assert "✗ not reproduced" in all_pages["index.html"].text
    text = all_pages["not_reproduced.html"].text
    assert "C99 Small weight decays are <better> & best." in text and "✗ contradicted" in text


def test_what_can_not_be_decided_says_why(tmp_path):
    write(tmp_path / "results" / "short", FIG09, SHORT)
    text = made(tmp_path, [FIG09])["not_reproduced.html"].text
    assert "C99 Small weight decays are <better> & best. scale short is not the paper's protocol" in text
    assert "Figure 9a" in text and "fig16a (not here)" in text


# --- the folder ---


def test_the_same_results_give_the_same_bytes(tmp_path):
    write(tmp_path / "results" / "paper", FIG09, seeds=2)
    made(tmp_path)
    first = digests(tmp_path / "report")
    chosen = sources(tmp_path)
    line = report.write(chosen, report.decide(chosen), tmp_path / "report")
    assert digests(tmp_path / "report") == first and line.endswith("0 new or changed")
    report.write(chosen, report.decide(chosen), tmp_path / "again")
    assert digests(tmp_path / "again") == first


def test_what_others_put_into_the_folder_is_kept_and_what_is_out_of_date_removed(tmp_path):
    made(tmp_path, [FIG09, FIG14])
    (tmp_path / "report" / "mine.txt").write_text("mine")
    made(tmp_path, [FIG09])
    assert (tmp_path / "report" / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "report" / "fig14.html").exists() and (tmp_path / "report" / "fig09.html").exists()


def test_a_file_that_no_report_wrote_is_not_replaced(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="index.html is there and is not of a report"):
        made(tmp_path)
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]


def test_a_list_of_files_can_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "report" / site.LIST).write_text(
        f"../precious.txt\n{tmp_path}/precious.txt\nfigures/../../precious.txt\n"
    )
    made(tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_report_that_was_cut_off_can_be_written_again(tmp_path, monkeypatch):
    def full(folder, name, data, real=site._write):
        if name == "index.html":
            raise OSError(28, "No space left on device")
        return real(folder, name, data)

    monkeypatch.setattr(site, "_write", full)
    with pytest.raises(OSError):
        made(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(report, "_shared", dict)
    made(tmp_path)
    assert (tmp_path / "report" / "index.html").exists()


# --- the command ---


@pytest.fixture
def refused(capsys):
    """Calls the command with a mistake; returns its one line."""

    def call(*args, status: int = 2) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main(["report", *map(str, args)])
        assert stop.value.code == status
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("smith: ") and err.count("\n") == 1, err
        return err

    return call


def test_mistakes_are_told_in_one_line(refused, tmp_path):
    assert "unknown scale 'papr': did you mean 'paper'?" in refused("--scale", "papr")
    assert "test of the code" in refused("--scale", "smoke")
    assert "unknown recipe 'authr'" in refused("--recipe", "authr")
    (tmp_path / "file").touch()
    folders = ["--results-dir", tmp_path / "none", "--report-dir", tmp_path / "file"]
    assert re.search(f"{tmp_path}/file: nothing can be written there.*--report-dir", refused(*folders, status=1))


def test_one_scale_or_the_authors_recipe(tmp_path, capsys):
    run = replicates.author(FIG14.runs()[0], 1)
    write_one(tmp_path / "paper", run, 1)
    write(tmp_path / "quick", FIG14, QUICK)
    folders = ["--results-dir", str(tmp_path), "--report-dir", str(tmp_path / "report")]
    cli.main(["report", "--recipe", "author", "--scale", "paper", *folders])
    assert "16 inconclusive" in capsys.readouterr().out
    page = Parsed((tmp_path / "report" / "fig14.html").read_text())
    assert "Scale paper, 1 seed" in page.text and "1 of 24 runs" in page.text and "quick" not in page.ids
    assert f"smith run fig14 --scale paper --recipe author --results-dir {tmp_path}" in page.text


@pytest.fixture
def project(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    return tmp_path


def test_the_readme_gets_the_verdicts(project, capsys):
    (project / "README.md").write_text("# Title\n\n<!-- claims -->\nthe table before\n<!-- /claims -->\n\nthe rest\n")
    cli.main(["report", "--readme"])
    text = (project / "README.md").read_text()
    assert text.startswith("# Title\n\n<!-- claims -->\n| |") and text.endswith("<!-- /claims -->\n\nthe rest\n")
    assert "the table before" not in text and text.count("○ inconclusive") == len(CLAIMS) and "none yet" in text
    inode = (project / "README.md").stat().st_ino
    cli.main(["report", "--readme"])
    assert (project / "README.md").stat().st_ino == inode
    assert "the same as before" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["no marks", "<!-- /claims --><!-- claims -->", "<!-- claims -->" * 2 + "<!-- /claims -->"]
)
def test_a_readme_without_the_marks_is_refused_and_left_alone(refused, project, text):
    (project / "README.md").write_text(text)
    assert "README.md: no place for the claims" in refused("--readme")
    assert (project / "README.md").read_text() == text
    (project / "README.md").unlink()
    assert "no README that can be read" in refused("--readme")


def test_the_readme_has_effect_interval_seeds_and_scale(tmp_path):
    verdict_of(tmp_path, 0.2)
    table = verdict_words.markdown(report.decide(sources(tmp_path)))
    row = "| C99 | Small weight decays are <better> & best. | ✓ reproduced | 0.2 [0.2, 0.2] | 4 | paper |"
    assert row in table.splitlines()


def test_the_readme_says_nothing_from_the_quick_scale(project, tmp_path, refused, capsys):
    (project / "README.md").write_text("<!-- claims -->\n<!-- /claims -->\n")
    write(tmp_path / "results" / "quick", FIG14, QUICK)
    folders = ["--results-dir", str(tmp_path / "results"), "--report-dir", str(tmp_path / "report")]
    cli.main(["report", "--readme", *folders])
    text = (project / "README.md").read_text()
    assert text.count("| no result | 0 | none yet |") == len(CLAIMS)
    capsys.readouterr()
    assert "--readme shows the scales paper and short" in refused("--readme", "--scale", "quick")


def test_the_report_imports_no_jax(tmp_path):
    write_noisy(tmp_path / "quick", FIG09, QUICK)
    code = (
        "import sys; from smith import cli\n"
        f"cli.main(['report', '--results-dir', {str(tmp_path)!r}, '--report-dir', {str(tmp_path / 'report')!r}])\n"
        "print(sorted({'jax', 'flax', 'optax', 'matplotlib', 'plotly', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "report" / "plotly.min.js").stat().st_size > 1_000_000


# --- words ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-2449.6, "−2,450"),
        (2e6, "2e6"),
        (-2, "−2"),
        (-1e-9, "−1e−9"),
        (-0.0, "0"),
        (np.nan, "–"),
        (None, "–"),
    ],
)
def test_numbers(value, text):
    assert words.number(value) == text


def test_a_docstring_is_read():
    notes = words.notes(DOC)
    assert (notes.title, notes.paragraphs) == ("A search.", ("The paper: says so.",))
    assert notes.entries == {"Cost": "a minute", "Note": "one slip of two lines"}
    assert words.notes(None).title == ""


@pytest.mark.parametrize("experiment", cli.experiments(["all"]), ids=lambda e: e.name)
def test_every_setting_of_every_run_has_words(experiment):
    for run in experiment.runs():
        said = words.settings(run)
        assert said["network"] == run.network and said["batch size"] == f"{run.batch_size:,}"
        assert not any(re.search(r"\bNone\b|object at", text) for text in said.values()), said
    assert len(model.named_runs(experiment)) == len({r for p in _shown(experiment) for r in p})


def _shown(experiment) -> list[list]:
    return [experiment.runs()] if isinstance(experiment, Table) else [panel.runs() for panel in experiment.panels]


def test_headings():
    assert [pages.heading(name) for name in ("fig09", "table1", "mine")] == ["Figure 9", "Table 1", "mine"]


def test_assumed_settings_are_shown_with_what_was_tried(tmp_path):
    write(tmp_path / "results" / "quick", FIG09, QUICK)
    page = made(tmp_path)["fig09.html"]
    assert "1 setting that the paper does not give" in page.text
    assert "batch size 512 256, 1024 a, b" in page.text
    assert "None has been tried" in page.text and "smith calibrate fig09" in page.text
    sheets = tmp_path / "figures" / "calibration"
    sheets.mkdir(parents=True)
    for name in ("fig09.md", "fig09.png", "fig10.md"):
        (sheets / name).write_bytes(name.encode())
    page = made(tmp_path)["fig09.html"]
    assert "None has been tried" not in page.text
    found = [link for link in page.links if "calibration" in link]
    assert sorted(found) == ["figures/calibration/fig09.md", "figures/calibration/fig09.png"]
    assert (tmp_path / "report" / found[0]).read_bytes() == Path(found[0]).name.encode()


def test_a_setting_inside_a_schedule_is_named_with_it(tmp_path):
    text = made(tmp_path, (figure("fig03"), FIG09))["fig03.html"].text
    assert "learning rate factor 0.1 0.316 a" in text and "2 settings" in text


def test_what_has_no_assumed_settings_says_nothing_of_them(tmp_path):
    pages = made(tmp_path, (FIG14, FIG09, TABLE1))
    assert not any("does not give" in pages[f"{name}.html"].text for name in ("fig14", "table1"))
