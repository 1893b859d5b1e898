"""The experiments: each trains what the protocol says and shows the published curves on the axes of the paper."""

import ast
import hashlib

import numpy as np
import pytest

from smith import experiments, legends
from smith.analysis import published
from smith.analysis.places import Place
from smith.figure import Figure, Finals, Panel, Sketch, Table
from smith.lengths import iterations
from smith.run import Run

ALL = {found.name: found for found in experiments.find(["all"])}
BEYOND = {name: found for name, found in ALL.items() if found.claims}  # experiments that ask something of their own
PAPERS = {name: found for name, found in ALL.items() if name not in BEYOND}
FIGURES = {name: found.shows for name, found in PAPERS.items() if isinstance(found.shows, Figure)}
PANELS = {f"{name}{p.label}": p for name, f in FIGURES.items() for p in f.panels if isinstance(p, Panel)}
PUBLISHED = {name: panel for name, panel in PANELS.items() if panel.published}
EVERY_RUN = list({run: None for found in PAPERS.values() for run in found.shows.runs()})
SHOWN_TO = {"fig11b": 1.15, "fig14b": 0.31}  # where the paper's axis ends before the run does

# PROTOCOL section 5, a panel a line: network; batch size; iterations; learning rate at first, at most and at last;
# momentum at first and where it is farthest from that; weight decay. A list has an entry for every curve.
PROTOCOL = {
    "fig01a": ("resnet-56", 128, 80_000, (0, 0.4, 0.4), (0.9, 0.9), 1e-4),
    "fig01b": ("resnet-56", 128, 80_000, (0, 0.4, 0.4), (0.9, 0.9), 1e-4),
    "fig03a": ("shallow3", 512, 60_000, [(1e-3, 1e-3, 1e-5), (5.5e-3, 5.5e-3, 5.5e-5)], (0.9, 0.9), 4e-3),
    "fig04a": ("shallow3", 512, 20_000, (0, 0.01, 0.01), (0.9, 0.9), [1e-4, 4e-3, 1e-2]),
    "fig03b": (["imagenet-resnet-50", "inception-resnet-v2"], [128, 112], 100_000, (0.1, 0.1, 0.1 * 0.94**5),
               (0.9, 0.9), 1e-4),
    "fig04b": ("imagenet-resnet-50", 128, 210_000, [(0.1, 0.1, 0.1 * 0.94**10), (0.05, 0.5034, 0.5034)],
               [(0.9, 0.9), (0.95, 0.90227)], [1e-4, 1e-7]),
    "fig05a": ("resnet-56-relu", 1000, [80_000, 10_000], [(0.35, 0.35, 0.0035), (0.1, 3, 0.1)], (0.9, 0.9), 1e-4),
    "fig05b": ("resnet-56-relu", 1000, 10_000, (0.1, 3, 0.1), (0.9, 0.9), [1e-3, 1e-4, 1e-5, 1e-6]),
    "fig06a": ("resnet-56", [1024, 512, 256, 128], [5_859, 9_277, 13_671, 18_750],
               [(0.1, 1, 1e-4), (0.08, 0.8, 8e-5), (0.06, 0.6, 6e-5), (0.04, 0.4, 4e-5)], (0.95, 0.95), 1e-4),
    "fig07a": ("shallow3", 548, 10_000, (0.002, 0.02, 0.02), [(0.7, 0.7), (0.9, 0.9), (0.99, 0.99)], 4e-3),
    "fig07b": ("shallow3", 548, 10_000, (0.01, 0.01, 0.01), (0.7, 1), 4e-3),
    "fig07c": ("shallow3", 548, 10_000, (0.002, 0.02, 0.02), [(0.9, 0.9), (0.8, 1), (0.95, 0.8), (0.97, 0.7)], 4e-3),
    "fig07d": ("shallow3", 536, 20_000, [(0.007, 0.007, 6.98e-5), (0.001, 0.007, 6.98e-5)], [(0.9, 0.9), (0.97, 0.7)],
               4e-3),
    "fig08a": ("resnet-56", 1030, 20_000, (0.1, 1, 1e-4), [(0.9, 0.9), (0.85, 0.95), (0.95, 0.85)], 5e-5),
    "fig09a": ("shallow3", 512, 16_000, (0.005, 0.005, 4.985e-5), (0.95, 0.95), [1e-3, 1.8e-3, 3.2e-3, 1e-2]),
    "fig10a": ("shallow3", 512, 8_000, (0.001, 0.01, 0.01), (0.98, 0.8), [1e-3, 1.8e-3, 3.2e-3, 1e-2]),
    "fig11a": ("resnet-56", 1030, 20_000, (0.1, 0.1, 0.1), (0.95, 0.95), [1e-4, 3.2e-4, 5.6e-4, 1e-3]),
    "fig11b": ("resnet-56", 1030, 20_000, (0.1, 2, 2), (0.97, 0.8), [1e-6, 1e-5, 1e-4, 3.2e-4]),
    "fig12a": ("shallow3", 2048, 4_000, (0.001, 0.01, 0.01), (0.95, 0.95), [1e-3, 3e-3, 1e-2]),
    "fig12b": ("resnet-56", 512, 3_906, (0.08, 0.8, 0.8), (0.95, 0.95), [1e-4, 3e-4, 1e-3]),
    "fig13a": ("wide-32", 512, 9_765, (0.1, 1, 1), (0.95, 0.85), [1e-3, 1e-4, 1e-5]),
    "fig13b": ("densenet-40", 256, 9_765, (0.1, 1, 1), [(0.9, 0.85), (0.95, 0.85), (0.97, 0.85)], 1e-5),
    "fig13c": ("densenet-40", 256, 9_765, (0.1, 4, 4), (0.9, 0.85), [1e-4, 1e-6, 1e-7]),
    "fig13d": ("densenet-40", [256, 512], 9_765, (0.1, 4, 4), (0.9, 0.85), 1e-6),
    "fig14a": ("lenet", 512, 5_859, (0.01, 0.2, 0.2), [(0.9, 0.9), (0.95, 0.8)], 5e-4),
    "fig14b": ("lenet", 512, 5_859, (0.01, 0.4, 0.4), (0.95, 0.8), [1e-4, 5e-4, 1e-3, 3e-3]),
    "fig15a": ("resnet-56", 512, 4_882, (0.1, 1, 1), (0.95, 0.85), [1e-4, 1e-5, 3e-4]),
    "fig15b": ("resnet-56", [256, 512, 1024], [16_601, 9_765, 7_080],
               [(0.05, 0.5, 5e-5), (0.09, 0.9, 9e-5), (0.1, 1.2, 1e-4)], (0.95, 0.85), 1e-4),
    "fig16a": ("imagenet-resnet-50", 128, [1_340_000, 200_000, 200_000],
               [(0.1, 0.1, 0.1 * 0.94**67), (0.05, 1, 5e-5), (0.05, 1, 5e-5)],
               [(0.9, 0.9), (0.95, 0.85), (0.95, 0.85)], [1e-4, 1e-5, 3e-6]),
    "fig16b": ("inception-resnet-v2", 112, [1_150_000, 220_000, 220_000],
               [(0.1, 0.1, 0.1 * 0.94**57), (0.05, 1, 5e-5), (0.05, 1, 5e-5)],
               [(0.9, 0.9), (0.95, 0.85), (0.95, 0.85)], [1e-4, 3e-6, 1e-6]),
}  # fmt: skip
PROTOCOL |= {"fig06b": PROTOCOL["fig06a"], "fig09b": PROTOCOL["fig09a"], "fig10b": PROTOCOL["fig10a"]}
PROTOCOL |= {"fig08b": (*PROTOCOL["fig06a"][:4], (0.95, 0.85), 1e-4)}

# The runs of each experiment, by a digest of their keys. If one changes, its results are trained again.
KEYS = {
    "fig01": "ecde58b636", "fig02": "e1f1d2fb97", "fig03": "4ed1a53980", "fig04": "958bf56ff5", "fig05": "e438aa0159",
    "fig06": "e154e6ec64", "fig07": "1dc2dfa4e1", "fig08": "72dffde89b", "fig09": "bfcadba758", "fig10": "383a61fdc4",
    "fig11": "7fefbf896f", "fig12": "bbf9623c25", "fig13": "5e57345869", "fig14": "f90079b224", "fig15": "4a843f0333",
    "fig16": "dee9323a6b",
    "speed": "f10bc5cdf1", "table1": "866026e23c", "table2": "bb31e31113",
    "decays": "b05f4df74b", "momenta": "e19b167f52", "orders": "5e95df0cb4", "schedules": "93aa2c872e",
    "sharpness": "95cfc0e101", "precision": "a9e7806db6", "suggestions": "3716787140", "variants": "36f53f1a39",
}  # fmt: skip
SCALED = {"fig14a": (0, 10), "fig15b": (100, 0.5)}  # shift and factor of the paper's horizontal axis
# Of the panels over iterations: the first test is not drawn at 0.
DRAWN_AS_IT_IS = ("fig03b", "fig04b", "fig05a", "fig05b", "fig16a", "fig16b")


def digest(runs: list[Run]) -> str:
    return hashlib.sha256("\n".join(run.key for run in runs).encode()).hexdigest()[:10]


def test_the_papers_experiments_and_those_beyond_it_are_all():
    paper, beyond = ([one.name for one in experiments.find([group])] for group in ("paper", "beyond"))
    assert list(ALL) == paper + beyond and {"fig16", "table2", "speed"} <= {*paper}
    assert beyond == ["decays", "momenta", "orders", "precision", "schedules", "sharpness", "suggestions", "variants"]


# --- what is trained ---


def test_the_runs_are_what_they_were():
    assert {name: digest(found.shows.runs()) for name, found in ALL.items()} == KEYS
    assert len({run.key for run in EVERY_RUN}) == len(EVERY_RUN) == 136
    assert PUBLISHED.keys() == PROTOCOL.keys() == PANELS.keys() - {"speeda"}
    for runs in (found.shows.runs() for found in ALL.values()):
        assert len(runs) == len(set(runs))
        assert all(run.start is None or runs.index(run.start.run) < runs.index(run) for run in runs)


@pytest.mark.parametrize("name", PROTOCOL)
def test_runs_are_the_papers(name):
    network, *facts = PROTOCOL[name]
    runs = PANELS[name].runs()
    facts = [fact if isinstance(fact, list) else [fact] * len(runs) for fact in (network, *facts)]
    for run, network, size, length, rates, momenta, decay in zip(runs, *facts, strict=True):
        assert (run.network, run.batch_size, run.iterations) == (network, size, length)
        t = np.linspace(0, run.iterations, 2_001).astype(int)
        lr, momentum, weight_decay = (
            np.asarray(schedule.build(run.iterations, run.iterations_per_epoch)(t)) for schedule in run.schedules()
        )
        assert (lr[0], lr.max(), lr[-1]) == pytest.approx(rates, rel=2e-3)
        farthest = momentum[np.abs(momentum - momentum[0]).argmax()]
        assert (momentum[0], farthest) == pytest.approx(momenta, rel=1e-3)
        assert weight_decay == pytest.approx(decay)


def test_each_network_has_its_data_its_solver_and_the_batches_of_its_gpus():
    for run in EVERY_RUN:
        gpus = 8 if run.network == "resnet-56-relu" else 5 if run.batch_size == 1030 else 4
        deep = run.network not in ("shallow3", "lenet")
        assert (run.mirror, run.ghost_batch_size) == ((True, run.batch_size // gpus) if deep else (False, None))
        assert run.solver == ("sgd" if run.network in ("lenet", "resnet-56-relu") else "nesterov")
        assert (run.data == "mnist") == (run.network == "lenet")
        assert run.test_images is None and run.init is None and not run.metrics
    assert {run.data for run in FIGURES["fig15"].runs()} == {"cifar100"}
    assert {run.width for run in EVERY_RUN if run.width != 1} == {0.125, 0.25, 0.5, 2, 4}


def test_figure_12_continues_its_first_curve_from_a_snapshot():
    for name, at in (("fig12a", 1_000), ("fig12b", 1_953)):
        parent, *children = PANELS[name].runs()
        assert parent.start is None and len(children) == 2
        assert all(child.start and child.start.run == parent and child.first_iteration == at for child in children)
    assert len([run for run in EVERY_RUN if run.start]) == 4


def test_experiments_share_the_runs_that_are_the_same():
    assert PANELS["fig05a"].runs()[1] == PANELS["fig05b"].runs()[1]
    assert PANELS["fig07a"].runs()[1] == PANELS["fig07c"].runs()[0]
    assert PANELS["fig13c"].runs()[1] == PANELS["fig13d"].runs()[0]
    for cyclical, constant in zip(PANELS["fig08b"].runs(), PANELS["fig06a"].runs(), strict=True):
        assert cyclical != constant and cyclical.replace(momentum=0.95) == constant
    widths, rows = FIGURES["fig02"].panels[1].runs(), {row.labels: row.run for row in ALL["table1"].shows.rows}
    assert rows["shallow3", "0.005", "0.95"] == widths[3]
    assert set(PANELS["fig15b"].runs()) & set(ALL["table2"].shows.runs())


def test_the_tables_have_the_papers_numbers():
    one, two = ALL["table1"].shows, ALL["table2"].shows
    assert isinstance(one, Table) and isinstance(two, Table)
    found = {row.labels: (row.mean, row.deviation) for row in one.rows}
    assert len(found) == 20 and found["resnet-56", "0.1", "CM 0.90-1.00"] == (88.1, 0.5)
    found = {row.labels: (row.mean, row.deviation, row.run) for row in two.rows}
    assert len(found) == 26
    mean, deviation, run = found["cifar10", "wide-32", "1cycle 0.1-1/45", "CM 0.95-0.85", "100"]
    assert (mean, deviation, run.iterations) == (91.9, 0.2, 9_765)


def test_figure_2_draws_a_trade_off_and_measures_six_widths():
    drawing, widths = FIGURES["fig02"].panels
    assert isinstance(drawing, Sketch) and isinstance(widths, Finals)
    assert list(widths.points[""]) == [run.width for run in widths.runs()] == [0.125, 0.25, 0.5, 1, 2, 4]
    x = np.linspace(0, 1, 101)
    test, training = (np.array([curve(place) for place in x]) for curve in drawing.curves.values())
    assert (np.diff(training) < 0).all() and (test > training).all()
    assert 0.4 < x[test.argmin()] < 0.7 and test[-1] > test.min() < test[0]


def test_the_same_range_test_is_run_at_several_lengths_with_as_many_tests():
    runs = PANELS["speeda"].runs()
    lengths = [(run.iterations, run.count(run.test_every)) for run in runs]
    assert lengths == [(2_500, 25), (10_000, 100), (20_000, 200)]
    assert len({run.replace(length=iterations(1_000), test_every=iterations(10)) for run in runs}) == 1


# --- the published curves ---


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_curves_have_the_names_and_the_axes_of_ours(name):
    panel = PUBLISHED[name]
    theirs = published.curves(panel)
    assert theirs.keys() == {curve for curve, *_ in panel.series()}
    first = 200 if panel.x == "iteration" and name not in DRAWN_AS_IT_IS else 0
    assert (panel.published, panel.x_shift, panel.x_factor) == (name, *SCALED.get(name, (first, 1)))
    assert panel.log == (panel.y not in ("test_accuracy",)) and panel.xlim and panel.ylim
    for curve, _, run in panel.series() if panel.x == "iteration" else ():
        left = run.iterations - theirs[curve][0][-1]  # figure 5a's points are means over several tests
        tests = {"fig05a": 3, "fig03b": 2, "fig16a": 2}.get(name, 1)  # of ImageNet some curves end a test earlier
        assert 0 <= left < tests * run.count(run.test_every), curve
    for x, y in theirs.values():
        assert len(x) >= 9 and (np.diff(x) > 0).all()
        assert panel.xlim[0] <= x.min() and x.max() <= panel.xlim[1]
        assert ((y >= 0.97 * panel.ylim[0]) & (y <= 1.03 * panel.ylim[1])).mean() > 0.9


@pytest.mark.parametrize("name", PANELS)
def test_axes_hold_the_whole_of_the_longest_run(name):
    panel = PANELS[name]
    if panel.x == "iteration":
        assert panel.xlim == (0, max(run.iterations for run in panel.runs()))
        return
    for run in panel.runs():
        schedule = run.lr if panel.x == "learning_rate" else run.momentum
        ends = schedule.build(run.iterations, run.iterations_per_epoch)(np.array([0, run.iterations])).tolist()
        assert panel.xlim == pytest.approx((ends[0], SHOWN_TO.get(name, ends[1])))


# --- beyond the paper ---


def test_what_is_asked_beyond_the_paper_has_names_of_its_own_and_says_why():
    claims = [claim for found in BEYOND.values() for claim in found.claims]
    assert [claim.name for claim in claims] == "E3 E4 E9a E9b E8 E1a E1b E2 E5a E5b E6 E7".split()
    for found in BEYOND.values():
        shown = {Place(found.name, letter, name) for letter, name in found.shows.named()}
        for claim in found.claims:
            assert claim.says.endswith(".") and claim.why.endswith(".") and claim.source
            assert claim.panels == tuple(f"{found.name}{letter}" for letter in found.shows.letters[: len(claim.panels)])
            assert all(set(part.curves.values()) <= shown for part in claim.parts)


def test_each_way_of_training_is_tuned_over_as_many_settings():
    for panel in BEYOND["schedules"].shows.panels[:2]:
        assert isinstance(panel, Finals)
        assert {len(grid) for places in panel.grids.values() for grid in places.values()} == {6}
        assert len(panel.grids) == 8 and {len(places) for places in panel.grids.values()} == {3}
    assert {run.solver for run in BEYOND["schedules"].shows.runs()} == {
        "nesterov", "sgd", "schedule-free-sgd", "schedule-free-adamw",
    }  # fmt: skip


# --- the files ---


@pytest.mark.parametrize("name", ALL)
def test_a_file_says_what_it_shows_and_how_to_run_it(name):
    found = ALL[name]
    lines = found.doc.splitlines()
    assert found.path.stem.split("_")[0] == name
    kind = "Table" if isinstance(found.shows, Table) else "Figure"
    number = name.strip("figtable")
    assert lines[0].startswith(f"{kind} {int(number)}: ") if number.isdigit() else "Our own." in lines[0]
    assert [line.split() for line in lines if line.startswith("Run:")] == [["Run:", "smith", "run", name]]
    for heading in ("The paper", "Cost:", "Expect:"):
        assert sum(line.startswith(heading) for line in lines) == 1, heading
    assumed = any(line.startswith("Assumed:") for line in lines)
    assert assumed == any("ssum" in note for note in found.shows.notes)


@pytest.mark.parametrize("found", ALL.values(), ids=ALL)
def test_a_file_is_short_and_has_no_loop_no_training_and_no_drawing(found):
    text = found.path.read_text()
    assert len(text.splitlines()) <= (115 if found.claims else 80 if found.name.startswith("table") else 50)
    for node in ast.walk(ast.parse(text)):
        assert not isinstance(node, ast.ClassDef | ast.For | ast.While | ast.Import)
        if isinstance(node, ast.ImportFrom):
            own = found.claims and node.module.startswith("smith.analysis.")
            assert own or node.module in ("smith", "smith.cli", "math") or node.module.startswith("experiments.")
    kind = "TABLE" if isinstance(found.shows, Table) else "FIGURE"
    assert text.endswith(f'\nif __name__ == "__main__":\n    run_experiment({kind})\n')


def test_titles_say_what_the_curves_have_in_common_and_fit_above_a_panel():
    for panel in PANELS.values():
        assert panel.title == legends.settings(panel.runs()) and len(panel.title) <= 75
    assert PANELS["fig08a"].title == "CIFAR-10, resnet-56; 1cycle 0.1-1, WD=5e-5, TBS=1030"
    assert PANELS["fig13c"].title == "CIFAR-10, densenet-40; LR range test, CM=0.9-0.85, TBS=256"
