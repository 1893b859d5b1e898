"""Claims: what they say of themselves, of the published curves, and of results that are right, wrong or dead."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import worlds
from made_up import MINI, store
from worlds import EXPERIMENTS

from smith.analysis.claims import CLAIMS
from smith.analysis.places import run_at
from smith.analysis.verdicts import Claim, Decision, decide
from smith.run import Run
from smith.store import COLUMNS, Result, Store

NAMES = [f"C{number:02}" for number in range(1, 18)]
Shapes = worlds.Shapes


# --- the declarations ---


def test_the_claims_are_seventeen_in_order():
    assert list(CLAIMS) == NAMES == [claim.name for claim in CLAIMS.values()]


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_says_what_it_is_and_why_it_is_measured_so(name: str):
    claim = CLAIMS[name]
    assert claim.says.endswith(".") and claim.says.count(".") - claim.says.count("0.") == 1
    assert claim.why.endswith(".") and claim.source and claim.panels
    for part in claim.parts:
        assert part.what and part.unit and not part.what.endswith(".")
        assert part.curves
    assert len({part.what for part in claim.parts}) == len(claim.parts)


def test_the_published_curves_support_every_part_that_they_show():
    findings = [f for claim in CLAIMS.values() for f in decide(claim, EXPERIMENTS, empty()).findings]
    shown = [(f.part.what, f.published, f.part.above) for f in findings if np.isfinite(f.published)]
    assert [what for what, published, above in shown if published <= above] == []
    absent = [f.part.what for f in findings if np.isnan(f.published)]
    assert len(absent) == 1 and "20,000" in absent[0]  # our own range tests of several lengths


# --- results ---


def empty() -> Store:
    return store(scale=MINI)


def results(claim: Claim, change: Callable[[Shapes], Shapes] = dict) -> Store:
    """Returns results of twelve seeds of a claim's runs, half as noisy: as the published curves are, or changed."""
    found, random = empty(), np.random.default_rng(1)
    for part in claim.parts:
        for name, shape in change(worlds.as_published(part)).items():
            run = run_at(EXPERIMENTS, part.curves[name])
            if not found.find(run, 0):
                shared = random.standard_normal((1, MINI.seeds, 1), np.float32)
                trace = worlds.seeds_of(shape, random, shared, noise=0.5)
                for seed in range(MINI.seeds):
                    add(found, run, seed, {q: np.interp(at(run), x, y[0, seed]) for q, (x, y) in trace.lines.items()})
    return found


def at(run: Run) -> np.ndarray:
    return np.array(run.when_tested()) / run.iterations


def add(store: Store, run: Run, seed: int, columns: dict[str, np.ndarray], status: str = "done") -> None:
    """Adds a result; where its loss is not a number it has diverged."""
    tests = len(next(iter(columns.values())))
    whole = {name: np.full(tests, 0.5) for name in COLUMNS} | columns
    store.add(Result(run.to_json(), seed, status, whole | {"iteration": np.array(run.when_tested(), float)[:tests]}))


def told(decision: Decision) -> list[tuple[str, str, str]]:
    """Returns what a failed assertion is to show."""
    return [(f.state, f"{f.mean:.3g} [{f.low:.3g}, {f.high:.3g}]", f.part.what) for f in decision.findings]


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_holds_where_runs_are_as_the_paper_shows_them(name: str):
    decision = decide(CLAIMS[name], EXPERIMENTS, results(CLAIMS[name]))
    assert decision.verdict == "holds", told(decision)
    assert decision.seeds == 12 and not decision.reasons


def swapped(shapes: Shapes) -> Shapes:
    """What a curve shows is what the one opposite shows; a curve by itself is turned round in time."""
    if len(shapes) == 1:
        ((name, shape),) = shapes.items()
        return {name: dataclasses.replace(shape, logs={q: logs[::-1] for q, logs in shape.logs.items()})}
    pairs = zip(shapes, reversed(shapes.values()), strict=True)
    return {name: dataclasses.replace(other, run=shapes[name].run) for name, other in pairs}


@pytest.mark.parametrize("name", ["C02", "C04", "C05", "C06", "C08", "C09", "C12", "C14", "C16", "C17"])
def test_a_claim_fails_where_they_are_the_other_way_round(name: str):
    decision = decide(CLAIMS[name], EXPERIMENTS, results(CLAIMS[name], swapped))
    assert decision.verdict == "fails", told(decision)


@pytest.mark.parametrize("diverged", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_dead_networks_support_nothing(name: str, diverged: bool):
    """Every run guesses from its first test to its last, or diverges before its first."""
    found = empty()
    for part in CLAIMS[name].parts:
        for place in part.curves.values():
            run = run_at(EXPERIMENTS, place)
            tests = 1 if diverged else len(at(run))
            loss = np.full(tests, np.nan if diverged else np.log(run.class_count))
            dead = {"test_loss": loss, "train_loss": loss, "test_accuracy": np.full(tests, 1 / run.class_count)}
            for seed in range(MINI.seeds):
                add(found, run, seed, dead, "diverged" if diverged else "done")
    decision = decide(CLAIMS[name], EXPERIMENTS, found)
    assert "supported" not in {f.state for f in decision.findings}, told(decision)


@pytest.mark.parametrize("name", ["C06", "C16", "C17"])
def test_large_rates_that_diverge_on_the_way_contradict(name: str):
    found = results(CLAIMS[name])
    for part in CLAIMS[name].parts[:1]:
        run = run_at(EXPERIMENTS, next(iter(part.curves.values())))
        for seed in range(MINI.seeds):
            add(found, run, seed, {"test_loss": np.r_[np.ones(9), np.nan]}, "diverged")
    assert decide(CLAIMS[name], EXPERIMENTS, found).verdict == "fails"
