"""Verdicts: intervals against SciPy and by hand, and the rules of decision on made-up claims."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import EXPERIMENTS, MINI, PAPER, result, store
from scipy import stats

from smith import scales
from smith.analysis.claims import CLAIMS
from smith.analysis.measures import Statistic, Traces, accuracy
from smith.analysis.places import Place, curve, row, run_at
from smith.analysis.verdicts import WORDS, Claim, Decision, Part, decide, few_values, interval, lies_above
from smith.store import Store

ONE, OTHER = curve("fig09a", "WD=1e-3"), curve("fig09a", "WD=1e-2")

# --- the interval ---


@pytest.mark.parametrize("count", [2, 3, 4, 9, 10, 12, 40])
@pytest.mark.parametrize("level", [0.95, 0.9875])
def test_the_interval_is_students_at_every_number_of_seeds(count: int, level: float):
    values = np.random.default_rng(count).normal(3, 2, (5, count))
    low, high = interval(values, level)
    for row_, expected in zip(zip(low, high, strict=True), values, strict=True):
        assert row_ == pytest.approx(tuple(stats.ttest_1samp(expected, 0).confidence_interval(level)))


def test_an_interval_by_hand():
    reach = 3.1824463 * np.sqrt(5 / 3) / 2  # t of 3 degrees of freedom, deviation over the root of 4
    assert interval([1, 2, 3, 4]) == pytest.approx((2.5 - reach, 2.5 + reach))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, np.nan]])
def test_fewer_than_two_values_or_one_that_is_no_number_have_no_interval(values: list[float]):
    assert np.isnan(interval(values)).all()


@pytest.mark.parametrize("count", [4, 8, 12])
def test_chance_is_taken_for_support_in_two_and_a_half_of_a_hundred_cases(count: int):
    draws = np.random.default_rng(3).normal(5, 2, (20_000, count))
    assert lies_above(draws, 5).mean() == pytest.approx(0.025, abs=0.0035)
    assert lies_above(draws, 5, 0.99).mean() == pytest.approx(0.005, abs=0.0015)


# --- effects of few values ---


def test_few_values_are_at_most_half_as_many_as_seeds():
    few = few_values(np.array([[1, 1, 2, 2], [1, 1, 2, 3], [1, 1, 1, 1], [1, 1 + 1e-12, 2, 2]]))
    assert few.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("signs", "supported"),
    [([1] * 4, False), ([1] * 5, False), ([1] * 6, True), ([1] * 9 + [-1], True), ([1] * 8 + [-1] * 2, False)],
)
def test_a_sign_needs_six_seeds(signs: list[int], supported: bool):
    assert lies_above(np.array(signs, float), 0) == supported
    assert not lies_above(np.array(signs, float), 1)


def test_signs_do_not_support_what_the_mean_is_against():
    assert not lies_above(np.array([0.1] * 11 + [-5.0]), 0) and lies_above(np.array([0.1] * 11 + [-1.0]), 0)


def test_a_recipe_s_runs_of_other_batches_are_decided_together():
    """Their tests are not at the same places, and may not be as many."""
    found = Store(Path("nowhere"), PAPER, "author")
    for run in {run_at(EXPERIMENTS, place) for part in CLAIMS["C11"].parts for place in part.curves.values()}:
        for seed in range(4):
            trained = found.trained(run, seed)
            x = np.array(trained.when_tested())
            found.add(result(trained, 2 - x / x[-1], x, seed))
    decision = decide(CLAIMS["C11"], EXPERIMENTS, found)
    assert all(list(finding.effects) == [0, 1, 2, 3] for finding in decision.findings)


@given(st.integers(1, 12))
def test_a_sign_is_exact(count: int):
    """Whatever a coin gives: what is called support has at most the probability that is promised."""
    coins = 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1) - 1
    assert lies_above(coins, 0).mean() <= 0.025


# --- the rules ---


def shelf(accuracies: dict[Place, dict[int, float]], scale: scales.Scale = PAPER) -> Store:
    """Returns a store with a result of one test for each place and seed."""
    each = [(run_at(EXPERIMENTS, place), by_seed) for place, by_seed in accuracies.items()]
    found = [result(run, [v], [run.iterations], seed, "test_accuracy") for run, of in each for seed, v in of.items()]
    return store(*found, scale=scale)


def effects(*values: float) -> dict[Place, dict[int, float]]:
    return {ONE: dict(enumerate(values))}


def last(runs: Traces) -> np.ndarray:
    return accuracy(runs["one"])


def less(runs: Traces) -> np.ndarray:
    return -last(runs)


def minus(runs: Traces) -> np.ndarray:
    return last(runs) - accuracy(runs["other"])


def part(statistic: Statistic = last, above: float = 0.0, **places: Place) -> Part:
    return Part("it is more", places or {"one": ONE}, statistic, above, "unit")


def verdict(store: Store, *parts: Part) -> Decision:
    claim = Claim("C00", "It is.", "nowhere", ("fig09a",), parts or (part(),), "Because.")
    return decide(claim, EXPERIMENTS, store)


def states(decision: Decision) -> list[str]:
    return [finding.state for finding in decision.findings]


UP, DOWN, UNSURE = (0.9, 1.1, 0.8, 1.0), (-1.0, -1.2, -0.9, -1.1), (1.0, -1.1, 0.9, -1.2)
CASES: list[tuple[Sequence[float], float, str, int]] = [
    (UP, 0, "supported", 0),
    (DOWN, 0, "contradicted", 1),
    (UNSURE, 0, "open", 2),
    (UP, 2, "contradicted", 1),
    (DOWN, -2, "supported", 0),
    ((1.0, 1.0, 1.0, 1.0), 0, "open", 2),
    ((0.0, 0.0, 0.0, 0.0), 0, "open", 2),
]


@pytest.mark.parametrize(("values", "above", "state", "word"), CASES)
@pytest.mark.parametrize("scale", [PAPER, dataclasses.replace(MINI, seeds=4)], ids=lambda s: s.name)
def test_a_part_is_decided_by_its_interval_and_the_scale_has_its_words(values, above, state, word, scale):
    decision = verdict(shelf(effects(*values), scale), part(above=above))
    assert (states(decision), decision.verdict) == ([state], WORDS[scale.name][word])


def test_a_finding_has_effects_mean_and_interval():
    (finding,) = verdict(shelf(effects(0.1, 0.2, 0.3, 0.4))).findings
    assert finding.effects == {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}
    assert (finding.mean, finding.low, finding.high) == pytest.approx((0.25, *interval([0.1, 0.2, 0.3, 0.4])))
    assert finding.reason == "" and finding.published == pytest.approx(0.80566)
    (same,) = verdict(shelf(effects(0.1, 0.1, 0.1, 0.1))).findings
    assert same.mean == pytest.approx(0.1) and np.isnan([same.low, same.high]).all()


@pytest.mark.parametrize("scale", [PAPER, MINI], ids=lambda s: s.name)
def test_a_verdict_is_given_at_the_scales_number_of_seeds_and_not_on_the_way(scale: scales.Scale):
    rising = [0.1 + 0.01 * seed for seed in range(scale.seeds + 3)]
    for count in range(1, scale.seeds):
        decision = verdict(shelf(effects(*rising[:count]), scale))
        assert states(decision) == ["open"] and decision.seeds == count
        assert decision.reasons[0].startswith(f"{count} of {scale.seeds} seeds are there: smith run fig09")
    complete, more = (verdict(shelf(effects(*rising[:n]), scale)) for n in (scale.seeds, scale.seeds + 3))
    assert states(complete) == ["supported"] and complete.seeds == scale.seeds
    assert more.findings[0].effects == complete.findings[0].effects


def test_other_scales_decide_nothing():
    smoke = dataclasses.replace(PAPER, name="smoke")
    decision = verdict(shelf(effects(*UP), smoke))
    assert (states(decision), decision.verdict) == (["open"], "inconclusive")
    assert decision.reasons == ["scale smoke decides nothing"] and decision.findings[0].mean == pytest.approx(0.95)


def test_a_missing_run_is_named_with_the_command_that_trains_it():
    store = shelf(effects(*UP))
    decision = verdict(store, part(minus, one=ONE, other=OTHER))
    assert decision.verdict == "inconclusive" and decision.seeds == 0
    assert decision.reasons == [f"no result of {OTHER} at scale paper: smith run fig09{store.options}"]


def test_seeds_are_paired():
    """Unpaired the difference of 0.1 drowns in the spread of 10."""
    one, other = {0: 0.1, 1: 10.1, 2: 20.1, 3: 30.12}, {0: 0.0, 1: 10.0, 2: 20.01, 3: 30.0}
    decision = verdict(shelf({ONE: one, OTHER: other}), part(minus, one=ONE, other=OTHER))
    assert decision.verdict == "reproduced"


def test_an_effect_that_can_not_be_computed_leaves_it_open_and_names_the_seed():
    def picky(runs: Traces) -> np.ndarray:
        return np.where(last(runs) == 0.8, np.nan, last(runs))

    def nowhere(runs: Traces) -> np.ndarray:
        raise ValueError("no test there")

    for statistic, seeds in ((picky, "2"), (nowhere, "0, 1, 2, 3")):
        decision = verdict(shelf(effects(*UP)), part(statistic))
        assert states(decision) == ["open"] and decision.reasons[0].endswith(f"seed {seeds}")


def test_one_contradicted_part_is_enough_and_all_must_be_supported():
    def unsure(runs: Traces) -> np.ndarray:
        return (last(runs) - 0.95) * 9

    found = shelf(effects(*UP))
    assert verdict(found, part(), part()).verdict == "reproduced"
    assert verdict(found, part(), part(), part(less)).verdict == "not reproduced"
    assert verdict(found, part(), part(unsure)).verdict == "inconclusive"
    assert verdict(found, part(unsure), part(less)).verdict == "not reproduced"


def test_contradiction_is_corrected_for_the_number_of_parts_and_support_is_not():
    values = (0.2, 0.8, 1.0, 1.4)
    assert interval(values, 1 - 0.05 / 4)[0] < 0 < interval(values)[0]
    found, sure = shelf(effects(*values)), part(above=-9)
    assert states(verdict(found, part(less))) == ["contradicted"]
    assert states(verdict(found, part(less), sure, sure, sure)) == ["open", *["supported"] * 3]
    assert states(verdict(found, part(), sure, sure, sure)) == ["supported"] * 4


# --- the paper's own effect ---


def published(statistic: Statistic, **places: Place) -> float:
    return verdict(shelf({}), part(statistic, 0.0, **places)).findings[0].published


def test_the_published_effect_is_computed_where_the_plots_show_it():
    better, worse = (row("table1", "shallow3", "0.0005-0.005", momentum) for momentum in ("CM 0.95-0.85", "0.90"))
    assert published(minus, one=better, other=worse) == pytest.approx(0.813 - 0.802)
    assert published(minus, one=ONE, other=OTHER) == pytest.approx(0.80566 - 0.70699)
