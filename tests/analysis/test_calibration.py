"""Calibration: values that are tried, how they are compared and scored, and the command on small made-up data."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from smith import cli, scales
from smith.analysis import calibration, published
from smith.analysis.calibration import Score, choice, first_change, with_value
from smith.analysis.evidence import Evidence
from smith.figure import Assumption, Figure, Panel, Published
from smith.figures import calibration_sheet
from smith.run import Run, Snapshot, iterations
from smith.schedules import CyclicalMomentum, Join, Multistep, RangeTest
from smith.store import results
from smith.store.results import COLUMNS

PAPER, SHORT, SMOKE = map(scales.named, ("paper", "short", "smoke"))
STEPS = Run(
    data="cifar10",
    network="shallow3",
    batch_size=512,
    length=iterations(10_000),
    lr=Multistep(0.01, factor=0.1, at=(1 / 2, 3 / 4)),
    momentum=0.9,
    weight_decay=1e-3,
)
RATES = STEPS.replace(lr=RangeTest(0, 0.01))
MOMENTUM = Assumption("momentum", (0.8, 0.9), "a")
FIGURES = [figure for figure in cli.experiments(["all"]) if isinstance(figure, Figure)]
ASSUMED = [(figure, assumption) for figure in FIGURES for assumption in figure.assumptions]


def figure(run: Run, assumption: Assumption = MOMENTUM, **changes) -> Figure:
    fields = {"curves": {"A": run}, "published": Published("mine")} | changes
    return Figure("mine", "Made up", panels=(Panel("a", "Made up", **fields),), assumptions=(assumption,))


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, x: np.ndarray, y: np.ndarray, name: str = "A") -> None:
    """Publishes a curve, and a point above it that marks the edge of the panel."""
    rows = ["series,x,y", *(f"{name},{a},{b}" for a, b in zip(x, y, strict=True)), "edge,0,99"]
    (folder / "mine.csv").write_text("\n".join(rows))
    monkeypatch.setattr(published, "FOLDER", folder)


def write(folder: Path, run: Run, values: np.ndarray, x: np.ndarray, seed: int = 0, column: str = "test_loss") -> None:
    """Writes a result; its learning rate is a millionth of the iteration. NaN at the end: it diverged."""
    rows = [
        dict.fromkeys(COLUMNS, 0.5) | {"iteration": int(i), "learning_rate": i / 1e6, column: float(v)}
        for i, v in zip(x, values, strict=True)
    ]
    folder.mkdir(exist_ok=True)
    results.write(folder, run, seed, "done" if math.isfinite(values[-1]) else "diverged", rows, {})


def scored(chosen: Figure, value: float, scale: scales.Scale, folder: Path, seeds: int = 1) -> Score:
    return calibration.score(chosen, chosen.assumptions[0], value, Evidence([chosen], scale, folder), seeds)


# --- the experiments' assumptions ---


def test_the_experiments_whose_batch_size_is_assumed_have_it_tried():
    tried = {figure.name for figure, assumption in ASSUMED if assumption.field == "batch_size"}
    assert tried == {"fig01", "fig03", "fig04", "fig09", "fig10", "fig12"}
    assert {a.field for f, a in ASSUMED if f.name == "fig01"} == {"batch_size", "momentum", "weight_decay"}
    assert ("fig11", "ghost_batch_size") in {(f.name, a.field) for f, a in ASSUMED}


@pytest.mark.parametrize(("chosen", "assumption"), ASSUMED, ids=lambda v: getattr(v, "name", None) or v.field)
def test_every_assumption_gives_valid_runs_and_has_the_present_value(chosen, assumption):
    panels = calibration.panels_of(chosen, assumption)
    assert "".join(panel.label for panel in panels) == assumption.panels
    assert len(set(assumption.values)) == len(assumption.values) > 1
    for run in (run for panel in panels for run in panel.runs()):
        assert calibration.value_of(run, assumption.field) in assumption.values
        for value in assumption.values:
            changed = with_value(run, assumption.field, value)
            assert calibration.value_of(changed, assumption.field) == value
            assert (changed == run) == (value == calibration.value_of(run, assumption.field))
            for scale in (SHORT, PAPER):
                scale.apply(changed)
            if run.start:
                assert changed.start and calibration.value_of(changed.start.run, assumption.field) == value
    assert "assumption" in " ".join(chosen.notes)
    assert all(calibration.told_apart(chosen, assumption, scale) for scale in (SHORT, PAPER))


@pytest.mark.parametrize("chosen", FIGURES, ids=lambda f: f.name)
def test_assumptions_change_no_run_of_the_figure(chosen):
    plain = dataclasses.replace(chosen, assumptions=())
    assert [run.key for run in chosen.runs()] == [run.key for run in plain.runs()]
    assert set(chosen.runs()) & set(calibration.runs(chosen, SHORT)) or not chosen.assumptions


def test_a_value_replaces_a_field_also_in_the_run_it_starts_from():
    child = RATES.replace(start=Snapshot(RATES, at=iterations(100)), weight_decay=1e-2)
    changed = with_value(child, "batch_size", 256)
    assert changed == child.replace(batch_size=256, start=Snapshot(RATES.replace(batch_size=256), iterations(100)))


def test_a_value_replaces_a_field_of_a_schedule():
    assert with_value(STEPS, "lr.factor", 0.3) == STEPS.replace(lr=Multistep(0.01, factor=0.3, at=(1 / 2, 3 / 4)))


def test_with_the_batch_the_ghost_batches_grow():
    deep = RATES.replace(network="resnet-8", batch_size=128, ghost_batch_size=32)
    assert with_value(deep, "batch_size", 512).ghost_batch_size == 128
    assert with_value(deep, "ghost_batch_size", 64).batch_size == 128


# --- how they are compared ---


@pytest.mark.parametrize(
    ("run", "until"),
    [
        (STEPS, 5_000),
        (STEPS.replace(lr=Multistep(0.01, factor=0.1, at=(iterations(700),))), 700),
        (STEPS.replace(lr=0.01), 10_000),
        (STEPS.replace(momentum=CyclicalMomentum(0.95, 0.85)), 0),
        (RATES, 0),
        (STEPS.replace(lr=Join((RangeTest(0, 0.01), Multistep(0.01, factor=0.1, at=())), at=(1 / 2,))), 0),
    ],
)
def test_until_when_a_run_is_constant(run, until):
    assert first_change(run) == until


def how(run: Run, assumption: Assumption, scale: scales.Scale = SHORT, **changes) -> str:
    chosen = figure(run, assumption, **changes)
    (panel,) = calibration.panels_of(chosen, assumption)
    return calibration.comparison(panel, assumption, run, scale)


def test_what_a_shortened_run_is_compared_with():
    drops = Assumption("lr.factor", (0.1, 0.3), "a")
    assert how(STEPS, MOMENTUM) == "start"
    assert how(STEPS, drops) == "scaled"  # no difference before the first drop
    assert how(STEPS.replace(momentum=CyclicalMomentum(0.9, 0.8)), drops) == "scaled"
    assert how(RATES, MOMENTUM, x="learning_rate") == "rates"
    assert {how(STEPS, MOMENTUM, PAPER), how(STEPS, drops, PAPER), how(RATES, MOMENTUM, PAPER)} == {"all"}
    assert set(calibration.SAYS) == {"start", "scaled", "rates", "all"}


def test_a_constant_start_is_compared_at_true_iterations_up_to_the_first_drop(monkeypatch, tmp_path):
    """The published curve is 2 up to iteration 500, the short run's first drop, and 9 later; ours is 2 throughout."""
    x = np.arange(100, 10_001, 100)
    publish(tmp_path, monkeypatch, x, np.where(x <= 500, 2, 9))
    chosen = figure(STEPS)
    write(tmp_path / "short", SHORT.apply(STEPS), np.full(10, 2.0), np.arange(100, 1_001, 100))
    found = scored(chosen, 0.9, SHORT, tmp_path / "short")
    assert (found.points, found.mean) == (5, 0)


def test_else_iterations_are_scaled(monkeypatch, tmp_path):
    x = np.arange(1_000, 10_001, 1_000)
    publish(tmp_path, monkeypatch, x, x / 1_000)
    chosen = figure(RATES)  # over iterations
    write(tmp_path / "short", SHORT.apply(RATES), np.arange(1, 11), np.arange(100, 1_001, 100))
    found = scored(chosen, 0.9, SHORT, tmp_path / "short")
    assert (found.points, found.mean) == (10, pytest.approx(0))


def test_rates_are_the_same_however_short_the_run(monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, np.array([0.0002, 0.0004]), np.array([1, 3]))
    write(tmp_path / "short", SHORT.apply(RATES), np.array([1, 1, 1]), np.array([100, 300, 500]))
    found = scored(figure(RATES, x="learning_rate"), 0.9, SHORT, tmp_path / "short")
    assert (found.points, found.mean) == (2, pytest.approx(math.log(3) / math.sqrt(2)))


# --- scores ---

X = np.arange(100, 1_001, 100)
WHOLE = RATES.replace(length=iterations(1_000))


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_the_score_is_the_logarithm_of_the_factor_that_a_loss_is_off_by(factor, monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, X, 2 - X / 1_000)
    write(tmp_path / "paper", WHOLE, factor * (2 - X / 1_000), X)
    found = scored(figure(WHOLE), 0.9, PAPER, tmp_path / "paper")
    assert found.by_seed == {0: pytest.approx(abs(math.log(factor)))}
    assert (found.curves, found.points, found.missing, found.diverged) == (1, 10, 0, 0)


def test_an_accuracy_is_scored_by_its_error(monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, X, np.full(10, 0.8))
    write(tmp_path / "paper", WHOLE, np.full(10, 0.6), X, column="test_accuracy")
    found = scored(figure(WHOLE, y="test_accuracy"), 0.9, PAPER, tmp_path / "paper")
    assert found.mean == pytest.approx(math.log(2))  # 0.4 to 0.2


def test_the_score_is_the_mean_over_curves(monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, X, np.ones(10))
    (tmp_path / "mine.csv").write_text((tmp_path / "mine.csv").read_text() + "\nB,100,1\nB,1000,1")
    other = WHOLE.replace(weight_decay=2e-3)
    write(tmp_path / "paper", WHOLE, np.full(10, 2), X)
    write(tmp_path / "paper", other, np.full(10, 4), X)
    chosen = figure(WHOLE, curves={"A": WHOLE, "B": other})
    assert scored(chosen, 0.9, PAPER, tmp_path / "paper").mean == pytest.approx(1.5 * math.log(2))
    evidence = Evidence([chosen], PAPER, tmp_path / "paper")
    only = calibration.score(chosen, MOMENTUM, 0.9, evidence, 1, names=["B"])
    assert (only.mean, only.points) == (pytest.approx(math.log(4)), 2)


def test_a_seed_that_diverges_counts_as_guessing_from_there_on(monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, X, np.ones(10))
    write(tmp_path / "paper", WHOLE, np.array([1, 1, 1, np.nan]), X[:4])
    found = scored(figure(WHOLE), 0.9, PAPER, tmp_path / "paper")
    assert found.diverged == 1 and found.points == 10
    assert found.mean == pytest.approx(math.log(math.log(10)) * math.sqrt(7 / 10))


def test_only_seeds_that_have_every_curve_are_scored_and_the_missing_ones_counted(monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, X, np.ones(10))
    (tmp_path / "mine.csv").write_text((tmp_path / "mine.csv").read_text() + "\nB,100,1\nB,1000,1")
    other = WHOLE.replace(weight_decay=2e-3)
    for seed in (0, 1):
        write(tmp_path / "paper", WHOLE, np.full(10, 2), X, seed)
    write(tmp_path / "paper", other, np.full(10, 2), X, seed=1)
    found = scored(figure(WHOLE, curves={"A": WHOLE, "B": other}), 0.9, PAPER, tmp_path / "paper", seeds=2)
    assert list(found.by_seed) == [1] and found.missing == 1


def test_no_published_point_in_the_range_is_no_score(monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, np.array([9_000]), np.ones(1))
    write(tmp_path / "paper", WHOLE, np.ones(10), X)
    found = scored(figure(WHOLE), 0.9, PAPER, tmp_path / "paper")
    assert found.by_seed == {} and math.isnan(found.mean)
    assert choice([found, found]) == (None, "no published point where they are compared")


# --- the choice ---


def of(value: float, *by_seed: float, missing: int = 0) -> Score:
    return Score(value, dict(enumerate(by_seed)), curves=1, points=9, missing=missing, diverged=0)


def test_the_choice_is_the_lowest_mean_where_the_ranges_are_apart():
    value, why = choice([of(1, 0.5, 0.6), of(2, 0.1, 0.3), of(3, 0.4, 0.5)])
    assert value == 2
    assert why == (
        "lowest mean score over 2 seeds, next 3; its range overlaps no other, which chance alone does in 20% of cases"
    )


def test_how_often_chance_alone_puts_one_range_below_the_others():
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, 3, 2))  # three values of two seeds
    best = scores.mean(axis=2).argmin(axis=1)
    rest = np.where(np.arange(3) == best[:, None], np.inf, scores.min(axis=2)).min(axis=1)
    share = np.mean(scores.max(axis=2)[np.arange(20_000), best] < rest)
    assert calibration.by_chance(3, 2) == pytest.approx(share, abs=0.01)
    assert calibration.by_chance(3, 4) == pytest.approx(3 / 495)


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ([of(1, 0.1, 0.4), of(2, 0.3, 0.5), of(3, 0.9, 0.9)], "over 2 seeds the range of 1 overlaps that of 2"),
        ([of(1, 0.1, 0.1), of(2, 0.1, 0.5)], "over 2 seeds the range of 1 overlaps that of 2"),
        ([of(1, 0.1), of(2, 0.9)], "one seed"),
        ([of(1, 0.1, 0.1), of(2, 0.9)], "one seed"),
        ([of(1, 0.1, 0.1), of(2, 0.9, missing=2)], "2 results missing"),
        ([of(1, 0.1, 0.1), of(2, missing=1)], "1 result missing"),
    ],
)
def test_else_it_is_not_decided(scores, why):
    assert choice(scores) == (None, why)


def test_the_sheet_has_the_scores_and_the_choice_and_is_the_same_every_time(monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, X, np.ones(10))
    for seed, value in ((0, 2.0), (1, 2.2)):
        write(tmp_path / "paper", WHOLE, np.full(10, value), X, seed)
        write(tmp_path / "paper", WHOLE.replace(momentum=0.8), np.full(10, 1.1), X, seed)
    chosen = figure(WHOLE)
    drawn = []
    for target in (tmp_path / "first", tmp_path / "second"):
        line = calibration_sheet.write(chosen, Evidence([chosen], PAPER, tmp_path / "paper"), target, seeds=2)
        assert line.startswith("mine momentum: 0.8 (lowest mean score over 2 seeds")
        files = sorted((target / "calibration" / "paper").iterdir())
        assert [path.name for path in files] == ["mine.md", "mine.png"]
        drawn.append([path.read_bytes() for path in files])
    assert drawn[0] == drawn[1] and drawn[0][1].startswith(b"\x89PNG")
    text = drawn[0][0].decode()
    assert "| 0.8 | 2 | 0 | 0 | 10 | 0.095 | 0.095 to 0.095 |" in text
    assert "| 0.9 | 2 | 0 | 0 | 10 | 0.741 | 0.693 to 0.788 |" in text
    assert "The experiment has 0.9. Choice: 0.8" in text and "Compared at the whole run" in text


@pytest.mark.parametrize(("run", "x", "another"), [(STEPS, "iteration", False), (RATES, "learning_rate", True)])
def test_a_choice_by_another_experiment_is_said_to_be_one(run, x, another, monkeypatch, tmp_path):
    publish(tmp_path, monkeypatch, np.array([200, 400]) / (1e6 if x == "learning_rate" else 1), np.ones(2))
    for seed in (0, 1):
        write(tmp_path / "short", SHORT.apply(run), np.full(10, 2.0), X, seed)
        write(tmp_path / "short", SHORT.apply(run.replace(momentum=0.8)), np.full(10, 3.0), X, seed)
    chosen = figure(run, x=x)
    line = calibration_sheet.write(chosen, Evidence([chosen], SHORT, tmp_path / "short"), tmp_path, seeds=2)
    assert line.startswith("mine momentum: 0.9 (lowest") and ("another experiment" in line) == another
    assert {path.name for path in (tmp_path / "calibration").iterdir()} == {"mine.md", "mine.png"}


# --- the command ---


@pytest.fixture
def smoke(monkeypatch, tmp_path, small_run):
    """A figure of one LeNet curve over rates, of which momentum is assumed; returns the command's other arguments."""
    run = small_run.replace(lr=RangeTest(0.001, 0.01))
    chosen = figure(run, x="learning_rate")
    publish(tmp_path, monkeypatch, np.array([0.006, 0.007]), np.array([2.0, 2.0]))
    known = cli.experiments

    def experiments(names):
        return [chosen] if list(names) == ["mine"] else known(names)

    monkeypatch.setattr(cli, "experiments", experiments)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "xla"))
    folders = ("--results-dir", str(tmp_path / "results"), "--figures-dir", str(tmp_path / "figures"))
    return ["calibrate", "mine", "--scale", "smoke", *folders]


def test_the_command_trains_every_value_once_and_writes_the_sheet(smoke, capsys, data_dir, tmp_path):
    cli.main([*smoke, "--seeds", "2", "--data-dir", str(data_dir)])
    first = capsys.readouterr().out
    assert first.startswith("4 runs trained, 0 diverged; 0 were there; 0 left\n")
    assert "mine momentum: " in first and "missing" not in first
    assert len(list((tmp_path / "results" / "smoke").glob("*.parquet"))) == 4
    sheet = tmp_path / "figures" / "calibration" / "smoke" / "mine.md"
    before = sheet.read_text()
    assert before.count("| 2 | 0 | 0 | 2 | ") == 2  # two values: seeds, none missing or diverged, points
    cli.main([*smoke, "--seeds", "2", "--data-dir", str(tmp_path)])  # needs no data
    again = capsys.readouterr()
    assert again.out.startswith("0 runs trained, 0 diverged; 4 were there; 0 left\n")
    assert again.out.splitlines()[1:] == first.splitlines()[1:] and sheet.read_text() == before


def test_a_budget_leaves_the_rest_and_the_sheet_says_what_is_missing(smoke, capsys, tmp_path):
    cli.main([*smoke, "--budget", "0s", "--data-dir", str(tmp_path)])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "0 runs trained, 0 diverged; 0 were there; 2 left"
    assert out[1] == "the budget is used up; the same command goes on from here"
    assert out[2] == "mine momentum: not decided: 2 results missing"
    assert "2 results missing" in (tmp_path / "figures" / "calibration" / "smoke" / "mine.md").read_text()


MISTAKES = {
    "fig05": "fig05 has no assumed settings to calibrate; these have: fig01 fig03",
    "table1": "table1 has no assumed settings",
    "fig77": "unknown experiment 'fig77'",
    "": "name a figure",
    "fig09 --scale smoke": "scale smoke trains the same run for every value in fig09: try --scale short",
    "fig09 --scale x": "unknown scale 'x'",
    "fig09 --curves WD=1": "unknown curve 'WD=1'",
    "fig09 fig11 --curves WD=1.8e-3": "fig11 has none of these curves; it has: WD=1e-4",
    "fig09 --seeds 0": "--seeds 0",
    "fig09 --budget 8": "--budget 8: give a time",
    "fig09 --checkpoint-every 2": "--checkpoint-every 2: give a time",
}


@pytest.mark.parametrize("args", MISTAKES)
def test_a_mistake_is_told_in_one_line(args, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["calibrate", *args.split(), "--results-dir", "r", "--figures-dir", "f"])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == ""
    assert MISTAKES[args] in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
