"""Verdicts: intervals against SciPy and by hand, and the rules of decision on made-up claims."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from smith import cli, scales
from smith.analysis import measures
from smith.analysis.evidence import Evidence, Place, curve, row
from smith.analysis.measures import Runs
from smith.analysis.verdicts import MIN_SEEDS, T_SEEDS, Claim, Decision, Part, best, decide, interval
from smith.store import results
from smith.store.results import COLUMNS, Result

PAPER, QUICK, SHORT = map(scales.named, ("paper", "quick", "short"))
EXPERIMENTS = cli.experiments(["all"])
ONE, OTHER = curve("fig09a", "WD=1e-3"), curve("fig09a", "WD=1e-2")

# --- the interval ---


@pytest.mark.parametrize("count", range(2, T_SEEDS))
@pytest.mark.parametrize("level", [0.95, 0.9875])
def test_the_interval_of_few_values_is_students(count: int, level: float):
    values = np.random.default_rng(count).normal(3, 2, count)
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert interval(values.tolist(), level) == pytest.approx(tuple(expected))


def test_an_interval_by_hand():
    reach = 3.1824463 * np.sqrt(5 / 3) / 2  # t of 3 degrees of freedom, deviation over the root of 4
    assert interval([1, 2, 3, 4]) == pytest.approx((2.5 - reach, 2.5 + reach))


@pytest.mark.parametrize("values", [[], [1.0]])
def test_fewer_than_two_values_have_no_interval(values: list[float]):
    assert np.isnan(interval(values)).all()


@given(st.integers(-3_000, 3_000), st.integers(2, 30))
def test_equal_values_have_an_interval_without_width(thousandths: int, count: int):
    value = thousandths / 1_000
    assert interval([value] * count) == pytest.approx((value, value), abs=1e-9)


@pytest.mark.parametrize("count", [3, 9, 10, 12])
def test_a_value_that_is_not_a_number_makes_an_interval_that_is_none(count: int):
    assert np.isnan(interval([*np.arange(count - 1.0), np.nan])).all()


@pytest.mark.parametrize("count", [10, 25])
def test_the_interval_of_many_values_is_a_bootstrap_the_same_every_time(count: int):
    values = np.random.default_rng(1).exponential(size=count).tolist()
    low, high = interval(values)
    assert (low, high) == interval(values)
    assert min(values) < low < np.mean(values) < high < max(values)
    assert (low, high) != pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval()), rel=1e-3)
    wide = interval(values, 0.99)
    assert wide[0] < low and wide[1] > high


def test_a_bootstrap_of_normal_values_is_about_students():
    values = np.random.default_rng(2).normal(size=40).tolist()
    assert interval(values) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval()), abs=0.06)


def test_nineteen_of_twenty_intervals_of_four_seeds_hold_the_mean():
    draws = np.random.default_rng(3).normal(5, 2, (2_000, 4))
    held = [low <= 5 <= high for low, high in (interval(values.tolist()) for values in draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


# --- the rules ---


class Given(Evidence):
    """Effects that are given by curve and seed, as the accuracy of a result of one test."""

    def __init__(self, accuracies: dict[Place, dict[int, float]], scale: scales.Scale = PAPER) -> None:
        super().__init__(EXPERIMENTS, scale, Path("nowhere"))
        self._given = {self.run(place): values for place, values in accuracies.items()}

    def results(self, run) -> list[Result]:
        return [
            Result(run, seed, "done", dict.fromkeys(COLUMNS, np.array([value])))
            for seed, value in self._given.get(run, {}).items()
        ]


def effects(*values: float) -> dict[Place, dict[int, float]]:
    return {ONE: dict(enumerate(values))}


def last(runs: Runs) -> float:
    return float(runs["one"]["test_accuracy"][-1])


def minus(runs: Runs) -> float:
    return last(runs) - float(runs["other"]["test_accuracy"][-1])


def part(statistic: Callable[[Runs], float] = last, above: float = 0.0, missing: str = "", **places: Place) -> Part:
    return Part("it is more", places or {"one": ONE}, statistic, above, "unit", missing)


def claim(*parts: Part) -> Claim:
    return Claim("C00", "It is.", "nowhere", ("fig09a",), parts or (part(),), "Because.")


def states(decision: Decision) -> list[str]:
    return [finding.state for finding in decision.findings]


CASES: list[tuple[Sequence[float], float, str, str]] = [
    ((1.0, 1.1, 0.9, 1.0), 0, "supported", "reproduced"),
    ((-1.0, -1.1, -0.9, -1.0), 0, "contradicted", "not reproduced"),
    ((1.0, -1.1, 0.9, -1.0), 0, "open", "inconclusive"),
    ((1.0, 1.1, 0.9, 1.0), 2, "contradicted", "not reproduced"),
    ((-1.0, -1.1, -0.9, -1.0), -2, "supported", "reproduced"),
    ((1.0, 1.0, 1.0), 0, "supported", "reproduced"),
    ((-1.0, -1.0, -1.0), 0, "contradicted", "not reproduced"),
    ((0.0, 0.0, 0.0), 0, "open", "inconclusive"),
    ((1.0, 1.1), 0, "open", "inconclusive"),
    ((-1.0, -1.0), 0, "open", "inconclusive"),
    ((9.0,), 0, "open", "inconclusive"),
    ((-9.0,), 0, "open", "inconclusive"),
    ((1.0, np.nan, 1.0, 1.0, 1.0), 0, "open", "inconclusive"),
    ((-1.0, np.inf, -1.0, -1.0), 0, "open", "inconclusive"),
]


@pytest.mark.parametrize(("values", "above", "state", "verdict"), CASES)
def test_a_part_is_decided_by_its_interval(values: Sequence[float], above: float, state: str, verdict: str):
    decision = decide(claim(part(above=above)), Given(effects(*values)))
    assert (states(decision), decision.verdict, decision.scale) == ([state], verdict, "paper")


def test_a_finding_has_effects_mean_and_interval():
    finding = decide(claim(), Given(effects(1, 2, 3, 4))).findings[0]
    assert finding.effects == {0: 1, 1: 2, 2: 3, 3: 4}
    assert (finding.mean, finding.low, finding.high) == pytest.approx((2.5, *interval([1, 2, 3, 4])))
    assert finding.reason == "" and finding.published is not None


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_seeds_are_the_reason(count: int):
    decision = decide(claim(), Given(effects(*[1.0] * count)))
    assert MIN_SEEDS == 3 and len(decision.reasons) == 1
    assert f"{count} seed" in decision.reasons[0] and "3" in decision.reasons[0]
    assert decision.seeds == count


@pytest.mark.parametrize("scale", [QUICK, SHORT])
@pytest.mark.parametrize("value", [1.0, -1.0])
def test_other_scales_decide_nothing(scale: scales.Scale, value: float):
    decision = decide(claim(), Given(effects(*[value] * 6), scale))
    assert (decision.verdict, decision.scale, states(decision)) == ("inconclusive", scale.name, ["open"])
    assert scale.name in decision.reasons[0]
    assert decision.findings[0].mean == value


def test_a_missing_run_is_named():
    both = claim(part(minus, one=ONE, other=OTHER))
    decision = decide(both, Given(effects(1, 1, 1)))
    assert decision.verdict == "inconclusive" and decision.seeds == 0
    assert str(OTHER) in decision.reasons[0] and str(ONE) not in decision.reasons[0]
    nothing = decide(both, Given({}))
    assert str(OTHER) in nothing.reasons[0] and str(ONE) in nothing.reasons[0]
    assert np.isnan([nothing.findings[0].mean, nothing.findings[0].low]).all()


def test_seeds_are_paired_and_those_that_are_not_common_are_left_out():
    """Unpaired the difference of 0.1 drowns in the spread of 10; the odd seeds would turn it."""
    one = {0: 0.1, 1: 10.1, 2: 20.1, 3: 30.1, 8: -500.0}
    other = {0: 0.0, 1: 10.0, 2: 20.0, 3: 30.01, 9: 500.0}
    decision = decide(claim(part(minus, one=ONE, other=OTHER)), Given({ONE: one, OTHER: other}))
    assert decision.verdict == "reproduced"
    assert list(decision.findings[0].effects) == [0, 1, 2, 3]
    apart = decide(claim(part(minus, one=ONE, other=OTHER)), Given({ONE: one, OTHER: {7: 0.0, 6: 0.0, 5: 0.0}}))
    assert apart.verdict == "inconclusive" and "0 seeds" in apart.reasons[0]


def test_an_effect_that_can_not_be_computed_leaves_it_open_and_names_the_seed():
    def picky(runs: Runs) -> float:
        if runs["one"].seed == 2:
            raise ValueError("no test there")
        return 1.0

    decision = decide(claim(part(picky)), Given(effects(1, 1, 1, 1, 1)))
    assert decision.verdict == "inconclusive" and "seed 2" in decision.reasons[0]


def test_one_contradicted_part_is_enough_and_all_must_be_supported():
    up, down, unsure = part(), part(lambda runs: -last(runs)), part(lambda runs: last(runs) * (-1) ** runs["one"].seed)
    given_ = Given(effects(1, 1.1, 0.9, 1))
    assert decide(claim(up, up), given_).verdict == "reproduced"
    assert decide(claim(up, up, down), given_).verdict == "not reproduced"
    assert decide(claim(up, unsure), given_).verdict == "inconclusive"
    assert decide(claim(unsure, down), given_).verdict == "not reproduced"


def test_contradiction_is_corrected_for_the_number_of_parts_and_support_is_not():
    values = (0.2, 0.8, 1.0, 1.4)
    low, corrected = interval(values)[0], interval(values, 1 - 0.05 / 4)[0]
    assert corrected < 0 < low
    against = part(lambda runs: -last(runs))
    sure = part(lambda runs: 1.0)
    given_ = Given(effects(*values))
    assert states(decide(claim(against), given_)) == ["contradicted"]
    assert states(decide(claim(against, sure, sure, sure), given_)) == ["open", *["supported"] * 3]
    assert states(decide(claim(part(), sure, sure, sure), given_)) == ["supported"] * 4


def test_a_part_that_can_have_no_result_leaves_the_rest_as_it_is():
    gone = Part("it is more", {}, lambda runs: np.nan, missing="no data of it")
    assert decide(claim(part(), gone), Given(effects(1, 1, 1))).verdict == "inconclusive"
    decision = decide(claim(part(), gone), Given(effects(-1, -1, -1)))
    assert decision.verdict == "not reproduced"
    assert decision.reasons == ["no data of it"]


def test_a_reason_is_given_once():
    assert len(decide(claim(part(), part()), Given(effects(1.0))).reasons) == 1


def test_the_best_scale_is_the_first_with_an_effect():
    empty, quick, short = Given({}), Given(effects(1.0), QUICK), Given(effects(1.0), SHORT)
    assert best(claim(), [empty, short, quick]).scale == "short"
    assert best(claim(), [empty, quick, short]).scale == "quick"
    assert best(claim(), [Given(effects(1.0)), short]).scale == "paper"
    assert best(claim(), [empty, Given({}, QUICK)]).scale == "paper"


# --- from files ---


def write(folder: Path, place: Place, seed: int, accuracy: float) -> Path:
    folder.mkdir(exist_ok=True)
    run = Evidence(EXPERIMENTS, PAPER, folder).run(place)
    rows = [dict.fromkeys(COLUMNS, 0.0) | {"test_accuracy": accuracy}]
    return results.write(folder, run, seed, "done", rows, {})


def test_a_claim_is_decided_from_files_and_damaged_ones_do_not_count(tmp_path: Path):
    paths = [write(tmp_path, ONE, seed, 0.8 + 0.001 * seed) for seed in range(4)]
    decision = decide(claim(part(above=0.5)), Evidence(EXPERIMENTS, PAPER, tmp_path))
    assert (decision.verdict, decision.seeds) == ("reproduced", 4)
    for path in paths[:2]:
        path.write_bytes(path.read_bytes()[:-9])
    decision = decide(claim(part(above=0.5)), Evidence(EXPERIMENTS, PAPER, tmp_path))
    assert (decision.verdict, decision.seeds) == ("inconclusive", 2)


# --- the paper's own effect ---


def published(statistic: Callable[[Runs], float], **places: Place) -> float | None:
    return decide(claim(part(statistic, 0.0, "", **places)), Given({})).findings[0].published


def test_the_published_effect_is_computed_where_the_plots_show_it():
    rows = {
        "one": row("table1", "shallow3", "0.0005-0.005", "CM 0.95-0.85"),
        "other": row("table1", "shallow3", "0.0005-0.005", "0.90"),
    }
    assert published(minus, **rows) == pytest.approx(0.813 - 0.802)
    assert published(minus, one=ONE, other=OTHER) == pytest.approx(0.80566 - 0.70699)


def test_the_published_effect_is_none_where_the_plots_do_not_show_it():
    assert published(last, one=curve("fig03a", "LR=0.001")) is None  # no accuracy
    assert published(last, one=curve("speeda", "2,500 iterations")) is None
    assert published(lambda runs: np.nan, one=ONE) is None
    assert published(lambda runs: runs["one"]["learning_rate"][0], one=ONE) is None
    assert decide(claim(part(missing="no")), Given({})).findings[0].published is None


# --- measures: a run that diverged has come to guessing ---


@pytest.mark.parametrize("loss", [np.nan, np.inf, 0.5, 1e30])
def test_a_run_that_diverged_has_come_to_guessing(loss: float):
    """Its last test may be finite still: parameters or the training loss are not."""
    columns = {name: np.arange(1.0, 21) for name in COLUMNS}
    columns["test_loss"] = np.append(np.linspace(2, 0.5, 19), loss)
    result = Result(Given({}).run(ONE), 0, "diverged", columns)
    assert measures.final_loss(result) == pytest.approx(np.log(10))


def test_the_final_loss_is_the_mean_of_the_last_tenth():
    columns = {name: np.arange(1.0, 21) for name in COLUMNS}
    assert measures.final_loss(Result(Given({}).run(ONE), 0, "done", columns)) == 19.5
